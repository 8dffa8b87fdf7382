# Request and response heads (RFC 9112, 2 to 5): where things are in the octets, and whether they may be trusted.
# Functions over (pointer, length): no socket, no Python object. The result is a head's length, NEED_MORE, or minus a status.

cdef void head_reset(Head* h) noexcept nogil:
    # Everything but the field array, which is 256 entries long and is bounded by field_n.
    memset(h, 0, sizeof(Head) - sizeof(Field) * FIELDS_MAX)
    h.content_length = -1
    h.host.at = -1


cdef inline int scan_value(const u8* b, int i, int n, Field* f) noexcept nogil:
    """A field's value and line end from offset i, which is after the colon: the offset after the line."""
    cdef int end
    while i < n and is_space(b[i]):
        i += 1
    f.value_at = i
    i = value_end(b, i, n)
    if i >= n:
        return NEED_MORE
    if b[i] != c'\r':
        return -400
    if i + 1 >= n:
        return NEED_MORE
    if b[i + 1] != c'\n':
        return -400
    end = i
    while end > f.value_at and is_space(b[end - 1]):
        end -= 1
    f.value_n = end - f.value_at
    f.end = i + 2
    return i + 2


cdef int scan_fields(const u8* b, int i, int n, Head* h, int limit) noexcept nogil:
    """The fields from offset i to the empty line."""
    cdef int at, failed
    cdef Field* f
    while True:
        if i >= n:
            return NEED_MORE
        if b[i] == c'\r':
            if i + 1 >= n:
                return NEED_MORE
            if b[i + 1] != c'\n':
                return -400
            break
        at = i
        while i < n and TOKEN[b[i]]:
            i += 1
        if i >= n:
            return NEED_MORE
        if b[i] != c':' or i == at:   # also a folded line, and space before the colon
            return -400
        if h.field_n == limit:
            return -431
        f = &h.field[h.field_n]
        f.at = at
        f.name_n = i - at
        f.drop = False
        i = scan_value(b, i + 1, n, f)
        if i <= 0:
            return i
        h.field_n += 1
        f.kind = field_kind(b + at, f.name_n)
        if f.kind != OTHER:
            failed = note_field(b, f, h)
            if failed:
                return failed
    if h.named_n:
        drop_named(b, h)
    h.length = i + 2
    return h.length


cdef int request_head(const u8* b, int n, Head* h, const HeadLimits* limits) noexcept nogil:
    """A whole request head: its length; NEED_MORE; or minus the status that refuses it."""
    cdef int i = 0, got
    head_reset(h)
    if n and b[0] == c'\r':   # one empty line before a request is ignored (RFC 9112, 2.2)
        if n == 1:
            return NEED_MORE
        if b[1] != c'\n':
            return -400
        i = 2
    h.method.at = i
    while i < n and TOKEN[b[i]]:
        i += 1
    h.method.n = i - h.method.at
    if h.method.n > 64:
        return -400
    if i >= n:
        return NEED_MORE
    if b[i] != c' ' or h.method.n == 0:
        return -400
    i += 1
    h.target.at = i
    while i < n and TARGET[b[i]]:
        i += 1
    h.target.n = i - h.target.at
    if h.target.n > limits.target:
        return -414
    if i >= n:
        return NEED_MORE
    if b[i] != c' ' or h.target.n == 0:
        return -400
    got = version(b, i + 1, n, &h.minor)
    if got <= 0:
        return got
    if got >= n:
        return NEED_MORE
    if b[got] != c'\r':
        return -400
    if got + 1 >= n:
        return NEED_MORE
    if b[got + 1] != c'\n':
        return -400
    got = scan_fields(b, got + 2, n, h, limits.fields)
    return got if got <= 0 else check_request(b, h)


cdef int version(const u8* b, int i, int n, int* minor) noexcept nogil:
    """The offset after HTTP/1.0 or HTTP/1.1; another major version is 505."""
    cdef const char* name = b"HTTP/"
    cdef int k, name_n = <int>strlen(name)
    for k in range(name_n):
        if i + k >= n:
            return NEED_MORE
        if b[i + k] != <u8>name[k]:
            return -400
    i += name_n
    if i + 2 >= n:
        return NEED_MORE
    if not (c'0' <= b[i] <= c'9' and b[i + 1] == c'.' and c'0' <= b[i + 2] <= c'9'):
        return -400
    if b[i] != c'1':
        return -505
    minor[0] = 0 if b[i + 2] == c'0' else 1    # a higher minor version is spoken to as 1.1 (RFC 9110, 2.5)
    return i + 3


cdef int check_request(const u8* b, Head* h) noexcept nogil:
    if h.encodings and (h.content_length >= 0 or h.minor == 0):   # RFC 9112, 6.1: how smuggling is done
        return -400
    if h.host.at < 0 and h.minor == 1:
        return -400
    if h.minor == 0 and not h.keep_alive:
        h.close = True
    return h.length


cdef int response_head(const u8* b, int n, Head* h, int field_limit) noexcept nogil:
    """A whole response head: its length; NEED_MORE; or -502."""
    cdef int i, k, got
    head_reset(h)
    got = version(b, 0, n, &h.minor)
    if got <= 0:
        return NEED_MORE if got == NEED_MORE else -502
    i = got
    if i + 4 >= n:
        return NEED_MORE
    if b[i] != c' ':
        return -502
    for k in range(i + 1, i + 4):
        if not c'0' <= b[k] <= c'9':
            return -502
        h.status = h.status * 10 + (b[k] - c'0')
    i += 4
    if h.status < 100 or (b[i] != c' ' and b[i] != c'\r'):
        return -502
    while i < n and FIELD_VALUE[b[i]]:
        i += 1
    if i + 1 >= n:
        return NEED_MORE
    if b[i] != c'\r' or b[i + 1] != c'\n':
        return -502
    h.target.at = i + 2    # where the fields begin
    got = scan_fields(b, i + 2, n, h, field_limit)
    if got < 0 or (got > 0 and h.encodings and h.content_length >= 0):
        return -502
    if h.minor == 0 and not h.keep_alive:
        h.close = True
    return got
