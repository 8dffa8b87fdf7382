# The client side of HTTP/1.1: octets to exchanges, one after the other, and what to wait for next.


cdef enum:
    REQUESTS_TOGETHER = 32     # answered one after the other, if none waits for an endpoint, before it is another's turn


cdef void client_settle(Conn* c) noexcept:
    """What to listen for and how long to wait, from where the connection stands."""
    cdef Exchange* x = c.x
    cdef uint32_t mask = 0
    cdef int timer = T_NONE
    cdef uint32_t ticks = 0
    cdef Options* o = &c.k.o
    if c.fd < 0:
        return
    if held(&c.outbox) and c.pace != NULL and pace_room(c, 1) == 0:
        timer = T_PACED
        ticks = PACE_FOREVER
        pace_wait(c)
    elif held(&c.outbox):
        mask = EPOLLOUT
        timer = T_SEND
        ticks = o.client_send
    if c.lingering:
        mask |= EPOLLIN
        if timer == T_NONE:
            timer = T_LINGER
            ticks = o.linger
    elif x == NULL:
        if timer == T_NONE and not c.eof:
            mask |= 0 if c.backlog else EPOLLIN
            timer = T_HEAD if held(&c.inbox) or c.handshaking or c.peer.served == 0 else T_IDLE
            ticks = o.drain_idle if c.k.draining else o.client_head if timer == T_HEAD else o.client_idle
            if c.arriving & AWAIT_PROXY:
                ticks = min(ticks, o.proxy_header)
    elif x.request.mode != B_DONE and not x.parked:
        if body_wanted(x) and not c.eof:
            mask |= EPOLLIN
            if timer == T_NONE and x.request.mode != B_TUNNEL:
                timer = T_BODY
                ticks = o.client_body
    elif not c.eof:
        if held(&c.inbox) < o.pipeline_bytes:
            mask |= EPOLLIN
    elif timer == T_NONE and not x.responding and x.minor:
        timer = T_PROBE
        ticks = o.probe
    if c.write_wants_read:
        mask |= EPOLLIN
    if c.read_wants_write:
        mask |= EPOLLOUT
    client_wait(c, mask, timer, ticks)


cdef inline void client_wait(Conn* c, uint32_t mask, int timer, uint32_t ticks) noexcept:
    cdef bint reading = mask & EPOLLIN and not c.mask & EPOLLIN
    watch(c, mask)
    if reading:
        ready_add(c)
    if timer != c.timer:
        c.progress = 0
        arm(c, timer, ticks)
    elif timer == T_BODY or timer == T_SEND:
        put_off(c, ticks)


cdef inline void put_off(Conn* c, uint32_t ticks) noexcept:
    """Every octet buys time, at the rate asked for: one now and then does not keep a connection for ever."""
    cdef uint32_t bought = c.progress // c.k.o.octets_per_tick
    cdef uint32_t left = c.deadline - c.k.tick
    if bought:
        c.progress %= c.k.o.octets_per_tick
        arm(c, c.timer, min(ticks, left + bought))


cdef inline int client_room(const Conn* c) noexcept nogil:
    """How much to read: of a body as much as there is, but what comes before its time has to be kept."""
    cdef const Options* o = &c.k.o
    if c.x == NULL:
        return min(c.k.room, o.head_bytes + o.pipeline_bytes)
    if c.x.request.mode == B_DONE or c.x.parked:
        return min(c.k.room, max(o.pipeline_bytes - held(&c.inbox), 1))
    return c.k.room


cdef void client_readable(Conn* c) noexcept:
    cdef Py_ssize_t n
    cdef Exchange* x
    if c.arriving and not arrive(c):
        return
    if c.handshaking and not client_handshake(c):
        return
    n = conn_read(c, READ, client_room(c))
    if n == GOT_NOTHING:
        client_settle(c)
    elif n == 0:
        client_eof(c)
    elif n < 0:
        client_gone(c)
    elif c.lingering:
        ready_add(c)
    elif c.x == NULL:
        client_octets(c, READ, <int>n)
    else:
        x = c.x
        c.progress += <uint32_t>n
        if x.request.mode == B_DONE or x.parked:
            client_keep(c, READ, <int>n)
            client_settle(c)
        else:
            x.octets_in += n
            request_body(x, READ, <int>n)


