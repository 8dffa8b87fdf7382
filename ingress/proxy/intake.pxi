# Requests on their way from a carrier to an endpoint: judged, routed, written anew, their bodies handed on.


cdef int exchange_head(Core* k, const u8* p, int n, Head* h, Target* t) noexcept:
    """The length of the head at p; NEED_MORE; or minus the status that refuses it."""
    # Nothing beyond the limit is looked at, so that the verdict does not depend on how the octets were cut.
    cdef int length = request_head(p, min(n, k.o.head_bytes), h, &k.o.limits)
    cdef int refused
    if length == NEED_MORE:
        return -431 if n > k.o.head_bytes else NEED_MORE
    if length < 0:
        return length
    if is_word(p + h.method.at, h.method.n, b"connect") or is_word(p + h.method.at, h.method.n, b"trace"):
        return -405
    refused = read_target(p, h, t)
    return refused if refused else length


cdef int exchange_begin(Exchange* x, u8* p, int n, Head* h, Target* t) noexcept:
    """Route the request and send it on: how many octets after its head were taken."""
    cdef int status
    note_request(x, p, h)
    log_request(x, p, h, t)
    if h.close or x.k.draining:
        carrier_last(x, CLOSE)
    if h.content_length > 0:
        x.request.mode = B_LENGTH
        x.request.left = h.content_length
    elif h.chunked:
        x.request.mode = B_CHUNKED
    status = auth_status(x, p, t) if x.peer.tls and (<Certificates>x.k.certificates).auths else 0
    if status == 0:
        status = find_route(x, p, h, t)
    if status == 0 and x.body_limit and h.content_length > x.body_limit:
        status = 413
    if status == 0 and x.asked != NULL:
        status = ask_filters(x)
        if status == PARKED:
            x.octets_in = h.length
            return 0
    return exchange_forward(x, p, n, h, t, status)


cdef int exchange_forward(Exchange* x, u8* p, int n, Head* h, Target* t, int status) noexcept:
    """Send a request on that has a route, or answer with `status`: how many octets after its head were taken."""
    cdef int body_n = 0, content_n = 0
    if status == 0 and x.asked != NULL:
        status = apply_choices(x, p, h, t)
    if status == 0 and x.method == METHOD_OPTIONS and not may_forward(p, h):
        status = 200
    if x.request.mode != B_DONE:
        if (status == 0 and x.options & BUFFER_REQUEST
                and (h.chunked or h.content_length > n - h.length or body_asked(x, WANTS_REQUEST_BODY))
                and not spool_begin(x, h, n > h.length)):
            exchange_gone(x)
            return 0
        body_n = body_feed(&x.request, p + h.length, n - h.length, p + h.length if x.spooling else NULL, &content_n)
        if body_n < 0:
            reply(x, 400)
            return 0
    x.octets_in = h.length + body_n
    if status == 0 and over_limit(x):
        status = 413
    if status == 0 and x.options & COMPRESS:
        x.accepts = <u8>accepted_coding(&x.k.o.packing, p, h)
        if x.asked != NULL and not (<Request>x.asked).compress:
            x.accepts = IDENTITY
    if status == 0 and not request_build(x, p, h, t, 0 if x.spooling else body_n):
        status = 431
    if status == 0 and x.spooling:
        if not spool_add(x, p + h.length, content_n if h.chunked else body_n):
            status = 500
        elif x.request.mode != B_DONE:
            return body_n
        else:
            status = spool_end(x)
    if status:
        reply(x, status)
        return body_n
    exchange_connect(x, 502)
    return body_n


cdef void note_request(Exchange* x, const u8* p, Head* h) noexcept:
    """What the exchange must remember of its head."""
    x.minor = <u8>h.minor
    if x.peer.trusted and x.k.o.real_ip:
        find_client(x, p, h)
    note_method(x, p + h.method.at, h.method.n)
    x.upgrade = (carrier_switches(x) and h.upgrading and h.upgrade.n > 0 and h.minor == 1 and h.content_length <= 0 and not h.chunked
                 and not names_h2c(p + h.upgrade.at, h.upgrade.n))


cdef enum Method:    # as in METHODS
    METHOD_NONE, METHOD_GET, METHOD_HEAD, METHOD_POST, METHOD_PUT, METHOD_DELETE, METHOD_PATCH, METHOD_OPTIONS, METHOD_OTHER


cdef inline void note_method(Exchange* x, const u8* m, int n) noexcept nogil:
    x.method = <u8>method_of(m, n)
    x.is_head = x.method == METHOD_HEAD
    x.repeatable = (x.method != METHOD_POST and x.method != METHOD_PATCH and x.method != METHOD_OTHER)    # RFC 9110, 9.2.2


