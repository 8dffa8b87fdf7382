# Between the engine's plain memory and Python: settings in, counters out, the end of it all.

SWEEP_SECONDS = 0.25


cdef void read_settings(Options* o, object s) except *:
    o.limits.fields = min(s.field_limit, FIELDS_MAX)
    o.limits.target = min(s.target_limit_bytes, PATH_MAX)
    o.head_bytes = s.head_limit_bytes
    o.response_head_bytes = min(s.response_head_limit_bytes, HEADROOM // 2)
    o.pipeline_bytes = s.pipeline_limit_bytes
    o.read_bytes = s.read_buffer_bytes
    o.idle_per_endpoint = s.idle_per_endpoint
    o.requests_per_connection = s.requests_per_connection
    o.listen_batch = s.listen_batch
    o.client_head = ticks_of(s.client_head_seconds)
    o.client_body = ticks_of(s.client_body_seconds)
    o.client_idle = ticks_of(s.client_idle_seconds)
    o.client_send = ticks_of(s.client_send_seconds)
    o.drain_idle = ticks_of(s.drain_idle_seconds)
    o.linger = ticks_of(s.lingering_seconds)
    o.probe = ticks_of(s.half_close_probe_seconds)
    o.patience.attempts = s.attempts
    o.patience.retry_ns = <int64_t>(s.retry_seconds * 1e9)
    o.patience.connect = ticks_of(s.connect_seconds)
    o.patience.send = ticks_of(s.upstream_send_seconds)
    o.patience.read = ticks_of(s.upstream_read_seconds)
    o.patience.eject_after = s.eject_after_failures
    o.patience.eject = ticks_of(s.eject_seconds)
    o.patience.eject_share = s.eject_share
    read_retry_on(&o.patience, s.retry_on)
    o.upstream_age = ticks_of(s.upstream_age_seconds)
    o.upstream_idle = ticks_of(s.upstream_idle_seconds)
    o.octets_per_tick = max(1, <uint32_t>(s.client_octets_per_second * (1 << TICK_SHIFT) / 1e9))
    o.proxy_header = ticks_of(s.proxy_header_seconds)
    o.passthrough_idle = ticks_of(s.passthrough_idle_seconds)
    o.use_forwarded = s.use_forwarded_headers
    o.real_ip = s.use_forwarded_headers or s.enable_real_ip
    o.full_forwarded_for = s.compute_full_forwarded_for
    o.forwarded = s.forwarded
    o.underscores = s.underscores
    if s.forwarded_for_header.lower() != "x-forwarded-for":
        o.forwarded_for_n = copy_text(
            o.forwarded_for, sizeof(o.forwarded_for), "forwarded_for_header", s.forwarded_for_header)
    o.body_limit = s.body_limit_bytes
    o.route_options = ((BUFFER_REQUEST if s.request_buffering else 0) | (COMPRESS if s.compress else 0)
                       | (BUFFER_RESPONSE if s.response_buffering else 0))
    o.spool_memory = s.request_buffer_bytes
    o.response_memory = s.response_buffer_bytes
    read_packing(&o.packing, s)
    o.server_n = copy_text(o.server, sizeof(o.server), "server", s.server)
    o.brand_n = copy_text(o.brand, sizeof(o.brand), "brand", s.brand)


RETRY_TOKENS = {
    "error": RETRY_ERROR, "timeout": RETRY_TIMEOUT, "invalid_header": RETRY_INVALID_HEADER,
    "http_500": RETRY_500, "http_502": RETRY_502, "http_503": RETRY_503, "http_504": RETRY_504,
    "http_403": RETRY_403, "http_404": RETRY_404, "http_429": RETRY_429, "non_idempotent": RETRY_NON_IDEMPOTENT,
}


cdef void read_retry_on(Patience* p, object tokens) except *:
    p.retry_on = 0
    if list(tokens) == ["off"]:
        p.attempts = 1
        return
    for token in tokens:
        if token not in RETRY_TOKENS:
            raise ValueError(f"retry_on: {token!r} is none of {', '.join(RETRY_TOKENS)}, and off only stands alone")
        p.retry_on |= <uint32_t>RETRY_TOKENS[token]


cdef void read_patience(Patience* p, object spec) except *:
    """What a BackendSpec says; what it leaves open stays."""
    if spec.attempts is not None:
        p.attempts = max(1, spec.attempts)
    if spec.retry_seconds is not None:
        p.retry_ns = <int64_t>(spec.retry_seconds * 1e9)
    if spec.connect_seconds is not None:
        p.connect = ticks_of(spec.connect_seconds)
    if spec.send_seconds is not None:
        p.send = ticks_of(spec.send_seconds)
    if spec.read_seconds is not None:
        p.read = ticks_of(spec.read_seconds)
    if spec.eject_after_failures is not None:
        p.eject_after = spec.eject_after_failures
    if spec.eject_seconds is not None:
        p.eject = ticks_of(spec.eject_seconds)
    if spec.eject_share is not None:
        p.eject_share = spec.eject_share
    if spec.retry_on is not None:
        read_retry_on(p, spec.retry_on)


cdef int copy_text(u8* out, int size, str name, str text) except -1:
    cdef bytes octets = text.encode("latin-1")
    cdef int i
    if len(octets) > size:
        raise ValueError(f"{name}: at most {size} octets")
    for i in range(len(octets)):
        if not FIELD_VALUE[<u8>octets[i]]:
            raise ValueError(f"{name}: control characters are not allowed")
        out[i] = <u8>octets[i]
    return len(octets)


cdef int accept_limit(object descriptors):
    """The descriptor number above which no client is taken: the rest is for upstream connections."""
    if descriptors <= 0 or descriptors > 1 << 30:
        return 0
    return descriptors - max(8, min(64, descriptors // 4))


cdef dict client_states(Core* k):
    """As nginx tells them: reading a head, answering, or waiting for a next request."""
    cdef Conn* c = k.clients
    cdef int reading = 0, writing = 0
    while c != NULL:
        if c.x != NULL or held(&c.outbox):
            writing += 1
        elif c.handshaking or held(&c.inbox):
            reading += 1
        c = c.next
    return {"reading": reading, "writing": writing, "waiting": k.client_n - reading - writing}


cdef object read_endpoint(object address):
    cdef Endpoint* e = <Endpoint*><size_t>address
    return EndpointSeen(
        (<const char*>e.key)[:e.key_n].decode(), e.requests, e.failures, e.open_n, e.idle_n, bool(is_ejected(e)))


cdef dict read_stats(Core* k):
    return {
        "connections": k.client_n,
        **client_states(k),
        "accepted": k.counters.accepted,
        "upstream_connections": k.upstream_n,
        "exchanges": k.exchange_n,
        "draining": bool(k.draining),
        "events": dict(k.counters),
    }


cdef void core_close(Core* k) noexcept:
    """Close every connection, whatever it does."""
    cdef Conn* c
    if k.epfd < 0:
        return
    k.accept_paused = False
    while k.listeners != NULL:
        conn_close(k.listeners)
    while k.clients != NULL:
        c = k.clients
        if c.x != NULL:
            exchange_end(c.x)
        conn_close(c)
    errands_end(k)
    while k.upstreams != NULL:
        conn_close(k.upstreams)
    while k.ready != NULL:
        c = k.ready
        k.ready = c.ready_next
        c.pool_next = k.dead
        k.dead = c
    reap(k)
    close_fd(k.epfd)
    k.epfd = -1


cdef void core_free(Core* k, dict backends):
    cdef Conn* c
    cdef Exchange* x
    cdef Backend* b
    for address in backends.values():
        b = <Backend*><size_t>address
        backend_clear(b)
        backend_plain(b)
        b.removed = False
        backend_release(b)    # host tables may hold it on, without its endpoints
    while k.spare != NULL:
        c = k.spare
        k.spare = c.pool_next
        free(c)
    while k.spare_exchanges != NULL:
        x = k.spare_exchanges
        k.spare_exchanges = x.next_spare
        free(x)
    stat_free(&k.stats)
    free(k.log.buffer)
    free(k.trusted.range)
    free(k.proxies.range)
    free(k)
