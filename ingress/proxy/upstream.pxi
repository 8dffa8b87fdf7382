# The endpoint side of HTTP/1.1: responses to exchanges, and what to wait for next.


cdef void upstream_settle(Conn* u) noexcept:
    cdef Exchange* x = u.x
    cdef Options* o = &u.k.o
    if u.fd < 0:
        return
    if u.connecting:
        watch(u, EPOLLIN if u.handshaking and not u.read_wants_write else EPOLLOUT)
        if u.timer != T_CONNECT:
            arm(u, T_CONNECT, x.backend.patience.connect)
    elif x == NULL:
        watch(u, EPOLLIN)
        arm(u, T_IDLE, o.upstream_idle)
    elif carrier_waiting(x) and carrier_waiting(x) > response_room(x):
        # Back-pressure: the client's own time-out runs.
        watch(u, EPOLLOUT if held(&u.outbox) or spool_left(x) else 0)
        arm(u, T_NONE, 0)
    elif held(&u.outbox) or spool_left(x):
        watch(u, EPOLLIN | EPOLLOUT)
        arm(u, T_SEND, x.backend.patience.send)
    else:
        watch(u, EPOLLIN)
        if x.request.mode != B_DONE and x.request.mode != B_TUNNEL and not x.responding:
            arm(u, T_NONE, 0)    # the client's body is what is waited for
        else:
            arm(u, T_READ, o.passthrough_idle if x.raw else x.backend.patience.read)
    if u.read_wants_write and not u.connecting:
        watch(u, u.mask | EPOLLOUT)


cdef inline int response_room(const Exchange* x) noexcept nogil:
    """Octets of a response that may wait for its client without its endpoint having to."""
    return x.k.o.response_memory if x.options & BUFFER_RESPONSE else 0


cdef void upstream_writable(Conn* u) noexcept:
    cdef Exchange* x = u.x
    cdef int failed = 0
    cdef socklen_t n = sizeof(failed)
    if u.connecting:
        if not u.handshaking and (getsockopt(u.fd, SOL_SOCKET, SO_ERROR, &failed, &n) < 0 or failed
                                  or not transport_begin(u)):
            upstream_lost(u, 502)
            return
        if u.handshaking and not upstream_handshake(u):
            upstream_lost(u, 502)
            return
        if u.handshaking:
            upstream_settle(u)
            return
        u.connecting = False
        if x != NULL:
            x.connected_ns = u.k.now_ns
        if x != NULL and not exchange_send_head(x):
            upstream_lost(u, 502)
            return
    elif not conn_flush(u) or (x != NULL and spool_left(x) and not spool_send(x)):
        upstream_lost(u, 502)
        return
    upstream_settle(u)
    if x != NULL:
        carrier_settle(x)
    if u.fd >= 0 and u.read_wants_write and not u.connecting:
        upstream_readable(u)


cdef void upstream_readable(Conn* u) noexcept:
    cdef Exchange* x = u.x
    cdef int room = u.k.room
    cdef Py_ssize_t n
    if x != NULL and (x.packer != NULL or x.changing):
        room = min(room, PACKED_READ)
    n = conn_read(u, READ, room)
    if n == GOT_NOTHING:
        return
    if x == NULL:      # an idle connection: closed by the endpoint, or it speaks unasked
        conn_close(u)
        return
    if n <= 0:
        upstream_eof(u, n == 0)
        return
    x.upstream_octets += n
    if x.response.mode != B_HEAD:
        response_body(x, READ, <int>n)
    elif held(&u.inbox) == 0:
        response_heads(x, READ, <int>n, True)
    else:
        if not buffer_add(&u.inbox, READ, <int>n):
            u.k.counters.no_memory += 1
            upstream_lost(u, 502)
            return
        response_stored(u)


cdef void response_stored(Conn* u) noexcept:
    """A head that came in pieces."""
    cdef Buffer inbox = u.inbox
    memset(&u.inbox, 0, sizeof(Buffer))
    response_heads(u.x, inbox.p + inbox.start, held(&inbox), False)
    free(inbox.p)


cdef void upstream_eof(Conn* u, bint orderly) noexcept:
    cdef Exchange* x = u.x
    if x.response.mode == B_TUNNEL:
        tunnel_eof(x, u)
    elif orderly and x.response.mode == B_UNTIL_CLOSE:
        x.response.mode = B_DONE
        x.upstream_close = True
        if x.changing:
            changed_send(x, NULL, 0, NULL, 0, False)
        elif x.packer != NULL:
            packed_send(x, NULL, 0, NULL, 0, False)
        else:
            piece_send(x, NULL, 0, NULL, 0, False)
    else:
        upstream_lost(u, 502)


