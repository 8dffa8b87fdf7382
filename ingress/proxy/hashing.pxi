# Consistent hashing: what a request goes by, and the endpoint that leads to; the same in every worker, at any time.

from libc.math cimport ceil

cdef enum:
    RING_POINTS = 160         # per endpoint of weight 1, as ketama has it
    RING_POINTS_MAX = 1 << 20  # of a whole ring: weights are scaled down to it
    MAGLEV_PLACES = 65537     # prime; a change of size would move every key

cdef extern from "<stdlib.h>" nogil:
    void qsort(void* p, size_t n, size_t size, int (*compare)(const void*, const void*) noexcept nogil)

cdef struct RingPoint:
    uint64_t at
    uint16_t owner


cdef int compare_points(const void* a, const void* b) noexcept nogil:
    cdef uint64_t one = (<const RingPoint*>a).at, other = (<const RingPoint*>b).at
    return -1 if one < other else one > other


cdef void build_ring(Balance* p, Endpoint** members) except *:
    """Points by weight on a circle of 64 bits; a key belongs to the first point from its own place on."""
    cdef RingPoint* points
    cdef uint64_t h
    cdef double scale = 1
    cdef int i, r, count = 0, size = 0
    if p.n and p.upto[p.n - 1] * RING_POINTS > RING_POINTS_MAX:
        scale = RING_POINTS_MAX / (p.upto[p.n - 1] * RING_POINTS)
    for i in range(p.n):
        size += <int>ceil(RING_POINTS * p.weight[i] * scale)
    points = <RingPoint*>calloc(size + 1, sizeof(RingPoint))
    p.at = <uint64_t*>calloc(size + 1, sizeof(uint64_t))
    p.owner = <uint16_t*>calloc(size + 1, sizeof(uint16_t))
    if points == NULL or p.at == NULL or p.owner == NULL:
        free(points)
        raise MemoryError()
    for i in range(p.n):
        h = hash_octets(members[i].key, members[i].key_n)
        for r in range(<int>ceil(RING_POINTS * p.weight[i] * scale)):
            points[count].at = mix(h + <uint64_t>(r + 1) * <uint64_t>0x9e3779b97f4a7c15ULL)
            points[count].owner = <uint16_t>i
            count += 1
    qsort(points, count, sizeof(RingPoint), compare_points)
    for i in range(count):
        p.at[i] = points[i].at
        p.owner[i] = points[i].owner
    free(points)
    p.places = count


cdef void build_maglev(Balance* p, Endpoint** members) except *:
    """Each endpoint in turn, as often as its weight says, takes the next free place of its own permutation."""
    cdef list order = sorted(range(p.n), key=lambda i: (<const char*>members[<int>i].key)[:members[<int>i].key_n])
    cdef uint64_t* step = <uint64_t*>calloc(2 * p.n + 1, sizeof(uint64_t))
    cdef uint64_t* place = step + p.n
    cdef double* credit = <double*>calloc(2 * p.n + 1, sizeof(double))
    cdef double* gain = credit + p.n
    cdef int* turns = <int*>calloc(p.n + 1, sizeof(int))
    cdef int i, j, filled = 0, most = 1
    cdef uint64_t h
    p.owner = <uint16_t*>calloc(MAGLEV_PLACES, sizeof(uint16_t))
    try:
        if step == NULL or credit == NULL or turns == NULL or p.owner == NULL:
            raise MemoryError()
        for j, i in enumerate(order):
            turns[j] = i
            h = hash_octets(members[i].key, members[i].key_n)
            place[i] = h % MAGLEV_PLACES
            step[i] = mix(h) % (MAGLEV_PLACES - 1) + 1
            most = max(most, p.weight[i])
        for i in range(p.n):
            gain[i] = <double>p.weight[i] / most
        memset(p.owner, 0xff, MAGLEV_PLACES * sizeof(uint16_t))
        while p.n and filled < MAGLEV_PLACES:
            for j in range(p.n):
                i = turns[j]
                credit[i] += gain[i]
                if credit[i] < 1 or filled == MAGLEV_PLACES:
                    continue
                credit[i] -= 1
                while p.owner[place[i]] != 0xffff:
                    place[i] = (place[i] + step[i]) % MAGLEV_PLACES
                p.owner[place[i]] = <uint16_t>i
                filled += 1
        p.places = filled
    finally:
        free(step)
        free(credit)
        free(turns)


cdef uint64_t request_hash(Exchange* x, const u8* b, const Head* h, const Target* t) noexcept:
    """Of what the backend's consistent hash goes by; anything where the request has no such thing."""
    cdef Balance* p = x.backend.balance
    cdef const Field* f
    cdef Span found
    cdef const u8* text
    cdef bytes chosen
    cdef int i, n = 0
    if p.hash_by == BY_FILTER and x.asked != NULL and (<Request>x.asked).hash_key:
        chosen = (<Request>x.asked).hash_key
        return hash_octets(<const u8*><const char*>chosen, <int>len(chosen))
    if p.hash_by == BY_CLIENT:
        text = client_text(x, &n)
        return hash_octets(text, n)
    if p.hash_by == BY_URI:
        return hash_octets(b + t.rest.at, t.rest.n)
    for i in range(h.field_n):
        f = &h.field[i]
        if p.hash_by == BY_HEADER and same_name(b + f.at, f.name_n, p.name, p.name_n):
            return hash_octets(b + f.value_at, f.value_n)
        if p.hash_by == BY_COOKIE and is_word(b + f.at, f.name_n, b"cookie"):
            found = cookie_value(b, f, p.name, p.name_n)
            if found.at >= 0:
                return hash_octets(b + found.at, found.n)
    return roll(x.k) if p.hash_by else 0


cdef Span cookie_value(const u8* b, const Field* f, const u8* name, int name_n) noexcept nogil:
    """The value of a cookie in a Cookie field (RFC 6265, 4.2.1); at -1: it is not there."""
    cdef Span found
    cdef int i = f.value_at, end = f.value_at + f.value_n, at
    while i < end:
        while i < end and (is_space(b[i]) or b[i] == c';'):
            i += 1
        at = i
        while i < end and b[i] != c';':
            i += 1
        if i - at > name_n and b[at + name_n] == c'=' and memcmp(b + at, name, name_n) == 0:
            found.at = at + name_n + 1
            found.n = i - found.at
            return found
    found.at = -1
    found.n = 0
    return found


cdef Endpoint* pick_by_hash(Exchange* x, int* leave_out) noexcept:
    """From the key's place on, the first that may take the request and does not have more than its share."""
    cdef Backend* b = x.backend
    cdef Balance* p = b.balance
    cdef Endpoint* e
    cdef Endpoint* first = NULL
    cdef int total = max(1, b.refs - b.table_refs), i, left = min(p.places, 16 * p.n + 64)
    cdef int place = ring_place(p, x.hash) if p.algorithm == RING else <int>(x.hash % MAGLEV_PLACES)
    while left > 0:
        left -= 1
        i = p.owner[place]
        place = place + 1 if place + 1 < p.places else 0
        e = b.endpoints[i]
        if (e == first) or unfit(x, e, leave_out):
            continue
        if p.load_bound == 0 or under_way(e) < ceil(p.load_bound * total * p.weight[i] / p.upto[p.n - 1]):
            return e
        if first == NULL:
            first = e
    return first


cdef int ring_place(const Balance* p, uint64_t hash_) noexcept nogil:
    cdef int low = 0, high = p.places, middle
    while low < high:
        middle = (low + high) // 2
        if p.at[middle] < hash_:
            low = middle + 1
        else:
            high = middle
    return low if low < p.places else 0