cdef int method_of(const u8* m, int n) noexcept nogil:
    if method_is(m, n, b"GET"):
        return METHOD_GET
    if method_is(m, n, b"HEAD"):
        return METHOD_HEAD
    if method_is(m, n, b"POST"):
        return METHOD_POST
    if method_is(m, n, b"PUT"):
        return METHOD_PUT
    if method_is(m, n, b"DELETE"):
        return METHOD_DELETE
    if method_is(m, n, b"PATCH"):
        return METHOD_PATCH
    return METHOD_OPTIONS if method_is(m, n, b"OPTIONS") else METHOD_OTHER


cdef bint names_h2c(const u8* p, int n) noexcept nogil:
    """HTTP/2 over the switched connection would be requests that no rule of ours has seen."""
    cdef const char* word = b"h2c"
    cdef int i, word_n = <int>strlen(word)
    for i in range(n - word_n + 1):
        if is_word(p + i, word_n, word):
            return True
    return False


cdef inline bint method_is(const u8* p, int n, const char* name) noexcept nogil:
    return <size_t>n == strlen(name) and memcmp(p, name, n) == 0


cdef int find_route(Exchange* x, const u8* p, const Head* h, Target* t) noexcept:
    """Give the exchange its route and backend, once; 0, or the status when there is none."""
    cdef u8 host[HOST_MAX + 1]
    cdef HostTable table
    cdef int n = lookup_host(p, t, host), route
    cdef tuple captures = ()
    table = (<RouteTable>x.k.routes).find(host, n)
    if table is None:
        return 404
    n = 1 if t.path.n == 0 else normal_path(p + t.path.at, t.path.n, PATH)
    if t.path.n == 0:
        PATH[0] = c'/'
    if n < 0:
        return 400
    if table.patterns is None:
        route = table.find(PATH, n)
    else:
        try:
            found = find_pattern(table, PATH, n)
        except Exception as error:
            return filters_broken(x.k, error)
        route = NO_ROUTE
        if found is not None:
            route, captures = found
    if route == NO_ROUTE:
        return 404
    x.route_id = table.routes[route].id
    x.backend = table.routes[route].backend
    x.backend.refs += 1
    x.options = table.routes[route].options
    x.body_limit = table.routes[route].body_limit
    if x.log != NULL and table.routes[route].labels != NULL:
        x.labels = table.routes[route].labels
        Py_INCREF(<object>x.labels)
    if x.backend.patience.retry_on & RETRY_NON_IDEMPOTENT:
        x.repeatable = True
    if x.backend.balance != NULL:
        x.hash = request_hash(x, p, h, t)
    if table.routes[route].plan != NULL:
        take_plan(x, table, route, captures, p, h, t)
    return 0


cdef bint request_build(Exchange* x, u8* p, Head* h, Target* t, int body_n) noexcept:
    """The octets an endpoint gets first: the rewritten head and the part of the body that has come."""
    cdef Writer w
    cdef int spare = 1024    # the fields we add, without what is copied from the head
    cdef int size = h.length + 3 * t.authority.n + body_n + spare
    if x.peer.trusted:
        size += 2 * h.length    # lists are repeated, under other names
    if x.verified:
        size += x.peer.auth.text_n
    if x.request_edits != NULL:
        size += (<Edits>x.request_edits).size
    if x.asked != NULL and (<Request>x.asked).other_target is not None:
        size += <int>len((<Request>x.asked).other_target)
    w = writer(<u8*>malloc(size), size)
    if w.p == NULL:
        x.k.counters.no_memory += 1
        return False
    put_request(&w, x, p, h, t)
    put(&w, p + h.length, body_n)
    x.head = w.p
    x.head_n = w.n
    x.whole = x.request.mode == B_DONE
    x.keep_head = x.whole and x.repeatable
    return not w.full


cdef inline bint body_wanted(const Exchange* x) noexcept nogil:
    """Whether more of the request's body can be taken now."""
    return x.spooling or (x.up != NULL and not x.up.connecting and held(&x.up.outbox) == 0)


cdef void request_body(Exchange* x, u8* p, int n) noexcept:
    """More of the body in work, or of a switched protocol; what follows it is the next request."""
    cdef Conn* u = x.up
    cdef int used
    if x.spooling:
        spool_body(x, p, n)
        return
    used = body_feed(&x.request, p, n, NULL, NULL)
    if used < 0 or over_limit(x):
        carrier_last(x, LINGER)
        if x.responding:
            exchange_cut(x)
        else:
            reply(x, 400 if used < 0 else 413)
        return
    if used < n and not carrier_keep(x, p + used, n - used):
        return
    if not conn_send(u, p, used):
        upstream_lost(u, 502)
        return
    upstream_settle(u)
    carrier_settle(x)
