# The parsers as Python functions, for tests and fuzzing: octets in, what was understood out. No socket is involved.
# The octets are copied to memory of exactly their length, so that AddressSanitizer sees the first one read too far.


cdef u8* exact_copy(bytes octets) except NULL:
    cdef int n = len(octets)
    cdef u8* p = <u8*>malloc(n if n else 1)
    if p == NULL:
        raise MemoryError()
    memcpy(p, <const char*>octets, n)
    return p


cdef inline bytes octets_of(const u8* p, Span s):
    return b"" if s.n <= 0 or s.at < 0 else (<const char*>p + s.at)[:s.n]


cdef list fields_of(const u8* p, const Head* h):
    cdef list fields = []
    cdef Span name
    cdef int i
    for i in range(h.field_n):
        name.at = h.field[i].at
        name.n = h.field[i].name_n
        fields.append((octets_of(p, name), octets_of(p, value_of(<Field*>&h.field[i]))))
    return fields


def parse_request_head(bytes octets not None, *, int field_limit=100, int target_limit=32768):
    cdef Head h
    cdef Target t
    cdef HeadLimits limits
    cdef u8 host[HOST_MAX + 1]
    cdef u8* p = exact_copy(octets)
    cdef int got, host_n
    limits.fields = min(field_limit, FIELDS_MAX)
    limits.target = min(target_limit, PATH_MAX)
    try:
        got = request_head(p, <int>len(octets), &h, &limits)
        if got > 0 and read_target(p, &h, &t) < 0:
            got = -400
        path = normalise_path(octets_of(p, t.path) or b"/") if got > 0 else None
        if got <= 0 or path is None:
            return None if got == NEED_MORE else -got if got < 0 else 400
        host_n = lookup_host(p, &t, host)
        return {
            "length": got,
            "method": octets_of(p, h.method),
            "target": octets_of(p, h.target),
            "minor": h.minor,
            "host": (<const char*>host)[:host_n],
            "path": path,
            "content_length": None if h.content_length < 0 else h.content_length,
            "chunked": bool(h.chunked),
            "close": bool(h.close),
            "upgrade": octets_of(p, h.upgrade) if h.upgrading else b"",
            "expect_continue": bool(h.expect_continue),
            "fields": fields_of(p, &h),
        }
    finally:
        free(p)


def parse_response_head(bytes octets not None):
    cdef Head h
    cdef u8* p = exact_copy(octets)
    cdef int got
    try:
        got = response_head(p, <int>len(octets), &h, FIELDS_MAX)
        if got <= 0:
            return None if got == NEED_MORE else -got
        return {
            "length": got,
            "status": h.status,
            "minor": h.minor,
            "content_length": None if h.content_length < 0 else h.content_length,
            "chunked": bool(h.chunked),
            "close": bool(h.close),
            "fields": fields_of(p, &h),
        }
    finally:
        free(p)


def normalise_path(bytes path not None):
    cdef u8* p
    cdef u8* out
    cdef int n
    if not path.startswith(b"/"):
        return None
    p = exact_copy(path)
    out = exact_copy(path + b"\0")
    try:
        n = normal_path(p, <int>len(path), out)
        return None if n < 0 else (<const char*>out)[:n]
    finally:
        free(p)
        free(out)


def rewrite_request(bytes octets not None, *, str client="192.0.2.1", int port=80, bint tls=False):
    cdef Core* k = <Core*>calloc(1, sizeof(Core))
    cdef Conn c
    cdef Exchange x
    cdef Head h
    cdef Target t
    cdef HeadLimits limits
    cdef u8* p = exact_copy(octets)
    cdef bytes address = client.encode()
    limits.fields = FIELDS_MAX
    limits.target = PATH_MAX
    memset(&c, 0, sizeof(Conn))
    memset(&x, 0, sizeof(Exchange))
    x.k = c.k = k
    x.down = &c
    x.peer = &c.peer
    c.peer.own_port = port
    c.peer.tls = tls
    c.peer.address_n = min(len(address), ADDRESS_TEXT)
    try:
        memcpy(c.peer.address, <const char*>address, c.peer.address_n)
        if request_head(p, <int>len(octets), &h, &limits) <= 0 or read_target(p, &h, &t) < 0:
            raise ValueError("not an acceptable request head")
        note_request(&x, p, &h)
        if not request_build(&x, p, &h, &t, 0):
            raise ValueError("the rewritten head is longer than was reckoned with")
        return (<const char*>x.head)[:x.head_n]
    finally:
        free(x.head)
        free(p)
        free(k)


def parse_proxy_header(bytes octets not None):
    cdef ProxyHeader header
    cdef u8 text[ADDRESS_TEXT]
    cdef u8* p = exact_copy(octets)
    cdef int got
    try:
        got = proxy_header(p, <int>len(octets), &header)
        if got <= 0:
            return None if got == NEED_MORE else False
        if not header.told:
            return got, None
        return got, ((<const char*>text)[:address_text(header.source, text)].decode(), header.source_port, header.port)
    finally:
        free(p)


def parse_client_hello(bytes octets not None):
    cdef u8 name[HOST_MAX]
    cdef int name_n = 0, got
    cdef u8* p = exact_copy(octets)
    cdef u8* room = <u8*>malloc(HELLO_MAX)
    try:
        got = hello_name(p, <int>len(octets), room, name, &name_n)
        return None if got == NEED_MORE else False if got < 0 else (<const char*>name)[:name_n]
    finally:
        free(p)
        free(room)


cdef class ChunkedReader:
    cdef Chunked state
    cdef list pieces

    def __cinit__(self):
        memset(&self.state, 0, sizeof(Chunked))
        self.pieces = []

    def feed(self, bytes octets not None):
        cdef u8* p = exact_copy(octets)
        cdef int content_n = 0, used
        try:
            used = chunked_feed(&self.state, p, <int>len(octets), p, &content_n)
            self.pieces.append((<const char*>p)[:content_n])
            return used
        finally:
            free(p)

    @property
    def ended(self):
        return self.state.state == ENDED

    @property
    def content(self):
        return b"".join(self.pieces)


cdef object match_route(RouteTable routes, bytes host, bytes target):
    cdef bytes name = host.lower().rstrip(b".")
    cdef HostTable table
    cdef bytes path
    cdef int route
    if b":" in name and not name.endswith(b"]"):
        name = name.rpartition(b":")[0].rstrip(b".")
    table = routes.find(<const u8*><const char*>name, <int>len(name))
    found = normalise_path(target.partition(b"?")[0])
    if table is None or found is None:
        return None
    path = found
    if table.patterns is not None:
        found = find_pattern(table, <const u8*><const char*>path, <int>len(path))
        return None if found is None else table.routes[<int>found[0]].id
    route = table.find(<const u8*><const char*>path, <int>len(path))
    return None if route == NO_ROUTE else table.routes[route].id


def sweep_late(uint32_t deadline, list ticks not None):
    cdef Core* k = <Core*>calloc(1, sizeof(Core))
    cdef Conn c
    cdef int ahead
    memset(&c, 0, sizeof(Conn))
    c.k = k
    c.slot = -1
    c.deadline = deadline
    wheel_put(&c)
    for tick in ticks:
        k.tick = tick
        sweep(k)
    ahead = (c.slot - <int>(k.swept % WHEEL_SLOTS)) % WHEEL_SLOTS
    free(k)
    return ahead + WHEEL_SLOTS if ahead < 0 else ahead
