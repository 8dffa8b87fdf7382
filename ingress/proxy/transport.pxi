# How a backend's endpoints are spoken to: by TLS, with the PROXY protocol before everything, or plainly (no Transport).
# An endpoint is an address *and* a transport: connections of different ones are never mixed in a pool.

cdef enum:
    TOLD_TICKS = 37       # an endpoint's trouble is told at most every 10 s
    PROXY_SENT_MAX = 107  # octets of a PROXY header of either version (version 1, section 2.1)

cdef struct Transport:
    Core* k
    int refs              # backends and endpoints
    int number            # tells it from others in an endpoint's key
    int proxy             # version of the PROXY header towards the endpoint, or 0; with one a connection is one client's
    SSL_CTX* ctx          # NULL: no TLS
    bint verify
    bint numeric          # an address, which is not sent (RFC 6066, 3)
    u8 name[HOST_MAX + 1]  # SNI; empty: none is sent

cdef int TRANSPORTS = 0


cdef void transport_release(Transport* t) noexcept:
    if t == NULL:
        return
    t.refs -= 1
    if t.refs == 0:
        if t.k != NULL:
            (<Engine>t.k.engine).transports.pop(t.number, None)
        SSL_CTX_free(t.ctx)
        free(t)


cdef Transport* transport_new(object spec) except NULL:
    """From a settings.Transport; raises ValueError with OpenSSL's words."""
    global TRANSPORTS
    cdef Transport* t = <Transport*>calloc(1, sizeof(Transport))
    if t == NULL:
        raise MemoryError()
    TRANSPORTS += 1
    t.refs = 1
    t.number = TRANSPORTS
    try:
        if spec.proxy_protocol not in (0, 1, 2):
            raise ValueError("proxy_protocol: version 1 or 2, or 0 for none")
        t.proxy = spec.proxy_protocol
        if spec.tls is not None:
            transport_tls(t, spec.tls)
    except BaseException:
        transport_release(t)
        raise
    return t


cdef void transport_tls(Transport* t, object spec) except *:
    cdef bytes name = spec.server_name.encode("ascii").rstrip(b".")
    cdef X509_STORE* store
    if len(name) > HOST_MAX:
        raise ValueError(f"server_name: longer than {HOST_MAX} octets")
    ERR_clear_error()
    t.ctx = SSL_CTX_new(TLS_client_method())
    if t.ctx == NULL:
        raise MemoryError()
    limit_protocols(t.ctx, spec.protocols)
    if spec.ciphers and SSL_CTX_set_cipher_list(t.ctx, <bytes>spec.ciphers.encode()) != 1:
        raise ValueError(f"ciphers: {openssl_words()}")
    SSL_CTX_set_options(t.ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION)
    SSL_CTX_set_mode(t.ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                     | SSL_MODE_RELEASE_BUFFERS)
    SSL_CTX_set_read_ahead(t.ctx, 1)
    SSL_CTX_set_alpn_protos(t.ctx, <const u8*><const char*>ALPN, <unsigned int>len(ALPN))
    SSL_CTX_set_session_cache_mode(t.ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL)
    SSL_CTX_sess_set_new_cb(t.ctx, keep_session)
    if spec.certificate_pem:
        load_pair(t.ctx, spec.certificate_pem, spec.key_pem)
    memcpy(t.name, <const char*>name, len(name))
    t.numeric = is_address(name)
    t.verify = spec.verify
    if not t.verify:
        return
    if spec.ca_pem:
        store = read_store(spec.ca_pem)
        SSL_CTX_set_cert_store(t.ctx, store)
    else:
        SSL_CTX_set_default_verify_paths(t.ctx)
    SSL_CTX_set_verify(t.ctx, SSL_VERIFY_PEER, NULL)
    SSL_CTX_set_verify_depth(t.ctx, spec.verify_depth)
    if name:
        check_name(SSL_CTX_get0_param(t.ctx), name)


