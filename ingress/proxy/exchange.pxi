# An exchange: one request and its response, from its validated head to its line in the counters.
# It moves bodies between its carrier and `up`, tries endpoints, and knows nothing of how heads are spelt.


cdef Exchange* exchange_new(Core* k, Peer* peer) noexcept:
    cdef Exchange* x = k.spare_exchanges
    if x != NULL:
        k.spare_exchanges = x.next_spare
        k.spare_exchange_n -= 1
    else:
        x = <Exchange*>malloc(sizeof(Exchange))
        if x == NULL:
            k.counters.no_memory += 1
            return NULL
    memset(x, 0, sizeof(Exchange))
    x.k = k
    x.peer = peer
    x.route_id = NO_ROUTE
    x.started_ns = k.now_ns
    x.response.mode = B_HEAD
    k.exchange_n += 1
    return x


cdef void exchange_end(Exchange* x) noexcept:
    """Count it, log it, part from its carrier and its endpoint. An upstream connection still at work is closed."""
    cdef Core* k = x.k
    cdef Conn* u = x.up
    cdef int i
    if x.over:
        return
    x.over = True
    if u != NULL:
        x.up = NULL
        u.x = NULL
        conn_close(u)
    carrier_part(x)
    if x.status == 0:
        x.status = 499
    if not x.ours:
        count(x)
    log_exchange(x)
    if x.raw == STREAM:
        log_stream(x)
    if x.asked != NULL:
        filters_end(x)
    hold(&x.request_edits, None)
    hold(&x.response_edits, None)
    free(x.log)
    x.log = NULL
    if x.labels != NULL:
        Py_DECREF(<object>x.labels)
        x.labels = NULL
    free(x.head)
    x.head = NULL
    for i in range(x.tried_n):
        x.tried[i].refs -= 1
        endpoint_forget(x.tried[i])
    x.tried_n = 0
    if x.spool != NULL:
        spool_free(x)
    if x.packer != NULL:
        packer_free(x)
    backend_release(x.backend)
    x.backend = NULL
    k.exchange_n -= 1
    x.next_spare = k.dead_exchanges
    k.dead_exchanges = x


cdef void count(Exchange* x) noexcept:
    """What the counters say of it."""
    cdef int64_t now = x.k.now_ns
    cdef bint answered = x.response_ns >= x.attempt_ns > 0
    cdef Sample s
    s.route_id = x.route_id
    s.status = x.status
    s.method = x.method
    s.alternative = 0 if x.asked == NULL else alternative_number(<Engine>x.k.engine, (<Request>x.asked).alternative)
    s.octets_in = x.octets_in
    s.octets_out = x.octets_out
    s.ns[M_REQUEST] = now - x.started_ns
    s.ns[M_RESPONSE] = now - x.attempt_ns if answered else -1
    s.ns[M_HEADER] = x.response_ns - x.attempt_ns if answered else -1
    s.ns[M_CONNECT] = x.connected_ns - x.attempt_ns if x.connected_ns else -1
    stat_add(&x.k.stats, x.k.bounds, &s)


cdef int alternative_number(Engine engine, str key) noexcept:
    """Backends are few: each gets a number for good."""
    if not key:
        return 0
    if key not in engine.alternative_numbers:
        engine.alternative_numbers[key] = len(engine.alternatives)
        engine.alternatives.append(key)
    return engine.alternative_numbers[key]


cdef void exchange_connect(Exchange* x, int failure) noexcept:
    """Give the request to an endpoint, or answer with `failure` when no attempt is left."""
    cdef Endpoint* e
    cdef Conn* u
    cdef Patience* patience = &x.backend.patience
    if x.attempts == 0:
        x.first_ns = x.k.now_ns
    while x.attempts < patience.attempts and (x.attempts == 0 or in_time(x)):
        e = pick(x)
        if e == NULL:
            failure = 503
            break
        x.attempts += 1
        if x.tried_n < TRIED_MAX:
            x.tried[x.tried_n] = e
            x.tried_n += 1
            e.refs += 1
        e.requests += 1
        x.attempt_ns = x.k.now_ns
        x.connected_ns = 0
        u = exchange_upstream(x, e)
        if u == NULL:
            endpoint_failed(x, e)
            x.k.counters.connect_failures += 1
            log_attempt(x, 502)
            failure = 502
            continue
        x.up = u
        u.x = x
        u.peer.served += 1
        if not u.connecting:
            x.connected_ns = x.attempt_ns
        if u.connecting or sent_later(x) or exchange_send_head(x):
            upstream_settle(u)
            carrier_settle(x)
            return
        upstream_lost(u, 502)
        return
    reply(x, failure)


cdef bint sent_later(Exchange* x) noexcept:
    """Let the request wait until all that came in this batch is read: kernels and processors do the same thing many
    times in a row for less, and an endpoint is woken once for several requests."""
    if not x.k.gathering or x.request.mode != B_DONE or x.raw or x.spool != NULL or x.up.ssl != NULL:
        return False
    if not x.unsent:
        x.unsent = True
        x.next_unsent = NULL
        x.k.unsent_end[0] = x
        x.k.unsent_end = &x.next_unsent
    return True


cdef void send_gathered(Core* k) noexcept:
    """The requests of this batch, in their order."""
    cdef Exchange* x
    k.gathering = False
    while k.unsent != NULL:
        x = k.unsent
        k.unsent = x.next_unsent
        x.unsent = False
        if x.over or x.up == NULL or x.up.connecting:
            continue
        if not exchange_send_head(x):
            upstream_lost(x.up, 502)
        elif held(&x.up.outbox):
            upstream_settle(x.up)
    k.unsent_end = &k.unsent


