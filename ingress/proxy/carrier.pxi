# What carries an exchange: all that routes, attempts, filters, limits, counters and log lines know of how its client has
# asked and how it gets its answer. A connection of HTTP/1.1 (downstream.pxi) carries one exchange after the other, an
# errand (errand.pxi) carries one of this process's own. The first is called directly, for it is what nearly all are.
#
# Towards the exchange, a carrier calls exchange_begin with a head, request_body with what comes of its body while
# body_wanted says so (not while the exchange is parked), and exchange_gone when its client has gone. Whatever a carrier
# speaks, heads are HTTP/1.1's octets here, and so are the bodies of requests; those of responses are as well, unless
# `content` is set.


cdef inline bint carrier_send(Exchange* x, const u8* p, int n, int head_n) noexcept:
    """Octets of the response to the client, first those of a head, kept if it does not take them now; False when it is
    gone."""
    if x.down != NULL:
        return conn_send(x.down, p, n)
    return errand_take(<Errand>x.errand, p, n, head_n)


cdef inline bint carrier_send_last(Exchange* x, const u8* p, int n, int head_n) noexcept:
    """As carrier_send, of the octets that complete the response."""
    if x.down != NULL and x.down.closing:
        conn_last(x.down)
    return carrier_send(x, p, n, head_n)


cdef inline void carrier_pace(Exchange* x) noexcept:
    """From here on the client gets octets no faster than it may."""
    if x.down != NULL:
        pace_begin(x.down, x.rate, x.rate_after)


cdef inline int carrier_waiting(const Exchange* x) noexcept:
    """Octets that the client has not taken yet."""
    return held(&x.down.outbox) if x.down != NULL else errand_waiting(<Errand>x.errand)


cdef inline void carrier_settle(Exchange* x) noexcept:
    """The exchange stands elsewhere now: what it wants of its client, and for how long, may be another thing."""
    if x.down != NULL:
        client_settle(x.down)
    else:
        errand_settle(<Errand>x.errand)


cdef inline bint carrier_keep(Exchange* x, const u8* p, int n) noexcept:
    """Octets that came with the request's body and are none of it; False when the client had to go."""
    return x.down == NULL or client_keep(x.down, p, n)


cdef inline bint carrier_switches(const Exchange* x) noexcept nogil:
    """Whether it can go on with another protocol."""
    return x.down != NULL


cdef inline void carrier_resume(Exchange* x, bytes head, int status) noexcept:
    """Call exchange_forward for a parked exchange, with what has come of its body meanwhile."""
    if x.down != NULL:
        client_resume(x.down, head, status)
    else:
        errand_resume(<Errand>x.errand, head, status)


cdef inline SSL* carrier_tls(const Exchange* x) noexcept nogil:
    """NULL: there is none."""
    return x.down.ssl if x.down != NULL else NULL


cdef inline void carrier_switched(Exchange* x) noexcept:
    """Another protocol from here on: what has come too early belongs to it."""
    client_switched(x.down)


cdef inline bint carrier_ending(const Exchange* x) noexcept nogil:
    """Whether nothing can follow this exchange for reasons of its client, or of ours."""
    return x.down != NULL and (x.k.draining or last_request(x.down))


cdef inline void carrier_last(Exchange* x, int how) noexcept nogil:
    """Let nothing follow this exchange; `how` is one of Closing."""
    if x.down != NULL:
        x.down.closing = max(x.down.closing, <u8>how)


cdef inline bint carrier_closes(const Exchange* x) noexcept nogil:
    """Whether the client is to be told that nothing follows."""
    return x.down != NULL and x.down.closing != NO


cdef inline bint carrier_there(const Exchange* x) noexcept nogil:
    """Whether there is still somebody to answer."""
    return not x.over and (x.down == NULL or x.down.fd >= 0)


cdef inline bint carrier_address(const Exchange* x, sockaddr_storage* out) noexcept nogil:
    """The address of ours that the client has connected to; False if there is none."""
    cdef socklen_t n = sizeof(sockaddr_storage)
    return x.down != NULL and getsockname(x.down.fd, <sockaddr*>out, &n) == 0


# -- the end: first the carrier is parted from, then told how it went

cdef inline void carrier_part(Exchange* x) noexcept:
    if x.down != NULL:
        x.down.x = NULL
    else:
        (<Errand>x.errand).x = NULL


cdef inline void carrier_finished(Exchange* x) noexcept:
    """The response is complete."""
    if x.down != NULL:
        client_next(x.down)
    else:
        errand_end(<Errand>x.errand, "whole")


cdef inline void carrier_cut(Exchange* x) noexcept:
    """The response will never be complete, and its client must see that."""
    if x.down != NULL:
        client_cut(x.down)
    else:
        errand_end(<Errand>x.errand, "cut")


cdef inline void carrier_close(Exchange* x) noexcept:
    """There is nobody to answer."""
    if x.down != NULL:
        conn_close(x.down)
    else:
        errand_end(<Errand>x.errand, "gone")
