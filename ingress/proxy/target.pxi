# Request targets (RFC 9112, 3.2) and hosts: which form, which authority, and the path that routes are matched by.

cdef enum:
    HOST_MAX = 255
    PATH_MAX = 65536

cdef struct Target:
    Span host        # the authority without port: of the absolute form if there is one, else of the Host field
    Span authority   # with port
    Span path        # raw, up to the query; n 0: none, which means "/"
    Span rest        # raw path and query
    bint absolute


cdef bint split_authority(const u8* b, int at, int n, Target* t) noexcept nogil:
    """host[:port] with a host that is a name, an IPv4 address or a bracketed IPv6 address; False for anything else."""
    cdef int i = at, end = at + n
    t.authority.at = at
    t.authority.n = n
    if n and b[i] == c'[':
        i += 1
        while i < end and (HEX[b[i]] >= 0 or b[i] == c':' or b[i] == c'.'):
            i += 1
        if i == end or b[i] != c']' or i == at + 1:
            return False
        i += 1
    else:
        while i < end and HOST_NAME[b[i]]:
            i += 1
    t.host.at = at
    t.host.n = i - at
    if i < end:
        if b[i] != c':' or i == at:
            return False
        i += 1
        if end - i > 5:
            return False
        while i < end and c'0' <= b[i] <= c'9':
            i += 1
    return i == end and t.host.n <= HOST_MAX


cdef int scheme_length(const u8* b, int at, int n) noexcept nogil:
    """Of "http://" or "https://" in any case; 0 when there is neither."""
    cdef const char* plain = b"http://"
    cdef const char* secure = b"https://"
    if n >= <int>strlen(plain) and is_word(b + at, <int>strlen(plain), plain):
        return <int>strlen(plain)
    if n >= <int>strlen(secure) and is_word(b + at, <int>strlen(secure), secure):
        return <int>strlen(secure)
    return 0


cdef int read_target(const u8* b, Head* h, Target* t) noexcept nogil:
    """0, or -400 for a target that is neither origin- nor absolute-form and for a host that is not host[:port]."""
    cdef int i, end = h.target.at + h.target.n, scheme
    memset(t, 0, sizeof(Target))
    i = h.target.at
    if h.host.at >= 0 and not split_authority(b, h.host.at, h.host.n, t):
        return -400
    if b[i] != c'/':
        scheme = scheme_length(b, i, h.target.n)
        if scheme == 0:
            return -400
        t.absolute = True
        i += scheme
        t.rest.at = i
        while i < end and b[i] != c'/' and b[i] != c'?':
            i += 1
        if not split_authority(b, t.rest.at, i - t.rest.at, t) or t.host.n == 0:
            return -400
    t.rest.at = i
    t.rest.n = end - i
    t.path.at = i
    while i < end and b[i] != c'?':
        i += 1
    t.path.n = i - t.path.at
    return 0


cdef int lookup_host(const u8* b, Target* t, u8* host) noexcept nogil:
    """The host as routes are found by: lower case, no trailing dot. Its length."""
    cdef int i, n = t.host.n
    for i in range(n):
        host[i] = LOWER[b[t.host.at + i]]
    if n and host[n - 1] == c'.':
        n -= 1
    return n


cdef int normal_path(const u8* p, int n, u8* out) noexcept nogil:
    """The path routes are matched by, at most n + 1 octets: escapes decoded, "//", "." and ".." resolved.

    As nginx does it: every escape is decoded, so "%2e%2e" and "%2F" cannot walk past a rule. -400 for a bad escape,
    an escaped NUL and a path that climbs above its root.
    """
    cdef int i = 0, o = 0, segment
    cdef u8 octet
    out[0] = c'/'
    o = 1
    segment = 1      # where the segment in work begins
    while i <= n:
        octet = p[i] if i < n else c'/'
        if octet == c'%':
            if i + 2 >= n or HEX[p[i + 1]] < 0 or HEX[p[i + 2]] < 0:
                return -400
            octet = <u8>(HEX[p[i + 1]] * 16 + HEX[p[i + 2]])
            i += 2
            if octet == 0:
                return -400
        if octet != c'/':
            out[o] = octet
            o += 1
        elif o == segment or (o == segment + 1 and out[segment] == c'.'):
            o = segment
        elif o == segment + 2 and out[segment] == c'.' and out[segment + 1] == c'.':
            if segment == 1:
                return -400
            o = segment - 1
            while out[o - 1] != c'/':
                o -= 1
            segment = o
        elif i < n:
            out[o] = c'/'
            o += 1
            segment = o
        i += 1
    return o
