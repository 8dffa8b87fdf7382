# Counters in plain memory: one row per route and status, with a duration histogram.

cdef enum:
    BUCKETS = 11

cdef int64_t BUCKET_NS[BUCKETS]
BUCKET_SECONDS = (.005, .01, .025, .05, .1, .25, .5, 1., 2.5, 5., 10.)    # as ingress-nginx's histograms

cdef struct Stat:
    int route_id
    int status            # 0: the place is free
    uint64_t requests
    uint64_t octets_in
    uint64_t octets_out
    int64_t duration_ns
    uint64_t buckets[BUCKETS + 1]    # the last one: longer than all

cdef struct StatTable:
    Stat* rows
    int used
    uint32_t mask


cdef void init_buckets():
    for i, seconds in enumerate(BUCKET_SECONDS):
        BUCKET_NS[i] = <int64_t>(seconds * 1e9)


init_buckets()


cdef inline Stat* stat_place(Stat* rows, uint32_t mask, int route_id, int status) noexcept nogil:
    cdef uint32_t slot = (<uint32_t>route_id * <uint32_t>2654435761U + <uint32_t>status * <uint32_t>40503U)
    slot = (slot ^ (slot >> 15)) & mask
    while rows[slot].status and (rows[slot].route_id != route_id or rows[slot].status != status):
        slot = (slot + 1) & mask
    return &rows[slot]


cdef bint stat_grow(StatTable* t) noexcept nogil:
    cdef uint32_t mask = t.mask * 2 + 1 if t.rows != NULL else 63
    cdef uint32_t i
    cdef Stat* rows = <Stat*>calloc(mask + 1, sizeof(Stat))
    if rows == NULL:
        return False
    if t.rows != NULL:
        for i in range(t.mask + 1):
            if t.rows[i].status:
                stat_place(rows, mask, t.rows[i].route_id, t.rows[i].status)[0] = t.rows[i]
        free(t.rows)
    t.rows = rows
    t.mask = mask
    return True


cdef void stat_add(StatTable* t, int route_id, int status, int64_t octets_in, int64_t octets_out,
                   int64_t ns) noexcept nogil:
    cdef Stat* row
    cdef int i = 0
    if (t.rows == NULL or <uint32_t>t.used * 2 > t.mask) and not stat_grow(t):
        return
    row = stat_place(t.rows, t.mask, route_id, status)
    if row.status == 0:
        row.route_id = route_id
        row.status = status
        t.used += 1
    row.requests += 1
    row.octets_in += <uint64_t>octets_in
    row.octets_out += <uint64_t>octets_out
    row.duration_ns += ns
    while i < BUCKETS and ns > BUCKET_NS[i]:
        i += 1
    row.buckets[i] += 1


cdef dict stat_rows(StatTable* t):
    """(route id, status) -> what stats() says of it."""
    cdef dict rows = {}
    cdef uint32_t i
    cdef Stat* row
    if t.rows == NULL:
        return rows
    for i in range(t.mask + 1):
        row = &t.rows[i]
        if row.status:
            rows[(row.route_id, row.status)] = {
                "requests": row.requests,
                "octets_in": row.octets_in,
                "octets_out": row.octets_out,
                "seconds": row.duration_ns / 1e9,
                "buckets": [row.buckets[j] for j in range(BUCKETS + 1)],
            }
    return rows
