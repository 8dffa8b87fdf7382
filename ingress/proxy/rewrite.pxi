# Heads as they go on: hop-by-hop fields out, forwarding fields in, framing in one spelling.


cdef void put_kept(Writer* w, const u8* b, const Head* h) noexcept nogil:
    """The field lines that stay, neighbours in one copy."""
    cdef int i, at = -1, end = 0
    cdef const Field* f
    for i in range(h.field_n):
        f = &h.field[i]
        if f.drop:
            if at >= 0:
                put(w, b + at, end - at)
                at = -1
        else:
            if at < 0:
                at = f.at
            end = f.end
    if at >= 0:
        put(w, b + at, end - at)


cdef inline void put_span(Writer* w, const u8* b, Span s) noexcept nogil:
    put(w, b + s.at, s.n)


cdef inline void put_line(Writer* w, const char* name, const u8* b, Span s) noexcept nogil:
    put_text(w, name)
    put(w, b + s.at, s.n)
    put_text(w, b"\r\n")


cdef void put_joined(Writer* w, const u8* b, const Head* h, int kind, const char* name) noexcept nogil:
    """Every field of a kind, joined by commas into one of another name; nothing if there is none."""
    cdef int i
    cdef bint begun = False
    for i in range(h.field_n):
        if h.field[i].kind == kind:
            if begun:
                put_text(w, b", ")
            else:
                put_text(w, name)
            put(w, b + h.field[i].value_at, h.field[i].value_n)
            begun = True
    if begun:
        put_text(w, b"\r\n")


cdef enum:
    RANDOM_ID = 32    # hexadecimal digits, as nginx's $request_id


cdef void put_random_id(Writer* w, Core* k) noexcept:
    cdef u8 text[RANDOM_ID]
    cdef int i, need = RANDOM_ID // 2
    cdef u8* source
    if k.random_left < need:
        getrandom(k.random, sizeof(k.random), 0)
        k.random_left = <int>sizeof(k.random)
    k.random_left -= need
    source = k.random + k.random_left
    for i in range(need):
        memcpy(text + 2 * i, HEX_PAIR[source[i]], 2)
    put(w, text, RANDOM_ID)


cdef bint drop_forwarding(Head* h) noexcept nogil:
    """Nothing a client says of where a request came from is trusted. Whether it said anything about it."""
    cdef int i, kind
    cdef bint said = False
    for i in range(h.field_n):
        kind = h.field[i].kind
        if FORWARDED_FOR <= kind <= ORIGINAL_FORWARDED and kind != REQUEST_ID:
            h.field[i].drop = True
            said = said or kind == FORWARDED_FOR or kind == FORWARDED_HOST
        elif kind == REQUEST_ID and (h.request_id.n == 0 or h.field[i].value_at != h.request_id.at):
            h.field[i].drop = True
        elif kind == EXPECT and h.minor == 0:
            h.field[i].drop = True    # RFC 9110, 10.1.1
    return said


cdef void drop_underscores(const u8* b, Head* h) noexcept nogil:
    """CGI and its heirs cannot tell X_Real_IP from X-Real-IP, and who believes the one believes the other."""
    cdef int i
    for i in range(h.field_n):
        if h.field[i].kind == OTHER and memchr(b + h.field[i].at, c'_', h.field[i].name_n) != NULL:
            h.field[i].drop = True


cdef void put_request(Writer* w, Exchange* x, const u8* b, Head* h, Target* t) noexcept:
    """The head an endpoint gets."""
    cdef bint said = drop_forwarding(h)
    cdef int i
    cdef int begun = w.n
    cdef bint late = x.spooling and x.spool.late
    if not x.k.o.underscores:
        drop_underscores(b, h)
    put_request_line(w, x, b, h, t)
    if t.absolute or h.host.at < 0:
        for i in range(h.field_n):
            if h.field[i].kind == HOST:
                h.field[i].drop = True
        put_line(w, b"Host: ", b, t.authority)
    if x.method == METHOD_OPTIONS and not x.elsewhere:
        put_max_forwards(w, b, h)
    put_kept(w, b, h)
    if late:
        pass
    elif h.content_length >= 0:
        put_text(w, b"Content-Length: ")
        put_number(w, h.content_length)
        put_text(w, b"\r\n")
    elif h.chunked:
        put_text(w, b"Transfer-Encoding: chunked\r\n")
    if x.upgrade:
        put_text(w, b"Connection: Upgrade\r\n")
        put_line(w, b"Upgrade: ", b, h.upgrade)
    put_forwarding(w, x, b, h, t)
    if x.verified:
        put(w, x.peer.auth.text, x.peer.auth.text_n)
    if said:
        put_joined(w, b, h, FORWARDED_FOR, b"X-Original-Forwarded-For: ")
        put_joined(w, b, h, FORWARDED_HOST, b"X-Original-Forwarded-Host: ")
    if h.request_id.n == 0 and x.asked != NULL:
        put_made_id(w, <Request>x.asked)
    elif h.request_id.n == 0:
        put_text(w, b"X-Request-ID: ")
        put_random_id(w, x.k)
        if x.log != NULL and not w.full:
            x.log.id_n = RANDOM_ID
            memcpy(x.log.id, w.p + w.n - RANDOM_ID, RANDOM_ID)
        put_text(w, b"\r\n")
    if not late:    # else its length follows, once it is known
        put_text(w, b"\r\n")
    if x.request_edits != NULL:
        edit_lines(w, begun, <Edits>x.request_edits)