cdef Conn* exchange_upstream(Exchange* x, Endpoint* e) noexcept:
    """A connection to the endpoint, or NULL.

    What may be sent only once is not risked on a pooled connection that has been closed meanwhile, and when one
    pooled connection was found closed, the others are not tried: the endpoint has been restarted.
    """
    cdef Conn* u = NULL if x.stale_retried or x.raw else pool_get(e)
    while u != NULL and not x.keep_head and not still_quiet(u):
        conn_close(u)
        u = pool_get(e)
    if u == NULL:
        u = upstream_dial(x.k, e)
        if u == NULL and (errno == EMFILE or errno == ENFILE) and free_descriptor(x.k):
            u = upstream_dial(x.k, e)
    return u


cdef bint free_descriptor(Core* k) noexcept:
    """Close an idle pooled connection, so that a request in work can have its descriptor."""
    cdef Conn* u = k.upstreams
    while u != NULL:
        if u.pooled:
            conn_close(u)
            return True
        u = u.next
    return False


cdef bint exchange_send_head(Exchange* x) noexcept:
    """False when nothing of it could be sent: the connection is broken."""
    cdef Conn* u = x.up
    cdef Py_ssize_t sent
    if x.raw:
        raw_connected(x)
        return True
    sent = conn_write(u, x.head, x.head_n)
    if sent < 0:
        return False
    x.head_sent = <int>sent
    if sent < x.head_n and not buffer_add(&u.outbox, x.head + sent, x.head_n - <int>sent):
        x.k.counters.no_memory += 1
        return False
    if x.spool != NULL:
        x.spool.sent = 0
        if not spool_send(x):
            return False
    if not x.keep_head:
        free(x.head)
        x.head = NULL
    return True


cdef void exchange_gone(Exchange* x) noexcept:
    """The client is no longer there."""
    if x.status == 0:
        x.status = 499    # nginx's name for it
    if not x.ours:
        x.k.counters.client_aborts += 1
    exchange_end(x)
    carrier_close(x)


cdef inline bint in_time(const Exchange* x) noexcept nogil:
    cdef int64_t limit = x.backend.patience.retry_ns
    return limit == 0 or x.k.now_ns - x.first_ns < limit


cdef bint may_retry(Exchange* x, bint asked) noexcept:
    """Never once the response has begun; always when nothing was sent; else when it is asked for and doing the request
    twice is harmless (RFC 9110, 9.2.2) or asked for as well."""
    if x.head == NULL or x.responding or not carrier_there(x):
        return False
    return x.head_sent == 0 or (x.repeatable and x.whole and asked)


cdef void retry(Exchange* x, int failure) noexcept:
    x.k.counters.retries += 1
    x.head_sent = 0
    exchange_connect(x, failure)


cdef void upstream_lost(Conn* u, int status) noexcept:
    """The connection failed before its response was complete: another attempt, an answer of ours, or a cut response."""
    cdef Exchange* x = u.x
    cdef uint32_t why
    cdef bint stale, begun = held(&u.inbox) > 0, was_connecting = u.connecting
    if x == NULL:
        conn_close(u)
        return
    stale = u.reused and not begun and status == 502
    x.up = NULL
    u.x = NULL
    if not stale:
        endpoint_failed(x, u.endpoint)
        if was_connecting:
            x.k.counters.connect_failures += 1
        elif status == 504:
            x.k.counters.upstream_timeouts += 1
        else:
            x.k.counters.upstream_resets += 1
    log_attempt(x, status)
    conn_close(u)
    if x.responding:
        exchange_cut(x)
        return
    stale = stale and not x.stale_retried
    why = RETRY_TIMEOUT if status == 504 else RETRY_ERROR
    if not begun and may_retry(x, stale or x.backend.patience.retry_on & why):
        if stale:
            x.stale_retried = True    # an idle connection that was closed meanwhile says nothing of the endpoint
            x.attempts -= 1
        retry(x, status)
        return
    reply(x, status)


cdef void exchange_cut(Exchange* x) noexcept:
    """The response cannot be completed: the client must see that it ends without the rest."""
    exchange_end(x)
    carrier_cut(x)


cdef int body_feed(Body* body, u8* p, int n, u8* data, int* data_n) noexcept nogil:
    """How many of n octets belong to the body, or -1; its mode becomes B_DONE at the end. `data`: see chunked_feed."""
    cdef int used
    if body.mode == B_LENGTH:
        used = n if body.left > n else <int>body.left
        body.left -= used
        if body.left == 0:
            body.mode = B_DONE
        return used
    if body.mode == B_CHUNKED:
        used = chunked_feed(&body.chunked, p, n, data, data_n)
        if body.chunked.state == ENDED:
            body.mode = B_DONE
        return used
    return 0 if body.mode == B_DONE else n


cdef void exchange_done(Exchange* x, bint surplus) noexcept:
    """The response is complete."""
    cdef Conn* u = x.up
    cdef bint reusable = (not x.upstream_close and not surplus and x.request.mode == B_DONE
                          and held(&u.outbox) == 0 and x.response.mode == B_DONE and not spool_left(x))
    x.up = NULL
    u.x = NULL
    if x.request.mode != B_DONE:
        carrier_last(x, LINGER)
    log_attempt(x, x.status)
    if reusable:
        pool_put(u)
    else:
        conn_close(u)
    exchange_end(x)
    carrier_finished(x)
