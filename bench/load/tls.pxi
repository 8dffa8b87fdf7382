# TLS to the target: OpenSSL on the non-blocking socket itself.

cdef extern from "<openssl/ssl.h>" nogil:
    struct ssl_ctx_st:
        pass
    struct ssl_st:
        pass
    struct ssl_method_st:
        pass
    ctypedef ssl_ctx_st SSL_CTX
    ctypedef ssl_st SSL
    ctypedef ssl_method_st SSL_METHOD
    int SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE, SSL_VERIFY_PEER, SSL_VERIFY_NONE, SSL_CTRL_SET_TLSEXT_HOSTNAME
    int SSL_MODE_ENABLE_PARTIAL_WRITE, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, SSL_CTRL_MODE
    const SSL_METHOD* TLS_client_method()
    SSL_CTX* SSL_CTX_new(const SSL_METHOD*)
    void SSL_CTX_free(SSL_CTX*)
    long SSL_CTX_ctrl(SSL_CTX*, int, long, void*)
    void SSL_CTX_set_verify(SSL_CTX*, int, void*)
    int SSL_CTX_set_default_verify_paths(SSL_CTX*)
    int SSL_CTX_load_verify_locations(SSL_CTX*, const char*, const char*)
    SSL* SSL_new(SSL_CTX*)
    void SSL_free(SSL*)
    int SSL_set_fd(SSL*, int)
    int SSL_set1_host(SSL*, const char*)
    long SSL_ctrl(SSL*, int, long, void*)
    int SSL_connect(SSL*)
    int SSL_read(SSL*, void*, int)
    int SSL_write(SSL*, const void*, int)
    int SSL_get_error(const SSL*, int)

cdef extern from "<openssl/err.h>" nogil:
    void ERR_clear_error()


cdef SSL_CTX* client_context(verify) except NULL:
    """verify: None takes any certificate, True the system's authorities, a path those in that file."""
    cdef SSL_CTX* made = SSL_CTX_new(TLS_client_method())
    if made == NULL:
        raise MemoryError("OpenSSL gave no context")
    SSL_CTX_ctrl(made, SSL_CTRL_MODE, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, NULL)
    if verify is None:
        SSL_CTX_set_verify(made, SSL_VERIFY_NONE, NULL)
        return made
    SSL_CTX_set_verify(made, SSL_VERIFY_PEER, NULL)
    if verify is True:
        SSL_CTX_set_default_verify_paths(made)
    elif SSL_CTX_load_verify_locations(made, verify.encode(), NULL) != 1:
        SSL_CTX_free(made)
        raise ValueError(f"{verify}: not a file of PEM certificates")
    return made
