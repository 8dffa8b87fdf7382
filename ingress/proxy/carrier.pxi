# What carries an exchange: all that routes, attempts, filters, limits, counters and log lines know of how its client has
# asked and how it gets its answer. Today that is a connection of HTTP/1.1, which carries one exchange after the other.
#
# Towards the exchange, a carrier calls exchange_begin with a head, keeps what comes while it is parked, request_body with what comes of its body, and
# exchange_gone when its client has gone. Whatever a carrier speaks, heads and bodies are HTTP/1.1's octets here.


cdef inline bint carrier_send(Exchange* x, const u8* p, int n) noexcept:
    """Octets of the response to the client, kept where it does not take them now; False when it is gone."""
    return conn_send(x.down, p, n)


cdef inline bint carrier_send_last(Exchange* x, const u8* p, int n) noexcept:
    """As carrier_send, of the octets that complete the response."""
    if x.down.closing:
        conn_last(x.down)
    return conn_send(x.down, p, n)


cdef inline int carrier_waiting(const Exchange* x) noexcept nogil:
    """Octets that the client has not taken yet."""
    return held(&x.down.outbox)


cdef inline void carrier_settle(Exchange* x) noexcept:
    """The exchange stands elsewhere now: what it wants of its client, and for how long, may be another thing."""
    client_settle(x.down)


cdef inline bint carrier_keep(Exchange* x, const u8* p, int n) noexcept:
    """Octets that came with the request's body and are none of it; False when the client had to go."""
    return client_keep(x.down, p, n)


cdef inline void carrier_resume(Exchange* x, bytes head, int status) noexcept:
    """Call exchange_forward for a parked exchange, with what has come of its body meanwhile."""
    client_resume(x.down, head, status)


cdef inline SSL* carrier_tls(const Exchange* x) noexcept nogil:
    """NULL: there is none."""
    return x.down.ssl


cdef inline void carrier_switched(Exchange* x) noexcept:
    """Another protocol from here on: what has come too early belongs to it."""
    client_switched(x.down)


cdef inline bint carrier_ending(const Exchange* x) noexcept nogil:
    """Whether nothing can follow this exchange for reasons of its client, or of ours."""
    return x.k.draining or last_request(x.down)


cdef inline void carrier_last(Exchange* x, int how) noexcept nogil:
    """Let nothing follow this exchange; `how` is one of Closing."""
    x.down.closing = max(x.down.closing, <u8>how)


cdef inline bint carrier_closes(const Exchange* x) noexcept nogil:
    """Whether the client is to be told that nothing follows."""
    return x.down.closing != NO


cdef inline bint carrier_there(const Exchange* x) noexcept nogil:
    """Whether there is still somebody to answer."""
    return not x.over and x.down.fd >= 0


cdef inline bint carrier_address(const Exchange* x, sockaddr_storage* out) noexcept nogil:
    """The address of ours that the client has connected to; False if there is none."""
    cdef socklen_t n = sizeof(sockaddr_storage)
    return getsockname(x.down.fd, <sockaddr*>out, &n) == 0


# -- the end: first the carrier is parted from, then told how it went

cdef inline void carrier_part(Exchange* x) noexcept nogil:
    x.down.x = NULL


cdef inline void carrier_finished(Exchange* x) noexcept:
    """The response is complete."""
    client_next(x.down)


cdef inline void carrier_cut(Exchange* x) noexcept:
    """The response will never be complete, and its client must see that."""
    client_cut(x.down)


cdef inline void carrier_close(Exchange* x) noexcept:
    """There is nobody to answer."""
    conn_close(x.down)
