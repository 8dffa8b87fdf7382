# Client certificates. As nginx does it, a handshake is never refused for one: the request is, so that people see why.
# What is asked for belongs to a host: a request for it on a connection made for another one's name is misdirected.

cdef enum AuthMode:
    AUTH_ON, AUTH_OPTIONAL, AUTH_OPTIONAL_NO_CA

cdef enum:
    NO_CERTIFICATE = 496      # nginx's numbers; clients see 400
    BAD_CERTIFICATE = 495
    AUTH_TEXT = 32768         # fields for the endpoint at their longest
    AUTH_ID = 32
    ERROR_PAGE_MAX = 2048

AUTH_MODES = {"on": AUTH_ON, "optional": AUTH_OPTIONAL, "optional_no_ca": AUTH_OPTIONAL_NO_CA}

# What a connection was asked for and how it answered.
cdef struct ClientAuth:
    void* owner               # HostAuth, held
    SSL* ssl
    int status                # of requests that need it; 0: good
    u8* text                  # the fields endpoints get
    int text_n


cdef class HostAuth:
    """What one host asks of its clients."""

    cdef X509_STORE* store
    cdef list authorities     # addresses of X509s, whose names clients are told
    cdef int mode
    cdef int depth
    cdef bint pass_certificate
    cdef bytes error_page     # where clients without a good one are sent; b"": they get 400
    cdef bytes id             # sessions of another id are not taken up; also tells whether two hosts ask for the same

    def __cinit__(self, str host, object spec):
        self.authorities = []
        if spec.verify not in AUTH_MODES:
            raise ValueError(f"verify: {spec.verify!r} is not one of {', '.join(AUTH_MODES)}")
        self.mode = AUTH_MODES[spec.verify]
        self.depth = spec.depth
        self.pass_certificate = spec.pass_certificate
        self.error_page = spec.error_page.encode()
        if len(self.error_page) > ERROR_PAGE_MAX or not re.fullmatch(rb"[!-~]*", self.error_page):
            raise ValueError("error_page: not an address in ASCII, or too long")
        asked = b"\0".join((host.encode(), spec.verify.encode(), str(spec.depth).encode(), spec.ca_pem))
        self.id = hashlib.sha256(asked).digest()
        if spec.ca_pem:
            self.store = read_store(spec.ca_pem)
            self.authorities = read_certificates(spec.ca_pem)
        elif self.mode != AUTH_OPTIONAL_NO_CA:
            raise ValueError("ca_pem: needed to verify client certificates")

    def __dealloc__(self):
        X509_STORE_free(self.store)
        for address in self.authorities or ():
            X509_free(<X509*><size_t>address)


cdef list read_certificates(bytes pem):
    """Addresses of the X509s in it, for the caller to free. Raises ValueError with OpenSSL's words if there is none."""
    cdef list found = []
    cdef X509* certificate
    cdef BIO* bio
    ERR_clear_error()
    bio = BIO_new_mem_buf(<const char*>pem, len(pem))
    while True:
        certificate = PEM_read_bio_X509(bio, NULL, NULL, <void*>b"")
        if certificate == NULL:
            break
        found.append(<size_t>certificate)
    BIO_free(bio)
    if not found:
        raise ValueError(f"CA certificates: {openssl_words()}")
    ERR_clear_error()
    return found


cdef X509_STORE* read_store(bytes pem) except NULL:
    """A store of CA certificates, and of the revocation lists among them, which are checked then."""
    cdef list found = read_certificates(pem)
    cdef X509_STORE* store = X509_STORE_new()
    cdef X509_CRL* crl
    cdef BIO* bio
    for address in found:
        X509_STORE_add_cert(store, <X509*><size_t>address)
        X509_free(<X509*><size_t>address)
    bio = BIO_new_mem_buf(<const char*>pem, len(pem))
    while True:
        crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, <void*>b"")
        if crl == NULL:
            break
        X509_STORE_add_crl(store, crl)
        X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL)
        X509_CRL_free(crl)
    BIO_free(bio)
    ERR_clear_error()
    return store


cdef int accept_any(int good, X509_STORE_CTX* chain) noexcept nogil:
    """The verdict is kept by the connection and is asked for by the request."""
    return 1


cdef void ask_certificate(SSL* ssl, HostAuth host) noexcept:
    """In a handshake that has just told its name."""
    cdef Conn* c = <Conn*>SSL_get_app_data(ssl)
    if c == NULL or c.peer.auth != NULL:
        return
    c.peer.auth = <ClientAuth*>calloc(1, sizeof(ClientAuth))
    if c.peer.auth == NULL:
        c.k.counters.no_memory += 1
        return
    Py_INCREF(host)
    c.peer.auth.owner = <void*>host
    c.peer.auth.ssl = ssl
    c.peer.auth.status = -1
    SSL_set_verify(ssl, SSL_VERIFY_PEER, accept_any)
    SSL_set_verify_depth(ssl, host.depth)
    if host.store != NULL:
        SSL_set1_verify_cert_store(ssl, host.store)
    SSL_set_session_id_context(ssl, <const u8*><const char*>host.id, AUTH_ID)
    for address in host.authorities:
        SSL_add_client_CA(ssl, <X509*><size_t>address)