cdef bint is_address(bytes name):
    cdef u8 address[16]
    return inet_pton(AF_INET, name, address) == 1 or inet_pton(AF_INET6, name, address) == 1


cdef void check_name(X509_VERIFY_PARAM* param, bytes name) except *:
    """Ask for a certificate of this host, or of this address."""
    if is_address(name):
        X509_VERIFY_PARAM_set1_ip_asc(param, name)
    elif X509_VERIFY_PARAM_set1_host(param, name, <size_t>len(name)) != 1:
        raise ValueError(f"server_name {name.decode()!r}: {openssl_words()}")


cdef int keep_session(SSL* ssl, SSL_SESSION* session) noexcept:
    """The newest session of an endpoint is offered by its next connection."""
    cdef Conn* u = <Conn*>SSL_get_app_data(ssl)
    if u == NULL or u.endpoint == NULL:
        return 0
    SSL_SESSION_free(u.endpoint.session)
    u.endpoint.session = session
    return 1


cdef bint transport_begin(Conn* u) noexcept:
    """The endpoint has accepted: what goes before HTTP. False with the reason told."""
    cdef Transport* t = u.endpoint.transport
    if t == NULL:
        return True
    if t.proxy and not send_proxy_header(u):
        tell_trouble(u.endpoint, "the PROXY header could not be sent")
        return False
    if t.ctx == NULL or (u.x != NULL and u.x.raw):
        return True
    u.ssl = SSL_new(t.ctx)
    if u.ssl == NULL or SSL_set_fd(u.ssl, u.fd) != 1:
        u.k.counters.no_memory += 1
        return False
    SSL_set_app_data(u.ssl, u)
    SSL_set_connect_state(u.ssl)
    if t.name[0] and not t.numeric:
        SSL_set_tlsext_host_name(u.ssl, <const char*>t.name)
    if u.endpoint.session != NULL:
        SSL_set_session(u.ssl, u.endpoint.session)
    u.handshaking = True
    return True


cdef bint upstream_handshake(Conn* u) noexcept:
    """One step; False when it has failed, with the reason told."""
    cdef int done
    cdef long verdict
    ERR_clear_error()
    u.read_wants_write = False
    done = SSL_do_handshake(u.ssl)
    if done == 1:
        u.handshaking = False
        return True
    if tls_result(u, done, True) == GOT_NOTHING:
        return True
    u.k.counters.upstream_tls_failures += 1
    verdict = SSL_get_verify_result(u.ssl)
    SSL_SESSION_free(u.endpoint.session)     # whatever it was offered, the next connection begins anew
    u.endpoint.session = NULL
    if u.endpoint.transport.verify and verdict != X509_V_OK:
        tell_trouble(u.endpoint, "TLS: its certificate is not accepted: "
                     + (<bytes>X509_verify_cert_error_string(verdict)).decode())
    elif ERR_peek_error() != 0:
        tell_trouble(u.endpoint, "TLS: " + openssl_words())
    else:
        tell_trouble(u.endpoint, "TLS: it closed the connection during the handshake")
    return False


cdef void tell_trouble(Endpoint* e, str why) noexcept:
    """Give the operator a reason for the 502s."""
    tell(e.k, &e.told, f"endpoint {(<const char*>e.key)[:e.key_n].decode()}: {why}")


cdef void tell(Core* k, uint32_t* told, str what) noexcept:
    """Let the operator know, now and then; `told` is the tick of the last time."""
    cdef Engine engine = <Engine>k.engine
    if engine.on_trouble is None or (told[0] and <int32_t>(k.tick - told[0]) < TOLD_TICKS):
        return
    told[0] = k.tick | 1
    try:
        engine.on_trouble(what)
    except Exception as error:
        engine.loop.call_exception_handler({"message": "on_trouble", "exception": error})


cdef bint send_proxy_header(Conn* u) noexcept:
    """A connection that was just made takes so few octets at once."""
    cdef u8 text[PROXY_SENT_MAX]
    cdef int n
    if u.x == NULL:
        return False
    n = put_proxy_header(u.x, u.endpoint.transport.proxy, text)
    return send(u.fd, text, n, MSG_NOSIGNAL) == n


