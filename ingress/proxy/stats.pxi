# Counters in plain memory: a row for each route, status, method and alternative, with its histograms. Rows are handed
# over and forgotten when they are asked for: what is no longer requested takes no memory, and a route that is gone none.

cdef enum:
    M_REQUEST, M_RESPONSE, M_HEADER, M_CONNECT, MEASURES

cdef enum:
    BOUNDS_MAX = 24
    LENGTHS = MEASURES           # histograms: the durations, two lengths, one size
    HISTOGRAMS = MEASURES + 3

# The upper bounds of a histogram's buckets; one more counts what is above all.
cdef struct Bounds:
    int n
    int64_t at[BOUNDS_MAX]

# What there is to count of one exchange.
cdef struct Sample:
    int route_id
    int status
    int method               # index in METHODS
    int alternative          # of the engine's alternatives; 0: none
    int64_t octets_in
    int64_t octets_out
    int64_t ns[MEASURES]     # -1: not measured

cdef struct Stat:
    int route_id
    int status
    int method
    int alternative
    uint64_t requests
    uint64_t octets_in
    uint64_t octets_out
    int64_t ns[MEASURES]
    uint64_t counts[1]       # as many as the histograms have buckets

cdef struct StatTable:
    Stat** rows
    int used
    uint32_t mask


cdef inline const Bounds* bounds_of(const Bounds* bounds, int histogram) noexcept nogil:
    """Of times, lengths and sizes, in this order."""
    return &bounds[0 if histogram < LENGTHS else 1 if histogram < HISTOGRAMS - 1 else 2]


cdef int counts_in(const Bounds* bounds) noexcept nogil:
    cdef int i, n = 0
    for i in range(HISTOGRAMS):
        n += bounds_of(bounds, i).n + 1
    return n


cdef inline Stat** stat_place(Stat** rows, uint32_t mask, const Sample* s) noexcept nogil:
    cdef uint32_t slot = (<uint32_t>s.route_id * <uint32_t>2654435761U + <uint32_t>s.status * <uint32_t>40503U
                          + <uint32_t>(s.method + s.alternative * MEASURES) * <uint32_t>97U)
    slot = (slot ^ (slot >> 15)) & mask
    while rows[slot] != NULL and (rows[slot].route_id != s.route_id or rows[slot].status != s.status
                                  or rows[slot].method != s.method or rows[slot].alternative != s.alternative):
        slot = (slot + 1) & mask
    return &rows[slot]


cdef bint stat_grow(StatTable* t) noexcept nogil:
    cdef uint32_t mask = t.mask * 2 + 1 if t.rows != NULL else 63
    cdef uint32_t i
    cdef Sample s
    cdef Stat** rows = <Stat**>calloc(mask + 1, sizeof(Stat*))
    if rows == NULL:
        return False
    if t.rows != NULL:
        for i in range(t.mask + 1):
            if t.rows[i] != NULL:
                s.route_id = t.rows[i].route_id
                s.status = t.rows[i].status
                s.method = t.rows[i].method
                s.alternative = t.rows[i].alternative
                stat_place(rows, mask, &s)[0] = t.rows[i]
        free(t.rows)
    t.rows = rows
    t.mask = mask
    return True


cdef void stat_free(StatTable* t) noexcept nogil:
    cdef uint32_t i
    if t.rows != NULL:
        for i in range(t.mask + 1):
            free(t.rows[i])
        free(t.rows)
    memset(t, 0, sizeof(StatTable))


cdef inline int bucket_of(const Bounds* b, int64_t value) noexcept nogil:
    cdef int i = 0
    if value > b.at[b.n - 1]:
        return b.n
    while value > b.at[i]:
        i += 1
    return i


cdef void stat_add(StatTable* t, const Bounds* bounds, const Sample* s) noexcept nogil:
    cdef Stat* row
    cdef Stat** place
    cdef uint64_t* counts
    cdef const Bounds* b
    cdef int64_t value
    cdef int i
    if (t.rows == NULL or <uint32_t>t.used * 2 > t.mask) and not stat_grow(t):
        return
    place = stat_place(t.rows, t.mask, s)
    row = place[0]
    if row == NULL:
        row = place[0] = <Stat*>calloc(1, sizeof(Stat) + counts_in(bounds) * sizeof(uint64_t))
        if row == NULL:
            return
        row.route_id = s.route_id
        row.status = s.status
        row.method = s.method
        row.alternative = s.alternative
        t.used += 1
    row.requests += 1
    row.octets_in += <uint64_t>s.octets_in
    row.octets_out += <uint64_t>s.octets_out
    counts = row.counts
    for i in range(HISTOGRAMS):
        b = bounds_of(bounds, i)
        value = s.ns[i] if i < MEASURES else s.octets_in if i == LENGTHS else s.octets_out
        if value >= 0:
            counts[bucket_of(b, value)] += 1
            if i < MEASURES:
                row.ns[i] += value
        counts += b.n + 1


cdef void read_bounds(Bounds* out, object values, double scale):
    for i, value in enumerate(values):
        out.at[i] = <int64_t>(value * scale)
    out.n = len(values)


cdef class Rows:
    """Rows that were handed over, made one after the other."""

    cdef StatTable t
    cdef Bounds bounds[3]
    cdef list alternatives
    cdef uint32_t next

    def __dealloc__(self):
        stat_free(&self.t)

    def __iter__(self):
        return self

    def __next__(self):
        while self.t.rows != NULL and self.next <= self.t.mask:
            self.next += 1
            if self.t.rows[self.next - 1] != NULL:
                return self.read(self.t.rows[self.next - 1])
        raise StopIteration

    cdef object read(self, const Stat* row):
        cdef const uint64_t* counts = &row.counts[0]
        cdef list histograms = []
        cdef int i, j, n
        for i in range(HISTOGRAMS):
            n = bounds_of(self.bounds, i).n + 1
            histograms.append(tuple([counts[j] for j in range(n)]))
            counts += n
        return Counted(
            row.route_id, row.status, METHODS[row.method], self.alternatives[row.alternative], row.requests,
            row.octets_in, row.octets_out, Durations._make([row.ns[i] / 1e9 for i in range(MEASURES)]),
            Histograms._make(histograms))


cdef Rows take_rows(StatTable* t, const Bounds* bounds, list alternatives):
    cdef Rows rows = Rows.__new__(Rows)
    rows.t = t[0]
    memset(t, 0, sizeof(StatTable))
    memcpy(rows.bounds, bounds, sizeof(rows.bounds))
    rows.alternatives = alternatives
    return rows
