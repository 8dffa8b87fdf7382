# Answers of our own: errors, in the form nginx's customers expect.

cdef list REASONS = []     # keeps the texts alive
cdef const char* REASON[600]
ALLOWED = "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS"


cdef void init_reasons() except *:
    """Status lines without the version. Words of RFC 9110; a status without any is its number."""
    cdef bytes line
    words = {status.value: status.phrase for status in HTTPStatus} | {
        413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
    for status in range(600):
        line = f"{status} {words.get(status, '')}".encode()
        REASONS.append(line)
        REASON[status] = line


init_reasons()


cdef inline const char* reason_of(int status) noexcept nogil:
    return REASON[status if 100 <= status < 600 else 500]


cdef inline int shown_status(int status) noexcept nogil:
    return 400 if status == NO_CERTIFICATE or status == BAD_CERTIFICATE else status


cdef const char* title_of(int status, const char* reason) noexcept nogil:
    """As nginx words it where the status alone does not say what to do."""
    if status == NO_CERTIFICATE:
        return b"400 No required SSL certificate was sent"
    if status == BAD_CERTIFICATE:
        return b"400 The SSL certificate error"
    if status == 401:
        return b"401 Authorization Required"
    return reason


cdef void put_page(Writer* w, Core* k, const char* reason) noexcept:
    put_text(w, b"<html>\r\n<head><title>")
    put_text(w, reason)
    put_text(w, b"</title></head>\r\n<body>\r\n<center><h1>")
    put_text(w, reason)
    put_text(w, b"</h1></center>\r\n")
    if k.o.brand_n:
        put_text(w, b"<hr><center>")
        put(w, k.o.brand, k.o.brand_n)
        put_text(w, b"</center>\r\n")
    put_text(w, b"</body>\r\n</html>\r\n")


cdef int put_reply(Writer* w, Core* k, int status, bint closes, bint is_head, const char* location) noexcept:
    """A whole response; how many octets of it are body. location: NULL, or where a redirect leads."""
    cdef u8 page[1024]
    cdef Writer body = writer(page, <int>sizeof(page))
    cdef const char* reason = reason_of(shown_status(status))
    if status != 200:      # else it was the options that were asked for
        put_page(&body, k, title_of(status, reason))
    put_text(w, b"HTTP/1.1 ")
    put_text(w, reason)
    put_text(w, b"\r\n")
    put_date(w, k)
    if k.o.server_n:
        put_text(w, b"Server: ")
        put(w, k.o.server, k.o.server_n)
        put_text(w, b"\r\n")
    put_text(w, b"Content-Type: text/html\r\nContent-Length: ")
    put_number(w, body.n)
    if status == 405 or status == 200:
        put_text(w, b"\r\nAllow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS")
    if location != NULL:
        put_text(w, b"\r\nLocation: ")
        put_text(w, location)
    if closes:
        put_text(w, b"\r\nConnection: close\r\n\r\n")
    else:
        put_text(w, b"\r\nConnection: keep-alive\r\n\r\n")
    if is_head:
        return 0
    put(w, body.p, body.n)
    return body.n


cdef void reply(Exchange* x, int status) noexcept:
    """Answer an exchange ourselves, and end it."""
    cdef u8 text[2048 + ERROR_PAGE_MAX]
    cdef Writer w = writer(text, <int>sizeof(text))
    cdef const char* location
    cdef int body_n
    cdef bint sent
    if x.raw:
        raw_refused(x, status)
        return
    if x.ours:
        errand_failed(x, status)
        return
    if x.asked != NULL or x.response_edits != NULL:
        reply_edited(x, status)
        return
    if x.request.mode != B_DONE:
        carrier_last(x, LINGER)      # the rest of the request may still be coming
    elif carrier_ending(x):
        carrier_last(x, CLOSE)
    location = error_page(x, status)
    if location != NULL:
        status = 302
    body_n = put_reply(&w, x.k, status, carrier_closes(x), x.is_head, location)
    x.status = shown_status(status)
    x.octets_out += w.n
    x.body_out += body_n
    x.responding = True
    sent = carrier_send_last(x, w.p, w.n, w.n - body_n)
    exchange_end(x)
    if sent:
        carrier_finished(x)
    else:
        carrier_close(x)


cdef void refuse(Conn* c, int status) noexcept:
    """Answer a head that became no exchange. The connection ends."""
    cdef u8 text[2048]
    cdef Writer w = writer(text, <int>sizeof(text))
    cdef int body_n = put_reply(&w, c.k, status, True, False, NULL)
    cdef bint sent
    cdef Sample s
    conn_last(c)
    sent = conn_send(c, w.p, w.n)
    c.closing = LINGER      # more of it may still be coming
    c.k.counters.bad_requests += 1
    memset(&s, 255, sizeof(Sample))      # nothing is measured
    s.route_id = NO_ROUTE
    s.status = status
    s.method = s.alternative = 0
    s.octets_in = 0
    s.octets_out = w.n
    s.ns[M_REQUEST] = 0
    stat_add(&c.k.stats, c.k.bounds, &s)
    log_refused(c, status, body_n)
    if sent:
        client_next(c)
    else:
        conn_close(c)
