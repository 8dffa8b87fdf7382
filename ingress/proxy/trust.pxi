# Who a request comes from: address ranges whose word is taken, and the first address in X-Forwarded-For that is not of
# such a range. An address is 16 octets; IPv4 is written as in ::ffff:192.0.2.1.

cdef struct Range:
    u8 network[16]
    int bits

cdef struct Ranges:
    Range* range
    int n


cdef void read_ranges(Ranges* out, str name, object texts) except *:
    """From "10.0.0.0/8" or "::1"; raises ValueError that names the setting."""
    cdef bytes packed
    cdef int i
    cdef list wanted = list(texts)
    out.range = <Range*>calloc(len(wanted) + 1, sizeof(Range))
    if out.range == NULL:
        raise MemoryError()
    for i, text in enumerate(wanted):
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        packed = network.network_address.packed
        out.range[i].bits = network.prefixlen + (96 if network.version == 4 else 0)
        if network.version == 4:
            packed = MAPPED + packed
        memcpy(out.range[i].network, <const char*>packed, 16)
        out.n = i + 1


cdef bytes MAPPED = bytes(10) + b"\xff\xff"


cdef bint in_ranges(const Ranges* r, const u8* address) noexcept nogil:
    cdef int i, whole, rest
    for i in range(r.n):
        whole = r.range[i].bits >> 3
        rest = r.range[i].bits & 7
        if memcmp(address, r.range[i].network, whole) == 0 and (
                rest == 0 or (address[whole] ^ r.range[i].network[whole]) >> (8 - rest) == 0):
            return True
    return False


cdef void address_of(const sockaddr_storage* from_, u8* out) noexcept nogil:
    """The 16 octets of a socket's address."""
    if from_.ss_family == AF_INET6:
        memcpy(out, (<sockaddr_in6*>from_).sin6_addr.s6_addr, 16)
    else:
        map_four(&(<sockaddr_in*>from_).sin_addr, out)


cdef void map_four(const void* four, u8* out) noexcept nogil:
    memset(out, 0, 10)
    out[10] = out[11] = 255
    memcpy(out + 12, four, 4)


cdef int address_text(const u8* address, u8* out) noexcept nogil:
    """As people write it, IPv4 without its prefix; `out` has room for ADDRESS_TEXT."""
    if is_mapped(address):
        inet_ntop(AF_INET, address + 12, <char*>out, ADDRESS_TEXT)
    else:
        inet_ntop(AF_INET6, address, <char*>out, ADDRESS_TEXT)
    return <int>strlen(<char*>out)


cdef bint read_ip(const u8* p, int n, u8* out) noexcept nogil:
    """192.0.2.1, 2001:db8::1 and, as some proxies write it, 192.0.2.1:80 and [2001:db8::1]:80. False for all else."""
    cdef char text[ADDRESS_TEXT]
    cdef in_addr four
    cdef const u8* end
    if n and p[0] == c'[':
        end = <const u8*>memchr(p, c']', n)
        if end == NULL:
            return False
        p += 1
        n = <int>(end - p)
    else:
        end = <const u8*>memchr(p, c':', n) if n else NULL
        if end != NULL and memchr(end + 1, c':', n - (end + 1 - p)) == NULL:
            n = <int>(end - p)
    if n <= 0 or n >= <int>sizeof(text):
        return False
    memcpy(text, p, n)
    text[n] = 0
    if inet_pton(AF_INET, text, &four) == 1:
        map_four(&four, out)
        return True
    return inet_pton(AF_INET6, text, out) == 1


cdef bint is_forwarded_for(const Core* k, const u8* b, const Field* f) noexcept nogil:
    """Whether a field is the list of addresses that is believed: X-Forwarded-For unless another is configured."""
    if k.o.forwarded_for_n == 0:
        return f.kind == FORWARDED_FOR
    return same_name(b + f.at, f.name_n, k.o.forwarded_for, k.o.forwarded_for_n)


cdef void find_client(Exchange* x, const u8* b, const Head* h) noexcept:
    """The client behind trusted proxies: the list from its end, up to the first address that is not trusted."""
    cdef Core* k = x.k
    cdef u8 address[16]
    cdef int i, at, end, n
    cdef bint trusted = True
    for i in range(h.field_n - 1, -1, -1):
        if not is_forwarded_for(k, b, &h.field[i]):
            continue
        end = h.field[i].value_at + h.field[i].value_n
        while trusted and end > h.field[i].value_at:
            at = end
            while at > h.field[i].value_at and b[at - 1] != c',':
                at -= 1
            n = end - at
            end = at - 1
            while n and is_space(b[at]):
                at += 1
                n -= 1
            while n and is_space(b[at + n - 1]):
                n -= 1
            if not read_ip(b + at, n, address):
                trusted = False
                break
            x.client_n = <u8>address_text(address, x.client)
            trusted = in_ranges(&k.trusted, address)
        if not trusted:
            return


cdef inline const u8* client_text(const Exchange* x, int* n) noexcept nogil:
    """The client's address for fields and logs."""
    if x.client_n:
        n[0] = x.client_n
        return x.client
    n[0] = x.peer.address_n
    return x.peer.address
