# The access log: one line an exchange, in the format that logformat.pxi has compiled. Lines gather in plain memory and are
# handed to a thread in large pieces (logwriter.py): the loop never waits for the disk or for whoever reads the pipe.

cdef enum:
    LOG_BUFFER = 262144       # no line is longer
    LOG_FULL = 131072         # handed over when so full, and at every sweep
    LOG_PART_MAX = 4096       # of one value in a line, before it is escaped
    LOG_ROOM = 4096           # for the values that are not a stranger's
    ESCAPED_MAX = 6           # octets that one becomes

cdef u8 LOG_PLAIN[256]       # what needs no escape between quotes


cdef void init_log():
    fill(LOG_PLAIN, bytes([octet for octet in range(32, 127) if octet not in b'"\\']))


init_log()


cdef inline void log_keep(LogLine* line, int i, u8** out, const u8* b, int at, int n) noexcept nogil:
    """Copy one item's value behind the ones before."""
    if n > LOG_PART_MAX:
        n = LOG_PART_MAX
    if n > 0 and at >= 0:
        memcpy(out[0], b + at, n)
        line.value_n[i] = n
        out[0] += n


cdef void log_request(Exchange* x, const u8* b, const Head* h, const Target* t) noexcept:
    """Remember what the line says of the request. No value is longer than the head, and what is repeated is bounded."""
    cdef LogFormat* f = &x.k.log.format
    cdef LogLine* line
    cdef u8* out
    cdef int i, room = 0
    if not x.k.log.on:
        return
    for i in range(f.item_n):
        if V_TEXT < f.items[i].variable < V_LABEL:
            room += min(log_value(x, b, h, t, i).n, LOG_PART_MAX)
    line = <LogLine*>malloc(sizeof(LogLine) + room + h.authorization.n)
    if line == NULL:
        x.k.counters.log_lines_dropped += 1
        return
    memset(line, 0, sizeof(LogLine))
    out = <u8*>(line + 1)
    for i in range(f.item_n):
        if f.items[i].variable == V_REMOTE_USER:
            line.value_n[i] = basic_user(b + h.authorization.at, h.authorization.n, out)
            out += line.value_n[i]
        elif V_TEXT < f.items[i].variable < V_LABEL:
            log_keep(line, i, &out, b, log_value(x, b, h, t, i).at, log_value(x, b, h, t, i).n)
    line.id_n = min(h.request_id.n, LOG_ID_MAX)
    memcpy(line.id, b + h.request_id.at, line.id_n)
    x.log = line


cdef Span log_value(Exchange* x, const u8* b, const Head* h, const Target* t, int item) noexcept nogil:
    """Where in the head an item's value is."""
    cdef const LogItem* v = &x.k.log.format.items[item]
    cdef Span s
    cdef int i
    s.at = 0
    s.n = 0
    if v.variable == V_REQUEST:
        s.at = h.method.at
        s.n = h.target.at + h.target.n - h.method.at + <int>strlen(b" HTTP/1.1")
    elif v.variable == V_METHOD:
        s = h.method
    elif v.variable == V_REQUEST_URI:
        s = h.target
    elif v.variable == V_URI:
        s = t.path
    elif v.variable == V_ARGS:
        s.at = t.path.at + t.path.n + 1
        s.n = max(t.rest.n - t.path.n - 1, 0)
    elif v.variable == V_PROTOCOL:
        s.at = h.target.at + h.target.n + 1
        s.n = <int>strlen(b"HTTP/1.1")
    elif v.variable == V_HOST:
        s = t.host
    elif v.variable == V_REMOTE_USER:
        s.n = h.authorization.n
    elif v.variable == V_FIELD or v.variable == V_FORWARDED_FOR:
        for i in range(h.field_n):
            if same_name(b + h.field[i].at, h.field[i].name_n, x.k.log.format.text + v.at, v.n):
                s.at = h.field[i].value_at
                s.n = h.field[i].value_n
                break
    return s