cdef int put_proxy_header(Exchange* x, int version, u8* out) noexcept:
    """Client and the address it connected to; IPv4 as IPv4 if both are."""
    cdef u8 source[16]
    cdef u8 target[16]
    cdef sockaddr_storage own
    cdef const u8* text
    cdef int n = 0, size
    cdef uint16_t port = 0 if x.client_n else x.peer.port
    text = client_text(x, &n)
    memset(&own, 0, sizeof(own))
    if not read_ip(text, n, source) or not carrier_address(x, &own):
        size = 0              # nothing is known of the client
    else:
        address_of(&own, target)
        size = 4 if is_mapped(source) and is_mapped(target) else 16
    if version == 1:
        return put_proxy_line(source, target, size, port, x.peer.own_port, out)
    memcpy(out, PROXY_V2, PROXY_V2_N)
    if size == 0:
        memcpy(out + PROXY_V2_N, b"\x20\x00\x00\x00", 4)      # LOCAL
        return PROXY_V2_N + 4
    out[12] = 0x21
    out[13] = 0x11 if size == 4 else 0x21
    out[14] = 0
    out[15] = <u8>(2 * size + 4)
    memcpy(out + 16, source + 16 - size, size)
    memcpy(out + 16 + size, target + 16 - size, size)
    n = 16 + 2 * size
    out[n] = <u8>(port >> 8)
    out[n + 1] = <u8>(port & 255)
    out[n + 2] = <u8>(x.peer.own_port >> 8)
    out[n + 3] = <u8>(x.peer.own_port & 255)
    return n + 4


cdef int put_proxy_line(const u8* source, const u8* target, int size, int port, int own_port, u8* out) noexcept:
    """Version 1. Addresses have 16 octets, of which `size` count; 0: nothing is known."""
    cdef Writer w = writer(out, PROXY_SENT_MAX)
    cdef u8 text[ADDRESS_TEXT]
    cdef int family = AF_INET if size == 4 else AF_INET6
    if size == 0:
        put_text(&w, b"PROXY UNKNOWN\r\n")
        return w.n
    put_text(&w, b"PROXY TCP4 " if size == 4 else b"PROXY TCP6 ")
    inet_ntop(family, source + 16 - size, <char*>text, ADDRESS_TEXT)
    put_text(&w, <char*>text)
    put_text(&w, b" ")
    inet_ntop(family, target + 16 - size, <char*>text, ADDRESS_TEXT)
    put_text(&w, <char*>text)
    put_text(&w, b" ")
    put_number(&w, port)
    put_text(&w, b" ")
    put_number(&w, own_port)
    put_text(&w, b"\r\n")
    return w.n


cdef bint still_quiet(Conn* u) noexcept:
    """Whether an idle connection has neither ended nor spoken."""
    cdef u8 octet
    cdef int got
    if u.ssl == NULL:
        return recv(u.fd, &octet, 1, MSG_PEEK) < 0 and errno == EAGAIN
    ERR_clear_error()
    got = SSL_peek(u.ssl, &octet, 1)      # takes session tickets and key updates in
    return got <= 0 and SSL_get_error(u.ssl, got) == SSL_ERROR_WANT_READ


cdef Transport* transport_for(Backend* b, object spec) except? NULL:
    """What a settings.Transport asks for, as the caller's own reference; NULL to speak plainly. The same one as the
    backend has if nothing is different, so that its connections stay."""
    cdef Transport* t = b.transport
    if spec.tls is None and not spec.proxy_protocol:
        return NULL
    if t == NULL or (<Engine>b.k.engine).transports.get(t.number) != spec:
        t = transport_new(spec)
        t.k = b.k
        (<Engine>b.k.engine).transports[t.number] = spec
    else:
        t.refs += 1
    return t
