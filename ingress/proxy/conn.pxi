# Sockets: made, watched, read, written, closed. A closed one is freed only after the batch of events it belonged to,
# so that nothing higher on the stack holds a pointer to freed memory; `fd < 0` says that it is gone.

cdef enum:
    GOT_NOTHING = -1
    GOT_ERROR = -2
    HEADROOM = 131072     # before the read buffer: a rewritten head goes right before its body, for one send

cdef u8* READ_SPACE = NULL
cdef u8* READ = NULL      # what is read is handled before the next read: one buffer serves every connection
cdef int READ_SIZE = 0


cdef void grow_read_buffer(int size) except *:
    global READ_SPACE, READ, READ_SIZE
    cdef u8* grown
    if size <= READ_SIZE:
        return
    grown = <u8*>malloc(HEADROOM + size)
    if grown == NULL:
        raise MemoryError()
    free(READ_SPACE)
    READ_SPACE = grown
    READ = grown + HEADROOM
    READ_SIZE = size


cdef Conn* conn_new(Core* k, int fd, int kind) noexcept:
    """A watched socket that waits for nothing yet; NULL (and fd closed) without memory."""
    cdef Conn* c = k.spare
    if c != NULL:
        k.spare = c.pool_next
        k.spare_n -= 1
    else:
        c = <Conn*>malloc(sizeof(Conn))
        if c == NULL:
            k.counters.no_memory += 1
            close_fd(fd)
            return NULL
    memset(c, 0, sizeof(Conn))
    c.k = k
    c.fd = fd
    c.kind = <u8>kind
    c.slot = -1
    if kind == CLIENT:
        k.client_n += 1
        conn_link(&k.clients, c)
    elif kind == UPSTREAM:
        k.upstream_n += 1
        conn_link(&k.upstreams, c)
    else:
        conn_link(&k.listeners, c)
    return c


cdef inline void conn_link(Conn** first, Conn* c) noexcept:
    c.next = first[0]
    if c.next != NULL:
        c.next.prev = c
    first[0] = c


cdef inline void conn_unlink(Conn** first, Conn* c) noexcept:
    if c.prev != NULL:
        c.prev.next = c.next
    else:
        first[0] = c.next
    if c.next != NULL:
        c.next.prev = c.prev


cdef inline void watch(Conn* c, uint32_t mask) noexcept:
    cdef epoll_event event
    if mask == c.mask and c.in_epoll:
        return
    event.events = mask
    event.data.ptr = c
    epoll_ctl(c.k.epfd, EPOLL_CTL_MOD if c.in_epoll else EPOLL_CTL_ADD, c.fd, &event)
    c.in_epoll = True
    c.mask = mask


cdef void unwatch(Conn* c) noexcept:
    """Hear nothing more, not even a hang-up, until `watch` is called with another mask."""
    cdef epoll_event event
    if c.in_epoll:
        epoll_ctl(c.k.epfd, EPOLL_CTL_DEL, c.fd, &event)
        c.in_epoll = False
        c.mask = 0


cdef void conn_close(Conn* c) noexcept:
    cdef Core* k = c.k
    if c.fd < 0:
        return
    if c.ssl != NULL:
        tls_end(c)
    if c.peer.auth != NULL:
        auth_end(c)
    close_fd(c.fd)
    c.fd = -1
    wheel_take(c)
    if c.pace != NULL:
        pace_end(c)
    if c.kind == CLIENT:
        k.client_n -= 1
        conn_unlink(&k.clients, c)
        if k.accept_paused:
            accept_resume(k)
    elif c.kind == UPSTREAM:
        k.upstream_n -= 1
        conn_unlink(&k.upstreams, c)
        pool_take(c)
        c.endpoint.open_n -= 1
        endpoint_forget(c.endpoint)
        c.endpoint = NULL
    else:
        conn_unlink(&k.listeners, c)
    c.x = NULL
    if not c.ready:      # else it is in the list of ready ones, which will drop it
        c.pool_next = k.dead
        k.dead = c


cdef void reap(Core* k) noexcept:
    """Free what has been closed, after the events of one batch."""
    cdef Conn* c
    cdef Exchange* x
    if k.serving:      # asked for by Python that was called from there
        return
    while k.dead != NULL:
        c = k.dead
        k.dead = c.pool_next
        buffer_free(&c.inbox)
        buffer_free(&c.outbox)
        if k.spare_n < SPARE_MAX:
            c.pool_next = k.spare
            k.spare = c
            k.spare_n += 1
        else:
            free(c)
    while k.dead_exchanges != NULL:
        x = k.dead_exchanges
        k.dead_exchanges = x.next_spare
        if x.errand != NULL:
            Py_DECREF(<object>x.errand)
        if k.spare_exchange_n < SPARE_MAX:
            x.next_spare = k.spare_exchanges
            k.spare_exchanges = x
            k.spare_exchange_n += 1
        else:
            free(x)


