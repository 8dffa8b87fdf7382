# Compression of responses, for routes that ask for it: nginx's rules for which, RFC 9110 (8.4, 12.5.3) for how.

cdef enum:
    PACKED_READ = 65536       # taken from the endpoint at a time: the loop must not be held up

CODINGS = {"gzip": GZIP, "br": BROTLI, "zstd": ZSTD}


cdef void read_packing(Packing* o, object s) except *:
    cdef bytes types = b"\n".join([kind.strip().lower().encode() for kind in s.compress_types])
    o.order_n = 0
    for name in s.compressions:
        if name not in CODINGS or o.order_n == 3:
            raise ValueError(f"compressions: {name!r} is none of {', '.join(CODINGS)}, each once")
        o.order[o.order_n] = CODINGS[name]
        o.order_n += 1
    if len(types) > <int>sizeof(o.types):
        raise ValueError(f"compress_types: longer than {sizeof(o.types)} octets in all")
    memcpy(o.types, <const char*>types, len(types))
    o.types_n = len(types)
    o.gzip_level = s.gzip_level
    o.brotli_level = s.brotli_level
    o.zstd_level = s.zstd_level
    o.least = s.compress_least_bytes


# -- what the client takes

cdef int quality(const u8* p, int n) noexcept nogil:
    """Of one element of a weighted list, in thousandths: 1000 without a q parameter."""
    cdef int i = 0, scale = 100, q
    while i < n:
        while i < n and p[i] != c';':
            i += 1
        i += 1
        while i < n and is_space(p[i]):
            i += 1
        if i + 1 < n and (p[i] == c'q' or p[i] == c'Q') and p[i + 1] == c'=':
            i += 2
            q = 1000 if i < n and p[i] == c'1' else 0
            i += 2
            while q < 1000 and i < n and c'0' <= p[i] <= c'9' and scale:
                q += scale * (p[i] - c'0')
                scale //= 10
                i += 1
            return q
    return 1000


cdef int coding_of(const u8* p, int n) noexcept nogil:
    """The coding an element names: -1 an unknown one, -2 any other ("*")."""
    if is_word(p, n, b"gzip") or is_word(p, n, b"x-gzip"):
        return GZIP
    if is_word(p, n, b"br"):
        return BROTLI
    if is_word(p, n, b"zstd"):
        return ZSTD
    if is_word(p, n, b"identity"):
        return IDENTITY
    return -2 if n == 1 and p[0] == c'*' else -1


cdef void read_accepted(const u8* p, int n, int* weights, int* any_) noexcept nogil:
    """The elements of one Accept-Encoding field."""
    cdef int i = 0, at, name_n, coding
    while i < n:
        while i < n and (is_space(p[i]) or p[i] == c','):
            i += 1
        at = i
        while i < n and p[i] != c',':
            i += 1
        name_n = 0
        while at + name_n < i and TOKEN[p[at + name_n]]:
            name_n += 1
        if name_n == 0:
            continue
        coding = coding_of(p + at, name_n)
        if coding >= 0:
            weights[coding] = quality(p + at, i - at)
        elif coding == -2:
            any_[0] = quality(p + at, i - at)


cdef int accepted_coding(const Packing* o, const u8* b, const Head* h) noexcept nogil:
    """The coding the client likes best of those we speak; ours decides between equals."""
    cdef int weights[4]
    cdef int any_ = -1, i, best = IDENTITY, most = 0, weight
    for i in range(4):
        weights[i] = -1
    for i in range(h.field_n):
        if is_word(b + h.field[i].at, h.field[i].name_n, b"accept-encoding"):
            read_accepted(b + h.field[i].value_at, h.field[i].value_n, weights, &any_)
    if h.minor == 0 or misreads_gzip(b + h.user_agent.at, h.user_agent.n):
        return IDENTITY
    for i in range(o.order_n):
        weight = weights[o.order[i]] if weights[o.order[i]] >= 0 else any_
        if weight > most:
            best = o.order[i]
            most = weight
    return best if most >= weights[<int>IDENTITY] else IDENTITY


cdef bint misreads_gzip(const u8* p, int n) noexcept nogil:
    """Internet Explorer 4 to 6 before Windows XP SP2: nginx's "msie6"."""
    cdef const char* word = b"MSIE "
    cdef int i, word_n = <int>strlen(word)
    for i in range(n - word_n - 1):
        if memcmp(p + i, word, word_n) == 0 and c'4' <= p[i + word_n] <= c'6' and p[i + word_n + 1] == c'.':
            for i in range(n - 2):
                if memcmp(p + i, b"SV1", 3) == 0:
                    return False
            return True
    return False


