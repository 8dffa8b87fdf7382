# Exchanges that no connection has brought: an errand is a request of this process, and holds its response until Python
# takes it. Nothing here frees or uses what a batch of events shares.

cdef enum:
    ERRAND_HELD = 262144      # octets of a response that may wait; then its endpoint does

# Of these our own word counts, or they would ask for what an errand does not do.
OWN_FIELDS = frozenset(("connection", "content-length", "transfer-encoding", "upgrade", "keep-alive", "te", "expect"))
TOO_LATE = "it took too long"
WITHOUT_ANSWER = {502: "no connection, or no answer in HTTP", 503: "there is no endpoint", 504: "the endpoint took too long"}
FAILED = {"cut": "the answer ended before it was complete", "long": "the answer is longer than may be", "gone": "given up"}


cdef class Errand:
    """A request of this process, and its response as it comes."""

    cdef Engine engine
    cdef Exchange* x           # NULL: it is over
    cdef Peer peer
    cdef Buffer asked          # of the request's body, until the exchange wants it
    cdef Buffer came           # of the response's content, until it is taken
    cdef int64_t limit         # of that, if the whole response is collected
    cdef bint told             # `_go_on` is on its way
    cdef bint collects         # `ended` is to tell the whole response
    cdef object timer
    cdef readonly int status
    cdef readonly tuple fields
    cdef readonly str outcome
    cdef readonly object ended

    def __cinit__(self, Engine engine not None, str client, int port, int own_port, bint tls):
        cdef bytes address = client.encode()
        cdef u8 octets[16]
        self.engine = engine
        self.outcome = ""
        self.fields = ()
        self.ended = engine.loop.create_future()
        self.peer.address_n = min(len(address), ADDRESS_TEXT)
        memcpy(self.peer.address, <const char*>address, self.peer.address_n)
        self.peer.port = port
        self.peer.own_port = own_port
        self.peer.tls = tls
        self.peer.trusted = read_ip(self.peer.address, self.peer.address_n, octets) and in_ranges(
            &engine.k.trusted, octets)

    def __dealloc__(self):
        buffer_free(&self.asked)
        buffer_free(&self.came)

    def send(self, bytes octets not None):
        if self.x == NULL:
            return
        if not buffer_add(&self.asked, octets, <int>len(octets)):
            raise MemoryError()
        self._go_on()

    def take(self):
        """Read what has come."""
        cdef bytes octets = (<const char*>self.came.p + self.came.start)[:held(&self.came)] if held(&self.came) else b""
        buffer_free(&self.came)
        if self.x != NULL and self.x.up != NULL:
            upstream_settle(self.x.up)
        return octets

    def cancel(self):
        if self.x != NULL:
            exchange_gone(self.x)

    def _late(self):
        """The time given has passed."""
        if self.x != NULL:
            self.outcome = TOO_LATE
            exchange_gone(self.x)

    def _done(self, future):
        """Nobody may be waiting any longer."""
        self.cancel()

    def _go_on(self):
        cdef Buffer asked
        self.told = False
        if self.x == NULL or held(&self.asked) == 0 or self.x.request.mode == B_DONE or not body_wanted(self.x):
            return
        tell_time(self.x.k)
        asked = self.asked
        memset(&self.asked, 0, sizeof(Buffer))
        self.x.octets_in += held(&asked)
        request_body(self.x, asked.p + asked.start, held(&asked))
        buffer_free(&asked)


cdef bint errand_begin(Errand e) except False:
    """Give it an exchange."""
    cdef Core* k = e.engine.k
    cdef Exchange* x
    if k.epfd < 0:
        raise RuntimeError("the engine is closed")
    tell_time(k)
    x = exchange_new(k, &e.peer)
    if x == NULL:
        raise MemoryError()
    Py_INCREF(e)       # until the exchange is freed
    x.errand = <void*>e
    x.content = True
    e.x = x
    e.peer.served += 1
    e.engine.errands.add(e)
    return True


cdef Errand errand_ask(Errand e, bytes octets):
    """See Engine.ask."""
    cdef Core* k = e.engine.k
    cdef Head h
    cdef Target t
    cdef bytearray copy = bytearray(octets)      # heads are worked on where they are
    cdef u8* p = <u8*><char*>copy
    cdef int n = <int>len(copy)
    cdef int length = exchange_head(k, p, n, &h, &t)
    if length <= 0:
        raise ValueError(f"refused with {-length}" if length else "no complete head")
    errand_begin(e)
    length += exchange_begin(e.x, p, n, &h, &t)
    if e.x != NULL and e.x.request.mode != B_DONE and not buffer_add(&e.asked, p + length, n - length):
        exchange_gone(e.x)
    return e


