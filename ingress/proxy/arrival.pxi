# What may come before a client's first octet of TLS or HTTP: the PROXY protocol's header, and the server name in a
# ClientHello that says whether the connection is handed through. Both are looked at where they are, in the socket's
# buffer, so that nothing has to be given back: TLS finds its octets untouched. While they are not complete the socket
# is asked to wake us only for more than there is now (SO_RCVLOWAT).

cdef enum:
    AWAIT_PROXY = 1
    AWAIT_HELLO = 2
    AWAIT_NOTHING = 4         # a stream: whatever comes is the endpoint's
    PROXY_MAX = 4096          # a header with its TLVs; as nginx
    HELLO_MAX = 32768         # of a ClientHello that is handed through
    PROXY_V1_MAX = 107        # with CRLF

# What a PROXY header says.
cdef struct ProxyHeader:
    bint told                 # False: nothing of a client (LOCAL, UNKNOWN, another family)
    u8 source[16]
    uint16_t source_port
    uint16_t port             # where the client connected to

cdef const u8* PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n"

cdef enum:
    PROXY_V2_N = 12
    BAD_HEADER = -1


cdef int proxy_header(const u8* p, int n, ProxyHeader* out) noexcept nogil:
    """The length of a header of version 1 or 2 (haproxy.org, proxy-protocol.txt), NEED_MORE, or BAD_HEADER."""
    cdef const char* first = b"PROXY "
    memset(out, 0, sizeof(ProxyHeader))
    if n == 0:
        return NEED_MORE
    if memcmp(p, PROXY_V2, min(n, PROXY_V2_N)) == 0:
        return proxy_v2(p, n, out)
    if memcmp(p, first, min(n, <int>strlen(first))) == 0:
        return proxy_v1(p, n, out)
    return BAD_HEADER


cdef int proxy_v2(const u8* p, int n, ProxyHeader* out) noexcept nogil:
    cdef int length, family, need
    if n < PROXY_V2_N + 4:
        return NEED_MORE
    length = p[14] << 8 | p[15]
    if p[12] >> 4 != 2 or (p[12] & 15) > 1 or length > PROXY_MAX - 16:
        return BAD_HEADER
    family = p[13] >> 4
    need = 12 if family == 1 else 36 if family == 2 else 0
    if family > 3 or (p[13] & 15) > 2 or ((p[12] & 15) == 1 and length < need):
        return BAD_HEADER
    if n < 16 + length:
        return NEED_MORE
    if (p[12] & 15) == 1 and need and (p[13] & 15) == 1:
        out.told = True
        p += 16
        if family == 1:
            map_four(p, out.source)
        else:
            memcpy(out.source, p, 16)
        p += need - 4
        out.source_port = <uint16_t>(p[0] << 8 | p[1])
        out.port = <uint16_t>(p[2] << 8 | p[3])
    return 16 + length


cdef int proxy_v1(const u8* p, int n, ProxyHeader* out) noexcept nogil:
    cdef const u8* end = <const u8*>memchr(p, c'\n', min(n, PROXY_V1_MAX))
    cdef int i = 0, at, word, length
    cdef int ports[2]
    cdef const u8* words[6]
    cdef int sizes[6]
    cdef u8 target[16]
    if end == NULL:
        return NEED_MORE if n < PROXY_V1_MAX else BAD_HEADER
    length = <int>(end - p) + 1
    if p[length - 2] != c'\r':
        return BAD_HEADER
    word = 0
    while i < length - 2 and word < 6:
        at = i
        while i < length - 2 and p[i] != c' ':
            i += 1
        words[word] = p + at
        sizes[word] = i - at
        word += 1
        i += 1
    if word >= 2 and is_word(words[1], sizes[1], b"unknown"):
        return length
    if word != 6 or i < length - 2 or sizes[1] != 4 or memcmp(words[1], b"TCP", 3) != 0:
        return BAD_HEADER
    if words[1][3] != c'4' and words[1][3] != c'6':
        return BAD_HEADER
    for i in range(2):
        ports[i] = read_port(words[4 + i], sizes[4 + i])
    if ports[0] < 0 or ports[1] < 0 or not (
            plain_ip(words[2], sizes[2], words[1][3], out.source) and plain_ip(words[3], sizes[3], words[1][3], target)):
        return BAD_HEADER
    out.told = True
    out.source_port = <uint16_t>ports[0]
    out.port = <uint16_t>ports[1]
    return length


cdef int read_port(const u8* p, int n) noexcept nogil:
    cdef int i, value = 0
    if n < 1 or n > 5:
        return -1
    for i in range(n):
        if not c'0' <= p[i] <= c'9':
            return -1
        value = value * 10 + (p[i] - c'0')
    return value if value < 65536 else -1


cdef bint plain_ip(const u8* p, int n, u8 family, u8* out) noexcept nogil:
    """An address of family "4" or "6", and nothing but it."""
    cdef bint colon = n > 0 and memchr(p, c':', n) != NULL
    return colon == (family == c'6') and n > 0 and p[0] != c'[' and read_ip(p, n, out)


