# Certificates by name: each has its own context; connections hold a reference, so a swap closes nothing.

cdef const char* CIPHERS = (  # TLS 1.2: forward secrecy and authenticated encryption only; 1.3 needs no list
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    b"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305")
cdef const char* GROUPS = b"X25519:P-256:P-384"
cdef bytes ALPN = bytes([len(b"http/1.1")]) + b"http/1.1"
cdef bytes SPOKEN = ALPN + bytes([len(b"http/1.0")]) + b"http/1.0"    # to clients


cdef str openssl_words():
    """The first reason OpenSSL gives; its queue is left empty."""
    cdef char text[256]
    cdef unsigned long code = ERR_get_error()
    ERR_clear_error()
    if code == 0:
        return "no reason given"
    ERR_error_string_n(code, text, sizeof(text))
    return (<bytes>text).decode("ascii", "replace").rsplit(":", 1)[-1]


cdef void limit_protocols(SSL_CTX* ctx, object protocols) except *:
    """From names as nginx's ssl_protocols has them; raises ValueError for others."""
    cdef list wanted = list(protocols)
    if not wanted or not set(wanted) <= {"TLSv1.2", "TLSv1.3"}:
        raise ValueError(f"TLS protocols {' '.join(wanted)!r}: TLSv1.2, TLSv1.3 or both")
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION if "TLSv1.2" in wanted else TLS1_3_VERSION)
    SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION if "TLSv1.3" in wanted else TLS1_2_VERSION)


cdef void load_pair(SSL_CTX* ctx, bytes certificate_pem, bytes key_pem) except *:
    """The chain, leaf first, and its key; raises ValueError with OpenSSL's words."""
    cdef X509* certificate
    cdef EVP_PKEY* key
    cdef BIO* bio
    cdef int count = 0
    ERR_clear_error()
    bio = BIO_new_mem_buf(<const char*>certificate_pem, len(certificate_pem))
    while True:
        certificate = PEM_read_bio_X509(bio, NULL, NULL, <void*>b"")
        if certificate == NULL:
            break
        if count == 0:
            SSL_CTX_use_certificate(ctx, certificate)
            X509_free(certificate)
        elif not SSL_CTX_add0_chain_cert(ctx, certificate):
            X509_free(certificate)
        count += 1
    BIO_free(bio)
    if count == 0:
        raise ValueError(f"certificate: {openssl_words()}")
    ERR_clear_error()    # the end of the chain is reported as an error
    bio = BIO_new_mem_buf(<const char*>key_pem, len(key_pem))
    key = PEM_read_bio_PrivateKey(bio, NULL, NULL, <void*>b"")
    BIO_free(bio)
    if key == NULL:
        raise ValueError(f"key: {openssl_words()}")
    fits = SSL_CTX_use_PrivateKey(ctx, key) == 1 and SSL_CTX_check_private_key(ctx) == 1
    EVP_PKEY_free(key)
    if not fits:
        raise ValueError(f"key: {openssl_words()}")


cdef class Context:
    """An SSL_CTX with its certificate, or the one without that connections begin with."""

    cdef SSL_CTX* ctx

    def __cinit__(self, object settings):
        cdef bytes ciphers = settings.tls_ciphers.encode()
        self.ctx = SSL_CTX_new(TLS_server_method())
        if self.ctx == NULL:
            raise MemoryError()
        limit_protocols(self.ctx, settings.tls_protocols)
        SSL_CTX_set_options(self.ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION
                            | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA)
        # RELEASE_BUFFERS: an idle connection holds no record buffers (34 kB).
        SSL_CTX_set_mode(self.ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                         | SSL_MODE_RELEASE_BUFFERS)
        SSL_CTX_set_read_ahead(self.ctx, 1)    # a record's head and content by one system call
        ERR_clear_error()
        if SSL_CTX_set_cipher_list(self.ctx, ciphers or CIPHERS) != 1:
            raise ValueError(f"tls_ciphers: {openssl_words()}")
        SSL_CTX_set1_groups_list(self.ctx, GROUPS)
        SSL_CTX_set_session_id_context(self.ctx, <const u8*><const char*>ALPN, <unsigned int>len(ALPN))
        SSL_CTX_set_session_cache_mode(self.ctx, SSL_SESS_CACHE_OFF)    # clients keep their sessions: tickets.pxi
        SSL_CTX_set_timeout(self.ctx, <long>settings.tls_session_seconds)
        SSL_CTX_set_num_tickets(self.ctx, 1)
        if not settings.tls_session_tickets:
            SSL_CTX_set_options(self.ctx, SSL_OP_NO_TICKET)
            SSL_CTX_set_num_tickets(self.ctx, 0)
        SSL_CTX_set_tlsext_ticket_key_evp_cb(self.ctx, ticket_key)
        SSL_CTX_set_alpn_select_cb(self.ctx, choose_protocol, NULL)

    def __dealloc__(self):
        SSL_CTX_free(self.ctx)


