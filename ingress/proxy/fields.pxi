# Fields (RFC 9110, 5 and 7.6): which ones a proxy must know, and what each says. head.pxi finds them.

cdef enum:
    NEED_MORE = 0
    FIELDS_MAX = 256     # fields of one head, at most; settings may ask for fewer
    NAMED_MAX = 16       # options of the Connection field that are not known ones
    PIECES_MAX = 16      # fields of one name that are joined into one
    NAMES_SIZE = 256

# What a field is to the proxy.
cdef enum FieldKind:
    OTHER, HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE, EXPECT, HOP
    FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PORT, FORWARDED_PROTO, FORWARDED_LIST, FORWARDED, REQUEST_ID, ORIGINAL_FORWARDED, DATE, SERVER
    REFERER, USER_AGENT, AUTHORIZATION

cdef struct Span:
    int at
    int n

cdef struct Field:
    int at         # of the line
    int name_n
    int value_at
    int value_n
    int end        # just after the line's CRLF
    int kind
    bint drop

cdef struct Head:
    int length             # of the whole head, the empty line included
    int minor              # HTTP/1.minor
    int status             # responses
    Span method
    Span target
    Span host              # at -1: no Host field
    Span upgrade
    Span request_id
    Span referer
    Span user_agent
    Span authorization
    int64_t content_length  # -1: none
    int length_digits
    bint chunked
    bint close             # Connection: close
    bint keep_alive        # Connection: keep-alive
    bint upgrading         # Connection: upgrade
    bint expect_continue
    bint has_date
    bint has_server
    int encodings          # Transfer-Encoding fields seen
    int named_n
    Span named[NAMED_MAX]
    int field_n
    Field field[FIELDS_MAX]

cdef struct HeadLimits:
    int fields
    int target

cdef struct KnownName:
    const char* name
    int n
    int kind

cdef KnownName KNOWN[NAMES_SIZE]


cdef inline int name_slot(const u8* p, int n) noexcept nogil:
    return (n * 7 + LOWER[p[0]] * 3 + LOWER[p[n - 1]] * 5 + LOWER[p[n >> 1]] * 11) & (NAMES_SIZE - 1)


cdef list KNOWN_NAMES = [  # keeps the names alive: KNOWN points into them
    (b"host", HOST), (b"connection", CONNECTION), (b"content-length", CONTENT_LENGTH),
    (b"transfer-encoding", TRANSFER_ENCODING), (b"upgrade", UPGRADE), (b"expect", EXPECT),
    (b"keep-alive", HOP), (b"proxy-connection", HOP), (b"te", HOP), (b"proxy-authorization", HOP),
    (b"proxy-authenticate", HOP),
    (b"x-forwarded-for", FORWARDED_FOR), (b"x-forwarded-host", FORWARDED_HOST),
    (b"x-forwarded-port", FORWARDED_PORT), (b"x-forwarded-proto", FORWARDED_PROTO),
    (b"x-forwarded-scheme", FORWARDED), (b"x-scheme", FORWARDED), (b"x-real-ip", FORWARDED),
    (b"forwarded", FORWARDED_LIST), (b"proxy", FORWARDED),
    (b"ssl-client-verify", FORWARDED), (b"ssl-client-cert", FORWARDED), (b"ssl-client-subject-dn", FORWARDED),
    (b"ssl-client-issuer-dn", FORWARDED),
    (b"x-original-forwarded-for", ORIGINAL_FORWARDED), (b"x-original-forwarded-host", ORIGINAL_FORWARDED),
    (b"x-request-id", REQUEST_ID), (b"date", DATE), (b"server", SERVER),
    (b"referer", REFERER), (b"user-agent", USER_AGENT), (b"authorization", AUTHORIZATION),
]


cdef void init_names() except *:
    cdef int slot
    cdef bytes name
    for name, kind in KNOWN_NAMES:
        slot = name_slot(<const u8*><const char*>name, len(name))
        while KNOWN[slot].name != NULL:
            slot = (slot + 1) & (NAMES_SIZE - 1)
        KNOWN[slot].name = name
        KNOWN[slot].n = len(name)
        KNOWN[slot].kind = kind


init_names()


cdef inline int field_kind(const u8* p, int n) noexcept nogil:
    cdef int slot = name_slot(p, n)
    while KNOWN[slot].name != NULL:
        if n == KNOWN[slot].n and same_token(p, <const u8*>KNOWN[slot].name, n):
            return KNOWN[slot].kind
        slot = (slot + 1) & (NAMES_SIZE - 1)
    return OTHER