cdef bint client_handshake(Conn* c) noexcept:
    """Whether the connection is ready to be read."""
    if not tls_handshake(c):
        conn_close(c)
        return False
    if c.handshaking or c.ssl == NULL:
        client_settle(c)
        return False
    return True


cdef bint client_keep(Conn* c, const u8* p, int n) noexcept:
    if buffer_add(&c.inbox, p, n):
        return True
    c.k.counters.no_memory += 1
    client_gone(c)
    return False


cdef void client_gone(Conn* c) noexcept:
    if c.x != NULL:
        exchange_gone(c.x)
    else:
        conn_close(c)


cdef void client_eof(Conn* c) noexcept:
    """The client's FIN: it may have gone, or may only have nothing more to ask (half-close)."""
    cdef Exchange* x = c.x
    c.eof = True
    if x == NULL:
        if held(&c.outbox) and not c.lingering:
            c.closing = CLOSE
            client_settle(c)
        else:
            conn_close(c)
    elif x.request.mode == B_TUNNEL:
        tunnel_eof(x, c)
    elif x.request.mode != B_DONE and not (x.parked and may_be_whole(x)):
        exchange_gone(x)
    else:
        client_settle(c)


cdef inline bint may_be_whole(const Exchange* x) noexcept nogil:
    """Whether the body of a parked request can be in what has come."""
    return x.request.mode == B_CHUNKED or x.request.left <= held(&x.down.inbox)


cdef void client_octets(Conn* c, u8* p, int n) noexcept:
    """Octets that came where a head may begin."""
    if held(&c.inbox) == 0:
        client_run(c, p, n)
        return
    # A head is scanned again only when a line has ended: one octet at a time must not cost a scan each.
    if not client_keep(c, p, n):
        return
    if memchr(p, c'\n', n) == NULL and held(&c.inbox) <= c.k.o.limits.target:
        client_settle(c)
        return
    client_next(c)


cdef void client_next(Conn* c) noexcept:
    """Go on after a response, or with a head that may be complete now."""
    cdef Buffer inbox
    if c.running or c.fd < 0 or c.x != NULL:
        return
    if c.closing or (c.eof and held(&c.inbox) == 0):
        client_finish(c)
    elif held(&c.outbox) or held(&c.inbox) == 0:
        client_settle(c)
    else:
        inbox = c.inbox
        memset(&c.inbox, 0, sizeof(Buffer))
        client_run(c, inbox.p + inbox.start, held(&inbox))
        free(inbox.p)


cdef void client_cut(Conn* c) noexcept:
    """A response has ended without its rest."""
    c.closing = CLOSE
    if held(&c.outbox):
        client_settle(c)
    else:
        conn_close(c)


cdef void client_switched(Conn* c) noexcept:
    """What the client has sent ahead of the switch belongs to the other protocol."""
    cdef Buffer inbox = c.inbox
    if held(&inbox) == 0:
        return
    memset(&c.inbox, 0, sizeof(Buffer))
    request_body(c.x, inbox.p + inbox.start, held(&inbox))
    free(inbox.p)


cdef void client_finish(Conn* c) noexcept:
    """Nothing more is answered. The client may still be sending: a reset would take the last answer from it."""
    if held(&c.outbox):
        client_settle(c)
        return
    if c.eof or c.lingering:
        conn_close(c)
        return
    if c.peer.served == 0 or held(&c.inbox) or c.closing == LINGER:
        if c.ssl != NULL and not c.handshaking:
            SSL_shutdown(c.ssl)
        shutdown(c.fd, SHUT_WR)
        c.lingering = True
        buffer_free(&c.inbox)
        client_settle(c)
        return
    conn_close(c)


