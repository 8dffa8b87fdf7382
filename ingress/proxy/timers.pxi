# One coarse wheel of deadlines per engine. Putting a deadline off is one store: the slot is left where it is,
# and the sweep that finds it too early files it anew.


cdef void wheel_take(Conn* c) noexcept:
    if c.slot < 0:
        return
    if c.timer_prev != NULL:
        c.timer_prev.timer_next = c.timer_next
    else:
        c.k.wheel[c.slot] = c.timer_next
    if c.timer_next != NULL:
        c.timer_next.timer_prev = c.timer_prev
    c.slot = -1


cdef void wheel_put(Conn* c) noexcept:
    cdef Core* k = c.k
    # Counted from the slot swept last, not from now: what a late sweep files anew must not land where it is at work.
    cdef uint32_t ahead = c.deadline - k.swept
    if <int32_t>ahead < 1:
        ahead = 1
    if ahead > WHEEL_SLOTS - 1:
        ahead = WHEEL_SLOTS - 1
    c.slot = <int>((k.swept + ahead) % WHEEL_SLOTS)
    c.timer_prev = NULL
    c.timer_next = k.wheel[c.slot]
    if c.timer_next != NULL:
        c.timer_next.timer_prev = c
    k.wheel[c.slot] = c


cdef inline void arm(Conn* c, int kind, uint32_t ticks) noexcept:
    """Let `kind` end after so many ticks from now."""
    cdef uint32_t deadline = c.k.tick + ticks + 1
    cdef uint32_t filed
    c.timer = <u8>kind
    if kind == T_NONE:
        c.deadline = 0
        return
    if deadline == 0:
        deadline = 1
    c.deadline = deadline
    if c.slot >= 0:
        filed = (<uint32_t>c.slot - c.k.swept) % WHEEL_SLOTS
        if deadline - c.k.swept >= filed:
            return
        wheel_take(c)
    wheel_put(c)


cdef void sweep(Core* k) noexcept:
    """Every slot whose time has come since the last sweep."""
    cdef Conn* c
    cdef Conn* due
    cdef uint32_t slot
    cdef int turns = 0
    while k.swept != k.tick and turns < WHEEL_SLOTS:
        k.swept += 1
        turns += 1
        slot = k.swept % WHEEL_SLOTS
        due = k.wheel[slot]
        k.wheel[slot] = NULL
        while due != NULL:
            c = due
            due = c.timer_next
            if due != NULL:
                due.timer_prev = NULL
            c.slot = -1
            # An expiry may close others of this list; they unlink themselves from its head.
            k.wheel[slot] = due
            if c.deadline == 0:
                pass
            elif <int32_t>(c.deadline - k.tick) > 0:
                wheel_put(c)
            else:
                c.deadline = 0
                expired(c)
            due = k.wheel[slot]
    k.swept = k.tick


cdef inline void tell_time(Core* k) noexcept:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    k.now_ns = <int64_t>now.tv_sec * 1000000000 + now.tv_nsec
    k.tick = <uint32_t>(k.now_ns >> TICK_SHIFT)


cdef uint32_t ticks_of(double seconds):
    return <uint32_t>min(max(seconds, 0.0) * 1e9 / (1 << TICK_SHIFT), 1e9)
