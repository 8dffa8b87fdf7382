# The client side of HTTP/1.1: octets to exchanges, one after the other, and what to wait for next.


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
            mask |= EPOLLIN
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


cdef void client_readable(Conn* c) noexcept:
    cdef Py_ssize_t n
    cdef Exchange* x
    if c.arriving and not arrive(c):
        return
    if c.handshaking and not client_handshake(c):
        return
    n = conn_read(c, READ, c.k.o.read_bytes)
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
    """Serve requests from n octets until one has to wait; keep the rest."""
    cdef int used
    c.running = True
    while n > 0 and c.fd >= 0 and c.x == NULL and not c.closing and held(&c.outbox) == 0:
        used = client_request(c, p, n)
        if used <= 0:
            break
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
    if c.eof and c.x == NULL and held(&c.outbox) == 0:
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


cdef int exchange_head(Core* k, const u8* p, int n, Head* h, Target* t) noexcept:
    """The length of the head at p; NEED_MORE; or minus the status that refuses it."""
    # Nothing beyond the limit is looked at, so that the verdict does not depend on how the octets were cut.
    cdef int length = request_head(p, min(n, k.o.head_bytes), h, &k.o.limits)
    cdef int refused
    if length == NEED_MORE:
        return -431 if n > k.o.head_bytes else NEED_MORE
    if length < 0:
        return length
    if is_word(p + h.method.at, h.method.n, b"connect") or is_word(p + h.method.at, h.method.n, b"trace"):
        return -405
    refused = read_target(p, h, t)
    return refused if refused else length


cdef int exchange_begin(Exchange* x, u8* p, int n, Head* h, Target* t) noexcept:
    """Route the request and send it on: how many octets after its head were taken."""
    cdef int status
    note_request(x, p, h)
    log_request(x, p, h, t)
    if h.close or x.k.draining:
        carrier_last(x, CLOSE)
    if h.content_length > 0:
        x.request.mode = B_LENGTH
        x.request.left = h.content_length
    elif h.chunked:
        x.request.mode = B_CHUNKED
    status = auth_status(x, p, t) if x.peer.tls and (<Certificates>x.k.certificates).auths else 0
    if status == 0:
        status = find_route(x, p, h, t)
    if status == 0 and x.body_limit and h.content_length > x.body_limit:
        status = 413
    if status == 0 and x.asked != NULL:
        status = ask_filters(x)
        if status == PARKED:
            x.octets_in = h.length
            return 0
    return exchange_forward(x, p, n, h, t, status)


cdef int exchange_forward(Exchange* x, u8* p, int n, Head* h, Target* t, int status) noexcept:
    """Send a request on that has a route, or answer with `status`: how many octets after its head were taken."""
    cdef int body_n = 0, content_n = 0
    if status == 0 and x.asked != NULL:
        status = apply_choices(x, p, h, t)
    if status == 0 and x.method == METHOD_OPTIONS and not may_forward(p, h):
        status = 200
    if x.request.mode != B_DONE:
        if (status == 0 and x.options & BUFFER_REQUEST
                and (h.chunked or h.content_length > n - h.length or body_asked(x, WANTS_REQUEST_BODY))
                and not spool_begin(x, h, n > h.length)):
            exchange_gone(x)
            return 0
        body_n = body_feed(&x.request, p + h.length, n - h.length, p + h.length if x.spooling else NULL, &content_n)
        if body_n < 0:
            reply(x, 400)
            return 0
    x.octets_in = h.length + body_n
    if status == 0 and over_limit(x):
        status = 413
    if status == 0 and x.options & COMPRESS:
        x.accepts = <u8>accepted_coding(&x.k.o.packing, p, h)
        if x.asked != NULL and not (<Request>x.asked).compress:
            x.accepts = IDENTITY
    if status == 0 and not request_build(x, p, h, t, 0 if x.spooling else body_n):
        status = 431
    if status == 0 and x.spooling:
        if not spool_add(x, p + h.length, content_n if h.chunked else body_n):
            status = 500
        elif x.request.mode != B_DONE:
            return body_n
        else:
            status = spool_end(x)
    if status:
        reply(x, status)
        return body_n
    exchange_connect(x, 502)
    return body_n


cdef void note_request(Exchange* x, const u8* p, Head* h) noexcept:
    """What the exchange must remember of its head."""
    x.minor = <u8>h.minor
    if x.peer.trusted and x.k.o.real_ip:
        find_client(x, p, h)
    note_method(x, p + h.method.at, h.method.n)
    x.upgrade = (carrier_switches(x) and h.upgrading and h.upgrade.n > 0 and h.minor == 1 and h.content_length <= 0 and not h.chunked
                 and not names_h2c(p + h.upgrade.at, h.upgrade.n))


cdef enum Method:    # as in METHODS
    METHOD_NONE, METHOD_GET, METHOD_HEAD, METHOD_POST, METHOD_PUT, METHOD_DELETE, METHOD_PATCH, METHOD_OPTIONS, METHOD_OTHER


