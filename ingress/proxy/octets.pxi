# Octets: character classes, comparison without case, and a writer that cannot run over its end.

cdef u8 TOKEN[256]       # RFC 9110, 5.6.2: what a method and a field name are made of
cdef u8 FIELD_VALUE[256]  # RFC 9110, 5.5: no control but HTAB; obs-text is let through
cdef u8 TARGET[256]      # visible octets; no "#": a fragment is never sent (RFC 9112, 3.2)
cdef u8 HOST_NAME[256]   # reg-name and IPv4 of RFC 3986, 3.2.2; also the inside of an IP literal
cdef u8 LOWER[256]
cdef signed char HEX[256]
cdef u8 HEX_PAIR[256][2]
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
        HEX_PAIR[i][0] = HEX_DIGITS[i >> 4]
        HEX_PAIR[i][1] = HEX_DIGITS[i & 15]
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


cdef extern from *:
    """
    #include <endian.h>
    #define OCTETS 8
    #define EACH_ONE     0x0101010101010101ull
    #define EACH_SPACE   0x2020202020202020ull
    #define EACH_DELETE  0x7f7f7f7f7f7f7f7full
    #define EACH_HIGHEST 0x8080808080808080ull
    #define trailing_zeros __builtin_ctzll
    """
    enum:
        OCTETS
    const uint64_t EACH_ONE, EACH_SPACE, EACH_DELETE, EACH_HIGHEST
    uint64_t le64toh(uint64_t word) nogil
    int trailing_zeros(uint64_t word) nogil


cdef inline uint64_t eight(const u8* p) noexcept nogil:
    """The octets at p, the first one lowest."""
    cdef uint64_t word
    memcpy(&word, p, sizeof(word))
    return le64toh(word)


cdef inline int value_end(const u8* b, int i, int n) noexcept nogil:
    """The first offset from i on of an octet that is in no field value, or n. Eight octets at a time: values are most
    of a head."""
    cdef uint64_t word, delete, odd
    while i + OCTETS <= n:
        word = eight(b + i)
        delete = word ^ EACH_DELETE
        # The highest bit of each octet below 32, and of each that is 127; above the lowest such octet also of others.
        odd = ((word - EACH_SPACE & ~word) | (delete - EACH_ONE & ~delete)) & EACH_HIGHEST
        if odd == 0:
            i += OCTETS
            continue
        i += trailing_zeros(odd) // 8
        if not FIELD_VALUE[b[i]]:
            return i
        i += 1      # HTAB
    while i < n and FIELD_VALUE[b[i]]:
        i += 1
    return i


cdef inline bint same_token(const u8* p, const u8* lower, int n) noexcept nogil:
    """Whether the n octets of a token at p are `lower` in any case, which is made of small letters, digits and "-":
    no other octet of a token becomes one of these by the bit that tells cases apart, which is a space."""
    cdef int i = 0
    if n < OCTETS:
        while i < n and p[i] | c' ' == lower[i]:
            i += 1
        return i == n
    while i < n - OCTETS:
        if eight(p + i) | EACH_SPACE != eight(lower + i):
            return False
        i += OCTETS
    return eight(p + n - OCTETS) | EACH_SPACE == eight(lower + n - OCTETS)


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
