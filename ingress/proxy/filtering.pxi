# Between the engine and a route's filters (ingress/filters/chain.py): when they are asked, and what becomes of what they
# say. Hooks run inside the engine, so no method of Engine may be called from them; what an awaitable does is free.

cdef Head OWN                # of an answer of ours that filters see
cdef Head ANEW               # of a request that is asked elsewhere


cdef void take_plan(Exchange* x, HostTable table, int route, tuple captures, const u8* p, const Head* h,
                    const Target* t) noexcept:
    """Give the exchange what its route does besides forwarding."""
    cdef Plan plan = <Plan>table.routes[route].plan
    cdef Request r
    hold(&x.request_edits, plan.sent)
    hold(&x.response_edits, plan.told)
    if plan.told_secure is not None and is_secure(x, p, h, t):
        hold(&x.response_edits, plan.told_secure)
    x.rate = plan.rate
    x.rate_after = plan.rate_after
    if plan.chain is None:
        if plan.silent:
            free(x.log)
            x.log = NULL
        return
    try:
        r = make_request(x, plan, p, h, t)
        r.captured = captures
    except MemoryError:
        x.k.counters.no_memory += 1
        return
    hold(&x.asked, r)
    if plan.wants & WANTS_REQUEST_BODY:
        x.options |= BUFFER_REQUEST


cdef int filters_broken(Core* k, object error) noexcept:
    """A bug, in a filter's awaitable or in between: the client gets 500."""
    cdef Engine engine = <Engine>k.engine
    try:
        if engine.on_trouble is not None:
            engine.on_trouble(f"filters: {type(error).__name__}: {error}")
        engine.loop.call_exception_handler({"message": "filters of a route", "exception": error})
    except Exception:
        pass
    return 500


cdef int take_verdict(Exchange* x, object found) except? -1:
    """What a chain has said of a request: 0 to go on, else the status of its reply."""
    if found is None:
        return 0
    if not isinstance(found, Reply) or not 200 <= found.status <= 599:
        raise TypeError(f"{found!r} is neither None nor a Reply with a status from 200 to 599")
    (<Request>x.asked).answer = found
    return found.status


cdef int ask_filters(Exchange* x) noexcept:
    """0 to go on, the status of a reply, or PARKED: the answer comes later."""
    cdef Request r = <Request>x.asked
    cdef Engine engine = <Engine>x.k.engine
    if not r.plan.wants & (WANTS_SECURE if r.secure else WANTS_PLAIN):
        return 0
    try:
        found = r.plan.chain.request(r)
        if found is None or isinstance(found, Reply):
            return take_verdict(x, found)
        r.task = asyncio.ensure_future(found, loop=engine.loop)
        r.task.add_done_callback(functools.partial(engine._unpark, r))
    except Exception as error:
        return filters_broken(x.k, error)
    x.parked = True
    return PARKED


cdef int apply_choices(Exchange* x, const u8* p, const Head* h, const Target* t) noexcept:
    """What the filters have chosen for the request; 0, or a status."""
    cdef Request r = <Request>x.asked
    cdef Backend* chosen
    if r.other_backend is not None:
        address = (<Engine>x.k.engine).backends.get(r.other_backend)
        if address is None:
            return 503
        chosen = <Backend*><size_t>address
        chosen.refs += 1
        backend_release(x.backend)
        x.backend = chosen
    if x.backend.patience.retry_on & RETRY_NON_IDEMPOTENT:
        x.repeatable = True
    if x.backend.balance != NULL:
        x.hash = request_hash(x, p, h, t)
    return 0


cdef void unpark(Exchange* x, object task) noexcept:
    """The filters have made up their minds."""
    cdef Request r = <Request>x.asked
    cdef int status
    r.task = None
    x.parked = False
    try:
        status = take_verdict(x, task.result())
    except (Exception, asyncio.CancelledError) as error:
        status = filters_broken(x.k, error)
    carrier_resume(x, r.head, status)


cdef void filters_end(Exchange* x) noexcept:
    """The exchange is over: its request outlives it only in Python's hands."""
    cdef Request r = <Request>x.asked
    r.x = NULL
    try:
        if r.task is not None:
            r.task.cancel()
            r.task = None
        if r.plan.wants & WANTS_FINISH:
            r.plan.chain.finish(r, x.status)
    except Exception as error:
        filters_broken(x.k, error)
    hold(&x.asked, None)


# -- responses

cdef object show_response(Exchange* x, const u8* p, const Head* h, bint own):
    """What the filters say to a response, once: None, that it is the client's; Elsewhere; a Reply."""
    cdef Request r = <Request>x.asked
    if x.shown or not r.plan.wants & WANTS_RESPONSE:
        return None
    x.shown = True
    try:
        found = r.plan.chain.response(r, make_response(x, p, h, own))
        if found is not None and not isinstance(found, (Elsewhere, Reply)):
            raise TypeError(f"{found!r} is neither None nor Elsewhere")
        return found
    except Exception as error:
        filters_broken(x.k, error)
        return Reply(500)


