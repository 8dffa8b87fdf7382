# Backends and their endpoints; which endpoint a request goes to.


cdef Backend* backend_named(Core* k, object key) except NULL:
    """The backend of a name; one that nobody has described yet has no endpoints, so it answers 503."""
    cdef Engine engine = <Engine>k.engine
    cdef Backend* b
    cdef bytes name = key.encode()
    if len(name) > NAME_MAX:
        raise ValueError(f"backend {key!r}: its name is longer than {NAME_MAX} octets")
    address = engine.backends.get(key)
    if address is not None:
        return <Backend*><size_t>address
    b = <Backend*>calloc(1, sizeof(Backend))
    if b == NULL:
        raise MemoryError()
    b.k = k
    b.refs = b.table_refs = 1
    b.patience = k.o.patience
    b.name_n = len(name)
    memcpy(b.name, <const char*>name, b.name_n)
    getrandom(&b.turn, sizeof(b.turn), 0)    # round robin begins anywhere: workers must not march in step
    engine.backends[key] = <size_t>b
    return b


cdef void backend_release(Backend* b) noexcept:
    if b == NULL:
        return
    b.refs -= 1
    if b.refs == 1 and b.removed:
        backend_remove(b)
    elif b.refs == 0:
        backend_clear(b)
        free(b)


cdef void backend_remove(Backend* b) noexcept:
    """Take its endpoints away. Routes that name it find it again if it is described anew; it goes with the last one."""
    cdef Engine engine = <Engine>b.k.engine
    backend_clear(b)
    backend_plain(b)
    b.removed = b.refs > 1
    if not b.removed:
        engine.backends.pop((<const char*>b.name)[:b.name_n].decode(), None)
        free(b)


cdef void backend_plain(Backend* b) noexcept:
    transport_release(b.transport)
    b.transport = NULL


cdef void backend_clear(Backend* b) noexcept:
    cdef Endpoint** old = b.endpoints
    cdef int i, n = b.n
    b.endpoints = NULL
    b.n = 0
    balance_free(b.balance)
    b.balance = NULL
    for i in range(n):
        endpoint_leave(old[i])
    free(old)


cdef void endpoint_leave(Endpoint* e) noexcept:
    """One backend fewer has it. Idle connections go when the last has left; those at work finish."""
    e.members -= 1
    if e.members == 0:
        e.refs += 1      # closing its connections must not free it under this loop
        while e.idle != NULL:
            conn_close(e.idle)
        e.refs -= 1
        endpoint_forget(e)


cdef void endpoint_forget(Endpoint* e) noexcept:
    if e.members == 0 and e.open_n == 0 and e.refs == 0:
        forget_endpoint_key(e)
        SSL_SESSION_free(e.session)
        transport_release(e.transport)
        free(e)


cdef void forget_endpoint_key(Endpoint* e) noexcept:
    cdef Engine engine = <Engine>e.k.engine
    key = (<const char*>e.key)[:e.key_n]
    engine.endpoints.pop(endpoint_key(key, e.transport), None)


cdef inline object endpoint_key(bytes address, const Transport* t):
    return address if t == NULL else (address, t.number)


cdef Endpoint* endpoint_at(Core* k, str ip, int port, Transport* transport) except NULL:
    cdef Engine engine = <Engine>k.engine
    cdef Endpoint* e
    cdef bytes text = ip.encode()
    cdef bytes key = (f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}").encode()
    cdef sockaddr_in* four
    cdef sockaddr_in6* six
    address = engine.endpoints.get(endpoint_key(key, transport))
    if address is not None:
        return <Endpoint*><size_t>address
    if not 0 < port < 65536 or len(key) > <int>sizeof(e.key):
        raise ValueError(f"endpoint {ip}:{port}: the port must be 1 to 65535")
    e = <Endpoint*>calloc(1, sizeof(Endpoint))
    if e == NULL:
        raise MemoryError()
    e.k = k
    four = <sockaddr_in*>&e.address
    six = <sockaddr_in6*>&e.address
    if inet_pton(AF_INET, text, &four.sin_addr) == 1:
        four.sin_family = AF_INET
        four.sin_port = htons(<uint16_t>port)
        e.address_n = sizeof(sockaddr_in)
    elif inet_pton(AF_INET6, text, &six.sin6_addr) == 1:
        six.sin6_family = AF_INET6
        six.sin6_port = htons(<uint16_t>port)
        e.address_n = sizeof(sockaddr_in6)
    else:
        free(e)
        raise ValueError(f"endpoint {ip!r}: not an IPv4 or IPv6 address")
    memcpy(e.key, <const char*>key, len(key))
    e.key_n = <u8>len(key)
    e.transport = transport
    if transport != NULL:
        transport.refs += 1
    engine.endpoints[endpoint_key(key, transport)] = <size_t>e
    return e


cdef dict weights_of(object endpoints):
    """(ip, port) -> weight, each endpoint once, those without any weight left out."""
    cdef dict found = {}
    for ip, port, *rest in endpoints:
        weight = int(rest[0]) if rest else 1
        if not 0 <= weight <= WEIGHT_MAX:
            raise ValueError(f"endpoint {ip}:{port}: its weight must be 0 to {WEIGHT_MAX}")
        if weight:
            found.setdefault((str(ip), int(port)), weight)
    return found


