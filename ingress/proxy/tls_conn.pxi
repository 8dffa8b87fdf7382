# A TLS connection's reads and writes, in the terms of conn_read and conn_write.

cdef enum:
    RECORD_MAX = 16384       # octets of content (RFC 8446, 5.1)


cdef bint tls_begin(Conn* c) noexcept:
    cdef Certificates certificates = <Certificates>c.k.certificates
    c.ssl = SSL_new(certificates.entry.ctx)
    if c.ssl == NULL or SSL_set_fd(c.ssl, c.fd) != 1:
        c.k.counters.no_memory += 1
        return False
    SSL_set_app_data(c.ssl, c)
    SSL_set_accept_state(c.ssl)
    c.handshaking = True
    return True


cdef void tls_end(Conn* c) noexcept:
    if not c.handshaking:
        ERR_clear_error()
        SSL_shutdown(c.ssl)    # close_notify, as far as the socket takes it
    SSL_free(c.ssl)
    c.ssl = NULL
    ERR_clear_error()


cdef Py_ssize_t tls_result(Conn* c, int result, bint reading) noexcept:
    cdef int why = SSL_get_error(c.ssl, result)
    if why == SSL_ERROR_WANT_READ:
        c.write_wants_read = not reading
        return GOT_NOTHING
    if why == SSL_ERROR_WANT_WRITE:
        c.read_wants_write = reading
        return GOT_NOTHING
    if why == SSL_ERROR_ZERO_RETURN:
        return 0
    return GOT_ERROR


cdef bint tls_handshake(Conn* c) noexcept:
    """One step; False when it has failed."""
    cdef int done
    ERR_clear_error()
    c.read_wants_write = False
    done = SSL_do_handshake(c.ssl)
    if done == 1:
        c.handshaking = False
        c.k.counters.handshakes += 1
        c.k.counters.resumptions += SSL_session_reused(c.ssl) == 1
        return True
    if tls_result(c, done, True) == GOT_NOTHING:
        return True
    c.k.counters.handshake_failures += 1
    if ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST:
        # A browser that was given http:// for this port should be told, in the only language it speaks.
        tls_end(c)
        c.handshaking = False
        refuse(c, 400)
        return c.fd >= 0
    return False


cdef Py_ssize_t tls_read(Conn* c, u8* p, int n) noexcept:
    cdef int got, total = 0
    cdef Py_ssize_t result
    c.read_wants_write = False
    while total < n:
        ERR_clear_error()
        got = SSL_read(c.ssl, p + total, n - total)
        if got <= 0:
            result = tls_result(c, got, True)
            # An end or an error after octets is met again by the next read.
            return total if total else result
        total += got
        # A short record is likely the last: what is still in the socket wakes us again, so no call is spent on asking.
        if got < RECORD_MAX and SSL_has_pending(c.ssl) == 0:
            return total
    ready_add(c)    # the library may hold more, which epoll cannot see
    return total


cdef Py_ssize_t tls_write(Conn* c, const u8* p, int n) noexcept:
    cdef int sent, total = 0
    cdef Py_ssize_t result
    c.write_wants_read = False
    while total < n:
        ERR_clear_error()
        sent = SSL_write(c.ssl, p + total, n - total)
        if sent <= 0:
            result = tls_result(c, sent, False)
            return total if result == GOT_NOTHING else GOT_ERROR
        total += sent
    return total


cdef void ready_add(Conn* c) noexcept:
    if c.ssl != NULL and SSL_has_pending(c.ssl):
        ready_put(c)


cdef void ready_put(Conn* c) noexcept:
    """Let it have a turn, whatever its socket says."""
    if c.ready:
        return
    c.ready = True
    c.ready_next = c.k.ready
    c.k.ready = c


cdef void serve_ready(Core* k) noexcept:
    """Go on where TLS has octets left, or requests wait. What is paused is asked again when it goes on."""
    cdef Conn* c
    cdef Conn* turn = k.ready
    k.ready = NULL
    while turn != NULL:
        c = turn
        turn = c.ready_next
        c.ready_next = NULL
        c.ready = False
        if c.fd < 0:
            c.pool_next = k.dead
            k.dead = c
        elif c.kind == UPSTREAM:
            if c.mask & EPOLLIN:
                upstream_readable(c)
        elif c.backlog:
            c.backlog = False
            client_next(c)
        elif c.mask & EPOLLIN:
            client_readable(c)