cdef int hello_name(const u8* p, int n, u8* room, u8* name, int* name_n) noexcept nogil:
    """The server name of the ClientHello in the TLS records at p (RFC 8446, 4.1.2 and 5.1; RFC 6066, 3).

    1: it is complete, and name (of HOST_MAX octets; empty if it has none) is in lower case without a trailing dot;
    NEED_MORE; BAD_HEADER for what is no ClientHello. `room` is for HELLO_MAX octets.
    """
    cdef int at = 0, size, used = 0, need = 4
    while used < need:
        if n - at < 5:
            return NEED_MORE if n - at == 0 or p[at] == 22 else BAD_HEADER
        size = p[at + 3] << 8 | p[at + 4]
        if p[at] != 22 or p[at + 1] != 3 or size == 0 or size > 16384 or used + size > HELLO_MAX:
            return BAD_HEADER
        size = min(size, n - at - 5)
        memcpy(room + used, p + at + 5, size)
        used += size
        if used >= 4:
            if room[0] != 1:
                return BAD_HEADER
            need = 4 + (room[1] << 16 | room[2] << 8 | room[3])
            if need > HELLO_MAX:
                return BAD_HEADER
        if used < need and size < (p[at + 3] << 8 | p[at + 4]):
            return NEED_MORE
        at += 5 + size
    return hello_extensions(room, need, name, name_n)


cdef int hello_extensions(const u8* p, int n, u8* name, int* name_n) noexcept nogil:
    cdef int at = 4 + 2 + 32, end, kind, size
    name_n[0] = 0
    if at >= n:
        return BAD_HEADER
    at += 1 + p[at]                             # session id
    if at + 2 > n:
        return BAD_HEADER
    at += 2 + (p[at] << 8 | p[at + 1])          # cipher suites
    if at + 1 > n:
        return BAD_HEADER
    at += 1 + p[at]                             # compression methods
    if at == n:
        return 1
    if at + 2 > n:
        return BAD_HEADER
    end = at + 2 + (p[at] << 8 | p[at + 1])
    at += 2
    if end > n:
        return BAD_HEADER
    while at + 4 <= end:
        kind = p[at] << 8 | p[at + 1]
        size = p[at + 2] << 8 | p[at + 3]
        at += 4
        if at + size > end:
            return BAD_HEADER
        if kind == 0:
            name_n[0] = server_name(p + at, size, name)
            return 1
        at += size
    return 1


cdef int server_name(const u8* p, int n, u8* name) noexcept nogil:
    """The host of a server_name extension, as routes and certificates are found by; its length, 0 for none."""
    cdef int i, size
    if n < 5 or p[2] != 0:
        return 0
    size = p[3] << 8 | p[4]
    if size > n - 5 or size > HOST_MAX:
        return 0
    for i in range(size):
        name[i] = LOWER[p[5 + i]]
    while size and name[size - 1] == c'.':
        size -= 1
    return size


cdef bint arrive(Conn* c) noexcept:
    """One more look at what comes first; whether the connection is ready for TLS or HTTP."""
    cdef ProxyHeader header
    cdef Py_ssize_t n
    cdef int used, one = 1
    while c.arriving:
        n = recv(c.fd, SCRATCH, HELLO_MAX + PROXY_MAX, MSG_PEEK)
        if n < 0 and (errno == EAGAIN or errno == EINTR):
            client_settle(c)
            return False
        if n <= 0:
            conn_close(c)
            return False
        if c.arriving & AWAIT_PROXY:
            used = proxy_header(SCRATCH, <int>n, &header)
            if used == NEED_MORE:
                return await_more(c, <int>n)
            if used < 0 or recv(c.fd, SCRATCH, used, 0) != used:
                c.k.counters.bad_proxy_headers += 1
                conn_close(c)
                return False
            take_header(c, &header)
            c.arriving &= ~AWAIT_PROXY
            if c.arriving == AWAIT_NOTHING:    # the endpoint may be the first to speak
                hand_stream(c)
                return False
        elif not take_hello(c, <int>n):
            return False
    if c.lowat:
        c.lowat = False
        setsockopt(c.fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one))
    c.progress = 0
    if c.peer.tls and not tls_begin(c):
        conn_close(c)
        return False
    return True


cdef bint await_more(Conn* c, int n) noexcept:
    """Wait until more than n octets are there; the same n again means that the client has ended."""
    cdef int more = n + 1
    if c.progress == <uint32_t>n:
        conn_close(c)
        return False
    setsockopt(c.fd, SOL_SOCKET, SO_RCVLOWAT, &more, sizeof(more))
    c.lowat = True
    client_settle(c)
    c.progress = <uint32_t>n
    return False


cdef void take_header(Conn* c, const ProxyHeader* header) noexcept:
    """Believe what a load balancer says of its client, if it is one of ours. That a stream begins with a header is said
    of its port alone, so there everybody is believed."""
    if not header.told or not (c.proxy_trusted or c.arriving & AWAIT_NOTHING):
        return
    c.peer.address_n = <u8>address_text(header.source, c.peer.address)
    c.peer.port = header.source_port
    c.peer.proxied = True
    if c.arriving & AWAIT_NOTHING:
        return                              # the port says which stream it is
    c.peer.own_port = header.port
    c.peer.secure = header.port == 443      # TLS has ended at the balancer
    c.peer.trusted = in_ranges(&c.k.trusted, header.source)


cdef bint take_hello(Conn* c, int n) noexcept:
    """Whether the connection is ours to end the TLS of; else it waits for more, or is handed through."""
    cdef u8 name[HOST_MAX]
    cdef int name_n = 0
    cdef int got = hello_name(SCRATCH, n, SCRATCH + 2 * HELLO_MAX, name, &name_n)
    cdef Backend* b
    if got == NEED_MORE and n < HELLO_MAX:
        return await_more(c, n)
    c.arriving = 0
    b = passthrough_for(c.k, name, name_n) if got == 1 else NULL
    if b == NULL:
        return True
    hand_through(c, b, HANDED)
    return False
