# TLS handed through undecrypted, and streams of any kind: an exchange without HTTP, which moves octets between a client and one endpoint.


cdef enum:
    HANDED = 1                # Exchange.raw: TLS handed through
    STREAM = 2                # TCP of any kind: the access log gets a line


cdef Backend* passthrough_for(Core* k, const u8* name, int n):
    """The backend of a server name: exact, a wildcard of one label, or NULL."""
    cdef Engine engine = <Engine>k.engine
    cdef bytes host = (<const char*>name)[:n]
    address = engine.passthrough.get(host) if n else None
    if address is None and b"." in host:
        address = engine.passthrough.get(b"*." + host.split(b".", 1)[1])
    return NULL if address is None else <Backend*><size_t>address


cdef void passthrough_put(Core* k, str host, str backend) except *:
    cdef Engine engine = <Engine>k.engine
    cdef bytes name = host.lower().encode()
    cdef Backend* b
    if not name:
        raise ValueError("passthrough: needs a host name; a listener cannot hand every name through")
    b = backend_named(k, backend)
    b.refs += 1
    passthrough_drop(k, host)
    engine.passthrough[name] = <size_t>b


cdef void passthrough_drop(Core* k, str host) except *:
    address = (<Engine>k.engine).passthrough.pop(host.lower().encode(), None)
    if address is not None:
        backend_release(<Backend*><size_t>address)


cdef void hand_through(Conn* c, Backend* b, int kind) noexcept:
    """Give the connection to an endpoint as it is: what it has sent, such as a ClientHello, is still in the socket."""
    cdef Exchange* x = client_exchange(c)
    cdef int one = 1
    if c.lowat:
        c.lowat = False
        setsockopt(c.fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one))
    if x == NULL:
        conn_close(c)
        return
    c.k.counters.passed_through += 1
    c.progress = 0
    c.closing = True
    c.peer.tls = False
    x.raw = <u8>kind
    x.minor = 1
    x.request.mode = B_TUNNEL
    x.response.mode = B_TUNNEL
    x.head = <u8*>malloc(1)      # nothing has been sent while it is there: another endpoint may be tried
    x.keep_head = True
    x.backend = b
    b.refs += 1
    exchange_connect(x, 502)


cdef void hand_stream(Conn* c) noexcept:
    """Give the connection to an endpoint of what its port leads to."""
    address = (<Engine>c.k.engine).streams.get(c.peer.own_port)
    c.arriving = 0
    if address is None:
        conn_close(c)
    else:
        hand_through(c, <Backend*><size_t>address, STREAM)


cdef void stream_put(Core* k, int port, str backend) except *:
    cdef Backend* b = backend_named(k, backend)
    b.refs += 1
    stream_drop(k, port)
    (<Engine>k.engine).streams[port] = <size_t>b


cdef void stream_drop(Core* k, int port) except *:
    address = (<Engine>k.engine).streams.pop(port, None)
    if address is not None:
        backend_release(<Backend*><size_t>address)


cdef void stream_unlisten(Core* k, int port) noexcept:
    """Accept nobody there any more."""
    cdef Conn* l = k.listeners
    cdef Conn* next_one
    while l != NULL:
        next_one = l.next
        if l.arriving & AWAIT_NOTHING and l.peer.own_port == port:
            conn_close(l)
        l = next_one


cdef void raw_connected(Exchange* x) noexcept nogil:
    """From here on the octets are the endpoint's: no other one is tried."""
    free(x.head)
    x.head = NULL
    x.responding = True
    x.status = 200


cdef void raw_refused(Exchange* x, int status) noexcept:
    """No endpoint takes it. There is nobody to tell in HTTP."""
    x.status = status
    exchange_end(x)
    carrier_close(x)