cdef void backend_fill(Backend* b, object endpoints, object spec) except *:
    """Replace endpoints and options; nothing changes when something is wrong."""
    cdef dict wanted = weights_of(endpoints)
    cdef Endpoint** fresh = <Endpoint**>calloc(len(wanted) + 1, sizeof(Endpoint*))
    cdef Endpoint** old
    cdef Patience patience = b.k.o.patience
    cdef Balance* balance
    cdef Transport* transport = NULL
    cdef int n = 0, i, old_n
    if fresh == NULL:
        raise MemoryError()
    try:
        read_patience(&patience, spec)
        transport = transport_for(b, spec.transport)
        for ip, port in wanted:
            fresh[n] = endpoint_at(b.k, ip, port, transport)
            fresh[n].members += 1
            n += 1
        balance = balance_new(b, fresh, list(wanted.values()), spec)
    except BaseException:
        for i in range(n):
            endpoint_leave(fresh[i])
        free(fresh)
        transport_release(transport)
        raise
    b.removed = False
    old = b.endpoints
    old_n = b.n
    b.endpoints = fresh
    b.n = n
    b.patience = patience
    transport_release(b.transport)
    b.transport = transport
    balance_free(b.balance)
    b.balance = balance
    for i in range(old_n):
        endpoint_leave(old[i])
    free(old)


cdef void endpoint_failed(Exchange* x, Endpoint* e) noexcept:
    """An attempt failed for a reason that is the endpoint's."""
    cdef Patience* o = &x.backend.patience
    e.failures += 1
    e.streak += 1
    if x.backend.balance != NULL:
        note_failure(e, e.k.now_ns - x.attempt_ns)
    if o.eject_after and e.streak >= o.eject_after and not is_ejected(e):
        e.ejected_until = (e.k.tick + (o.eject << min(e.ejections, 4)) + 1) | 1
        e.ejections += 1
        e.k.counters.ejections += 1


cdef inline void endpoint_worked(Endpoint* e) noexcept nogil:
    if e.ejections:
        e.well_since = e.k.tick
    e.streak = 0
    e.ejections = 0
    e.ejected_until = 0


cdef inline bint is_ejected(const Endpoint* e) noexcept nogil:
    return e.ejected_until != 0 and <int32_t>(e.ejected_until - e.k.tick) > 0


cdef bint may_leave_out(const Backend* b) noexcept nogil:
    """Whether ejected endpoints may be left out: when more than a share looks bad, the fault is likely not theirs."""
    cdef int i, ejected = 0
    for i in range(b.n):
        ejected += is_ejected(b.endpoints[i])
    return ejected <= b.n * b.patience.eject_share


cdef Endpoint* pick(Exchange* x) noexcept:
    """The next endpoint in turn that has not been tried and is not ejected; NULL when the backend has none at all.

    Only a first attempt moves the backend's turn: else, past a dead endpoint, every request would begin with it.
    """
    cdef Backend* b = x.backend
    cdef Endpoint* e
    if b.n == 0:
        return NULL
    if x.asked != NULL:
        e = pinned(x)
        if e != NULL:
            return e
    if b.balance != NULL:
        return balance_pick(x)
    if x.tried_n == 0:
        b.turn += 1
        x.turn = b.turn
        e = b.endpoints[x.turn % <uint32_t>b.n]
        if not is_ejected(e):
            return e
    return pick_other(x, may_leave_out(b))


cdef Endpoint* pinned(Exchange* x) noexcept:
    """The endpoint that the filters have chosen for this attempt, if it may be used."""
    cdef Request r = <Request>x.asked
    cdef Backend* b = x.backend
    cdef int i
    if x.attempts:
        return tried_before(x) if r.pin_retries else NULL
    if not r.pin_octets:
        return NULL
    for i in range(b.n):
        if same_name(b.endpoints[i].key, b.endpoints[i].key_n, <const u8*><const char*>r.pin_octets,
                     <int>len(r.pin_octets)):
            return NULL if is_ejected(b.endpoints[i]) and may_leave_out(b) else b.endpoints[i]
    return NULL


cdef Endpoint* tried_before(Exchange* x) noexcept nogil:
    """The endpoint of the first attempt, if it is still there."""
    cdef Backend* b = x.backend
    cdef int i
    for i in range(b.n):
        if x.tried_n and b.endpoints[i] == x.tried[0]:
            return b.endpoints[i]
    return NULL


cdef Endpoint* pick_other(Exchange* x, bint leave_out) noexcept:
    """From the exchange's turn on, the best there is: untried and well, untried, any."""
    cdef Backend* b = x.backend
    cdef Endpoint* e
    cdef Endpoint* untried = NULL
    cdef int left = b.n
    while left > 0:
        left -= 1
        e = b.endpoints[x.turn % <uint32_t>b.n]
        x.turn += 1
        if was_tried(x, e):
            continue
        if not (leave_out and is_ejected(e)):
            return e
        if untried == NULL:
            untried = e
    if untried == NULL:
        untried = b.endpoints[x.turn % <uint32_t>b.n]
        x.turn += 1
    return untried


cdef bint was_tried(const Exchange* x, const Endpoint* e) noexcept nogil:
    cdef int i
    for i in range(x.tried_n):
        if x.tried[i] == e:
            return True
    return False
