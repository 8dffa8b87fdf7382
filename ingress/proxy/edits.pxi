# Changes to field lines: what a route, and its filters, put into and take out of heads on both sides.

FRAMING = frozenset((b"connection", b"content-length", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding",
                     b"upgrade"))
"""Where a message ends and what a connection does is the engine's: edits of these have no effect."""


cdef class Edits:
    """Names whose fields go, and lines that come."""

    cdef object __weakref__
    cdef list names      # in lower case
    cdef list lines      # (name in lower case, line with its end)
    cdef int size        # octets of the lines

    def __cinit__(self):
        self.names = []
        self.lines = []

    cdef Edits copy(self):
        cdef Edits other = Edits()
        other.names = list(self.names)
        other.lines = list(self.lines)
        other.size = self.size
        return other

    cdef void drop(self, str name) except *:
        """Take out every field of that name, one added before included. Raises ValueError for what is no name."""
        cdef bytes wanted = field_name(name)
        if wanted in FRAMING:
            return
        if wanted not in self.names:
            self.names.append(wanted)
        self.lines = [line for line in self.lines if line[0] != wanted]
        self.measure()

    cdef void add(self, str name, str value) except *:
        """One line more. Raises ValueError for what no field may hold."""
        cdef bytes wanted = field_name(name)
        cdef bytes octets = value.strip(" \t").encode("latin-1")
        cdef int i
        for i in range(len(octets)):
            if not FIELD_VALUE[<u8>octets[i]]:
                raise ValueError(f"field {name}: control characters are not allowed in its value")
        if wanted not in FRAMING:
            self.lines.append((wanted, b"%s: %s\r\n" % (name.encode(), octets)))
            self.measure()

    cdef void put(self, str name, str value) except *:
        self.drop(name)
        self.add(name, value)

    cdef void measure(self) except *:
        self.size = sum([len(line[1]) for line in self.lines])

    cdef list values(self, bytes name):
        """Of the lines that come; None where they do not touch that name."""
        cdef list found = [line[1][len(name) + 2:-2].decode("latin-1") for line in self.lines if line[0] == name]
        return found if found or name in self.names else None


cdef bytes field_name(str name):
    """In lower case; raises ValueError for what is no name."""
    cdef bytes octets = name.encode("latin-1")
    cdef int i
    for i in range(len(octets)):
        if not TOKEN[<u8>octets[i]]:
            break
    else:
        if octets:
            return octets.lower()
    raise ValueError(f"{name!r} is not the name of a field")


cdef bint named_by(Edits e, const u8* p, int n) noexcept:
    """Whether fields of that name go."""
    cdef bytes name
    for each in e.names:
        name = <bytes>each
        if same_name(p, n, <const u8*><const char*>name, <int>len(name)):
            return True
    return False


cdef void mark_edits(Edits e, const u8* b, Head* h) noexcept:
    """Take the fields out of a response's head that is to be put on; also what would be added of our own accord."""
    cdef int i
    for i in range(h.field_n):
        if named_by(e, b + h.field[i].at, h.field[i].name_n):
            h.field[i].drop = True
    h.has_date = h.has_date or b"date" in e.names
    h.has_server = h.has_server or b"server" in e.names


cdef void put_edits(Writer* w, Edits e) noexcept:
    """The lines that come."""
    cdef bytes line
    for each in e.lines:
        line = <bytes>(<tuple>each)[1]
        put(w, <const u8*><const char*>line, <int>len(line))


cdef void edit_lines(Writer* w, int begun, Edits e) noexcept:
    """Edit the request's head that was written from `begun` on, whoever made its fields. Its end may still be open."""
    cdef const u8* end = <const u8*>memchr(w.p + begun, c'\n', w.n - begun)
    cdef const u8* colon
    cdef int at, next_at, kept, n
    cdef bint closed = False
    if end == NULL or w.full:
        w.full = True
        return
    at = kept = <int>(end - w.p) + 1
    while at < w.n:
        end = <const u8*>memchr(w.p + at, c'\n', w.n - at)
        if end == NULL:
            break
        next_at = <int>(end - w.p) + 1
        n = next_at - at
        if w.p[at] == c'\r':
            closed = True
            break
        colon = <const u8*>memchr(w.p + at, c':', n)
        if colon == NULL or not named_by(e, w.p + at, <int>(colon - (w.p + at))):
            memmove(w.p + kept, w.p + at, n)
            kept += n
        at = next_at
    w.n = kept
    put_edits(w, e)
    if closed:
        put_text(w, b"\r\n")


cdef inline void hold(void** place, object fresh) noexcept:
    """Keep an object, or nothing for None, where there may have been another."""
    cdef void* old = place[0]
    place[0] = NULL
    if fresh is not None:
        Py_INCREF(fresh)
        place[0] = <void*>fresh
    if old != NULL:
        Py_DECREF(<object>old)
