# What filters see: a request and its response as Python objects, made only for routes that have filters. Everything is
# taken from copies of the heads when it is asked for; the exchange is left alone, which may be over before its filters.

cdef enum:
    # as ingress/filters/chain.py
    WANTS_PLAIN = 1
    WANTS_SECURE = 2
    WANTS_RESPONSE = 4
    WANTS_FINISH = 8
    WANTS_REQUEST_BODY = 16
    WANTS_RESPONSE_BODY = 32


cdef class Plan:
    """What one route does besides forwarding; exchanges hold it, so that a change of routes leaves them theirs."""

    cdef object chain            # None: no filters
    cdef int wants
    cdef str rule_path
    cdef str backend
    cdef tuple labels
    cdef Edits sent              # None: none
    cdef Edits told
    cdef Edits told_secure       # to clients that speak TLS
    cdef bint silent             # no line in the log
    cdef double rate
    cdef int64_t rate_after


cdef bint next_line(const u8* p, int n, int* at, Span* name, Span* value) noexcept nogil:
    """The next field line of a head that was accepted; False at its end."""
    cdef const u8* end = <const u8*>memchr(p + at[0], c'\n', n - at[0])
    cdef const u8* colon
    cdef int stop
    if end == NULL or p[at[0]] == c'\r':
        return False
    stop = <int>(end - p) - 1
    colon = <const u8*>memchr(p + at[0], c':', stop - at[0])
    if colon == NULL:
        return False
    name.at = at[0]
    name.n = <int>(colon - p) - at[0]
    value.at = name.at + name.n + 1
    at[0] = <int>(end - p) + 1
    while value.at < stop and is_space(p[value.at]):
        value.at += 1
    while stop > value.at and is_space(p[stop - 1]):
        stop -= 1
    value.n = stop - value.at
    return True


cdef list head_values(bytes head, int at, str wanted):
    """Of every field of one name."""
    cdef const u8* p = <const u8*><const char*>head
    cdef bytes octets = wanted.encode("latin-1", "replace")
    cdef list found = []
    cdef Span name, value
    while next_line(p, <int>len(head), &at, &name, &value):
        if same_name(p + name.at, name.n, <const u8*><const char*>octets, <int>len(octets)):
            found.append(octets_of(p, value).decode("latin-1"))
    return found


cdef str text_of(bytes head, Span s):
    return octets_of(<const u8*><const char*>head, s).decode("latin-1")