cdef void follow(Exchange* x, object verdict) noexcept:
    """Give the client what its filters want instead of a response that is out of the way."""
    cdef int status
    try:
        status = take_verdict(x, verdict) if isinstance(verdict, Reply) else go_elsewhere(x, verdict)
    except Exception as error:
        status = filters_broken(x.k, error)
    if status:
        reply_edited(x, status)
    else:
        exchange_connect(x, 502)


cdef void drop_response(Exchange* x, const Head* h, int n) noexcept:
    """The endpoint's response is not wanted. Its connection is kept if nothing of it is still to come."""
    cdef Conn* u = x.up
    cdef bint whole = n == h.length and (x.is_head or h.content_length == 0) or (
        not x.is_head and h.content_length > 0 and n == h.length + h.content_length)
    log_attempt(x, h.status)
    x.up = NULL
    u.x = NULL
    if (whole and h.status >= 200 and not h.chunked and not h.close and x.request.mode == B_DONE
            and held(&u.outbox) == 0 and not spool_left(x)):
        pool_put(u)
    else:
        conn_close(u)


cdef int go_elsewhere(Exchange* x, object verdict) except -1:
    """Ready the exchange for a request of our own, which brings what the client gets: 0, or the status of why not.

    Its head is the client's, without what was said of a body, of parts and of conditions.
    """
    cdef Request r = <Request>x.asked
    cdef Edits edits = Edits()
    cdef Backend* chosen
    cdef Target t
    cdef bytes head = r.head
    cdef u8* p = <u8*><const char*>head
    cdef Head* h = &ANEW
    cdef int i
    address = (<Engine>x.k.engine).backends.get(verdict.backend)
    if address is None:
        return 503
    r.other_target = target_octets(verdict.target)
    for name in ELSEWHERE_DROPS:
        edits.drop(name)
    for name, value in verdict.fields:
        edits.put(name, value)
    hold(&x.request_edits, edits)
    r.sent = edits
    chosen = <Backend*><size_t>address
    chosen.refs += 1
    backend_release(x.backend)
    x.backend = chosen
    x.told_status = verdict.status
    if x.request.mode != B_DONE:
        carrier_last(x, LINGER)
        x.request.mode = B_DONE
    spool_free(x)
    x.spooling = False
    free(x.head)
    x.head = NULL
    x.elsewhere = True
    x.repeatable = True
    x.upgrade = False
    x.attempts = 0
    x.head_sent = 0
    x.turn = roll(x.k)
    r.pin_octets = b""
    r.hash_key = b""
    memset(&x.response, 0, sizeof(Body))
    x.response.mode = B_HEAD
    x.upstream_close = False
    request_head(p, <int>len(head), h, &x.k.o.limits)
    read_target(p, h, &t)
    if chosen.balance != NULL:
        x.hash = request_hash(x, p, h, &t)
    h.content_length = -1
    h.chunked = False
    return 0 if request_build(x, p, h, &t, 0) else 500


ELSEWHERE_DROPS = ("Expect", "Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since",
                   "If-Unmodified-Since", "Content-Type", "Content-Encoding", "Trailer")


cdef bint response_dropped(Exchange* x, u8* p, int n, Head* h) noexcept:
    """Whether the filters have sent an endpoint's response away. If so, all is done."""
    verdict = show_response(x, p, h, False)
    if verdict is None:
        return False
    drop_response(x, h, n)
    follow(x, verdict)
    return True


# -- bodies

cdef inline bint body_asked(const Exchange* x, int which) noexcept:
    """Whether filters want to see bodies: WANTS_REQUEST_BODY or WANTS_RESPONSE_BODY."""
    return x.asked != NULL and (<Request>x.asked).plan.wants & which


cdef bytes spooled(Spool* s):
    """All that has come. Raises OSError when the file cannot be read."""
    cdef bytes found = (<const char*>s.memory.p + s.memory.start)[:held(&s.memory)]
    cdef int64_t at = 0
    cdef list pieces = [found]
    while at < s.size:
        piece = os.pread(s.fd, SPOOL_BLOCK_SIZE, at)
        if not piece:
            raise OSError("a request's body is shorter than what was written")
        pieces.append(piece)
        at += len(piece)
    return b"".join(pieces)


cdef int show_body(Exchange* x) noexcept:
    """Let the filters see the request's body, and change it: 0, or the status to answer with."""
    cdef Request r = <Request>x.asked
    cdef Spool* s = x.spool
    cdef bytes body
    try:
        body = spooled(s)
        found = r.plan.chain.request_body(r, body)
        if found is body:
            return 0
        if not isinstance(found, bytes):
            return take_verdict(x, found)
        body = found
    except Exception as error:
        return filters_broken(x.k, error)
    buffer_free(&s.memory)
    if s.fd >= 0:
        close_fd(s.fd)
        s.fd = -1
        s.size = 0
    return 0 if buffer_add(&s.memory, <const u8*><const char*>body, <int>len(body)) else 500


