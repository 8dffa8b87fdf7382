# The engine's own epoll set: accepting, handing events out, expiries.

cdef u8 SCRATCH[131072]    # HEADROOM: where a response head is written before its place is known
cdef u8 PATH[PATH_MAX + 2]
cdef Head HEAD             # of the message being read; nothing keeps it
cdef epoll_event EVENTS[EVENTS_MAX]

cdef enum:
    TURNS_TOGETHER = 8388608   # octets moved in one batch: a few milliseconds
    TURN_LEAST = 16384


cdef void accept_one(Conn* l) noexcept:
    """Who else waits is told by the next look at the epoll set: one more accept4, to find nobody, costs ten of these."""
    cdef Core* k = l.k
    cdef sockaddr_storage address
    cdef socklen_t n = sizeof(address)
    cdef int fd = accept4(l.fd, <sockaddr*>&address, &n, SOCK_NONBLOCK | SOCK_CLOEXEC)
    if fd < 0:
        if errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
            accept_pause(k)
        return
    k.counters.accepted += 1
    client_new(l, fd, &address)
    if k.fd_limit and fd > k.fd_limit:
        accept_pause(k)     # the descriptors that are left belong to upstream connections


cdef void client_new(Conn* l, int fd, sockaddr_storage* address) noexcept:
    cdef Conn* c = conn_new(l.k, fd, CLIENT)
    cdef const void* source = &(<sockaddr_in*>address).sin_addr
    cdef const u8* six
    if c == NULL:
        return
    c.peer.own_port = l.peer.own_port
    c.peer.tls = l.peer.tls
    if l.arriving or l.k.trusted.n:
        client_known(c, l, address)
    if address.ss_family == AF_INET6:
        six = (<sockaddr_in6*>address).sin6_addr.s6_addr
        source = six
        if is_mapped(six):     # an IPv4 client of a dual-stack listener
            inet_ntop(AF_INET, six + 12, <char*>c.peer.address, ADDRESS_TEXT)
            source = NULL
    if source != NULL:
        inet_ntop(address.ss_family, source, <char*>c.peer.address, ADDRESS_TEXT)
    c.peer.address_n = <u8>strlen(<char*>c.peer.address)
    c.peer.port = ntohs((<sockaddr_in*>address).sin_port)    # at the same place in both families
    if c.arriving == AWAIT_NOTHING:
        hand_stream(c)
        return
    if c.peer.tls and not c.arriving and not tls_begin(c):
        conn_close(c)
        return
    client_settle(c)


cdef void client_known(Conn* c, Conn* l, const sockaddr_storage* address) noexcept:
    """What is to be looked at before the client's TLS or HTTP, and what of it is believed."""
    cdef u8 octets[16]
    address_of(address, octets)
    c.peer.trusted = in_ranges(&c.k.trusted, octets)
    c.proxy_trusted = in_ranges(&c.k.proxies, octets)
    c.arriving = l.arriving
    if c.arriving & AWAIT_HELLO and not (<Engine>c.k.engine).passthrough:
        c.arriving &= ~AWAIT_HELLO


cdef bint is_mapped(const u8* six) noexcept nogil:
    cdef int i
    for i in range(10):
        if six[i]:
            return False
    return six[10] == 255 and six[11] == 255


cdef void accept_pause(Core* k) noexcept:
    """Out of descriptors: serve what there is; whoever waits stays in the kernel's queue."""
    cdef Conn* l = k.listeners
    if k.accept_paused:
        return
    k.accept_paused = True
    k.counters.accept_pauses += 1
    tell(k, &k.told, f"no descriptors are left for more than {k.client_n} clients: others wait (ulimit -n)")
    while l != NULL:
        unwatch(l)
        l = l.next


cdef void accept_resume(Core* k) noexcept:
    """Go on accepting, if there are descriptors again."""
    cdef Conn* l = k.listeners
    cdef int spare = dup_fd(k.epfd)
    if spare < 0:
        return
    close_fd(spare)
    if k.fd_limit and spare > k.fd_limit:
        return
    k.accept_paused = False
    while l != NULL:
        watch(l, EPOLLIN)
        l = l.next


