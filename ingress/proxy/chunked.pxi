# The chunked coding (RFC 9112, 7.1), octet by octet where it matters and by whole chunks where it does not.

cdef enum ChunkState:
    SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILER, TRAILER_NAME, TRAILER_VALUE, TRAILER_LF, LAST_LF, ENDED

cdef enum:
    SIZE_DIGITS_MAX = 15        # below 2 ** 60: cannot overflow
    CHUNK_LINE_MAX = 4096       # one chunk's extensions
    TRAILERS_MAX = 16384        # all trailers

cdef struct Chunked:
    int state
    int used      # digits, or octets of the line
    int64_t left  # of this chunk
    int64_t total  # of all chunks that have been announced


cdef inline bint chunk_size_octet(Chunked* c, u8 octet) noexcept nogil:
    if HEX[octet] >= 0:
        c.used += 1
        if c.used > SIZE_DIGITS_MAX:
            return False
        c.left = c.left * 16 + HEX[octet]
        return True
    if c.used == 0:
        return False
    if octet == c'\r':
        c.state = SIZE_LF
    elif octet == c';':
        c.state = EXTENSION
        c.used = 0
    else:
        return False
    return True


cdef inline bint trailer_octet(Chunked* c, u8 octet) noexcept nogil:
    c.used += 1
    if c.used > TRAILERS_MAX:
        return False
    if c.state == TRAILER:
        c.state = LAST_LF if octet == c'\r' else TRAILER_NAME
        return octet == c'\r' or TOKEN[octet]
    if c.state == TRAILER_NAME:
        if octet == c':':
            c.state = TRAILER_VALUE
        return octet == c':' or TOKEN[octet]
    if c.state == TRAILER_VALUE:
        if octet == c'\r':
            c.state = TRAILER_LF
        return octet == c'\r' or FIELD_VALUE[octet]
    if c.state == TRAILER_LF:
        c.state = TRAILER
        return octet == c'\n'
    c.state = ENDED
    return octet == c'\n'


cdef bint chunk_octet(Chunked* c, u8 octet) noexcept nogil:
    """One octet of framing; False when it may not stand there."""
    if c.state == SIZE:
        return chunk_size_octet(c, octet)
    if c.state == EXTENSION:
        c.used += 1
        if octet == c'\r':
            c.state = SIZE_LF
        return c.used <= CHUNK_LINE_MAX and (octet == c'\r' or FIELD_VALUE[octet])
    if c.state == SIZE_LF:
        c.used = 0
        c.total += c.left
        c.state = DATA if c.left else TRAILER
        return octet == c'\n'
    if c.state == DATA_CR:
        c.state = DATA_LF
        return octet == c'\r'
    if c.state == DATA_LF:
        c.used = 0
        c.state = SIZE
        return octet == c'\n'
    return trailer_octet(c, octet)


cdef int chunked_feed(Chunked* c, u8* b, int n, u8* data, int* data_n) noexcept nogil:
    """Follow the coding through n octets: how many belong to it (fewer than n only once it has ENDED), or -1.

    With `data`, the chunks' content is collected there (it may be `b` itself) and counted in data_n.
    """
    cdef int i = 0, piece
    while i < n and c.state != ENDED:
        if c.state == DATA:
            piece = n - i if c.left > n - i else <int>c.left
            if data != NULL:
                memmove(data + data_n[0], b + i, piece)
                data_n[0] += piece
            i += piece
            c.left -= piece
            if c.left == 0:
                c.state = DATA_CR
        else:
            if not chunk_octet(c, b[i]):
                return -1
            i += 1
    return i


cdef bint put_chunk(Buffer* out, const u8* p, int n) noexcept nogil:
    """One chunk; nothing for no octets. False without memory."""
    cdef u8 line[16]
    cdef int i = sizeof(line), left = n
    if n == 0:
        return True
    line[i - 2] = c'\r'
    line[i - 1] = c'\n'
    i -= 2
    while left:
        i -= 1
        line[i] = HEX_DIGITS[left & 15]
        left >>= 4
    return (buffer_add(out, line + i, <int>sizeof(line) - i) and buffer_add(out, p, n)
            and buffer_add(out, <const u8*>b"\r\n", 2))


cdef inline bint put_last_chunk(Buffer* out) noexcept nogil:
    return buffer_add(out, <const u8*>b"0\r\n\r\n", 5)
