# TLS by OpenSSL on the engine's own sockets. One context per certificate, chosen by the name a client asks for.

cdef extern from "<openssl/ssl.h>" nogil:
    ctypedef struct SSL:
        pass
    ctypedef struct SSL_CTX:
        pass
    ctypedef struct SSL_METHOD:
        pass
    ctypedef struct X509:
        pass
    ctypedef struct EVP_PKEY:
        pass
    ctypedef struct BIO:
        pass
    enum:
        SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE, SSL_ERROR_ZERO_RETURN, SSL_ERROR_SYSCALL, SSL_ERROR_SSL
        SSL_MODE_ENABLE_PARTIAL_WRITE, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, SSL_MODE_RELEASE_BUFFERS
        SSL_TLSEXT_ERR_OK, SSL_TLSEXT_ERR_ALERT_FATAL, SSL_TLSEXT_ERR_NOACK
        SSL_SESS_CACHE_OFF, TLS1_2_VERSION, TLSEXT_NAMETYPE_host_name, OPENSSL_NPN_NEGOTIATED
        SSL_AD_UNRECOGNIZED_NAME, SSL_R_HTTP_REQUEST
    const uint64_t SSL_OP_NO_RENEGOTIATION
    const uint64_t SSL_OP_CIPHER_SERVER_PREFERENCE
    const uint64_t SSL_OP_PRIORITIZE_CHACHA
    const uint64_t SSL_OP_NO_COMPRESSION
    const uint64_t SSL_OP_IGNORE_UNEXPECTED_EOF
    const SSL_METHOD* TLS_server_method()
    SSL_CTX* SSL_CTX_new(const SSL_METHOD* method)
    void SSL_CTX_free(SSL_CTX* ctx)
    int SSL_CTX_set_min_proto_version(SSL_CTX* ctx, int version)
    uint64_t SSL_CTX_set_options(SSL_CTX* ctx, uint64_t options)
    long SSL_CTX_set_mode(SSL_CTX* ctx, long mode)
    long SSL_CTX_set_session_cache_mode(SSL_CTX* ctx, long mode)
    int SSL_CTX_set_num_tickets(SSL_CTX* ctx, size_t n)
    int SSL_CTX_set_cipher_list(SSL_CTX* ctx, const char* names)
    int SSL_CTX_set_session_id_context(SSL_CTX* ctx, const u8* id, unsigned int n)
    int SSL_CTX_use_certificate(SSL_CTX* ctx, X509* certificate)
    int SSL_CTX_use_PrivateKey(SSL_CTX* ctx, EVP_PKEY* key)
    int SSL_CTX_check_private_key(const SSL_CTX* ctx)
    long SSL_CTX_add0_chain_cert(SSL_CTX* ctx, X509* certificate)
    long SSL_CTX_set_tlsext_servername_arg(SSL_CTX* ctx, void* argument)
    SSL* SSL_new(SSL_CTX* ctx)
    void SSL_free(SSL* ssl)
    int SSL_set_fd(SSL* ssl, int fd)
    void SSL_set_accept_state(SSL* ssl)
    int SSL_do_handshake(SSL* ssl)
    int SSL_read(SSL* ssl, void* buffer, int n)
    int SSL_write(SSL* ssl, const void* buffer, int n)
    int SSL_shutdown(SSL* ssl)
    int SSL_has_pending(const SSL* ssl)
    int SSL_get_error(const SSL* ssl, int result)
    int SSL_is_init_finished(const SSL* ssl)
    const char* SSL_get_servername(const SSL* ssl, int kind)
    SSL_CTX* SSL_set_SSL_CTX(SSL* ssl, SSL_CTX* ctx)
    int SSL_select_next_proto(u8** out, u8* out_n, const u8* server, unsigned int server_n,
                              const u8* client, unsigned int client_n)

cdef extern from "<openssl/ssl.h>":    # these call back into Python objects
    void SSL_CTX_set_alpn_select_cb(
        SSL_CTX* ctx, int (*choose)(SSL*, const u8**, u8*, const u8*, unsigned int, void*) noexcept, void* argument)
    long SSL_CTX_set_tlsext_servername_callback(SSL_CTX* ctx, int (*choose)(SSL*, int*, void*) noexcept)

cdef extern from "<openssl/pem.h>" nogil:
    BIO* BIO_new_mem_buf(const void* p, int n)
    int BIO_free(BIO* bio)
    X509* PEM_read_bio_X509(BIO* bio, X509** out, void* ask, void* argument)
    EVP_PKEY* PEM_read_bio_PrivateKey(BIO* bio, EVP_PKEY** out, void* ask, void* argument)
    void X509_free(X509* certificate)
    void EVP_PKEY_free(EVP_PKEY* key)

cdef extern from "<openssl/err.h>" nogil:
    unsigned long ERR_get_error()
    unsigned long ERR_peek_error()
    int ERR_GET_REASON(unsigned long code)
    void ERR_clear_error()
    void ERR_error_string_n(unsigned long code, char* text, size_t n)