cdef void expired(Conn* c) noexcept:
    """A deadline has come."""
    cdef Exchange* x = c.x
    if c.kind == UPSTREAM:
        if x == NULL:
            conn_close(c)
        else:
            if c.handshaking:
                tell_trouble(c.endpoint, "TLS: the handshake took too long")
            upstream_lost(c, 504)
    elif c.timer == T_PROBE:
        probe(c)
    elif c.timer == T_HEAD and held(&c.inbox) and not c.handshaking:
        c.k.counters.client_timeouts += 1
        refuse(c, 408)
    elif c.timer == T_BODY and x != NULL and not x.responding:
        c.k.counters.client_timeouts += 1
        reply(x, 408)
    else:
        if c.timer != T_IDLE and c.timer != T_LINGER:
            c.k.counters.client_timeouts += 1
        client_gone(c)


cdef void probe(Conn* c) noexcept:
    """A client has sent its FIN and waits, or has gone: only a write can tell. An interim response harms no waiting
    client (RFC 9110, 15.2), and the system of one that has gone answers it with a reset."""
    cdef const char* interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    c.timer = T_NONE
    if not conn_send(c, <const u8*>interim, <int>strlen(interim)):
        client_gone(c)


cdef void broken(Conn* c) noexcept:
    """Hang-up or error on a socket that is not being read."""
    if c.kind == CLIENT:
        client_gone(c)
    else:
        unwatch(c)     # what it has sent is still to be read, when the client takes it


cdef void serve(Conn* c, uint32_t events) noexcept:
    if c.fd < 0:
        return
    if c.kind == LISTENER:
        accept_one(c)
        return
    if c.connecting:
        upstream_writable(c)
        return
    if events & EPOLLOUT and c.mask & EPOLLOUT or c.write_wants_read:
        if c.kind == CLIENT:
            client_writable(c)
        else:
            upstream_writable(c)
        if c.fd < 0:
            return
    if not events & (EPOLLIN | EPOLLHUP | EPOLLERR):
        return
    if c.mask & EPOLLIN:
        if c.kind == CLIENT:
            client_readable(c)
        else:
            upstream_readable(c)
    elif events & (EPOLLHUP | EPOLLERR):
        broken(c)


cdef inline int turn_room(const Core* k, int n) noexcept nogil:
    """Octets that each of n connections may move before it is another's turn: the more there are, the fewer."""
    return min(k.o.read_bytes, max(TURN_LEAST, TURNS_TOGETHER // max(n, 1)))


cdef void serve_events(Core* k) noexcept:
    """One batch; more of them as long as somebody is accepted, up to as many as the loop lets us at a time."""
    cdef int i, n
    cdef uint64_t accepted
    for _ in range(k.o.listen_batch):
        accepted = k.counters.accepted
        n = epoll_wait(k.epfd, EVENTS, EVENTS_MAX, 0)
        tell_time(k)
        k.room = turn_room(k, n)
        k.serving = True
        k.gathering = n > 1
        k.unsent_end = &k.unsent
        for i in range(n):
            serve(<Conn*>EVENTS[i].data.ptr, EVENTS[i].events)
        send_gathered(k)
        if k.ready != NULL:
            serve_ready(k)
        k.serving = False
        reap(k)
        if k.counters.accepted == accepted:
            break


cdef void drain(Core* k) noexcept:
    """No new connection. Requests under way finish, and a busy client's next one too, which tells it to close: only
    who asks nothing for a moment is closed without being told."""
    cdef Conn* c
    k.draining = True
    while k.listeners != NULL:
        conn_close(k.listeners)
    c = k.clients
    while c != NULL:
        if c.timer == T_IDLE or (c.timer == T_HEAD and held(&c.inbox) == 0):
            arm(c, c.timer, k.o.drain_idle)
        c = c.next
    reap(k)