cdef int read_options(const u8* b, Field* f, Head* h) noexcept nogil:
    """The options of a Connection field; -1 when there are too many."""
    cdef int i = f.value_at, end = f.value_at + f.value_n, at, n
    while i < end:
        while i < end and (is_space(b[i]) or b[i] == c','):
            i += 1
        at = i
        while i < end and b[i] != c',':
            i += 1
        n = i - at
        while n and is_space(b[at + n - 1]):
            n -= 1
        if n == 0:
            continue
        if is_word(b + at, n, b"close"):
            h.close = True
        elif is_word(b + at, n, b"keep-alive"):
            h.keep_alive = True
        elif is_word(b + at, n, b"upgrade"):
            h.upgrading = True
        elif h.named_n == NAMED_MAX:
            return -1
        else:
            h.named[h.named_n].at = at
            h.named[h.named_n].n = n
            h.named_n += 1
    return 0


cdef int read_content_length(const u8* b, Field* f, Head* h) noexcept nogil:
    """Digits only (RFC 9112, 6.2). Equal repetitions, in one field or in several, are one (6.3, point 5)."""
    cdef int i = f.value_at, end = f.value_at + f.value_n, digits
    cdef int64_t value
    while True:
        value = 0
        digits = 0
        while i < end and c'0' <= b[i] <= c'9':
            digits += 1
            if digits > 18:
                return -1
            value = value * 10 + (b[i] - c'0')
            i += 1
        if digits == 0:
            return -1
        if h.content_length >= 0 and (h.content_length != value or h.length_digits != digits):
            return -1    # identical, not only equal: "5, 05" is somebody's trick
        h.content_length = value
        h.length_digits = digits
        while i < end and is_space(b[i]):
            i += 1
        if i == end:
            return 0
        if b[i] != c',':
            return -1
        i += 1
        while i < end and is_space(b[i]):
            i += 1


cdef inline Span value_of(Field* f) noexcept nogil:
    cdef Span s
    s.at = f.value_at
    s.n = f.value_n
    return s


cdef int note_field(const u8* b, Field* f, Head* h) noexcept nogil:
    """What a known field says; 0, or minus a status."""
    cdef int kind = f.kind
    if kind == HOST:
        if h.host.at >= 0:
            return -400
        h.host = value_of(f)
    elif kind == CONNECTION:
        f.drop = True
        if read_options(b, f, h) < 0:
            return -400
    elif kind == CONTENT_LENGTH:
        f.drop = True    # framing is written anew, in one spelling
        if read_content_length(b, f, h) < 0:
            return -400
    elif kind == TRANSFER_ENCODING:
        f.drop = True
        h.encodings += 1
        h.chunked = is_word(b + f.value_at, f.value_n, b"chunked")
        if h.encodings > 1 or not h.chunked:
            return -501 if f.value_n and not h.chunked and h.encodings == 1 else -400
    elif kind == UPGRADE:
        f.drop = True
        if h.upgrade.at:
            h.upgrade.n = 0     # several: passed on as none
        else:
            h.upgrade = value_of(f)
    elif kind == HOP:
        f.drop = True
    elif kind == EXPECT:
        h.expect_continue = is_word(b + f.value_at, f.value_n, b"100-continue")
    elif kind == REQUEST_ID:
        h.request_id = value_of(f)
    elif kind == REFERER:
        h.referer = value_of(f)
    elif kind == USER_AGENT:
        h.user_agent = value_of(f)
    elif kind == AUTHORIZATION:
        h.authorization = value_of(f)
    elif kind == DATE:
        h.has_date = True
    elif kind == SERVER:
        h.has_server = True
    return 0


cdef void drop_named(const u8* b, Head* h) noexcept nogil:
    """Fields named by Connection go no further (RFC 9110, 7.6.1), but framing and Host are not the sender's to remove."""
    cdef int i, j
    cdef Field* f
    for i in range(h.field_n):
        f = &h.field[i]
        if f.kind == HOST or f.kind == CONTENT_LENGTH or f.kind == TRANSFER_ENCODING:
            continue
        for j in range(h.named_n):
            if same_name(b + f.at, f.name_n, b + h.named[j].at, h.named[j].n):
                f.drop = True
