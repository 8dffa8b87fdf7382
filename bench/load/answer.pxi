# Where an answer ends: HTTP/1.1 response framing (RFC 9112, section 6) for a client that trusts its own server.

cdef enum:
    HEAD_BYTES_MAX = 65536

cdef enum:
    HEAD
    LENGTH
    CHUNK_SIZE
    CHUNK_DATA
    CHUNK_END
    TRAILER
    UNTIL_CLOSE

cdef struct Answer:
    int stage
    int status
    int is_head          # of a HEAD request: no body follows
    int closes           # the server will close after it
    int keep             # keep head and body for a check
    int64_t left         # bytes of the body or chunk still to come
    int line             # bytes of the present line (CHUNK_SIZE, TRAILER)
    int kept_length
    int kept_room
    uint8_t* kept        # a head in pieces, or all that a check wants to see


cdef inline void answer_begin(Answer* a, int is_head) noexcept nogil:
    a.stage = HEAD
    a.status = a.closes = a.line = a.kept_length = 0
    a.left = 0
    a.is_head = is_head


cdef inline void answer_begin_message(Answer* a, int octets) noexcept nogil:
    """What comes is no HTTP: so many octets."""
    a.stage, a.left = LENGTH, octets
    a.status, a.closes, a.kept_length = 101, 0, 0


cdef inline bint answer_until_close(Answer* a) noexcept nogil:
    return a.stage == UNTIL_CLOSE


cdef int answer_append(Answer* a, const uint8_t* data, int length) noexcept nogil:
    cdef uint8_t* bigger
    if a.kept_length + length > a.kept_room:
        bigger = <uint8_t*>malloc(a.kept_length + length + 4096)
        if bigger == NULL:
            return -1
        memcpy(bigger, a.kept, a.kept_length)
        free(a.kept)
        a.kept, a.kept_room = bigger, a.kept_length + length + 4096
    memcpy(a.kept + a.kept_length, data, length)
    a.kept_length += length
    return 0


cdef inline void answer_keep(Answer* a, const uint8_t* data, int length, int at_most) noexcept nogil:
    if a.kept_length + length > at_most:
        length = at_most - a.kept_length
    if length > 0:
        answer_append(a, data, length)


cdef int answer_feed(Answer* a, const uint8_t* data, int length) noexcept nogil:
    """1: the answer is complete; 0: more to come; -1: not HTTP, or bytes after its end."""
    cdef int used
    if a.stage == HEAD:
        used = head_feed(a, data, length)
        if used < 0:
            return -1
        if used == 0:
            return 0
        data += used
        length -= used
    if a.stage == LENGTH:
        if length > a.left:
            return -1
        a.left -= length
        return a.left == 0
    if a.stage == UNTIL_CLOSE:
        return 0
    return chunks_feed(a, data, length)


cdef int head_feed(Answer* a, const uint8_t* data, int length) noexcept nogil:
    """Bytes of `data` that belong to the head once it is complete; 0: more to come; -1: not HTTP."""
    cdef const uint8_t* head = data
    cdef int have = length, end, rest
    if a.keep:
        # answer_keep has appended `data` already, unless the head is beyond what is kept.
        if a.kept_length < length:
            return -1
        head, have = a.kept, a.kept_length
    elif a.kept_length:
        if answer_append(a, data, length) < 0:
            return -1
        head, have = a.kept, a.kept_length
    while True:
        end = find_head_end(head, have)
        if end == 0:
            if have > HEAD_BYTES_MAX:
                return -1
            if not a.keep and head != a.kept and answer_append(a, head, have) < 0:
                return -1
            return 0
        if read_head(a, head, end) < 0:
            return -1
        rest = have - end  # of `data`: no head ends in a piece before it
        if not a.keep:
            a.kept_length = 0
        if a.status >= 200 or a.status == 101:
            return length - rest
        if a.keep:  # no check wants to see an interim answer
            memmove(a.kept, a.kept + end, rest)
            a.kept_length = rest
        head, have = data + length - rest, rest
        if a.keep:
            head = a.kept
        if rest == 0:
            return 0


