# The access log: one line an exchange, in ingress-nginx's `upstreaminfo` format. Lines gather in plain memory and are
# handed to a thread in large pieces (logwriter.py): the loop never waits for the disk or for whoever reads the pipe.

cdef enum:
    LOG_BUFFER = 65536        # handed over when so full, and at every sweep
    LOG_PART_MAX = 8192       # of one field in a line, before it is escaped

cdef u8 LOG_PLAIN[256]       # what needs no escape between quotes


cdef void init_log():
    fill(LOG_PLAIN, bytes([octet for octet in range(32, 127) if octet not in b'"\\']))


init_log()


cdef inline int log_keep(u8* text, const u8* b, int at, int n) noexcept nogil:
    if n > LOG_PART_MAX:
        n = LOG_PART_MAX
    if n > 0:
        memcpy(text, b + at, n)
    return n if n > 0 else 0


cdef void log_request(Exchange* x, const u8* b, const Head* h) noexcept:
    """Remember what the line says of the request."""
    cdef LogLine* line
    cdef u8* text
    cdef int line_n = h.target.at + h.target.n - h.method.at
    if not x.k.log.on:
        return
    line = <LogLine*>malloc(sizeof(LogLine) + line_n + h.referer.n + h.user_agent.n + h.authorization.n + 1)
    if line == NULL:
        x.k.counters.log_lines_dropped += 1
        return
    memset(line, 0, sizeof(LogLine))
    text = <u8*>(line + 1)
    line.request_n = log_keep(text, b, h.method.at, line_n)
    text += line.request_n
    line.referer_n = log_keep(text, b, h.referer.at, h.referer.n)
    text += line.referer_n
    line.agent_n = log_keep(text, b, h.user_agent.at, h.user_agent.n)
    text += line.agent_n
    line.user_n = basic_user(b + h.authorization.at, h.authorization.n, text)
    line.id_n = min(h.request_id.n, LOG_ID_MAX)
    memcpy(line.id, b + h.request_id.at, line.id_n)
    x.log = line


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


cdef void put_escaped(Writer* w, const u8* p, int n) noexcept nogil:
    cdef int i, begun = 0
    cdef u8 escape[2]
    if n == 0:
        put_text(w, b"-")
        return
    for i in range(n):
        if LOG_PLAIN[p[i]]:
            continue
        put(w, p + begun, i - begun)
        escape[0] = HEX_DIGITS[p[i] >> 4]
        escape[1] = HEX_DIGITS[p[i] & 15]
        put_text(w, b"\\x")
        put(w, escape, <int>sizeof(escape))
        begun = i + 1
    put(w, p + begun, n - begun)


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


cdef void put_local_time(Writer* w, Log* log) noexcept:
    """[21/Nov/2026:08:40:37 +0000], made once a second."""
    cdef timespec now
    cdef tm local
    cdef Writer t
    cdef long minutes
    clock_gettime(CLOCK_REALTIME, &now)
    if now.tv_sec != log.second:
        log.second = now.tv_sec
        localtime_r(&log.second, &local)
        t = writer(log.time, <int>sizeof(log.time))
        minutes = local.tm_gmtoff // 60
        put_text(&t, b" [")
        put_two(&t, local.tm_mday)
        put_text(&t, b"/")
        put(&t, <const u8*>MONTHS + 3 * local.tm_mon, 3)
        put_text(&t, b"/")
        put_number(&t, 1900 + local.tm_year)
        put_text(&t, b":")
        put_clock(&t, &local)
        if minutes < 0:
            put_text(&t, b" -")
            minutes = -minutes
        else:
            put_text(&t, b" +")
        put_two(&t, <int>(minutes // 60))
        put_two(&t, <int>(minutes % 60))
        put_text(&t, b"] \"")
        log.time_n = t.n
    put(w, log.time, log.time_n)


cdef void put_attempts(Writer* w, Exchange* x, int what) noexcept nogil:
    """One of the lists of upstream_addr, _response_length, _response_time, _status."""
    cdef int i
    cdef Attempt* a
    if x.tried_n == 0:
        put_text(w, b" -")
    for i in range(x.tried_n):
        a = &x.log.attempts[i]
        if i:
            put_text(w, b", ")
        else:
            put_text(w, b" ")
        if what == 0:
            put(w, x.tried[i].key, x.tried[i].key_n)
        elif what == 3 and a.status == 0:
            put_text(w, b"-")
        elif what == 2:
            put_seconds(w, a.ns)
        else:
            put_number(w, a.octets if what == 1 else a.status)


cdef void log_exchange(Exchange* x) noexcept:
    """Write the line. Called while the exchange still has its connection and its endpoints."""
    cdef Log* log = &x.k.log
    cdef LogLine* line = x.log
    cdef u8* text = <u8*>(line + 1)
    cdef Writer w
    cdef int i
    if line == NULL or x.down == NULL:
        return
    w = log_room(x.k, 4 * (line.request_n + line.referer_n + line.agent_n + line.user_n + line.id_n) + 2048)
    if w.p == NULL:
        return
    put(&w, x.down.address, x.down.address_n)
    put_text(&w, b" - ")
    put_escaped(&w, text + line.request_n + line.referer_n + line.agent_n, line.user_n)
    put_local_time(&w, log)
    put_escaped(&w, text, line.request_n)
    if x.minor:
        put_text(&w, b" HTTP/1.1\" ")
    else:
        put_text(&w, b" HTTP/1.0\" ")
    put_number(&w, x.status)
    put_text(&w, b" ")
    put_number(&w, x.body_out)
    put_text(&w, b" \"")
    put_escaped(&w, text + line.request_n, line.referer_n)
    put_text(&w, b"\" \"")
    put_escaped(&w, text + line.request_n + line.referer_n, line.agent_n)
    put_text(&w, b"\" ")
    put_number(&w, x.octets_in)
    put_text(&w, b" ")
    put_seconds(&w, x.k.now_ns - x.started_ns)
    put_text(&w, b" [")
    if x.backend != NULL:
        put(&w, x.backend.name, x.backend.name_n)
    put_text(&w, b"] []")
    for i in range(4):
        put_attempts(&w, x, i)
    put_text(&w, b" ")
    put_escaped(&w, line.id, line.id_n)
    put_text(&w, b"\n")
    if not w.full:
        log.used += w.n


cdef void log_refused(Conn* c, int status, int body_n) noexcept:
    """The line of a head that was refused: nothing of it is repeated."""
    cdef Log* log = &c.k.log
    cdef Writer w
    if not log.on:
        return
    w = log_room(c.k, 1024)
    if w.p == NULL:
        return
    put(&w, c.address, c.address_n)
    put_text(&w, b" - -")
    put_local_time(&w, log)
    put_text(&w, b"-\" ")
    put_number(&w, status)
    put_text(&w, b" ")
    put_number(&w, body_n)
    put_text(&w, b" \"-\" \"-\" ")
    put_number(&w, held(&c.inbox))
    put_text(&w, b" 0.000 [] [] - - - - -\n")
    if not w.full:
        log.used += w.n


cdef Writer log_room(Core* k, int n) noexcept:
    """Where a line of at most n octets can be written; p is NULL when it is dropped."""
    cdef Writer w = writer(NULL, 0)
    if k.log.used + n > LOG_BUFFER:
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
