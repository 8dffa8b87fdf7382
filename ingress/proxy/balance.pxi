# Which endpoint a request goes to, where the backend asks for more than plain turns. Samples by weight are drawn from
# cumulated weights; what cannot take the request now (tried, ejected, still warming up) is drawn again.

from libc.math cimport exp

cdef enum:
    WEIGHT_MAX = 65535
    MEMBERS_MAX = 65535
    DRAWS_MAX = 32            # then the first one that may take the request does

cdef double LATENCY_MEMORY_NS = 10e9    # a slow answer is forgotten in this time, to 1/e
cdef double FAILURE_NS = 0.1e9          # a failure counts as at least so slow
cdef double WARMTH_LEAST = 0.05         # of its share: what a new endpoint begins with


cdef inline uint64_t mix(uint64_t h) noexcept nogil:
    """Every bit of the result depends on every bit of h (the finaliser of MurmurHash3)."""
    h ^= h >> 33
    h *= <uint64_t>0xff51afd7ed558ccdULL
    h ^= h >> 33
    h *= <uint64_t>0xc4ceb9fe1a85ec53ULL
    return h ^ (h >> 33)


cdef uint64_t hash_octets(const u8* p, int n) noexcept nogil:
    """The same in every worker and after every restart."""
    cdef uint64_t h = <uint64_t>14695981039346656037ULL
    cdef int i
    for i in range(n):
        h = (h ^ p[i]) * <uint64_t>1099511628211ULL
    return mix(h)


cdef void seed_dice(Core* k, uint64_t seed):
    if seed:
        k.dice = mix(seed)
    else:
        getrandom(&k.dice, sizeof(k.dice), 0)


cdef inline uint64_t roll(Core* k) noexcept nogil:
    """64 bits (splitmix64)."""
    k.dice += <uint64_t>0x9e3779b97f4a7c15ULL
    return mix(k.dice)


cdef inline double roll_share(Core* k) noexcept nogil:
    return <double>(roll(k) >> 11) / <double>(<uint64_t>1 << 53)


ALGORITHMS = {"round_robin": ROUND_ROBIN, "ewma": EWMA, "least_requests": LEAST_REQUESTS, "ring": RING, "maglev": MAGLEV}


cdef void read_balance(Balance* p, object spec) except *:
    cdef bytes name
    if spec.algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm: {spec.algorithm!r} is none of {', '.join(ALGORITHMS)}")
    p.algorithm = ALGORITHMS[spec.algorithm]
    p.slow_start = ticks_of(spec.slow_start_seconds)
    p.load_bound = spec.load_bound
    if p.algorithm != RING and p.algorithm != MAGLEV:
        return
    kind, _, found = spec.hash_by.partition(":")
    if spec.hash_by == "client":
        p.hash_by = BY_CLIENT
    elif spec.hash_by == "uri":
        p.hash_by = BY_URI
    elif spec.hash_by == "filter":
        p.hash_by = BY_FILTER
    elif kind in ("header", "cookie") and found:
        p.hash_by = BY_HEADER if kind == "header" else BY_COOKIE
        name = found.encode()
        if len(name) > <int>sizeof(p.name):
            raise ValueError(f"hash_by: the name is longer than {sizeof(p.name)} octets")
        memcpy(p.name, <const char*>name, len(name))
        p.name_n = len(name)
    else:
        raise ValueError(f"hash_by: {spec.hash_by!r} is none of client, uri, filter, header:NAME and cookie:NAME")


cdef Balance* balance_new(Backend* b, Endpoint** members, list weights, object spec) except? NULL:
    """What BackendSpec asks for; NULL where plain turns do."""
    cdef Balance* p
    cdef int i, n = len(weights)
    cdef double sum_ = 0
    if n > MEMBERS_MAX:
        raise ValueError(f"at most {MEMBERS_MAX} endpoints")
    p = <Balance*>calloc(1, sizeof(Balance))
    if p == NULL:
        raise MemoryError()
    try:
        read_balance(p, spec)
        if p.algorithm == ROUND_ROBIN and p.slow_start == 0 and len(set(weights)) < 2:
            balance_free(p)
            return NULL
        p.n = n
        p.weight = <int*>calloc(n + 1, sizeof(int))
        p.upto = <double*>calloc(n + 1, sizeof(double))
        p.since = <uint32_t*>calloc(n + 1, sizeof(uint32_t))
        if p.weight == NULL or p.upto == NULL or p.since == NULL:
            raise MemoryError()
        for i in range(n):
            p.weight[i] = weights[i]
            sum_ += p.weight[i]
            p.upto[i] = sum_
        if p.slow_start:
            note_arrivals(b, p, members)
        if p.algorithm == RING:
            build_ring(p, members)
        elif p.algorithm == MAGLEV:
            build_maglev(p, members)
    except BaseException:
        balance_free(p)
        raise
    return p


cdef void balance_free(Balance* p) noexcept:
    if p != NULL:
        free(p.weight)
        free(p.upto)
        free(p.since)
        free(p.at)
        free(p.owner)
        free(p)


cdef void note_arrivals(Backend* b, Balance* p, Endpoint** members):
    """Who is new. The first endpoints of a backend are not: they have no warmer ones to leave requests to."""
    cdef dict before = {}
    cdef int i
    for i in range(b.n):
        before[<size_t>b.endpoints[i]] = 0 if b.balance == NULL else b.balance.since[i]
    for i in range(p.n):
        p.since[i] = before.get(<size_t>members[i], max(b.k.tick, <uint32_t>1) if b.n else 0)


# -- choosing