cdef void bad_response(Conn* u) noexcept:
    """Not HTTP, or framed in a way that two readers could read in two ways. Tried elsewhere only on request: it may
    have done its work."""
    cdef Exchange* x = u.x
    u.k.counters.bad_responses += 1
    endpoint_failed(x, u.endpoint)
    log_attempt(x, 502)
    x.up = NULL
    u.x = NULL
    conn_close(u)
    if x.responding:
        exchange_cut(x)
    elif may_retry(x, x.backend.patience.retry_on & RETRY_INVALID_HEADER):
        retry(x, 502)
    else:
        reply(x, 502)


cdef uint32_t retry_on_status(int status) noexcept nogil:
    if status == 500:
        return RETRY_500
    if status == 502:
        return RETRY_502
    if status == 503:
        return RETRY_503
    if status == 504:
        return RETRY_504
    if status == 403:
        return RETRY_403
    if status == 404:
        return RETRY_404
    return RETRY_429 if status == 429 else 0


cdef bint response_retried(Exchange* x, int status) noexcept:
    """Whether the request is tried elsewhere for its status. The last attempt's response is the client's."""
    cdef Conn* u = x.up
    cdef uint32_t why = retry_on_status(status)
    cdef Patience* patience = &x.backend.patience
    if not patience.retry_on & why or x.attempts >= patience.attempts or not in_time(x) or not may_retry(x, True):
        return False
    if why != RETRY_403 and why != RETRY_404:
        endpoint_failed(x, u.endpoint)
    log_attempt(x, status)
    x.up = NULL
    u.x = NULL
    conn_close(u)
    retry(x, 502)
    return True


cdef void response_heads(Exchange* x, u8* p, int n, bint headroom) noexcept:
    """Interim responses, then the final head with what follows it. `headroom`: p is the read buffer."""
    cdef Conn* u = x.up
    cdef Head* h = &HEAD
    cdef int length
    while True:
        length = response_head(p, min(n, u.k.o.response_head_bytes), h, FIELDS_MAX)
        if length == NEED_MORE:
            if n > u.k.o.response_head_bytes:
                bad_response(u)
            elif not buffer_add(&u.inbox, p, n):
                upstream_lost(u, 502)
            else:
                upstream_settle(u)
            return
        if length < 0 or (h.status == 101 and not may_switch(x, h)):
            bad_response(u)
            return
        if h.status >= 200 or h.status == 101:
            break
        if x.minor and not response_interim(x, p, h):
            return
        p += length
        n -= length
        if n == 0:
            upstream_settle(u)
            return
    response_final(x, p, n, h, headroom)


cdef bint may_switch(Exchange* x, const Head* h) noexcept nogil:
    return x.upgrade and h.upgrade.n > 0


cdef bint response_interim(Exchange* x, const u8* p, Head* h) noexcept:
    """Pass a 1xx on; False when the client is gone."""
    cdef Writer w = writer(SCRATCH, <int>sizeof(SCRATCH))
    put_response(&w, x, p, h)
    if carrier_send(x, w.p, w.n, w.n):
        x.octets_out += w.n
        return True
    exchange_gone(x)
    return False


cdef void response_frame(Exchange* x, const u8* b, Head* h) noexcept:
    """How long the response is (RFC 9112, 6.3), and whether either connection outlives it."""
    if x.options & COMPRESS:
        compress_begin(x, b, h)
    if x.asked != NULL:
        change_begin(x, h)
    x.decode = h.chunked and (x.minor == 0 or x.packer != NULL or x.changing or x.content)
    if h.status == 101:
        x.response.mode = B_TUNNEL
        x.request.mode = B_TUNNEL
    elif x.is_head or h.status == 204 or h.status == 304:
        x.response.mode = B_DONE
    elif h.chunked:
        x.response.mode = B_CHUNKED
    elif h.content_length >= 0:
        x.response.mode = B_LENGTH if h.content_length else B_DONE
        x.response.left = h.content_length
    else:
        x.response.mode = B_UNTIL_CLOSE
    x.upstream_close = h.close or x.response.mode == B_UNTIL_CLOSE
    if carrier_ending(x) or (x.request.mode != B_DONE and x.request.mode != B_TUNNEL):
        carrier_last(x, LINGER if x.request.mode != B_DONE else CLOSE)
    x.encode = (x.minor and not x.content and x.packer == NULL
                and (x.changing or (x.response.mode == B_UNTIL_CLOSE and not carrier_closes(x))))
    if not x.encode and x.packer == NULL and (x.decode or x.changing or x.response.mode == B_UNTIL_CLOSE):
        carrier_last(x, CLOSE)


