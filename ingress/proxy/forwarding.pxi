# What endpoints are told of where a request comes from: our own word, or a trusted proxy's.

cdef const char* HTTPS = b"https"    # and http, without its last octet

cdef enum:
    PORT_DIGITS = 8

# Scheme, host and port as the client meant them.
cdef struct Origin:
    const u8* host
    int host_n
    const u8* port
    int port_n
    const u8* scheme
    int scheme_n


cdef Span first_of(const u8* b, const Head* h, int kind) noexcept nogil:
    """The first element of the first field of a kind; n 0 if there is none."""
    cdef Span s
    cdef const u8* comma
    cdef int i
    s.at = s.n = 0
    for i in range(h.field_n):
        if h.field[i].kind == kind:
            s.at = h.field[i].value_at
            s.n = h.field[i].value_n
            comma = <const u8*>memchr(b + s.at, c',', s.n) if s.n else NULL
            if comma != NULL:
                s.n = <int>(comma - (b + s.at))
            while s.n and is_space(b[s.at + s.n - 1]):
                s.n -= 1
            break
    return s


cdef bint is_scheme(const u8* p, int n) noexcept nogil:
    """RFC 3986, 3.1, and not long."""
    cdef int i
    for i in range(n):
        if not UNRESERVED[p[i]] and p[i] != c'+':
            return False
    return 0 < n <= 16


cdef void believe(Origin* o, const u8* b, const Head* h) noexcept nogil:
    """Take over what a trusted proxy says, where it is well formed."""
    cdef Target t
    cdef Span s = first_of(b, h, FORWARDED_HOST)
    if s.n and split_authority(b, s.at, s.n, &t):
        o.host = b + s.at
        o.host_n = s.n
    s = first_of(b, h, FORWARDED_PORT)
    if read_port(b + s.at, s.n) > 0:
        o.port = b + s.at
        o.port_n = s.n
    s = first_of(b, h, FORWARDED_PROTO)
    if is_scheme(b + s.at, s.n):
        o.scheme = b + s.at
        o.scheme_n = s.n


cdef void read_origin(Origin* o, const Exchange* x, const u8* b, const Head* h, const Target* t, u8* digits) noexcept:
    """`digits` is room for a port."""
    cdef const Peer* peer = x.peer
    cdef Writer port = writer(digits, PORT_DIGITS)
    put_number(&port, peer.own_port)
    o.host = b + t.authority.at
    o.host_n = t.authority.n
    o.port = digits
    o.port_n = port.n
    o.scheme = <const u8*>HTTPS
    o.scheme_n = <int>strlen(HTTPS) - (0 if peer.tls or peer.secure else 1)
    if peer.trusted and x.k.o.use_forwarded:
        believe(o, b, h)


cdef bint is_secure(const Exchange* x, const u8* b, const Head* h, const Target* t) noexcept:
    """Whether the client speaks TLS, as far as is known and believed."""
    cdef Origin o
    cdef u8 digits[PORT_DIGITS]
    read_origin(&o, x, b, h, t, digits)
    return is_word(o.scheme, o.scheme_n, HTTPS)


cdef void put_forwarding(Writer* w, Exchange* x, const u8* b, const Head* h, const Target* t) noexcept:
    cdef Peer* peer = x.peer
    cdef Origin o
    cdef int n = 0
    cdef const u8* client = client_text(x, &n)
    cdef u8 digits[PORT_DIGITS]
    read_origin(&o, x, b, h, t, digits)
    put_text(w, b"X-Real-IP: ")
    put(w, client, n)
    put_text(w, b"\r\n")
    if not (peer.trusted and x.k.o.use_forwarded and x.k.o.full_forwarded_for and put_full_list(w, x, b, h)):
        put_text(w, b"X-Forwarded-For: ")
        put(w, client, n)
    put_text(w, b"\r\nX-Forwarded-Host: ")
    put(w, o.host, o.host_n)
    put_text(w, b"\r\nX-Forwarded-Port: ")
    put(w, o.port, o.port_n)
    put_text(w, b"\r\nX-Forwarded-Proto: ")
    put(w, o.scheme, o.scheme_n)
    put_text(w, b"\r\nX-Forwarded-Scheme: ")
    put(w, o.scheme, o.scheme_n)
    put_text(w, b"\r\nX-Scheme: ")
    put(w, o.scheme, o.scheme_n)
    put_text(w, b"\r\n")
    if x.k.o.forwarded:
        put_forwarded(w, x, b, h, &o)


cdef bint put_full_list(Writer* w, Exchange* x, const u8* b, const Head* h) noexcept nogil:
    """X-Forwarded-For as it came, and the proxy it came from; False when none came. Its line is left open."""
    cdef int i
    cdef bint begun = False
    for i in range(h.field_n):
        if is_forwarded_for(x.k, b, &h.field[i]) and h.field[i].value_n:
            if begun:
                put_text(w, b", ")
            else:
                put_text(w, b"X-Forwarded-For: ")
            put(w, b + h.field[i].value_at, h.field[i].value_n)
            begun = True
    if begun:
        put_text(w, b", ")
        put(w, x.peer.address, x.peer.address_n)
    return begun


cdef void put_forwarded(Writer* w, Exchange* x, const u8* b, const Head* h, const Origin* o) noexcept:
    """RFC 7239. Elements of trusted proxies stay before ours, which then names the proxy; else ours names the client."""
    cdef const u8* name
    cdef int n = 0, i
    cdef bint begun = False
    put_text(w, b"Forwarded: ")
    for i in range(h.field_n if x.peer.trusted and x.k.o.use_forwarded else 0):
        if h.field[i].kind == FORWARDED_LIST and h.field[i].value_n:
            put(w, b + h.field[i].value_at, h.field[i].value_n)
            put_text(w, b", ")
            begun = True
    name = client_text(x, &n)
    if begun:
        name = x.peer.address
        n = x.peer.address_n
    put_text(w, b"for=")
    if memchr(name, c':', n) != NULL:
        put_text(w, b"\"[")
        put(w, name, n)
        put_text(w, b"]\"")
    else:
        put(w, name, n)
    put_text(w, b";host=")
    put_token(w, o.host, o.host_n)
    put_text(w, b";proto=")
    put(w, o.scheme, o.scheme_n)
    put_text(w, b"\r\n")


cdef void put_token(Writer* w, const u8* p, int n) noexcept nogil:
    """A token, or a quoted string (RFC 9110, 5.6.4). A host holds neither quotes nor backslashes."""
    cdef int i
    for i in range(n):
        if not TOKEN[p[i]]:
            break
    else:
        if n:
            put(w, p, n)
            return
    put_text(w, b"\"")
    put(w, p, n)
    put_text(w, b"\"")