cdef inline void note_method(Exchange* x, const u8* m, int n) noexcept nogil:
    x.method = <u8>method_of(m, n)
    x.is_head = x.method == METHOD_HEAD
    x.repeatable = (x.method != METHOD_POST and x.method != METHOD_PATCH and x.method != METHOD_OTHER)    # RFC 9110, 9.2.2


cdef int method_of(const u8* m, int n) noexcept nogil:
    if method_is(m, n, b"GET"):
        return METHOD_GET
    if method_is(m, n, b"HEAD"):
        return METHOD_HEAD
    if method_is(m, n, b"POST"):
        return METHOD_POST
    if method_is(m, n, b"PUT"):
        return METHOD_PUT
    if method_is(m, n, b"DELETE"):
        return METHOD_DELETE
    if method_is(m, n, b"PATCH"):
        return METHOD_PATCH
    return METHOD_OPTIONS if method_is(m, n, b"OPTIONS") else METHOD_OTHER


cdef bint names_h2c(const u8* p, int n) noexcept nogil:
    """HTTP/2 over the switched connection would be requests that no rule of ours has seen."""
    cdef const char* word = b"h2c"
    cdef int i, word_n = <int>strlen(word)
    for i in range(n - word_n + 1):
        if is_word(p + i, word_n, word):
            return True
    return False


cdef inline bint method_is(const u8* p, int n, const char* name) noexcept nogil:
    return <size_t>n == strlen(name) and memcmp(p, name, n) == 0


cdef int find_route(Exchange* x, const u8* p, const Head* h, Target* t) noexcept:
    """Give the exchange its route and backend, once; 0, or the status when there is none."""
    cdef u8 host[HOST_MAX + 1]
    cdef HostTable table
    cdef int n = lookup_host(p, t, host), route
    cdef tuple captures = ()
    table = (<RouteTable>x.k.routes).find(host, n)
    if table is None:
        return 404
    n = 1 if t.path.n == 0 else normal_path(p + t.path.at, t.path.n, PATH)
    if t.path.n == 0:
        PATH[0] = c'/'
    if n < 0:
        return 400
    if table.patterns is None:
        route = table.find(PATH, n)
    else:
        try:
            found = find_pattern(table, PATH, n)
        except Exception as error:
            return filters_broken(x.k, error)
        route = NO_ROUTE
        if found is not None:
            route, captures = found
    if route == NO_ROUTE:
        return 404
    x.route_id = table.routes[route].id
    x.backend = table.routes[route].backend
    x.backend.refs += 1
    x.options = table.routes[route].options
    x.body_limit = table.routes[route].body_limit
    if x.log != NULL and table.routes[route].labels != NULL:
        x.labels = table.routes[route].labels
        Py_INCREF(<object>x.labels)
    if x.backend.patience.retry_on & RETRY_NON_IDEMPOTENT:
        x.repeatable = True
    if x.backend.balance != NULL:
        x.hash = request_hash(x, p, h, t)
    if table.routes[route].plan != NULL:
        take_plan(x, table, route, captures, p, h, t)
    return 0


cdef bint request_build(Exchange* x, u8* p, Head* h, Target* t, int body_n) noexcept:
    """The octets an endpoint gets first: the rewritten head and the part of the body that has come."""
    cdef Writer w
    cdef int spare = 1024    # the fields we add, without what is copied from the head
    cdef int size = h.length + 3 * t.authority.n + body_n + spare
    if x.peer.trusted:
        size += 2 * h.length    # lists are repeated, under other names
    if x.verified:
        size += x.peer.auth.text_n
    if x.request_edits != NULL:
        size += (<Edits>x.request_edits).size
    if x.asked != NULL and (<Request>x.asked).other_target is not None:
        size += <int>len((<Request>x.asked).other_target)
    w = writer(<u8*>malloc(size), size)
    if w.p == NULL:
        x.k.counters.no_memory += 1
        return False
    put_request(&w, x, p, h, t)
    put(&w, p + h.length, body_n)
    x.head = w.p
    x.head_n = w.n
    x.whole = x.request.mode == B_DONE
    x.keep_head = x.whole and x.repeatable
    return not w.full


cdef inline bint body_wanted(const Exchange* x) noexcept nogil:
    """Whether more of the request's body can be taken now."""
    return x.spooling or (x.up != NULL and not x.up.connecting and held(&x.up.outbox) == 0)


cdef void request_body(Exchange* x, u8* p, int n) noexcept:
    """More of the body in work, or of a switched protocol; what follows it is the next request."""
    cdef Conn* u = x.up
    cdef int used
    if x.spooling:
        spool_body(x, p, n)
        return
    used = body_feed(&x.request, p, n, NULL, NULL)
    if used < 0 or over_limit(x):
        carrier_last(x, LINGER)
        if x.responding:
            exchange_cut(x)
        else:
            reply(x, 400 if used < 0 else 413)
        return
    if used < n and not carrier_keep(x, p + used, n - used):
        return
    if not conn_send(u, p, used):
        upstream_lost(u, 502)
        return
    upstream_settle(u)
    carrier_settle(x)


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
