# Responses at a limited rate (nginx's limit_rate): their connection takes no more than time has earned. What waits lies in
# its outbox, so that its endpoint waits as for any slow reader; one timer of the loop's lets all of them on.

cdef enum:
    PACE_FOREVER = 1 << 30     # ticks

cdef double PACE_SECONDS = 0.1    # from one look to the next

cdef struct Pace:
    Conn* next                 # of those that wait
    Conn* prev
    bint queued
    double rate                # octets a second
    int64_t sent
    int64_t free_octets        # before the rate counts
    int64_t since_ns


cdef void pace_begin(Conn* c, double rate, int64_t free_octets) noexcept:
    """Limit what is sent from now on."""
    if c.pace == NULL:
        c.pace = <Pace*>calloc(1, sizeof(Pace))
    if c.pace == NULL:
        c.k.counters.no_memory += 1
        return
    c.pace.rate = rate
    c.pace.sent = 0
    c.pace.free_octets = free_octets
    c.pace.since_ns = c.k.now_ns


cdef void pace_end(Conn* c) noexcept:
    pace_leave(c)
    free(c.pace)
    c.pace = NULL


cdef int pace_room(Conn* c, int n) noexcept nogil:
    """How many of n octets may be sent now."""
    cdef Pace* p = c.pace
    cdef double earned = p.free_octets + p.rate * ((c.k.now_ns - p.since_ns) / 1e9 + PACE_SECONDS) - p.sent
    return n if earned >= n else <int>earned if earned >= 1 else 0


cdef void pace_wait(Conn* c) noexcept:
    """Look again in a moment."""
    cdef Core* k = c.k
    cdef Engine engine = <Engine>k.engine
    if c.pace.queued:
        return
    c.pace.queued = True
    c.pace.prev = NULL
    c.pace.next = k.paced
    if k.paced != NULL:
        k.paced.pace.prev = c
    else:
        k.paced_last = c
    k.paced = c
    k.paced_n += 1
    if engine.pacer is None:
        engine.pacer = engine.loop.call_later(PACE_SECONDS, engine._pace)


cdef void pace_leave(Conn* c) noexcept:
    cdef Pace* p = c.pace
    if not p.queued:
        return
    p.queued = False
    if p.prev != NULL:
        p.prev.pace.next = p.next
    else:
        c.k.paced = p.next
    if p.next != NULL:
        p.next.pace.prev = p.prev
    else:
        c.k.paced_last = p.prev
    c.k.paced_n -= 1


cdef void pace_all(Core* k) noexcept:
    """Everybody who waits gets what has been earned; who still waits then has queued anew."""
    cdef Conn* c
    cdef int left = k.paced_n
    while left > 0 and k.paced_last != NULL:
        left -= 1
        c = k.paced_last
        pace_leave(c)
        client_writable(c)