@cython.freelist(64)
cdef class Request:
    """ingress.filters.api.Request."""

    cdef Exchange* x             # NULL once it is over
    cdef object engine
    cdef Plan plan
    cdef object task             # of filters that take their time
    cdef object answer           # the Reply that is the response
    cdef bytes head
    cdef int fields_at
    cdef Span method_at
    cdef Span target_at
    cdef Span path_at
    cdef Span rest_at
    cdef Span host_at
    cdef Span authority_at
    cdef Span id_at
    cdef int minor
    cdef int64_t length
    cdef bytes client_octets
    cdef bytes peer_octets
    cdef bytes made_id           # where the client has sent none
    cdef readonly bint secure
    cdef readonly int port
    cdef readonly bint chunked
    cdef bytes other_target
    cdef str other_backend
    cdef str pin_text
    cdef bytes pin_octets
    cdef Edits sent              # what goes on is changed like this
    cdef Edits told              # what the client gets
    cdef dict noted
    cdef object captured
    cdef public bint pin_retries
    cdef public bytes hash_key
    cdef public bint log
    cdef public bint compress
    cdef public str user
    cdef public str alternative

    @property
    def method(self):
        return text_of(self.head, self.method_at)

    @property
    def target(self):
        return text_of(self.head, self.target_at)

    @property
    def path(self):
        found = normalise_path(octets_of(<const u8*><const char*>self.head, self.path_at) or b"/")
        return found.decode("utf-8", "surrogateescape")

    @property
    def query(self):
        cdef Span s
        s.at = self.path_at.at + self.path_at.n + 1
        s.n = self.rest_at.n - self.path_at.n - 1
        return text_of(self.head, s)

    @property
    def host(self):
        found = text_of(self.head, self.host_at).lower()
        return found[:-1] if found.endswith(".") else found

    @property
    def authority(self):
        return text_of(self.head, self.authority_at)

    @property
    def version(self):
        return "HTTP/1.1" if self.minor else "HTTP/1.0"

    @property
    def client(self):
        return self.client_octets.decode()

    @property
    def peer(self):
        return self.peer_octets.decode()

    @property
    def id(self):
        if self.id_at.n:
            return text_of(self.head, self.id_at)
        if self.made_id is None:
            self.make_id()
        return self.made_id.decode()

    cdef void make_id(self) except *:
        cdef u8 text[RANDOM_ID]
        cdef Writer w = writer(text, RANDOM_ID)
        if self.x == NULL:
            self.made_id = b""
            return
        put_random_id(&w, self.x.k)
        self.made_id = (<const char*>text)[:RANDOM_ID]
        if self.x.log != NULL:
            self.x.log.id_n = RANDOM_ID
            memcpy(self.x.log.id, text, RANDOM_ID)

    @property
    def content_length(self):
        return None if self.length < 0 else self.length

    @property
    def server_name(self):
        cdef const char* name = NULL
        if self.x != NULL and carrier_tls(self.x) != NULL:
            name = SSL_get_servername(carrier_tls(self.x), TLSEXT_NAMETYPE_host_name)
        return "" if name == NULL else (<bytes>name).decode("latin-1").lower()

    @property
    def client_certificate(self):
        if self.x == NULL or self.x.peer.auth == NULL or self.x.peer.auth.status < 0:
            return None
        return shown_certificate(self.x.peer.auth, carrier_tls(self.x))

    cdef list values_of(self, str name):
        """Of the fields of one name, as edited."""
        cdef Edits edits = self.plan.sent if self.sent is None else self.sent
        if edits is not None:
            found = edits.values(name.lower().encode("latin-1", "replace"))
            if found is not None:
                return found
        return head_values(self.head, self.fields_at, name)

    def field(self, str name not None):
        found = self.values_of(name)
        return ", ".join(found) if found else None

    def fields(self):
        cdef const u8* p = <const u8*><const char*>self.head
        cdef int at = self.fields_at
        cdef Span name, value
        cdef list found = []
        while next_line(p, <int>len(self.head), &at, &name, &value):
            found.append((octets_of(p, name).decode("latin-1"), octets_of(p, value).decode("latin-1")))
        return found

    def cookie(self, str name not None):
        for each in ";".join(self.values_of("cookie")).split(";"):
            key, equals, value = each.strip().partition("=")
            if equals and key == name:
                return value
        return None

    @property
    def route_id(self):
        return NO_ROUTE if self.x == NULL else self.x.route_id

    @property
    def labels(self):
        return self.plan.labels

    @property
    def rule_path(self):
        return self.plan.rule_path

    @property
    def captures(self):
        return self.captured

    @property
    def backend(self):
        return self.plan.backend if self.other_backend is None else self.other_backend

    @backend.setter
    def backend(self, str key not None):
        self.other_backend = key

    @property
    def upstream_target(self):
        return self.target if self.other_target is None else self.other_target.decode("latin-1")

    @upstream_target.setter
    def upstream_target(self, str target not None):
        self.other_target = target_octets(target)

    @property
    def pin(self):
        return self.pin_text

    @pin.setter
    def pin(self, str endpoint not None):
        self.pin_octets = endpoint.encode()
        self.pin_text = endpoint

    def set(self, str name not None, str value not None):
        self.editing(True).put(name, value)

    def remove(self, str name not None):
        self.editing(True).drop(name)

    def set_response(self, str name not None, str value not None):
        self.editing(False).put(name, value)

    def add_response(self, str name not None, str value not None):
        self.editing(False).add(name, value)

    def remove_response(self, str name not None):
        self.editing(False).drop(name)

    cdef Edits editing(self, bint sent):
        """The request's own edits, which begin with those of its route."""
        cdef Exchange* x = self.x
        cdef Edits found = self.sent if sent else self.told
        cdef void** place
        if found is not None:
            return found
        if x == NULL:
            return Edits()    # over: nobody reads it
        place = &x.request_edits if sent else &x.response_edits
        found = Edits() if place[0] == NULL else (<Edits>place[0]).copy()
        hold(place, found)
        if sent:
            self.sent = found
        else:
            self.told = found
        return found

    def endpoints(self, str backend not None):
        return backend_endpoints(self.engine, backend)

    def hashed(self, bytes key not None):
        return choose_endpoint((<Engine>self.engine).k, self.backend, key) or ""

    @property
    def notes(self):
        if self.noted is None:
            self.noted = {}
        return self.noted


