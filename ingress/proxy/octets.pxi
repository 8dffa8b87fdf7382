# Octets: character classes, comparison without case, and a writer that cannot run over its end.

cdef u8 TOKEN[256]       # RFC 9110, 5.6.2: what a method and a field name are made of
cdef u8 FIELD_VALUE[256]  # RFC 9110, 5.5: no control but HTAB; obs-text is let through
cdef u8 TARGET[256]      # visible octets; no "#": a fragment is never sent (RFC 9112, 3.2)
cdef u8 HOST_NAME[256]   # reg-name and IPv4 of RFC 3986, 3.2.2; also the inside of an IP literal
cdef u8 LOWER[256]
cdef signed char HEX[256]
cdef u8 UNRESERVED[256]
cdef const u8* HEX_DIGITS = b"0123456789abcdef"


cdef void fill(u8* table, bytes members):
    cdef int i
    for i in range(256):
        table[i] = 1 if i in members else 0


cdef void init_octets():
    cdef int i
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    digits = b"0123456789"
    fill(UNRESERVED, letters + digits + b"-._~")
    fill(TOKEN, letters + digits + b"!#$%&'*+-.^_`|~")
    fill(HOST_NAME, letters + digits + b"-._~!$&'()*+,;=%")
    fill(FIELD_VALUE, bytes([9, *range(32, 127), *range(128, 256)]))
    fill(TARGET, bytes([octet for octet in range(33, 256) if octet not in (127, ord("#"))]))
    for i in range(256):
        LOWER[i] = bytes([i]).lower()[0]
        HEX[i] = -1
    for i in range(16):
        HEX[HEX_DIGITS[i]] = i
        HEX[HEX_DIGITS[i] - 32 if i > 9 else HEX_DIGITS[i]] = i


init_octets()


cdef inline bint is_word(const u8* p, int n, const char* word) noexcept nogil:
    """Whether the n octets at p are `word`, which is in lower case; p may be in any case."""
    cdef int i
    if <size_t>n != strlen(word):
        return False
    for i in range(n):
        if LOWER[p[i]] != <u8>word[i]:
            return False
    return True


cdef inline bint same_name(const u8* a, int an, const u8* b, int bn) noexcept nogil:
    cdef int i
    if an != bn:
        return False
    for i in range(an):
        if LOWER[a[i]] != LOWER[b[i]]:
            return False
    return True


cdef inline bint is_space(u8 octet) noexcept nogil:
    return octet == c' ' or octet == c'\t'


cdef struct Writer:
    u8* p
    int n
    int capacity
    bint full


cdef inline Writer writer(u8* p, int capacity) noexcept nogil:
    cdef Writer w
    w.p = p
    w.n = 0
    w.capacity = capacity
    w.full = False
    return w


cdef inline void put(Writer* w, const u8* p, int n) noexcept nogil:
    if n > w.capacity - w.n:
        w.full = True
        return
    memcpy(w.p + w.n, p, n)
    w.n += n


cdef inline void put_text(Writer* w, const char* text) noexcept nogil:
    # The compiler folds strlen of a literal, so lengths are never counted by hand.
    put(w, <const u8*>text, <int>strlen(text))


cdef void put_number(Writer* w, uint64_t value) noexcept nogil:
    cdef u8 digits[20]
    cdef int i = sizeof(digits)
    while True:
        i -= 1
        digits[i] = <u8>(c'0' + value % 10)
        value //= 10
        if value == 0:
            break
    put(w, digits + i, <int>sizeof(digits) - i)


# Octets held for later: what could not be sent yet, or what has come too early.
cdef struct Buffer:
    u8* p
    int start
    int end
    int capacity


cdef inline int held(const Buffer* b) noexcept nogil:
    return b.end - b.start


cdef void buffer_free(Buffer* b) noexcept nogil:
    free(b.p)
    memset(b, 0, sizeof(Buffer))


cdef bint buffer_add(Buffer* b, const u8* p, int n) noexcept nogil:
    """Append; False when there is no memory."""
    cdef u8* grown
    cdef int kept = held(b)
    if n <= 0:
        return True
    if b.start and b.end + n > b.capacity:
        memmove(b.p, b.p + b.start, kept)
        b.start = 0
        b.end = kept
    if b.end + n > b.capacity:
        grown = <u8*>realloc(b.p, b.end + n + b.end // 2)
        if grown == NULL:
            return False
        b.p = grown
        b.capacity = b.end + n + b.end // 2
    memcpy(b.p + b.end, p, n)
    b.end += n
    return True


cdef inline void buffer_take(Buffer* b, int n) noexcept nogil:
    """Drop the first n octets; an empty buffer gives its memory back."""
    b.start += n
    if b.start >= b.end:
        buffer_free(b)