# -- which responses

cdef bint has_token(const u8* p, int n, const char* word) noexcept nogil:
    """Whether a list field has an element, whatever its parameters."""
    cdef int i = 0, at
    while i < n:
        while i < n and not TOKEN[p[i]]:
            i += 1
        at = i
        while i < n and TOKEN[p[i]]:
            i += 1
        if is_word(p + at, i - at, word):
            return True
        while i < n and p[i] != c',':
            i += 1
    return False


cdef bint packed_type(const Packing* o, const u8* p, int n) noexcept nogil:
    """Whether a Content-Type is one of those."""
    cdef int i = 0, at, k, type_n = 0
    while type_n < n and p[type_n] != c';' and not is_space(p[type_n]):
        type_n += 1
    while i < o.types_n:
        at = i
        while i < o.types_n and o.types[i] != c'\n':
            i += 1
        if i - at == 1 and o.types[at] == c'*':
            return True
        if type_n and same_name(p, type_n, o.types + at, i - at):
            return True
        i += 1
    return False


cdef void compress_begin(Exchange* x, const u8* b, Head* h) noexcept:
    """Decide on compression, and take out what it makes wrong. Vary is said also to those who get the plain one."""
    cdef Packing* o = &x.k.o.packing
    cdef bint varies = False, typed = False
    cdef Field* f
    cdef Field* etag = NULL
    cdef Field* ranges = NULL
    cdef int i
    x.vary = False
    if not (h.status == 200 or h.status == 403 or h.status == 404) or 0 <= h.content_length < o.least:
        return
    for i in range(h.field_n):
        f = &h.field[i]
        if is_word(b + f.at, f.name_n, b"content-encoding") or (
                is_word(b + f.at, f.name_n, b"cache-control")
                and has_token(b + f.value_at, f.value_n, b"no-transform")):
            return
        if is_word(b + f.at, f.name_n, b"content-type"):
            typed = packed_type(o, b + f.value_at, f.value_n)
        elif is_word(b + f.at, f.name_n, b"etag"):
            etag = f
        elif is_word(b + f.at, f.name_n, b"accept-ranges"):
            ranges = f
        elif is_word(b + f.at, f.name_n, b"vary"):
            varies = (varies or has_token(b + f.value_at, f.value_n, b"accept-encoding")
                      or has_token(b + f.value_at, f.value_n, b"*"))
    if not typed:
        return
    x.vary = not varies
    if x.is_head or x.accepts == IDENTITY or not packer_new(x, h):
        return
    if etag != NULL:
        etag.drop = True
        x.packer.etag = value_of(etag)
    if ranges != NULL:
        ranges.drop = True


cdef void put_packed(Writer* w, const Exchange* x, const u8* b) noexcept nogil:
    """The fields that tell of it. A strong ETag becomes weak: other octets, the same meaning (RFC 9110, 8.8.1)."""
    if x.vary:
        put_text(w, b"Vary: Accept-Encoding\r\n")
    if x.packer == NULL:
        return
    if x.packer.coding == GZIP:
        put_text(w, b"Content-Encoding: gzip\r\n")
    elif x.packer.coding == BROTLI:
        put_text(w, b"Content-Encoding: br\r\n")
    else:
        put_text(w, b"Content-Encoding: zstd\r\n")
    if x.packer.etag.n and b[x.packer.etag.at] == c'"':
        put_line(w, b"ETag: W/", b, x.packer.etag)
    elif x.packer.etag.n:
        put_line(w, b"ETag: ", b, x.packer.etag)


# -- doing it

cdef void packed_send(Exchange* x, const u8* head, int head_n, u8* p, int n, bint surplus) noexcept:
    """Content to the client, compressed, after the head if there is one; at the response's end what is left."""
    cdef Packer* q = x.packer
    cdef Buffer out
    cdef bint well, ended = x.response.mode == B_DONE
    cdef int step = PACK_END if ended else PACK_FLUSH if q.flush else PACK_MORE
    memset(&out, 0, sizeof(Buffer))
    well = buffer_add(&out, head, head_n)
    if n == 0 and not ended:
        pass
    elif q.coding == GZIP:
        well = well and pack_gzip(q, p, n, step, &out)
    elif q.coding == BROTLI:
        well = well and pack_brotli(q, p, n, step, &out)
    else:
        well = well and pack_zstd(q, p, n, step, &out)
    if well and ended and not q.content:
        well = put_last_chunk(&out)
    if well:
        response_send(x, out.p, held(&out), held(&out) - head_n, surplus)
    else:
        x.k.counters.no_memory += 1
        exchange_cut(x)
    buffer_free(&out)