cdef inline int find_head_end(const uint8_t* head, int length) noexcept nogil:
    """Length of the head with its empty line, 0 if that is not there yet."""
    cdef const uint8_t* at = head
    cdef const uint8_t* stop = head + length
    while True:
        at = <const uint8_t*>memchr(at, 10, stop - at)
        if at == NULL or stop - at < 3:
            return 0
        if at[1] == 13 and at[2] == 10:
            return <int>(at - head) + 3
        at += 1


cdef inline bint same(const uint8_t* text, const char* lower, int length) noexcept nogil:
    cdef int i
    for i in range(length):
        if (text[i] | 32) != <uint8_t>lower[i]:
            return False
    return True


cdef int read_head(Answer* a, const uint8_t* head, int length) noexcept nogil:
    cdef const uint8_t* at
    cdef const uint8_t* stop = head + length
    cdef const uint8_t* value
    cdef bint chunked = False
    cdef int64_t total = -1
    if length < 14 or not same(head, b"http/1.", 7) or head[8] != 32:
        return -1
    a.status = (head[9] - 48) * 100 + (head[10] - 48) * 10 + (head[11] - 48)
    if a.status < 100 or a.status > 599:
        return -1
    a.closes = head[7] == 48
    at = <const uint8_t*>memchr(head, 10, length) + 1
    while at < stop and at[0] != 13:
        if stop - at > 16 and same(at, b"content-length:", 15):
            value = at + 15
            while value[0] == 32:
                value += 1
            total = 0
            while 48 <= value[0] <= 57:
                total = total * 10 + value[0] - 48
                value += 1
        elif stop - at > 26 and same(at, b"transfer-encoding:", 18):
            value = at + 18
            while value[0] == 32:
                value += 1
            chunked = same(value, b"chunked", 7)
        elif stop - at > 17 and same(at, b"connection:", 11):
            value = at + 11
            while value[0] == 32:
                value += 1
            if same(value, b"close", 5):
                a.closes = 1
            elif stop - value > 10 and same(value, b"keep-alive", 10):
                a.closes = 0
        at = <const uint8_t*>memchr(at, 10, stop - at) + 1
    set_body(a, chunked, total)
    return 0


cdef inline void set_body(Answer* a, bint chunked, int64_t total) noexcept nogil:
    if a.is_head or a.status == 204 or a.status == 304 or a.status < 200:
        a.stage, a.left = LENGTH, 0
        if a.status < 200 and a.status != 101:
            a.stage = HEAD
    elif chunked:
        a.stage, a.left, a.line = CHUNK_SIZE, 0, 0
    elif total >= 0:
        a.stage, a.left = LENGTH, total
    else:
        a.stage, a.closes = UNTIL_CLOSE, 1


cdef inline int hex_digit(uint8_t c) noexcept nogil:
    if 48 <= c <= 57:
        return c - 48
    c |= 32
    return c - 87 if 97 <= c <= 102 else -1


cdef int chunks_feed(Answer* a, const uint8_t* data, int length) noexcept nogil:
    cdef int i = 0, digit
    cdef int64_t step
    while i < length:
        if a.stage == CHUNK_DATA:
            step = a.left if a.left < length - i else length - i
            a.left -= step
            i += <int>step
            if a.left == 0:
                a.stage, a.line = CHUNK_END, 0
            continue
        if a.stage == CHUNK_END:
            if data[i] == 10:
                a.stage, a.line = CHUNK_SIZE, 0
        elif a.stage == CHUNK_SIZE:
            digit = hex_digit(data[i])
            if data[i] == 10:
                if a.line == 0:
                    return -1
                a.stage = CHUNK_DATA if a.left else TRAILER
                a.line = 0
            elif digit >= 0 and a.line >= 0:
                a.left = a.left * 16 + digit
                a.line += 1
                if a.line > 15:
                    return -1
            elif data[i] == 59:
                a.line = -1  # an extension: skipped to the end of the line
        else:
            if data[i] == 10:
                if a.line == 0:
                    return 1 if i + 1 == length else -1
                a.line = 0
            elif data[i] != 13:
                a.line += 1
        i += 1
    return 0