cdef int basic_user(const u8* p, int n, u8* out) noexcept nogil:
    """The user of Basic credentials (RFC 7617), decoded to at most n octets; 0 when there is none."""
    cdef const char* scheme = b"basic"
    cdef int i = <int>strlen(scheme), o = 0, bits = 0, value
    cdef uint32_t group = 0
    if n <= i or not is_word(p, i, scheme) or p[i] != c' ':
        return 0
    while i + 1 < n and o < LOG_PART_MAX:
        i += 1
        value = base64_value(p[i])
        if value < 0:
            continue
        group = (group << 6 | <uint32_t>value) & 0xffffff
        bits += 6
        if bits >= 8:
            bits -= 8
            out[o] = <u8>(group >> bits)
            if out[o] == c':':
                return o
            o += 1
    return 0


cdef inline int base64_value(u8 octet) noexcept nogil:
    if c'A' <= octet <= c'Z':
        return octet - c'A'
    if c'a' <= octet <= c'z':
        return octet - c'a' + 26
    if c'0' <= octet <= c'9':
        return octet - c'0' + 52
    return 62 if octet == c'+' else 63 if octet == c'/' else -1


cdef inline void log_attempt(Exchange* x, int status) noexcept nogil:
    """How the attempt at the endpoint tried last has ended."""
    cdef Attempt* a
    if x.log != NULL and x.tried_n:
        a = &x.log.attempts[x.tried_n - 1]
        a.status = status
        a.ns = x.k.now_ns - x.attempt_ns
        a.octets = x.body_out


