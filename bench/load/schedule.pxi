# When the next request of the open loop is due, and which one it is: a rate over time with requests drawn by weight, or
# a recording.

cdef struct Piece:
    uint64_t ns          # how long
    double rate0, rate1  # requests/s at its begin and end

cdef struct Schedule:
    uint64_t random      # state of the generator
    uint64_t started, ends
    int poisson
    uint32_t* weights    # of the requests, cumulative; the last one is the total
    int weight_count
    Piece* pieces
    int piece_count, piece_index
    uint64_t piece_from, piece_until
    uint64_t* recorded_ns        # when, from the start
    uint32_t* recorded           # and which request
    uint64_t recorded_count, recorded_index


cdef inline uint64_t next_random(uint64_t* state) noexcept nogil:
    """xorshift64*; good enough to draw arrivals and requests from."""
    cdef uint64_t x = state[0]
    x ^= x >> 12
    x ^= x << 25
    x ^= x >> 27
    state[0] = x
    return x * <uint64_t>2685821657736338717


cdef set_weights(Schedule* s, weights, seed):
    cdef uint32_t total = 0
    cdef int i
    s.random = <uint64_t>seed * <uint64_t>0x9E3779B97F4A7C15 + 1
    s.weight_count = len(weights)
    s.weights = <uint32_t*>malloc(s.weight_count * sizeof(uint32_t))
    for i, weight in enumerate(weights):
        total += weight
        s.weights[i] = total


cdef uint64_t set_recording(Schedule* s, recording):
    """recording: [(seconds from the start, index of the request)]. Returns the time of the first."""
    cdef uint64_t i
    s.recorded_count = len(recording)
    s.recorded_ns = <uint64_t*>malloc(s.recorded_count * sizeof(uint64_t))
    s.recorded = <uint32_t*>malloc(s.recorded_count * sizeof(uint32_t))
    for i, (seconds, request) in enumerate(recording):
        s.recorded_ns[i] = <uint64_t>(<double>seconds * NS)
        s.recorded[i] = request
    return s.started + s.recorded_ns[0]


cdef uint64_t set_pieces(Schedule* s, pieces):
    """pieces: [(seconds, rate at its begin, rate at its end)]. Returns the time of the first arrival."""
    cdef int i
    s.piece_count = len(pieces)
    s.pieces = <Piece*>malloc(s.piece_count * sizeof(Piece))
    for i, (seconds, rate0, rate1) in enumerate(pieces):
        s.pieces[i] = Piece(<uint64_t>(<double>seconds * NS), rate0, rate1)
    s.piece_index = -1
    enter_piece(s, s.started)
    # A constant rate begins with a request, a Poisson one with a gap; so does a ramp that begins at 0.
    if s.poisson or s.pieces[0].rate0 == 0:
        return arrival_after(s, s.started)
    return s.started


cdef void free_schedule(Schedule* s) noexcept:
    free(s.weights)
    free(s.pieces)
    free(s.recorded_ns)
    free(s.recorded)


cdef void enter_piece(Schedule* s, uint64_t at) noexcept:
    """Take the next piece of the profile; past the last one the schedule ends."""
    s.piece_index += 1
    s.piece_from = at
    s.piece_until = 0
    if s.piece_index < s.piece_count:
        s.piece_until = at + s.pieces[s.piece_index].ns


cdef uint64_t arrival_after(Schedule* s, uint64_t at) noexcept:
    """The intended time of the arrival that follows one at `at`; past `ends` when there is none."""
    if not s.recorded_count:
        return rated_arrival_after(s, at)
    s.recorded_index += 1
    if s.recorded_index >= s.recorded_count:
        return s.ends + 1
    return s.started + s.recorded_ns[s.recorded_index]


cdef uint64_t rated_arrival_after(Schedule* s, uint64_t at) noexcept:
    """Where the area under the rate has grown by one since `at` (Poisson: by an exponential draw)."""
    cdef double area = 1.0, left, rate, slope, step, length
    cdef Piece* piece
    if s.poisson:
        area = -log((<double>(next_random(&s.random) >> 11) + 1.0) / 9007199254740993.0)
    while s.piece_until != 0:
        piece = &s.pieces[s.piece_index]
        left = <double>(s.piece_until - at) / NS
        length = <double>(s.piece_until - s.piece_from) / NS
        slope = (piece.rate1 - piece.rate0) / length
        rate = piece.rate1 - slope * left
        if area < rate * left + slope * left * left / 2:
            step = area / rate if slope == 0 else (sqrt(rate * rate + 2 * slope * area) - rate) / slope
            return at + <uint64_t>(step * NS)
        area -= rate * left + slope * left * left / 2
        at = s.piece_until
        enter_piece(s, at)
    return s.ends + 1


cdef int pick(Schedule* s) noexcept:
    """Which request is next: the recorded one, or one drawn by weight."""
    cdef uint32_t drawn
    cdef int low = 0, high = s.weight_count - 1, middle
    if s.recorded_count:
        return s.recorded[s.recorded_index]
    if high == 0:
        return 0
    drawn = <uint32_t>((next_random(&s.random) >> 33) % s.weights[high])
    while low < high:
        middle = (low + high) // 2
        if s.weights[middle] <= drawn:
            low = middle + 1
        else:
            high = middle
    return low