cdef Py_ssize_t conn_read(Conn* c, u8* p, int n) noexcept:
    """Octets read; 0 at the end; GOT_NOTHING for now; GOT_ERROR."""
    cdef Py_ssize_t got
    if c.ssl != NULL:
        return tls_read(c, p, n)
    while True:
        got = recv(c.fd, p, n, 0)
        if got >= 0:
            return got
        if errno == EAGAIN:
            return GOT_NOTHING
        if errno != EINTR:
            return GOT_ERROR


cdef Py_ssize_t conn_write(Conn* c, const u8* p, int n) noexcept:
    """Octets taken by the socket, 0 if it is full; GOT_ERROR."""
    cdef Py_ssize_t sent
    if c.ssl != NULL:
        return tls_write(c, p, n)
    while True:
        sent = send(c.fd, p, n, MSG_NOSIGNAL | MSG_MORE if c.last else MSG_NOSIGNAL)
        if sent >= 0:
            return sent
        if errno == EAGAIN:
            return 0
        if errno != EINTR:
            return GOT_ERROR


cdef void conn_last(Conn* c) noexcept:
    """What is sent now is the last: let it wait for the FIN that follows at once, so that both are one segment."""
    cdef int one = 1
    if c.pace != NULL:    # it will be a while until then
        return
    c.last = True
    if c.ssl != NULL:     # its library writes, and adds a close_notify
        setsockopt(c.fd, IPPROTO_TCP, TCP_CORK, &one, sizeof(one))


cdef bint conn_send(Conn* c, const u8* p, int n) noexcept:
    """Send now, keep what the socket does not take; False when the connection is broken."""
    cdef Py_ssize_t sent = 0
    if n <= 0:
        return True
    if c.pace != NULL:
        return buffer_add(&c.outbox, p, n) and conn_flush(c)
    if held(&c.outbox) == 0:
        sent = conn_write(c, p, n)
        if sent == n:
            return True
        if sent < 0:
            return False
    if buffer_add(&c.outbox, p + sent, n - <int>sent):
        return True
    c.k.counters.no_memory += 1
    return False


cdef bint conn_flush(Conn* c) noexcept:
    """Send what is held; False when the connection is broken."""
    cdef Py_ssize_t sent
    cdef int n = held(&c.outbox)
    if c.pace != NULL:
        n = pace_room(c, n)
    if n:
        sent = conn_write(c, c.outbox.p + c.outbox.start, n)
        if sent < 0:
            return False
        if c.pace != NULL:
            c.pace.sent += sent
        c.progress += <uint32_t>sent
        buffer_take(&c.outbox, <int>sent)
    return True


cdef void pool_take(Conn* u) noexcept:
    cdef Endpoint* e = u.endpoint
    if not u.pooled:
        return
    if u.pool_prev != NULL:
        u.pool_prev.pool_next = u.pool_next
    else:
        e.idle = u.pool_next
    if u.pool_next != NULL:
        u.pool_next.pool_prev = u.pool_prev
    else:
        e.idle_last = u.pool_prev
    u.pool_next = u.pool_prev = NULL
    u.pooled = False
    e.idle_n -= 1


cdef void pool_put(Conn* u) noexcept:
    """Keep for the next request; last in, first out, so that a quiet endpoint's surplus times out."""
    cdef Endpoint* e = u.endpoint
    if (e.members == 0 or (e.transport != NULL and e.transport.proxy) or u.peer.served >= <uint32_t>u.k.o.requests_per_connection
            or u.k.o.idle_per_endpoint == 0):
        conn_close(u)
        return
    if u.k.o.upstream_age and u.k.tick - u.born >= u.k.o.upstream_age:
        conn_close(u)
        return
    if e.idle_n >= u.k.o.idle_per_endpoint:
        conn_close(e.idle_last)
    u.pool_prev = NULL
    u.pool_next = e.idle
    if u.pool_next != NULL:
        u.pool_next.pool_prev = u
    else:
        e.idle_last = u
    e.idle = u
    e.idle_n += 1
    u.pooled = True
    u.reused = True
    upstream_settle(u)


cdef Conn* pool_get(Endpoint* e) noexcept:
    cdef Conn* u = e.idle
    if u != NULL:
        pool_take(u)
    return u


cdef Conn* upstream_dial(Core* k, Endpoint* e) noexcept:
    """A new connection, perhaps still connecting; NULL with errno when there is none to be had."""
    cdef Conn* u
    cdef int done, one = 1
    cdef int fd = socket(e.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if fd < 0:
        return NULL
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
    done = connect(fd, <sockaddr*>&e.address, e.address_n)
    if done < 0 and errno != EINPROGRESS:
        close_fd(fd)
        return NULL
    u = conn_new(k, fd, UPSTREAM)
    if u != NULL:
        u.endpoint = e
        u.born = k.tick
        e.open_n += 1
        u.connecting = done < 0 or e.transport != NULL
    return u