cdef inline bint unfit(Exchange* x, Endpoint* e, int* leave_out) noexcept nogil:
    """Tried already, or ejected and left out. `leave_out` is what may_leave_out says, -1 while it was not asked."""
    if was_tried(x, e):
        return True
    if not is_ejected(e):
        return False
    if leave_out[0] < 0:
        leave_out[0] = may_leave_out(x.backend)
    return leave_out[0]


cdef inline int under_way(const Endpoint* e) noexcept nogil:
    return e.open_n - e.idle_n


cdef inline int member_at(const Balance* p, double share) noexcept nogil:
    """Whose part of the cumulated weights `share` (0 to 1) of their sum falls into."""
    cdef int low = 0, high = p.n - 1, middle
    cdef double wanted = share * p.upto[p.n - 1]
    while low < high:
        middle = (low + high) // 2
        if p.upto[middle] > wanted:
            high = middle
        else:
            low = middle + 1
    return low


cdef inline bint is_warm(const Backend* b, int i) noexcept nogil:
    """Whether a draw of member i counts: in slow start only a growing share does."""
    cdef uint32_t since = b.balance.since[i], age
    cdef uint32_t well = b.endpoints[i].well_since
    cdef double warmth
    if b.balance.slow_start == 0:
        return True
    if well and (since == 0 or <int32_t>(well - since) > 0):
        since = well
    age = b.k.tick - since
    if since == 0 or age >= b.balance.slow_start:
        return True
    warmth = <double>age / b.balance.slow_start
    return roll_share(b.k) < (warmth if warmth > WARMTH_LEAST else WARMTH_LEAST)


cdef Endpoint* balance_pick(Exchange* x) noexcept:
    """The endpoint for the exchange's next attempt; the backend has at least one."""
    cdef Backend* b = x.backend
    cdef Balance* p = b.balance
    cdef int leave_out = -1
    cdef Endpoint* e
    if p.algorithm == RING or p.algorithm == MAGLEV:
        e = pick_by_hash(x, &leave_out)
    elif p.algorithm == ROUND_ROBIN:
        e = pick_by_turn(x, &leave_out)
    else:
        e = pick_of_two(x, &leave_out)
    if e != NULL:
        return e
    x.turn = <uint32_t>roll(x.k)
    return pick_other(x, may_leave_out(b))


cdef Endpoint* pick_by_turn(Exchange* x, int* leave_out) noexcept:
    """Turns around the cumulated weights in steps of the golden ratio: everybody's share is as even as can be."""
    cdef Backend* b = x.backend
    cdef Endpoint* e
    cdef int i
    for _ in range(DRAWS_MAX):
        b.turn += 1
        i = member_at(b.balance, <double>(b.turn * <uint32_t>2654435769U) / 4294967296.0)
        e = b.endpoints[i]
        if is_warm(b, i) and not unfit(x, e, leave_out):
            return e
    return NULL


cdef Endpoint* draw(Exchange* x, int* leave_out, const Endpoint* but) noexcept:
    """One at random, by weight; NULL when none was found in a while."""
    cdef Backend* b = x.backend
    cdef Endpoint* e
    cdef int i
    for _ in range(DRAWS_MAX):
        i = member_at(b.balance, roll_share(b.k))
        e = b.endpoints[i]
        if e != but and is_warm(b, i) and not unfit(x, e, leave_out):
            return e
    return NULL


cdef Endpoint* pick_of_two(Exchange* x, int* leave_out) noexcept:
    cdef Endpoint* one = draw(x, leave_out, NULL)
    cdef Endpoint* other
    if one == NULL or x.backend.n == 1:
        return one
    other = draw(x, leave_out, one)
    if other == NULL:
        return one
    if x.backend.balance.algorithm == EWMA:
        return other if expected_ns(other) < expected_ns(one) else one
    return other if under_way(other) < under_way(one) else one


# -- what is known of latencies

cdef inline double recent_ns(const Endpoint* e) noexcept nogil:
    """The average as it has faded since it was last noted."""
    return e.latency_ns * exp(-<double>(e.k.now_ns - e.latency_at_ns) / LATENCY_MEMORY_NS)


cdef inline double expected_ns(const Endpoint* e) noexcept nogil:
    """What one more request would wait. An unknown one is tried, by one request at a time."""
    cdef int n = under_way(e)
    if e.latency_ns == 0:
        return n * LATENCY_MEMORY_NS
    return recent_ns(e) * (n + 1)


cdef void note_latency(Endpoint* e, int64_t ns) noexcept nogil:
    """A slower answer counts at once, a faster one as much as time has passed: peaks are what hurts."""
    cdef double kept
    if ns < 1:
        ns = 1
    if e.latency_ns == 0 or ns > e.latency_ns:
        e.latency_ns = ns
    else:
        kept = exp(-<double>(e.k.now_ns - e.latency_at_ns) / LATENCY_MEMORY_NS)
        e.latency_ns = e.latency_ns * kept + ns * (1 - kept)
    e.latency_at_ns = e.k.now_ns


cdef void note_failure(Endpoint* e, int64_t ns) noexcept nogil:
    """A quick failure must not look like a quick answer."""
    note_latency(e, <int64_t>max(2 * recent_ns(e), FAILURE_NS, <double>ns))


cdef object choose_endpoint(Core* k, object key, bytes by):
    cdef Exchange x
    cdef Endpoint* e
    address = (<Engine>k.engine).backends.get(key)
    if address is None:
        return None
    memset(&x, 0, sizeof(Exchange))
    x.k = k
    x.backend = <Backend*><size_t>address
    x.hash = hash_octets(<const u8*><const char*>by, <int>len(by))
    e = pick(&x)
    return None if e == NULL else (<const char*>e.key)[:e.key_n].decode()
