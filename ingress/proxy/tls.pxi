# TLS by OpenSSL on the engine's own sockets. One context per certificate, chosen by the name a client asks for.

cdef extern from "<openssl/evp.h>" nogil:
    ctypedef struct EVP_CIPHER:
        pass
    ctypedef struct EVP_CIPHER_CTX:
        pass
    ctypedef struct EVP_MAC_CTX:
        pass
    ctypedef struct OSSL_PARAM:
        pass
    EVP_CIPHER* EVP_CIPHER_fetch(void* library, const char* name, const char* properties)
    int EVP_CIPHER_get_iv_length(const EVP_CIPHER* cipher)
    int EVP_CipherInit_ex2(EVP_CIPHER_CTX* ctx, const EVP_CIPHER* cipher, const u8* key, const u8* iv, int making,
                           const OSSL_PARAM* options)
    int EVP_MAC_CTX_set_params(EVP_MAC_CTX* ctx, const OSSL_PARAM* options)

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
    ctypedef struct BIO_METHOD:
        pass
    ctypedef struct SSL_SESSION:
        pass
    ctypedef struct X509_STORE:
        pass
    ctypedef struct X509_STORE_CTX:
        pass
    ctypedef struct X509_CRL:
        pass
    ctypedef struct X509_NAME:
        pass
    ctypedef struct X509_VERIFY_PARAM:
        pass
    enum:
        SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE, SSL_ERROR_ZERO_RETURN, SSL_ERROR_SYSCALL, SSL_ERROR_SSL
        SSL_MODE_ENABLE_PARTIAL_WRITE, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, SSL_MODE_RELEASE_BUFFERS
        SSL_TLSEXT_ERR_OK, SSL_TLSEXT_ERR_ALERT_FATAL, SSL_CLIENT_HELLO_SUCCESS, SSL_CLIENT_HELLO_ERROR
        TLS1_2_VERSION, TLS1_3_VERSION, TLSEXT_TYPE_server_name, TLSEXT_NAMETYPE_host_name, OPENSSL_NPN_NEGOTIATED
        SSL_SESS_CACHE_OFF, SSL_SESS_CACHE_CLIENT, SSL_SESS_CACHE_NO_INTERNAL, SSL_VERIFY_PEER
        SSL_AD_UNRECOGNIZED_NAME, SSL_R_HTTP_REQUEST
    const uint64_t SSL_OP_NO_RENEGOTIATION
    const uint64_t SSL_OP_CIPHER_SERVER_PREFERENCE
    const uint64_t SSL_OP_PRIORITIZE_CHACHA
    const uint64_t SSL_OP_NO_COMPRESSION
    const uint64_t SSL_OP_NO_TICKET
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
    int SSL_set_cipher_list(SSL* ssl, const char* names)
    int SSL_CTX_set_session_id_context(SSL_CTX* ctx, const u8* id, unsigned int n)
    int SSL_CTX_use_certificate(SSL_CTX* ctx, X509* certificate)
    int SSL_CTX_use_PrivateKey(SSL_CTX* ctx, EVP_PKEY* key)
    int SSL_CTX_check_private_key(const SSL_CTX* ctx)
    long SSL_CTX_add0_chain_cert(SSL_CTX* ctx, X509* certificate)
    const SSL_METHOD* TLS_client_method()
    int SSL_CTX_set_max_proto_version(SSL_CTX* ctx, int version)
    int SSL_CTX_set1_groups_list(SSL_CTX* ctx, const char* names)
    int SSL_CTX_set_alpn_protos(SSL_CTX* ctx, const u8* names, unsigned int n)
    void SSL_CTX_set_read_ahead(SSL_CTX* ctx, int on)
    long SSL_CTX_set_timeout(SSL_CTX* ctx, long seconds)
    void SSL_CTX_set_cert_store(SSL_CTX* ctx, X509_STORE* store)
    int SSL_CTX_set_default_verify_paths(SSL_CTX* ctx)
    void SSL_CTX_set_verify_depth(SSL_CTX* ctx, int depth)
    X509_VERIFY_PARAM* SSL_CTX_get0_param(SSL_CTX* ctx)
    int X509_VERIFY_PARAM_set1_host(X509_VERIFY_PARAM* param, const char* name, size_t n)
    int X509_VERIFY_PARAM_set1_ip_asc(X509_VERIFY_PARAM* param, const char* address)
    void SSL_set_connect_state(SSL* ssl)
    int SSL_set_app_data(SSL* ssl, void* data)
    void* SSL_get_app_data(const SSL* ssl)
    long SSL_set_tlsext_host_name(SSL* ssl, const char* name)
    int SSL_set_session(SSL* ssl, SSL_SESSION* session)
    void SSL_SESSION_free(SSL_SESSION* session)
    int SSL_session_reused(const SSL* ssl)
    int SSL_peek(SSL* ssl, void* buffer, int n)
    long SSL_get_verify_result(const SSL* ssl)
    X509* SSL_get_peer_certificate(const SSL* ssl)
    void SSL_set_verify_depth(SSL* ssl, int depth)
    long SSL_set1_verify_cert_store(SSL* ssl, X509_STORE* store)
    int SSL_set_session_id_context(SSL* ssl, const u8* id, unsigned int n)
    int SSL_add_client_CA(SSL* ssl, X509* certificate)
    int SSL_client_hello_get0_ext(SSL* ssl, unsigned int kind, const u8** out, size_t* out_n)
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