cdef void client_run(Conn* c, u8* p, int n) noexcept:
    """Serve requests from n octets until one has to wait, or it is another's turn; keep the rest."""
    cdef int used, left = REQUESTS_TOGETHER
    c.running = True
    while n > 0 and left > 0 and c.fd >= 0 and c.x == NULL and not c.closing and held(&c.outbox) == 0:
        used = client_request(c, p, n)
        if used <= 0:
            break
        left -= 1
        p += used
        n -= used
    c.running = False
    if c.fd < 0:
        return
    if c.closing and c.x == NULL:
        if n > 0:
            c.closing = LINGER
        client_finish(c)
        return
    if n > 0 and not client_keep(c, p, n):
        return
    if n > 0 and left == 0 and c.x == NULL and held(&c.outbox) == 0:
        c.backlog = True
        ready_put(c)
        client_settle(c)
    elif c.eof and c.x == NULL and held(&c.outbox) == 0:
        conn_close(c)       # in the middle of a head
    elif c.eof and c.x != NULL and c.x.request.mode != B_DONE and not c.x.parked:
        exchange_gone(c.x)  # in the middle of a body
    else:
        client_settle(c)


cdef void client_resume(Conn* c, bytes head, int status) noexcept:
    """Go on with a parked request, as if its head, and what has come since, were here just now."""
    cdef Core* k = c.k
    cdef int head_n = <int>len(head), n = head_n + held(&c.inbox), used
    cdef Target t
    cdef u8* p = <u8*>malloc(n)
    if p == NULL:
        k.counters.no_memory += 1
        client_gone(c)
        return
    memcpy(p, <const u8*><const char*>head, head_n)
    memcpy(p + head_n, c.inbox.p + c.inbox.start, held(&c.inbox))
    buffer_free(&c.inbox)
    request_head(p, head_n, &HEAD, &k.o.limits)
    read_target(p, &HEAD, &t)
    c.running = True
    used = head_n + exchange_forward(c.x, p, n, &HEAD, &t, status)
    c.running = False
    client_run(c, p + used, n - used)
    free(p)


cdef inline bint last_request(const Conn* c) noexcept nogil:
    """The client has sent its FIN, and no request of it waits."""
    return c.eof and held(&c.inbox) == 0


cdef int client_request(Conn* c, u8* p, int n) noexcept:
    """Begin the exchange whose head is at p: octets taken, 0 when the head is not complete (or was refused)."""
    cdef Head* h = &HEAD
    cdef Target t
    cdef Exchange* x
    cdef int length = exchange_head(c.k, p, n, h, &t)
    if length < 0:
        refuse(c, -length)
        return 0
    if length == NEED_MORE:
        return 0
    x = client_exchange(c)
    if x == NULL:
        conn_close(c)
        return 0
    c.peer.served += 1
    if c.pace != NULL:
        pace_end(c)
    return length + exchange_begin(x, p, n, h, &t)


cdef Exchange* client_exchange(Conn* c) noexcept:
    """An exchange that this connection carries; NULL without memory."""
    cdef Exchange* x = exchange_new(c.k, &c.peer)
    if x != NULL:
        x.down = c
        c.x = x
    return x


cdef void client_writable(Conn* c) noexcept:
    cdef Conn* u
    if c.handshaking:
        client_readable(c)
        return
    if not conn_flush(c):
        client_gone(c)
        return
    if held(&c.outbox):
        client_settle(c)
        if c.x != NULL and c.x.options & BUFFER_RESPONSE and c.x.up != NULL:
            upstream_settle(c.x.up)
        return
    if c.x != NULL:
        u = c.x.up
        client_settle(c)
        if u != NULL:
            upstream_settle(u)
    else:
        client_next(c)
    if c.fd >= 0 and c.read_wants_write:
        client_readable(c)