cdef void put_seconds(Writer* w, int64_t ns) noexcept nogil:
    """Seconds with three digits after the point."""
    cdef int64_t ms = ns // 1000000
    put_number(w, ms // 1000)
    put_text(w, b".")
    if ms % 1000 < 100:
        put_text(w, b"0")
    if ms % 1000 < 10:
        put_text(w, b"0")
    put_number(w, ms % 1000)


cdef void put_offset(Writer* w, long seconds, bint colon) noexcept nogil:
    """A time zone's distance from UTC."""
    cdef long minutes = seconds // 60
    if minutes < 0:
        put_text(w, b"-")
        minutes = -minutes
    else:
        put_text(w, b"+")
    put_two(w, <int>(minutes // 60))
    if colon:
        put_text(w, b":")
    put_two(w, <int>(minutes % 60))


cdef void put_local_time(Writer* w, Log* log) noexcept:
    """21/Nov/2026:08:40:37 +0000, made once a second."""
    cdef timespec now
    cdef tm local
    cdef Writer t
    clock_gettime(CLOCK_REALTIME_COARSE, &now)
    if now.tv_sec != log.second:
        log.second = now.tv_sec
        localtime_r(&log.second, &local)
        t = writer(log.time, <int>sizeof(log.time))
        put_two(&t, local.tm_mday)
        put_text(&t, b"/")
        put(&t, <const u8*>MONTHS + 3 * local.tm_mon, 3)
        put_text(&t, b"/")
        put_number(&t, 1900 + local.tm_year)
        put_text(&t, b":")
        put_clock(&t, &local)
        put_text(&t, b" ")
        put_offset(&t, local.tm_gmtoff, False)
        log.time_n = t.n
    put(w, log.time, log.time_n)


cdef void put_attempts(Writer* w, Exchange* x, int what) noexcept nogil:
    """One of the lists of upstream_addr, _response_length, _response_time, _status."""
    cdef int i
    cdef Attempt* a
    if x.tried_n == 0:
        put_text(w, b"-")
    for i in range(x.tried_n):
        a = &x.log.attempts[i]
        if i:
            put_text(w, b", ")
        if what == V_UPSTREAM_ADDR:
            put(w, x.tried[i].key, x.tried[i].key_n)
        elif what == V_UPSTREAM_STATUS and a.status == 0:
            put_text(w, b"-")
        elif what == V_UPSTREAM_TIME:
            put_seconds(w, a.ns)
        else:
            put_number(w, a.octets if what == V_UPSTREAM_LENGTH else a.status)


cdef void put_time(Writer* w, Log* log, int variable) noexcept:
    cdef timespec now
    cdef tm local
    if variable == V_TIME_LOCAL:
        put_local_time(w, log)
        return
    clock_gettime(CLOCK_REALTIME, &now)
    if variable == V_MSEC:
        put_seconds(w, <int64_t>now.tv_sec * 1000000000 + now.tv_nsec)
        return
    localtime_r(&now.tv_sec, &local)
    put_number(w, 1900 + local.tm_year)
    put_text(w, b"-")
    put_two(w, local.tm_mon + 1)
    put_text(w, b"-")
    put_two(w, local.tm_mday)
    put_text(w, b"T")
    put_clock(w, &local)
    put_offset(w, local.tm_gmtoff, True)


cdef void put_peer_value(Writer* w, const Peer* peer, Log* log, int variable) noexcept:
    """What is known even of a head that was refused."""
    if variable == V_REMOTE_ADDR:
        put(w, peer.address, peer.address_n)
    elif variable == V_SCHEME:
        if peer.tls:
            put_text(w, b"https")
        else:
            put_text(w, b"http")
    elif variable == V_SERVER_PORT:
        put_number(w, peer.own_port)
    elif variable == V_CONNECTION_REQUESTS:
        put_number(w, peer.served)
    elif variable == V_TIME_LOCAL or variable == V_TIME_ISO or variable == V_MSEC:
        put_time(w, log, variable)
    elif variable == V_PROXY_ADDR and peer.proxied:
        put(w, peer.address, peer.address_n)
    elif variable != V_ALTERNATIVE:
        put_escaped(w, NULL, 0, log.format.escape)


cdef void put_exchange_value(Writer* w, Exchange* x, int variable) noexcept:
    if variable == V_REMOTE_ADDR and x.client_n:
        put(w, x.client, x.client_n)
    elif variable == V_STATUS:
        put_number(w, x.status)
    elif variable == V_BODY_SENT:
        put_number(w, x.body_out)
    elif variable == V_BYTES_SENT:
        put_number(w, x.octets_out)
    elif variable == V_REQUEST_LENGTH:
        put_number(w, x.octets_in)
    elif variable == V_REQUEST_TIME:
        put_seconds(w, x.k.now_ns - x.started_ns)
    elif variable == V_REQUEST_ID:
        put_escaped(w, x.log.id, x.log.id_n, x.k.log.format.escape)
    elif variable == V_UPSTREAM_NAME:
        if x.backend != NULL and x.backend.name_n and not is_fallback(x):
            put_upstream_name(w, x.backend.name, x.backend.name_n)
        else:
            put_text(w, b"upstream-default-backend")
    elif V_UPSTREAM_ADDR <= variable <= V_UPSTREAM_STATUS:
        put_attempts(w, x, variable)
    else:
        put_peer_value(w, x.peer, &x.k.log, variable)


cdef bint is_fallback(Exchange* x) noexcept:
    """Whether the route is of no Ingress: it takes what nobody has."""
    cdef tuple labels
    if x.labels == NULL:
        return False
    labels = <tuple>x.labels
    return len(labels) > 1 and len(<bytes>labels[1]) == 0


cdef void put_upstream_name(Writer* w, const u8* p, int n) noexcept nogil:
    """ "shop/cart:http" as ingress-nginx has it: shop-cart-http. What follows "#" tells apart how it is treated."""
    cdef int i, begun = 0
    for i in range(n):
        if p[i] == c'/' or p[i] == c':' or p[i] == c'#':
            put(w, p + begun, i - begun)
            begun = i + 1
            if p[i] == c'#':
                return
            put_text(w, b"-")
    put(w, p + begun, n - begun)


cdef void log_exchange(Exchange* x) noexcept:
    """Write the line. Called while the exchange still has its endpoints."""
    cdef Log* log = &x.k.log
    cdef LogFormat* f = &log.format
    cdef LogLine* line = x.log
    cdef const u8* value = <const u8*>(line + 1)
    cdef bytes user = None
    cdef bytes alternative = b""
    cdef Writer w
    cdef int i, which, room = LOG_ROOM
    if line == NULL:
        return
    if x.asked != NULL:
        if not (<Request>x.asked).log:
            return
        user = text_octets((<Request>x.asked).user) or None
        alternative = text_octets((<Request>x.asked).alternative)
        room += ESCAPED_MAX * (<int>len(user or b"") + <int>len(alternative))
    for i in range(f.item_n):
        room += ESCAPED_MAX * line.value_n[i] + f.items[i].n
    w = log_room(x.k, room)
    if w.p == NULL:
        return
    for i in range(f.item_n):
        if f.items[i].variable == V_TEXT:
            put(&w, f.text + f.items[i].at, f.items[i].n)
        elif f.items[i].variable < V_LABEL:
            if f.items[i].variable == V_REMOTE_USER and user is not None:
                put_escaped(&w, <const u8*><const char*>user, <int>len(user), f.escape)
            elif f.items[i].variable == V_FORWARDED_FOR:
                if line.value_n[i]:
                    put_escaped(&w, value, line.value_n[i], f.escape)
                    put_text(&w, b", ")
                put_exchange_value(&w, x, V_REMOTE_ADDR)
            else:
                put_escaped(&w, value, line.value_n[i], f.escape)
            value += line.value_n[i]
        elif f.items[i].variable == V_ALTERNATIVE:
            if alternative:
                put_upstream_name(&w, <const u8*><const char*>alternative, <int>len(alternative))
        elif f.items[i].variable == V_LABEL:
            put_label(&w, x, f.items[i].at)
        elif f.items[i].variable == V_UPSTREAM_NAME and alternative and x.labels != NULL:
            for which in (0, 2, 3):      # the rule's own backend: the one in use is the alternative
                if which:
                    put_text(&w, b"-")
                put_label(&w, x, which)
        else:
            put_exchange_value(&w, x, f.items[i].variable)
    log_take(x.k, &w)


cdef bytes text_octets(str text):
    """What a filter has set, at the length of a value."""
    return b"" if text is None else text.encode("utf-8", "replace")[:LOG_PART_MAX]


cdef void put_label(Writer* w, Exchange* x, int which) noexcept:
    cdef tuple labels = None
    if x.labels != NULL:
        labels = <tuple>x.labels
    if labels is not None and which < len(labels):
        label = <bytes>labels[which]
        put_escaped(w, <const u8*><const char*>label, <int>len(label), x.k.log.format.escape)
    else:
        put_escaped(w, NULL, 0, x.k.log.format.escape)


cdef inline void log_take(Core* k, const Writer* w) noexcept nogil:
    if w.full:
        k.counters.log_lines_dropped += 1
    else:
        k.log.used += w.n


cdef void log_refused(Conn* c, int status, int body_n) noexcept:
    """The line of a head that was refused: nothing of it is repeated."""
    cdef Log* log = &c.k.log
    cdef LogFormat* f = &log.format
    cdef Writer w
    cdef int i
    if not log.on:
        return
    w = log_room(c.k, LOG_ROOM + LOG_FORMAT_MAX)
    if w.p == NULL:
        return
    for i in range(f.item_n):
        if f.items[i].variable == V_TEXT:
            put(&w, f.text + f.items[i].at, f.items[i].n)
        elif f.items[i].variable == V_STATUS:
            put_number(&w, status)
        elif f.items[i].variable == V_BODY_SENT:
            put_number(&w, body_n)
        elif f.items[i].variable == V_REQUEST_LENGTH:
            put_number(&w, held(&c.inbox))
        elif f.items[i].variable == V_REQUEST_TIME:
            put_seconds(&w, 0)
        elif f.items[i].variable != V_UPSTREAM_NAME:
            put_peer_value(&w, &c.peer, log, f.items[i].variable)
    log_take(c.k, &w)


cdef Writer log_room(Core* k, int n) noexcept:
    """Where a line of at most n octets can be written; p is NULL when it is dropped."""
    cdef Writer w = writer(NULL, 0)
    if k.log.used > LOG_FULL or k.log.used + n > LOG_BUFFER:
        log_hand_over(k)
    if k.log.used + n <= LOG_BUFFER:
        w = writer(k.log.buffer + k.log.used, n)
    else:
        k.counters.log_lines_dropped += 1
    return w


cdef void log_hand_over(Core* k) noexcept:
    """Give what has gathered to the writing thread, which drops it when it is too far behind."""
    cdef Engine engine
    cdef int used = k.log.used
    if used == 0:
        return
    k.log.used = 0
    engine = <Engine>k.engine
    if engine.log_writer is None:
        return
    try:
        dropped = engine.log_writer.write((<const char*>k.log.buffer)[:used])
        k.counters.log_lines_dropped += <uint64_t>dropped
    except Exception as error:
        engine.loop.call_exception_handler({"message": "access log", "exception": error})
