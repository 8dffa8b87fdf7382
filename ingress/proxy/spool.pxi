# Request buffering: an endpoint is asked only once the whole body is here. The first part of it is kept in memory, the
# rest in a file without a name. A chunked body goes on with its length, as nginx sends it; trailers are dropped.

cdef enum:
    SPOOL_BLOCK_SIZE = 65536
    SPOOL_BLOCKS = 16          # sent at a time, so that a fast endpoint does not hold up the others

cdef u8 SPOOL_BLOCK[SPOOL_BLOCK_SIZE]

cdef extern from "<unistd.h>" nogil:
    Py_ssize_t pread(int fd, void* p, size_t n, int64_t offset)


cdef bint spool_begin(Exchange* x, Head* h, bint something_came) noexcept:
    """Buffer the body of this request; False without memory. Its sender is asked for it here, if it waits for that."""
    cdef const char* interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    cdef int i
    x.spool = <Spool*>calloc(1, sizeof(Spool))
    if x.spool == NULL:
        x.k.counters.no_memory += 1
        return False
    x.spool.fd = -1
    x.spool.chunked = h.chunked
    x.spool.late = h.chunked or body_asked(x, WANTS_REQUEST_BODY)
    x.spooling = True
    if h.expect_continue:
        for i in range(h.field_n):
            if h.field[i].kind == EXPECT:
                h.field[i].drop = True
        if h.minor and not something_came:
            return carrier_send(x, <const u8*>interim, <int>strlen(interim), <int>strlen(interim))
    return True


cdef int spool_file(Core* k):
    """A file without a name, -1 if there is none to be had."""
    try:
        with tempfile.TemporaryFile(buffering=0, dir=(<Engine>k.engine).spool_folder or None) as made:
            return os.dup(made.fileno())
    except OSError as error:
        (<Engine>k.engine).loop.call_exception_handler({"message": "no file for a request's body", "exception": error})
        return -1


cdef bint spool_add(Exchange* x, const u8* p, int n) noexcept:
    """Keep content; False when it cannot be kept."""
    cdef Spool* s = x.spool
    cdef Py_ssize_t written
    if s.fd < 0:
        if held(&s.memory) + n <= x.k.o.spool_memory:
            return buffer_add(&s.memory, p, n)
        s.fd = spool_file(x.k)
        if s.fd < 0:
            return False
        x.k.counters.spooled += 1
    while n > 0:
        written = write_fd(s.fd, p, n)
        if written < 0:
            if errno == EINTR:
                continue
            return False
        p += written
        n -= <int>written
        s.size += written
    return True


cdef int spool_end(Exchange* x) noexcept:
    """The body is whole: its length goes into the head, what is in memory after it. 0, or the status to answer with."""
    cdef Spool* s = x.spool
    cdef int n, status = show_body(x) if body_asked(x, WANTS_REQUEST_BODY) else 0
    cdef u8* grown
    cdef Writer w
    if status:
        return status
    n = held(&s.memory)
    grown = <u8*>realloc(x.head, x.head_n + n + 64)
    if grown == NULL:
        x.k.counters.no_memory += 1
        return 500
    x.head = grown
    w = writer(grown, x.head_n + n + 64)
    w.n = x.head_n
    if s.late:
        put_text(&w, b"Content-Length: ")
        put_number(&w, n + s.size)
        put_text(&w, b"\r\n\r\n")
    put(&w, s.memory.p + s.memory.start, n)
    x.head_n = w.n
    buffer_free(&s.memory)
    x.spooling = False
    x.whole = True
    x.keep_head = x.repeatable
    return 0


cdef void spool_body(Exchange* x, u8* p, int n) noexcept:
    """More of the body; the endpoint is asked when it is whole."""
    cdef int content_n = 0, status = 0
    cdef int used = body_feed(&x.request, p, n, p, &content_n)
    if used < 0:
        status = 400
    elif over_limit(x):
        status = 413
    elif not spool_add(x, p, content_n if x.spool.chunked else used):
        status = 500
    if status:
        carrier_last(x, LINGER)
        reply(x, status)
        return
    if used < n and not carrier_keep(x, p + used, n - used):
        return
    if x.request.mode != B_DONE:
        carrier_settle(x)
        return
    status = spool_end(x)
    if status:
        reply(x, status)
    else:
        exchange_connect(x, 502)


cdef inline bint spool_left(const Exchange* x) noexcept nogil:
    return x.spool != NULL and x.spool.sent < x.spool.size


cdef bint spool_send(Exchange* x) noexcept:
    """As much of the file as the endpoint takes now; False when the connection is broken."""
    cdef Spool* s = x.spool
    cdef Conn* u = x.up
    cdef Py_ssize_t got
    cdef int blocks = SPOOL_BLOCKS
    while blocks and s.sent < s.size and held(&u.outbox) == 0:
        blocks -= 1
        got = pread(s.fd, SPOOL_BLOCK, SPOOL_BLOCK_SIZE, s.sent)
        if got <= 0 or not conn_send(u, SPOOL_BLOCK, <int>got):
            return False
        s.sent += got
    return True


cdef void spool_free(Exchange* x) noexcept:
    if x.spool != NULL:
        if x.spool.fd >= 0:
            close_fd(x.spool.fd)
        buffer_free(&x.spool.memory)
        free(x.spool)
        x.spool = NULL


cdef inline bint over_limit(const Exchange* x) noexcept nogil:
    """Whether a chunked body has said by now that it is longer than may be. Lengths are judged with the head."""
    return x.body_limit and x.request.chunked.total > x.body_limit