cdef extern from "<openssl/ssl.h>":    # these call back
    void SSL_CTX_set_alpn_select_cb(
        SSL_CTX* ctx, int (*choose)(SSL*, const u8**, u8*, const u8*, unsigned int, void*) noexcept, void* argument)
    long SSL_CTX_set_tlsext_servername_callback(SSL_CTX* ctx, int (*choose)(SSL*, int*, void*) noexcept)
    void SSL_CTX_set_client_hello_cb(SSL_CTX* ctx, int (*choose)(SSL*, int*, void*) noexcept, void* argument)
    void SSL_CTX_sess_set_new_cb(SSL_CTX* ctx, int (*keep)(SSL*, SSL_SESSION*) noexcept)
    void SSL_CTX_set_verify(SSL_CTX* ctx, int mode, int (*judge)(int, X509_STORE_CTX*) noexcept)
    void SSL_set_verify(SSL* ssl, int mode, int (*judge)(int, X509_STORE_CTX*) noexcept)
    long SSL_CTX_set_tlsext_ticket_key_evp_cb(
        SSL_CTX* ctx, int (*find)(SSL*, u8*, u8*, EVP_CIPHER_CTX*, EVP_MAC_CTX*, int) noexcept)

cdef extern from "<openssl/x509v3.h>" nogil:
    enum:
        X509_V_OK, X509_V_FLAG_CRL_CHECK, X509_V_FLAG_CRL_CHECK_ALL, XN_FLAG_RFC2253
        X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN
        X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE
    const char* X509_verify_cert_error_string(long verdict)
    X509_STORE* X509_STORE_new()
    void X509_STORE_free(X509_STORE* store)
    int X509_STORE_add_cert(X509_STORE* store, X509* certificate)
    int X509_STORE_add_crl(X509_STORE* store, X509_CRL* crl)
    int X509_STORE_set_flags(X509_STORE* store, unsigned long flags)
    X509_NAME* X509_get_subject_name(const X509* certificate)
    X509_NAME* X509_get_issuer_name(const X509* certificate)
    int X509_NAME_print_ex(BIO* bio, const X509_NAME* name, int indent, unsigned long flags)
    void X509_CRL_free(X509_CRL* crl)

cdef extern from "<openssl/params.h>" nogil:
    OSSL_PARAM OSSL_PARAM_construct_octet_string(const char* name, void* data, size_t n)
    OSSL_PARAM OSSL_PARAM_construct_utf8_string(const char* name, char* text, size_t n)
    OSSL_PARAM OSSL_PARAM_construct_end()

cdef extern from "<openssl/rand.h>" nogil:
    int RAND_bytes(u8* out, int n)

cdef extern from "<openssl/pem.h>" nogil:
    BIO* BIO_new_mem_buf(const void* p, int n)
    int BIO_free(BIO* bio)
    BIO* BIO_new(const BIO_METHOD* method)
    const BIO_METHOD* BIO_s_mem()
    long BIO_get_mem_data(BIO* bio, char** out)
    X509_CRL* PEM_read_bio_X509_CRL(BIO* bio, X509_CRL** out, void* ask, void* argument)
    int PEM_write_bio_X509(BIO* bio, X509* certificate)
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