cdef void errand_resume(Errand e, bytes head, int status) noexcept:
    """Go on with a parked request, as if its head, and what has come since, were here just now."""
    cdef bytearray whole = bytearray(head)
    cdef Head h
    cdef Target t
    cdef u8* p
    whole += (<const char*>e.asked.p + e.asked.start)[:held(&e.asked)] if held(&e.asked) else b""
    buffer_free(&e.asked)
    p = <u8*><char*>whole
    exchange_head(e.x.k, p, <int>len(whole), &h, &t)
    exchange_forward(e.x, p, <int>len(whole), &h, &t, status)


cdef object errand_fetch(Errand e, str key, bytes octets, tuple bounds):
    """See Engine.fetch; `octets` are the whole request."""
    cdef Exchange* x
    cdef Core* k = e.engine.k
    cdef Head h
    cdef Target t
    cdef const u8* p = <const u8*><const char*>octets
    cdef int length = exchange_head(k, p, <int>len(octets), &h, &t)
    address = e.engine.backends.get(key)
    if length <= 0 or address is None:
        raise ValueError(f"backend {key!r} is unknown" if length > 0 else f"no request: refused with {-length}")
    errand_begin(e)
    x = e.x
    x.ours = True
    x.minor = 1
    x.backend = <Backend*><size_t>address
    x.backend.refs += 1
    note_method(x, p + h.method.at, h.method.n)
    e.collects = True
    e.limit = bounds[1]
    e.timer = e.engine.loop.call_later(bounds[0], e._late)
    x.head = <u8*>malloc(len(octets))
    if x.head == NULL:
        exchange_gone(x)
        raise MemoryError()
    memcpy(x.head, p, len(octets))
    x.head_n = <int>len(octets)
    x.whole = True
    x.keep_head = x.repeatable
    e.ended.add_done_callback(e._done)
    exchange_connect(x, 502)
    return e.ended


cdef bytes errand_octets(str method, str target, object fields, bytes body):
    """A request in HTTP/1.1. Raises ValueError for what would break a line; all else the parser judges."""
    cdef list lines = [f"{method} {target} HTTP/1.1"]
    for name, value in fields:
        if name.lower() not in OWN_FIELDS:
            lines.append(f"{name}: {value}")
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    for line in lines:
        if "\r" in line or "\n" in line:
            raise ValueError(f"a line break in {line[:100]!r}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


cdef bint errand_take(Errand e, const u8* p, int n, int head_n) noexcept:
    """A head, or content, or both; False when it is longer than may be."""
    cdef int i = 0
    if head_n:
        errand_head(e, (<const char*>p)[:head_n])
    if e.collects and held(&e.came) + n - head_n > e.limit:
        e.outcome = "long"
        return False
    return buffer_add(&e.came, p + head_n, n - head_n)


cdef void errand_head(Errand e, bytes head) noexcept:
    """Its status and fields. An interim head is forgotten with the next one."""
    cdef list lines = head.decode("latin-1").split("\r\n")
    e.status = int(lines[0][9:12])
    e.fields = tuple([(name, value.strip(" \t")) for name, _, value in [line.partition(":") for line in lines[1:-2]]])


cdef inline int errand_waiting(Errand e) noexcept:
    """Nothing until it is more than may wait. What is collected has a limit of its own."""
    return 0 if e.collects or held(&e.came) < ERRAND_HELD else held(&e.came)


cdef void errand_settle(Errand e) noexcept:
    """Go on with the request's body, but not from within whatever has called."""
    if e.x != NULL and held(&e.asked) and not e.told and body_wanted(e.x):
        e.told = True
        e.engine.loop.call_soon(e._go_on)


cdef void errand_failed(Exchange* x, int status) noexcept:
    """An errand for the proxy itself has no answer."""
    (<Errand>x.errand).outcome = WITHOUT_ANSWER.get(status, "no answer")
    exchange_end(x)
    errand_end(<Errand>x.errand, "")


cdef void errand_end(Errand e, str how) noexcept:
    """Tell whoever waits. What was said of the end before counts."""
    cdef str why
    e.outcome = why = e.outcome or how
    if e.timer is not None:
        e.timer.cancel()
        e.timer = None
    e.engine.errands.discard(e)
    if e.ended.done():
        return
    if not e.collects:
        e.ended.set_result(None)
    elif why == "whole":
        e.ended.set_result((e.status, e.fields, e.take()))
    else:
        e.ended.set_exception(TimeoutError(why) if why == TOO_LATE else ConnectionError(FAILED.get(why, why)))


cdef void errands_end(Core* k) noexcept:
    """The engine closes."""
    cdef Errand e
    for e in list((<Engine>k.engine).errands):
        e.cancel()