cdef void auth_end(Conn* c) noexcept:
    Py_DECREF(<object>c.peer.auth.owner)
    free(c.peer.auth.text)
    free(c.peer.auth)
    c.peer.auth = NULL


cdef HostAuth auth_of(Core* k, bytes name):
    """What the host of a name in lower case asks for."""
    return of_host(k, (<Certificates>k.certificates).auths, name)


cdef int auth_status(Exchange* x, const u8* p, const Target* t) noexcept:
    """0 if the request's host has from its client what it asks for, else the status to answer with."""
    cdef u8 name[HOST_MAX + 1]
    cdef ClientAuth* auth = x.peer.auth
    cdef int n = lookup_host(p, <Target*>t, name)
    cdef HostAuth wanted = auth_of(x.k, (<const char*>name)[:n])
    if wanted is None:
        return 0
    if auth == NULL or (<HostAuth>auth.owner).id != wanted.id:
        return 421
    if auth.status < 0:
        judge(x.k, auth, wanted)
    x.verified = auth.status == 0
    return auth.status


cdef const char* error_page(Exchange* x, int status) noexcept:
    """Where a client goes for want of a good certificate; NULL: nowhere."""
    cdef bytes found
    if (status != NO_CERTIFICATE and status != BAD_CERTIFICATE) or x.peer.auth == NULL:
        return NULL
    found = (<HostAuth>x.peer.auth.owner).error_page
    return <const char*>found if found else NULL


cdef void judge(Core* k, ClientAuth* auth, HostAuth host) noexcept:
    """Once for a connection: its verdict, and the fields that tell endpoints of it."""
    cdef X509* certificate = SSL_get_peer_certificate(auth.ssl)
    cdef long verdict = SSL_get_verify_result(auth.ssl)
    cdef Writer w = writer(<u8*>malloc(AUTH_TEXT), AUTH_TEXT)
    if w.p == NULL:
        w.capacity = 0
        k.counters.no_memory += 1
    auth.status = 0
    put_text(&w, b"ssl-client-verify: ")
    if certificate == NULL:
        put_text(&w, b"NONE")
        if host.mode == AUTH_ON:
            auth.status = NO_CERTIFICATE
    elif verdict == X509_V_OK:
        put_text(&w, b"SUCCESS")
    else:
        put_text(&w, b"FAILED:")
        put_text(&w, X509_verify_cert_error_string(verdict))
        if host.mode != AUTH_OPTIONAL_NO_CA or not is_unknown_issuer(verdict):
            auth.status = BAD_CERTIFICATE
    put_text(&w, b"\r\n")
    if certificate != NULL:
        put_name(&w, b"ssl-client-subject-dn: ", X509_get_subject_name(certificate))
        put_name(&w, b"ssl-client-issuer-dn: ", X509_get_issuer_name(certificate))
        if host.pass_certificate:
            put_certificate(&w, certificate)
        X509_free(certificate)
    if w.full:
        auth.status = BAD_CERTIFICATE     # longer than anybody's: endpoints must not get half of it
    auth.text = w.p
    auth.text_n = w.n
    if w.p != NULL and w.n:
        auth.text = <u8*>realloc(w.p, w.n)


cdef bint is_unknown_issuer(long verdict) noexcept nogil:
    """What "no CA" forgives, as nginx has it."""
    return (verdict == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT or verdict == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN
            or verdict == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY
            or verdict == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE)


cdef void put_name(Writer* w, const char* field, X509_NAME* name) noexcept:
    """By RFC 2253, everything but printable ASCII escaped."""
    cdef BIO* bio = BIO_new(BIO_s_mem())
    cdef u8* text
    cdef long i, n
    if bio == NULL:
        w.full = True
        return
    X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253)
    n = BIO_get_mem_data(bio, <char**>&text)
    put_text(w, field)
    for i in range(n):
        if FIELD_VALUE[text[i]]:
            put(w, text + i, 1)
    put_text(w, b"\r\n")
    BIO_free(bio)


cdef void put_certificate(Writer* w, X509* certificate) noexcept:
    """PEM in a field, as nginx's $ssl_client_escaped_cert."""
    cdef BIO* bio = BIO_new(BIO_s_mem())
    cdef u8* text
    cdef u8 escape[3]
    cdef long i, n
    if bio == NULL or PEM_write_bio_X509(bio, certificate) != 1:
        w.full = True
        BIO_free(bio)
        return
    n = BIO_get_mem_data(bio, <char**>&text)
    put_text(w, b"ssl-client-cert: ")
    for i in range(n):
        if UNRESERVED[text[i]]:
            put(w, text + i, 1)
            continue
        escape[0] = c'%'
        escape[1] = UPPER_HEX[text[i] >> 4]
        escape[2] = UPPER_HEX[text[i] & 15]
        put(w, escape, <int>sizeof(escape))
    put_text(w, b"\r\n")
    BIO_free(bio)


cdef const u8* UPPER_HEX = b"0123456789ABCDEF"