cdef int max_forwards(const u8* b, const Field* f) noexcept nogil:
    """How many more may forward the request, if that is what the field says in up to 9 digits; else -1."""
    cdef int i, value = 0
    if not is_word(b + f.at, f.name_n, b"max-forwards") or not 0 < f.value_n < 10:
        return -1
    for i in range(f.value_at, f.value_at + f.value_n):
        if not c'0' <= b[i] <= c'9':
            return -1
        value = value * 10 + b[i] - c'0'
    return value


cdef bint may_forward(const u8* b, const Head* h) noexcept nogil:
    """False for a request that ends here (RFC 9110, 7.6.2)."""
    cdef int i
    for i in range(h.field_n):
        if max_forwards(b, &h.field[i]) == 0:
            return False
    return True


cdef void put_max_forwards(Writer* w, const u8* b, Head* h) noexcept nogil:
    """One less."""
    cdef int i, left
    for i in range(h.field_n):
        left = max_forwards(b, &h.field[i])
        if left > 0 and not h.field[i].drop:
            h.field[i].drop = True
            put_text(w, b"Max-Forwards: ")
            put_number(w, left - 1)
            put_text(w, b"\r\n")


cdef void put_request_line(Writer* w, Exchange* x, const u8* b, const Head* h, const Target* t) noexcept:
    cdef bytes chosen = None
    if x.asked != NULL:
        chosen = (<Request>x.asked).other_target
    if not x.elsewhere:
        put_span(w, b, h.method)
    elif x.is_head:
        put_text(w, b"HEAD")
    else:
        put_text(w, b"GET")
    put_text(w, b" ")
    if chosen is not None:
        put(w, <const u8*><const char*>chosen, <int>len(chosen))
    else:
        if t.path.n == 0:
            put_text(w, b"/")
        put_span(w, b, t.rest)
    put_text(w, b" HTTP/1.1\r\n")


cdef void put_made_id(Writer* w, Request r) noexcept:
    """The id that filters may have been told."""
    if r.made_id is None:
        r.make_id()
    put_text(w, b"X-Request-ID: ")
    put(w, <const u8*><const char*>r.made_id, <int>len(r.made_id))
    put_text(w, b"\r\n")


cdef const char* DAYS = b"SunMonTueWedThuFriSat"
cdef const char* MONTHS = b"JanFebMarAprMayJunJulAugSepOctNovDec"


cdef void put_date(Writer* w, Core* k) noexcept:
    """Date (RFC 9110, 6.6.1), made once a second."""
    cdef timespec now
    cdef tm utc
    cdef Writer d
    clock_gettime(CLOCK_REALTIME_COARSE, &now)
    if now.tv_sec != k.date_second:
        k.date_second = now.tv_sec
        gmtime_r(&k.date_second, &utc)
        d = writer(k.date, <int>sizeof(k.date))
        put_text(&d, b"Date: ")
        put(&d, <const u8*>DAYS + 3 * utc.tm_wday, 3)
        put_text(&d, b", ")
        put_two(&d, utc.tm_mday)
        put_text(&d, b" ")
        put(&d, <const u8*>MONTHS + 3 * utc.tm_mon, 3)
        put_text(&d, b" ")
        put_number(&d, 1900 + utc.tm_year)
        put_text(&d, b" ")
        put_clock(&d, &utc)
        put_text(&d, b" GMT\r\n")
        k.date_n = d.n
    put(w, k.date, k.date_n)


cdef void put_two(Writer* w, int value) noexcept nogil:
    if value < 10:
        put_text(w, b"0")
    put_number(w, value)


cdef void put_clock(Writer* w, const tm* t) noexcept nogil:
    put_two(w, t.tm_hour)
    put_text(w, b":")
    put_two(w, t.tm_min)
    put_text(w, b":")
    put_two(w, t.tm_sec)


cdef void put_response(Writer* w, Exchange* x, const u8* b, Head* h) noexcept:
    """The head a client gets: final, interim or of a switched protocol."""
    cdef Core* k = x.k
    cdef const u8* space = <const u8*>memchr(b, c' ', h.length)
    if x.told_status and h.status >= 200:
        put_text(w, b"HTTP/1.1 ")
        put_text(w, reason_of(x.told_status))
        put_text(w, b"\r\n")
    else:
        put_text(w, b"HTTP/1.1")
        put(w, space, <int>(b + h.target.at - space))    # status and reason, as they came
    put_kept(w, b, h)
    if h.status == 101:
        put_line(w, b"Connection: Upgrade\r\nUpgrade: ", b, h.upgrade)
    elif h.status >= 200:
        if h.content_length >= 0:
            put_text(w, b"Content-Length: ")
            put_number(w, h.content_length)
            put_text(w, b"\r\n")
        elif not x.content and (x.packer != NULL or x.encode or (h.chunked and not x.decode)):
            put_text(w, b"Transfer-Encoding: chunked\r\n")
        if x.vary or x.packer != NULL:
            put_packed(w, x, b)
        if not h.has_date:
            put_date(w, k)
        if not h.has_server and k.o.server_n:
            put_text(w, b"Server: ")
            put(w, k.o.server, k.o.server_n)
            put_text(w, b"\r\n")
        if carrier_closes(x):
            put_text(w, b"Connection: close\r\n")
        elif x.minor == 0:
            put_text(w, b"Connection: keep-alive\r\n")
    if x.response_edits != NULL and (h.status >= 200 or h.status == 101):
        put_edits(w, <Edits>x.response_edits)
    put_text(w, b"\r\n")