cdef void change_begin(Exchange* x, const Head* h) noexcept:
    x.changing = (not x.is_head and h.status != 101 and h.status != 204 and h.status != 304 and h.content_length != 0
                  and body_asked(x, WANTS_RESPONSE_BODY))


cdef void changed_send(Exchange* x, const u8* head, int head_n, u8* p, int n, bint surplus) noexcept:
    """Content to the client as its filters make it, after the head if there is one."""
    cdef Request r = <Request>x.asked
    cdef bint ended = x.response.mode == B_DONE
    cdef bytes made = b""
    if n or ended:
        try:
            made = r.plan.chain.response_body(r, (<const char*>p)[:n], ended)
        except Exception as error:
            filters_broken(x.k, error)
            exchange_cut(x)
            return
    if x.packer != NULL:
        packed_send(x, head, head_n, <u8*><char*>made, <int>len(made), surplus)
        return
    piece_send(x, head, head_n, <const u8*><const char*>made, <int>len(made), surplus)


# -- answers of our own, where a route changes what clients get

cdef bytes own_head(Core* k, int status, object answer):
    """As an endpoint would have sent it, without framing."""
    cdef const char* reason = reason_of(shown_status(status))
    cdef Edits lines = Edits()
    cdef bytes framing = b""
    if answer is None or answer.body is None:
        lines.add("Content-Type", "text/html")
    if status in (200, 405) and answer is None:
        lines.add("Allow", ALLOWED)
    if answer is not None:
        for name, value in answer.fields:
            if name.lower() == "content-type":
                lines.drop(name)
            elif name.lower() == "content-length" and value == "0":
                framing = b"Content-Length: 0\r\n"     # else a 204 would have none
            lines.add(name, value)
    return b"HTTP/1.1 " + <bytes>reason + b"\r\n" + framing + b"".join([line for _, line in lines.lines]) + b"\r\n"


cdef bytes own_body(Core* k, int status, object answer):
    cdef u8 page[1024]
    cdef Writer w = writer(page, <int>sizeof(page))
    if answer is not None and answer.body is not None:
        return answer.body
    if status != 200:
        put_page(&w, k, title_of(status, reason_of(shown_status(status))))
    return (<const char*>page)[:w.n]


cdef void reply_edited(Exchange* x, int status) noexcept:
    """`reply` for an exchange whose route changes what its clients get."""
    cdef Head* h = &OWN
    cdef bytes head, body
    cdef Writer w
    cdef Conn* u
    cdef int size
    cdef bint sent
    cdef object answer = None
    if x.asked != NULL:
        answer = (<Request>x.asked).answer
        (<Request>x.asked).answer = None
        if answer is not None and answer.status != status:
            answer = None
    try:
        head = own_head(x.k, status, answer)
        body = own_body(x.k, status, answer)
    except Exception as error:
        status = filters_broken(x.k, error)
        head = own_head(x.k, status, None)
        body = own_body(x.k, status, None)
    if response_head(<const u8*><const char*>head, <int>len(head), h, FIELDS_MAX) <= 0:
        head = own_head(x.k, 500, None)
        body = own_body(x.k, 500, None)
        response_head(<const u8*><const char*>head, <int>len(head), h, FIELDS_MAX)
    if x.asked != NULL:
        verdict = show_response(x, <const u8*><const char*>head, h, True)
        if verdict is not None:
            if x.up != NULL:
                u = x.up
                x.up = NULL
                u.x = NULL
                conn_close(u)
            follow(x, verdict)
            return
    if x.request.mode != B_DONE:
        carrier_last(x, LINGER)
    elif carrier_ending(x):
        carrier_last(x, CLOSE)
    packer_free(x)
    x.vary = False
    x.told_status = 0
    x.status = h.status
    if x.response_edits != NULL:
        mark_edits(<Edits>x.response_edits, <const u8*><const char*>head, h)
    if h.status == 204 or h.status == 304:
        body = b""
    else:
        h.content_length = len(body)
    size = <int>len(head) + <int>len(body) + edits_size(x.response_edits) + 1024
    w = writer(<u8*>malloc(size), size)
    if w.p == NULL:
        x.k.counters.no_memory += 1
        exchange_end(x)
        carrier_close(x)
        return
    put_response(&w, x, <const u8*><const char*>head, h)
    if x.is_head:
        body = b""
    put(&w, <const u8*><const char*>body, <int>len(body))
    sent = not w.full and carrier_send_last(x, w.p, w.n, w.n - <int>len(body))
    x.octets_out += w.n
    x.body_out += len(body)
    free(w.p)
    x.responding = True
    exchange_end(x)
    if sent:
        carrier_finished(x)
    else:
        carrier_close(x)


cdef inline int edits_size(void* edits) noexcept:
    return 0 if edits == NULL else (<Edits>edits).size
