# Certificates by name: each has its own context; connections hold a reference, so a swap closes nothing.

cdef const char* CIPHERS = (  # TLS 1.2: forward secrecy and authenticated encryption only; 1.3 needs no list
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    b"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305")
cdef bytes ALPN = bytes([len(b"http/1.1")]) + b"http/1.1"


cdef str openssl_words():
    """The first reason OpenSSL gives; its queue is left empty."""
    cdef char text[256]
    cdef unsigned long code = ERR_get_error()
    ERR_clear_error()
    if code == 0:
        return "no reason given"
    ERR_error_string_n(code, text, sizeof(text))
    return (<bytes>text).decode("ascii", "replace").rsplit(":", 1)[-1]


cdef class Context:
    """An SSL_CTX with its certificate, or the one without that connections begin with."""

    cdef SSL_CTX* ctx

    def __cinit__(self):
        self.ctx = SSL_CTX_new(TLS_server_method())
        if self.ctx == NULL:
            raise MemoryError()
        SSL_CTX_set_min_proto_version(self.ctx, TLS1_2_VERSION)
        SSL_CTX_set_options(self.ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION
                            | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA)
        # RELEASE_BUFFERS: an idle connection holds no record buffers (34 kB).
        SSL_CTX_set_mode(self.ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                         | SSL_MODE_RELEASE_BUFFERS)
        # Resumption is by ticket. The library's own cache would hold 20,000 sessions and be walked through all the time.
        SSL_CTX_set_session_cache_mode(self.ctx, SSL_SESS_CACHE_OFF)
        SSL_CTX_set_num_tickets(self.ctx, 1)
        SSL_CTX_set_cipher_list(self.ctx, CIPHERS)
        SSL_CTX_set_session_id_context(self.ctx, <const u8*><const char*>ALPN, <unsigned int>len(ALPN))
        SSL_CTX_set_alpn_select_cb(self.ctx, choose_protocol, NULL)

    def __dealloc__(self):
        SSL_CTX_free(self.ctx)

    cdef void load(self, bytes certificate_pem, bytes key_pem) except *:
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
                SSL_CTX_use_certificate(self.ctx, certificate)
                X509_free(certificate)
            elif not SSL_CTX_add0_chain_cert(self.ctx, certificate):
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
        fits = SSL_CTX_use_PrivateKey(self.ctx, key) == 1 and SSL_CTX_check_private_key(self.ctx) == 1
        EVP_PKEY_free(key)
        if not fits:
            raise ValueError(f"key: {openssl_words()}")


cdef int choose_protocol(SSL* ssl, const u8** out, u8* out_n, const u8* offered, unsigned int n, void* _) noexcept:
    cdef u8* chosen = NULL
    if SSL_select_next_proto(&chosen, out_n, <const u8*><const char*>ALPN, <unsigned int>len(ALPN),
                             offered, n) != OPENSSL_NPN_NEGOTIATED:
        return SSL_TLSEXT_ERR_NOACK
    out[0] = chosen
    return SSL_TLSEXT_ERR_OK


cdef int choose_certificate(SSL* ssl, int* alert, void* argument) noexcept:
    """By server name: exact, wildcard of one label, default. Without any, the handshake is refused."""
    cdef const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)
    cdef Context context = (<Certificates>argument).find(b"" if name == NULL else <bytes>name)
    if context is None:
        alert[0] = SSL_AD_UNRECOGNIZED_NAME
        return SSL_TLSEXT_ERR_ALERT_FATAL
    SSL_set_SSL_CTX(ssl, context.ctx)
    return SSL_TLSEXT_ERR_OK


cdef class Certificates:
    """Contexts by host: "shop.example.com", "*.example.com", "" for every other name and for none."""

    cdef dict by_host
    cdef Context entry

    def __cinit__(self):
        self.by_host = {}
        self.entry = Context()
        SSL_CTX_set_tlsext_servername_callback(self.entry.ctx, choose_certificate)
        SSL_CTX_set_tlsext_servername_arg(self.entry.ctx, <void*>self)

    cdef Context find(self, bytes name):
        cdef bytes host = name.lower().rstrip(b".")
        found = self.by_host.get(host) if host else None
        if found is None and b"." in host:
            found = self.by_host.get(b"*." + host.split(b".", 1)[1])
        return self.by_host.get(b"") if found is None else found

    cdef void put(self, str host, bytes certificate_pem, bytes key_pem) except *:
        cdef Context context = Context()
        context.load(certificate_pem, key_pem)
        self.by_host[host.lower().encode()] = context

    cdef void drop(self, str host) except *:
        self.by_host.pop(host.lower().encode(), None)