cdef bytes target_octets(str target):
    """Raises ValueError for what is no target in origin form."""
    cdef bytes octets = target.encode("latin-1")
    cdef int i
    for i in range(len(octets)):
        if not TARGET[<u8>octets[i]]:
            break
    else:
        if octets.startswith(b"/"):
            return octets
    raise ValueError(f"{target!r} is not a path and query")


cdef Request make_request(Exchange* x, Plan plan, const u8* p, const Head* h, const Target* t):
    cdef Request r = Request.__new__(Request)
    cdef Origin o
    cdef u8 digits[PORT_DIGITS]
    cdef int n = 0
    cdef const u8* text
    r.x = x
    r.engine = <object>x.k.engine
    r.plan = plan
    r.head = (<const char*>p)[:h.length]
    r.fields_at = first_line(p, h)
    r.method_at = h.method
    r.target_at = h.target
    r.path_at = t.path
    r.rest_at = t.rest
    r.host_at = t.host
    r.id_at = h.request_id
    r.minor = h.minor
    r.length = h.content_length
    r.chunked = h.chunked
    read_origin(&o, x, p, h, t, digits)
    r.authority_at.at = <int>(o.host - p)
    r.authority_at.n = o.host_n
    r.port = read_port(o.port, o.port_n)
    r.secure = is_word(o.scheme, o.scheme_n, b"https")
    text = client_text(x, &n)
    r.client_octets = (<const char*>text)[:n]
    r.peer_octets = (<const char*>x.peer.address)[:x.peer.address_n]
    r.pin_text = r.user = r.alternative = ""
    r.hash_key = b""
    r.log = x.log != NULL and not plan.silent
    r.compress = True
    return r


cdef int first_line(const u8* p, const Head* h) noexcept nogil:
    """Where the fields begin."""
    cdef const u8* end = <const u8*>memchr(p + h.target.at, c'\n', h.length - h.target.at)
    return <int>(end - p) + 1


cdef class Response:
    """ingress.filters.api.Response."""

    cdef readonly int status
    cdef readonly bint own
    cdef readonly int attempts
    cdef bytes head
    cdef int fields_at
    cdef bytes key

    @property
    def endpoint(self):
        return self.key.decode()

    def field(self, str name not None):
        found = head_values(self.head, self.fields_at, name)
        return found[0] if found else None

    def all(self, str name not None):
        return head_values(self.head, self.fields_at, name)


cdef Response make_response(Exchange* x, const u8* p, const Head* h, bint own):
    cdef Response r = Response.__new__(Response)
    r.status = h.status
    r.own = own
    r.attempts = x.attempts
    r.head = (<const char*>p)[:h.length]
    r.fields_at = h.target.at
    r.key = b""
    if not own and x.up != NULL:
        r.key = (<const char*>x.up.endpoint.key)[:x.up.endpoint.key_n]
    return r


cdef object shown_certificate(ClientAuth* auth, SSL* ssl):
    """ClientCertificate of what the TLS client has shown."""
    from ingress.filters.api import ClientCertificate

    cdef bytes text = (<const char*>auth.text)[:auth.text_n]
    cdef X509* certificate = SSL_get_peer_certificate(ssl)
    cdef bytes pem = b""
    cdef BIO* bio
    cdef char* octets
    cdef long n
    if certificate != NULL:
        bio = BIO_new(BIO_s_mem())
        if bio != NULL and PEM_write_bio_X509(bio, certificate) == 1:
            n = BIO_get_mem_data(bio, &octets)
            pem = octets[:n]
        BIO_free(bio)
        X509_free(certificate)
    said = {name: "".join(head_values(text + b"\r\n", 0, name))
            for name in ("ssl-client-verify", "ssl-client-subject-dn", "ssl-client-issuer-dn")}
    return ClientCertificate(*said.values(), pem.decode())


cdef list backend_endpoints(Engine engine, str key):
    cdef Backend* b
    cdef int i
    cdef bint leave_out
    address = engine.backends.get(key)
    if address is None:
        return []
    b = <Backend*><size_t>address
    leave_out = may_leave_out(b)
    return [(<const char*>b.endpoints[i].key)[:b.endpoints[i].key_n].decode() for i in range(b.n)
            if not (leave_out and is_ejected(b.endpoints[i]))]
