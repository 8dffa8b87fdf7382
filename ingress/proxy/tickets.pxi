# Session tickets (RFC 5077; RFC 8446, 4.6.1): sessions are kept by the clients, under keys that every worker has.
# The first key makes tickets, every key reads them; a ticket of another than the first is replaced.

cdef enum:
    TICKET_NAME = 16
    TICKET_SECRET = 32
    TICKET_KEY = TICKET_NAME + 2 * TICKET_SECRET    # name, AES key, HMAC key
    TICKET_KEYS_MAX = 8

cdef EVP_CIPHER* TICKET_CIPHER = EVP_CIPHER_fetch(NULL, b"AES-256-CBC", NULL)


cdef void ticket_keys_put(Core* k, object keys) except *:
    cdef list wanted = list(keys)
    cdef bytes key
    cdef int i
    if len(wanted) > TICKET_KEYS_MAX:
        raise ValueError(f"at most {TICKET_KEYS_MAX} ticket keys")
    for key in wanted:
        if len(key) != TICKET_KEY:
            raise ValueError(f"a ticket key has {TICKET_KEY} octets")
    for i, key in enumerate(wanted):
        memcpy(k.tickets[i], <const char*>key, TICKET_KEY)
    k.ticket_n = len(wanted)


cdef int ticket_key(SSL* ssl, u8* name, u8* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, int making) noexcept:
    """What OpenSSL asks for to make a ticket or to read one: 1, 2 (read, but make a new one), or 0 for a full handshake."""
    cdef Conn* c = <Conn*>SSL_get_app_data(ssl)
    cdef u8* key = NULL
    cdef int i
    cdef OSSL_PARAM options[3]
    if c == NULL or c.k.ticket_n == 0:
        return 0
    for i in range(1 if making else c.k.ticket_n):
        if making or memcmp(c.k.tickets[i], name, TICKET_NAME) == 0:
            key = c.k.tickets[i]
            break
    if key == NULL:
        return 0
    options[0] = OSSL_PARAM_construct_octet_string(b"key", key + TICKET_NAME + TICKET_SECRET, TICKET_SECRET)
    options[1] = OSSL_PARAM_construct_utf8_string(b"digest", b"SHA256", 0)
    options[2] = OSSL_PARAM_construct_end()
    if making:
        memcpy(name, key, TICKET_NAME)
        if RAND_bytes(iv, EVP_CIPHER_get_iv_length(TICKET_CIPHER)) != 1:
            return -1
    if (EVP_CipherInit_ex2(cipher, TICKET_CIPHER, key + TICKET_NAME, iv, 1 if making else 0, NULL) != 1
            or EVP_MAC_CTX_set_params(mac, options) != 1):
        return -1
    return 1 if making or i == 0 else 2


TICKET_KEY_OCTETS = TICKET_KEY