cdef int choose_protocol(SSL* ssl, const u8** out, u8* out_n, const u8* offered, unsigned int n, void* _) noexcept:
    """A client that speaks none of ours, HTTP/2 alone for one, is told so (RFC 7301, 3.2) instead of HTTP/1.1."""
    cdef u8* chosen = NULL
    if SSL_select_next_proto(&chosen, out_n, <const u8*><const char*>SPOKEN, <unsigned int>len(SPOKEN),
                             offered, n) != OPENSSL_NPN_NEGOTIATED:
        return SSL_TLSEXT_ERR_ALERT_FATAL
    out[0] = chosen
    return SSL_TLSEXT_ERR_OK


cdef int choose_certificate(SSL* ssl, int* alert, void* argument) noexcept:
    """By server name: exact, wildcard of one label, default. Without any, the handshake is refused.

    Called before a session is taken up, so that a host's sessions are its own where it asks for client certificates.
    """
    cdef Certificates certificates = <Certificates>argument
    cdef u8 name[HOST_MAX]
    cdef const u8* extension
    cdef size_t extension_n
    cdef int n = 0
    cdef Context context
    cdef HostAuth auth
    cdef Conn* c = <Conn*>SSL_get_app_data(ssl)
    if SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &extension, &extension_n) == 1:
        n = server_name(extension, <int>extension_n, name)
    context = certificates.find((<const char*>name)[:n])
    if context is not None and certificates.settings.tls_reject_unknown and c != NULL and not knows(c.k, name, n):
        context = None
    if context is None:
        alert[0] = SSL_AD_UNRECOGNIZED_NAME
        return SSL_CLIENT_HELLO_ERROR
    SSL_set_SSL_CTX(ssl, context.ctx)
    if certificates.ciphers and c != NULL:
        ciphers = of_host(c.k, certificates.ciphers, (<const char*>name)[:n])
        if ciphers is not None:
            SSL_set_cipher_list(ssl, <bytes>ciphers)
    if certificates.auths and c != NULL:
        auth = auth_of(c.k, (<const char*>name)[:n])
        if auth is not None:
            ask_certificate(ssl, auth)
    return SSL_CLIENT_HELLO_SUCCESS


cdef int acknowledge_name(SSL* ssl, int* alert, void* _) noexcept nogil:
    """Answered as RFC 6066 asks; the name was heard by choose_certificate."""
    return SSL_TLSEXT_ERR_OK


cdef object by_name(dict table, bytes host):
    """The entry of a host in lower case: exact, wildcard of one label, ""; else None."""
    found = named(table, host)
    return table.get(b"") if found is None else found


cdef object named(dict table, bytes host):
    """The entry of a host in lower case: exact, wildcard of one label; else None."""
    found = table.get(host) if host else None
    if found is None and b"." in host:
        found = table.get(b"*." + host.split(b".", 1)[1])
    return found


cdef object of_host(Core* k, dict table, bytes name):
    """The entry of the host of a name in lower case. Where it has routes of its own, nobody else's counts."""
    cdef RouteTable routes = (<Engine>k.engine).routes
    cdef bytes domain = name.partition(b".")[2]
    found = table.get(name) if name else None
    if found is None and name not in routes.exact and domain:
        found = table.get(b"*." + domain)
    if found is None and name not in routes.exact and domain not in routes.wildcard:
        found = table.get(b"")
    return found


cdef bint knows(Core* k, const u8* name, int n):
    """Whether a server name has a certificate or routes, and not only those of every other name."""
    cdef Engine engine = <Engine>k.engine
    table = engine.routes.find(name, n)
    return ((table is not None and table is not engine.routes.other)
            or named((<Certificates>k.certificates).by_host, (<const char*>name)[:n]) is not None)


cdef class Certificates:
    """Contexts by host: "shop.example.com", "*.example.com", "" for every other name and for none. Beside them, what
    hosts ask of their clients, by the same names."""

    cdef dict by_host
    cdef dict auths
    cdef dict ciphers         # for TLS 1.2, of hosts that have their own
    cdef Context entry
    cdef object settings

    def __cinit__(self, object settings):
        self.by_host = {}
        self.auths = {}
        self.ciphers = {}
        self.configure(settings)

    cdef void configure(self, object settings) except *:
        """Certificates put from now on go by other settings."""
        cdef Context entry = Context(settings)
        SSL_CTX_set_client_hello_cb(entry.ctx, choose_certificate, <void*>self)
        SSL_CTX_set_tlsext_servername_callback(entry.ctx, acknowledge_name)
        self.settings, self.entry = settings, entry

    cdef Context find(self, bytes name):
        return by_name(self.by_host, name)

    cdef void put(self, str host, bytes certificate_pem, bytes key_pem) except *:
        cdef Context context = Context(self.settings)
        load_pair(context.ctx, certificate_pem, key_pem)
        self.by_host[host.lower().encode()] = context

    cdef void set_ciphers(self, str host, str names) except *:
        cdef Context tried = Context(self.settings) if names else None
        cdef bytes listed = names.encode()
        ERR_clear_error()
        if tried is None:
            self.ciphers.pop(host.lower().encode(), None)
        elif SSL_CTX_set_cipher_list(tried.ctx, listed) != 1:
            raise ValueError(f"ciphers: {openssl_words()}")
        else:
            self.ciphers[host.lower().encode()] = listed

    cdef void drop(self, str host) except *:
        self.by_host.pop(host.lower().encode(), None)