cdef void response_final(Exchange* x, u8* p, int n, Head* h, bint headroom) noexcept:
    """The head, rewritten, and the part of the body that came with it, in one send."""
    cdef Conn* u = x.up
    cdef Writer w = writer(SCRATCH, <int>sizeof(SCRATCH))
    cdef int used = 0, body_n = 0
    cdef u8* body = p + h.length
    cdef u8* out
    if x.backend.patience.retry_on & RETRY_STATUSES and response_retried(x, h.status):
        return
    endpoint_worked(u.endpoint)
    if x.backend.balance != NULL:
        note_latency(u.endpoint, x.k.now_ns - x.attempt_ns)
    if x.asked != NULL and not x.shown and response_dropped(x, p, n, h):
        return
    x.status = x.told_status or h.status
    x.response_ns = x.k.now_ns
    if x.response_edits != NULL:
        mark_edits(<Edits>x.response_edits, p, h)
    response_frame(x, p, h)
    if x.packer != NULL or x.changing:
        h.content_length = -1
    if h.status == 204:
        h.content_length = -1     # RFC 9110, 8.6
        h.chunked = False
    free(x.head)
    x.head = NULL
    put_response(&w, x, p, h)
    n -= h.length
    used = body_feed(&x.response, body, n, body if x.decode else NULL, &body_n)
    if used < 0 or w.full:
        x.response.mode = B_DONE
        bad_response(u)
        return
    if not x.decode:
        body_n = used
    x.responding = True
    if x.rate and x.response.mode != B_TUNNEL:
        carrier_pace(x)
    if x.changing:
        changed_send(x, w.p, w.n, body, body_n, used < n)
    elif x.packer != NULL:
        packed_send(x, w.p, w.n, body, body_n, used < n)
    elif x.encode:
        piece_send(x, w.p, w.n, body, body_n, used < n)
    elif headroom:
        out = body - w.n
        memcpy(out, w.p, w.n)
        response_send(x, out, w.n + body_n, body_n, used < n)
    elif body_n <= w.capacity - w.n:
        put(&w, body, body_n)
        response_send(x, w.p, w.n, body_n, used < n)
    elif carrier_send(x, w.p, w.n, w.n):
        x.octets_out += w.n
        response_send(x, body, body_n, body_n, used < n)
    else:
        exchange_gone(x)


cdef void response_body(Exchange* x, u8* p, int n) noexcept:
    cdef int body_n = 0
    cdef int used = body_feed(&x.response, p, n, p if x.decode else NULL, &body_n)
    if used < 0:
        bad_response(x.up)
        return
    if x.changing:
        changed_send(x, NULL, 0, p, body_n if x.decode else used, used < n)
        return
    if x.packer != NULL:
        packed_send(x, NULL, 0, p, body_n if x.decode else used, used < n)
        return
    if x.encode:
        piece_send(x, NULL, 0, p, used, used < n)
        return
    response_send(x, p, body_n if x.decode else used, body_n if x.decode else used, used < n)


cdef void piece_send(Exchange* x, const u8* head, int head_n, const u8* p, int n, bint surplus) noexcept:
    """Content to the client, after the head if there is one: in a chunk of our own, if that is how it goes on."""
    cdef Buffer out
    cdef bint well
    memset(&out, 0, sizeof(Buffer))
    well = buffer_add(&out, head, head_n)
    if not x.encode:
        well = well and buffer_add(&out, p, n)
    else:
        well = well and put_chunk(&out, p, n) and (x.response.mode != B_DONE or put_last_chunk(&out))
    if well:
        response_send(x, out.p, held(&out), held(&out) - head_n, surplus)
    else:
        x.k.counters.no_memory += 1
        exchange_cut(x)
    buffer_free(&out)


cdef void response_send(Exchange* x, const u8* p, int n, int body_n, bint surplus) noexcept:
    """Octets to the client; then wait for more, or end the exchange."""
    x.octets_out += n
    x.body_out += body_n
    if not (carrier_send_last(x, p, n, n - body_n) if x.response.mode == B_DONE else carrier_send(x, p, n, n - body_n)):
        exchange_gone(x)
        return
    if x.response.mode == B_DONE:
        exchange_done(x, surplus)
        return
    upstream_settle(x.up)
    carrier_settle(x)
    if x.response.mode == B_TUNNEL:
        carrier_switched(x)


cdef void tunnel_eof(Exchange* x, Conn* side) noexcept:
    """One side of a switched protocol has closed. It is not read while the other side is behind, so all is delivered."""
    carrier_last(x, LINGER)
    exchange_end(x)
    carrier_finished(x)
