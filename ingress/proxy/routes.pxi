# Host and path to route: exact paths, then the longest prefix of whole segments (Kubernetes, Ingress v1).
# One pass over the path: a running hash is looked up at every segment's end, however many paths a host has.

cdef enum:
    NO_ROUTE = -1

cdef struct Route:
    int id
    Backend* backend
    int64_t body_limit
    u8 options               # RouteOption
    void* plan               # Plan, held by the table; NULL: nothing but forwarding
    void* labels             # a tuple of octets, held by the table; NULL: none

cdef struct PathEntry:
    bint used
    uint64_t hash
    int at           # of the path in the table's text, without a prefix's trailing slash
    int n
    int exact        # index of a route, or NO_ROUTE
    int prefix       # "/foo"
    int prefix_slash  # "/foo/"


cdef inline uint64_t hash_step(uint64_t h, u8 octet) noexcept nogil:
    return (h ^ octet) * <uint64_t>1099511628211ULL


cdef inline uint64_t hash_end(uint64_t h) noexcept nogil:
    return h ^ (h >> 29)


cdef inline uint64_t hash_bit(uint64_t h) noexcept nogil:
    return <uint64_t>1 << (h >> 58)


cdef uint64_t HASH_SEED = 0


cdef void init_seed():
    # Paths come from strangers: the seed keeps them from choosing collisions.
    getrandom(&HASH_SEED, sizeof(HASH_SEED), 0)


init_seed()


cdef class HostTable:
    """The routes of one host. Immutable once built: a host's change is a new table."""

    cdef Route* routes
    cdef int route_n
    cdef PathEntry* entries
    cdef uint64_t mask
    cdef uint64_t some       # a bit for each of the paths' hashes: what has none is not looked for
    cdef int longest
    cdef bytes text
    cdef dict labels         # those of the routes
    cdef list plans          # those of the routes
    cdef object patterns     # settings.Matcher, whose places are the routes'; None: paths are looked up

    def __cinit__(self):
        self.routes = NULL
        self.entries = NULL

    def __dealloc__(self):
        cdef int i
        for i in range(self.route_n):
            self.routes[i].backend.table_refs -= 1
            backend_release(self.routes[i].backend)
        free(self.routes)
        free(self.entries)

    cdef PathEntry* entry(self, const u8* p, int n, uint64_t h) noexcept:
        """Where the path is, or the free place where it would be."""
        cdef uint64_t slot = h & self.mask
        cdef const u8* text = <const u8*><const char*>self.text
        while self.entries[slot].used:
            if (self.entries[slot].hash == h and self.entries[slot].n == n
                    and memcmp(text + self.entries[slot].at, p, n) == 0):
                break
            slot = (slot + 1) & self.mask
        return &self.entries[slot]

    cdef int find(self, const u8* p, int n) noexcept:
        """The route for a normalised path, or NO_ROUTE."""
        cdef int i, best = NO_ROUTE
        cdef uint64_t h = HASH_SEED
        cdef PathEntry* e
        for i in range(n):
            if i > self.longest:
                return best
            if p[i] == c'/' and self.some & hash_bit(hash_end(h)):
                e = self.entry(p, i, hash_end(h))
                if e.used and e.prefix_slash >= 0:
                    best = e.prefix_slash
                elif e.used and e.prefix >= 0:
                    best = e.prefix
            h = hash_step(h, p[i])
        if n > self.longest or not self.some & hash_bit(hash_end(h)):
            return best
        e = self.entry(p, n, hash_end(h))
        if not e.used:
            return best
        if e.exact >= 0:
            return e.exact
        if e.prefix_slash >= 0:
            return e.prefix_slash
        return e.prefix if e.prefix >= 0 else best


cdef tuple find_pattern(HostTable table, const u8* p, int n):
    """The place and captures of the pattern that matches; None if none does."""
    found = table.patterns.find((<const char*>p)[:n])
    if found is None:
        return None
    route, captures = found
    if not 0 <= route < table.route_n:
        raise ValueError(f"a pattern's route has the number {route} of {table.route_n}")
    return route, captures


cdef HostTable build_host_table(Core* k, object routes, object patterns):
    """From RouteSpecs; raises ValueError for a path without a leading slash."""
    cdef HostTable table = HostTable.__new__(HostTable)
    cdef list stored = []
    cdef bytes path
    cdef int size = 4, at = 0, i
    for spec in routes:
        path = spec[0].encode()
        if not path.startswith(b"/") and patterns is None:
            raise ValueError(f"path {spec[0]!r}: must begin with '/'")
        if not spec[1] and path.endswith(b"/"):
            path = path[:-1]
        stored.append(path)
    while size < 2 * len(stored) + 2:
        size *= 2
    table.text = b"".join(stored)
    table.labels = {}
    table.patterns = patterns
    table.plans = []
    table.mask = size - 1
    table.entries = <PathEntry*>calloc(size, sizeof(PathEntry))
    table.routes = <Route*>calloc(len(stored) + 1, sizeof(Route))
    if table.entries == NULL or table.routes == NULL:
        raise MemoryError()
    for i, spec in enumerate(routes):
        path = stored[i]
        table.routes[i].id = spec[3]
        table.routes[i].backend = backend_named(k, spec[2])
        table.routes[i].backend.refs += 1
        table.routes[i].backend.table_refs += 1
        table.route_n = i + 1
        if len(spec) > 4 and spec[4]:
            table.routes[i].labels = hold_labels(table, tuple(spec[4]))
        read_route_options(k, &table.routes[i], spec.options if isinstance(spec, RouteSpec) else RouteOptions())
        add_plan(table, i, spec)
        add_path(table, i, at, len(path), spec[1], not spec[1] and spec[0].endswith("/"))
        at += len(path)
    return table


cdef void* hold_labels(HostTable table, tuple labels) except NULL:
    """As octets; routes with the same labels share them."""
    cdef tuple held = table.labels.get(labels)
    if held is None:
        held = table.labels[labels] = tuple([label.encode() for label in labels])
    return <void*>held


cdef void read_route_options(Core* k, Route* route, object options) except *:
    """What a route asks for; what it leaves open is as the settings say."""
    cdef int named
    route.body_limit = k.o.body_limit if options.body_limit_bytes is None else options.body_limit_bytes
    route.options = <u8>k.o.route_options
    for named, wanted in ((BUFFER_REQUEST, options.request_buffering), (BUFFER_RESPONSE, options.response_buffering),
                          (COMPRESS, options.compress)):
        if wanted is not None:
            route.options = <u8>(route.options | named if wanted else route.options & ~named)


cdef void add_plan(HostTable table, int route, object spec) except *:
    """What the route does besides forwarding, if it does anything."""
    cdef Plan plan = Plan()
    if not isinstance(spec, RouteSpec):
        return
    o = spec.options
    plan.sent = fixed_edits(o.request_remove, o.request_set, True)
    plan.told = fixed_edits(o.response_remove, o.response_set, False)
    if o.response_set_secure:
        plan.told_secure = fixed_edits(o.response_remove, (*o.response_set, *o.response_set_secure), False)
    plan.silent = not o.log
    plan.rate = o.rate_bytes_per_second
    plan.rate_after = o.rate_after_bytes
    if spec.filters is not None and spec.filters.wants:
        plan.chain = spec.filters
        plan.wants = plan.chain.wants
        plan.rule_path = spec.path
        plan.backend = spec.backend
        plan.labels = tuple(spec.labels)
    elif not (o.request_remove or o.request_set or o.response_remove or o.response_set or o.response_set_secure
              or plan.silent or plan.rate):
        return
    table.plans.append(plan)
    table.routes[route].plan = <void*>plan


FIXED = weakref.WeakValueDictionary()    # many routes ask for the same


cdef Edits fixed_edits(object removed, object lines, bint sent):
    """None for none. sent: to endpoints. Raises ValueError for what no field may be."""
    cdef Edits edits
    if not removed and not lines:
        return None
    key = tuple(removed), tuple([tuple(line) for line in lines]), sent
    found = FIXED.get(key)
    if found is not None:
        return found
    edits = Edits()
    for name in removed:
        edits.drop(name)
    for name, value in lines:
        edits.put(name, value)
        if sent and name.lower() == "connection" and value.lower() == "keep-alive":
            # The one edit of what frames a message: it says what is so anyway, to endpoints that want to hear it.
            edits.lines.append((b"connection", b"Connection: keep-alive\r\n"))
            edits.measure()
    FIXED[key] = edits
    return edits


cdef void add_path(HostTable table, int route, int at, int n, bint exact, bint slash):
    cdef const u8* p = <const u8*><const char*>table.text + at
    cdef uint64_t h = HASH_SEED
    cdef PathEntry* e
    cdef int i
    for i in range(n):
        h = hash_step(h, p[i])
    h = hash_end(h)
    e = table.entry(p, n, h)
    if not e.used:
        e.used = True
        e.hash = h
        e.at = at
        e.n = n
        e.exact = e.prefix = e.prefix_slash = NO_ROUTE
        table.some |= hash_bit(h)
    table.longest = max(table.longest, n)
    # The first of two equal paths wins: the caller lists the older object first.
    if exact:
        e.exact = route if e.exact < 0 else e.exact
    elif slash:
        e.prefix_slash = route if e.prefix_slash < 0 else e.prefix_slash
    else:
        e.prefix = route if e.prefix < 0 else e.prefix


cdef class RouteTable:
    """Every host's table: by name, by the domain under a wildcard, and for every other host."""

    cdef dict exact
    cdef dict wildcard
    cdef HostTable other

    def __cinit__(self):
        self.exact = {}
        self.wildcard = {}
        self.other = None

    cdef void put(self, str host, HostTable table) except *:
        if host == "":
            self.other = table
        elif host.startswith("*."):
            self.wildcard[host[2:].encode()] = table
        else:
            self.exact[host.encode()] = table

    cdef void drop(self, str host) except *:
        if host == "":
            self.other = None
        elif host.startswith("*."):
            self.wildcard.pop(host[2:].encode(), None)
        else:
            self.exact.pop(host.encode(), None)

    cdef HostTable find(self, const u8* host, int n):
        """The table of a host in lower case, or None."""
        cdef const u8* dot
        found = self.exact.get((<const char*>host)[:n])
        if found is None and self.wildcard:
            dot = <const u8*>memchr(host, c'.', n)
            if dot != NULL and dot > host:
                found = self.wildcard.get((<const char*>dot + 1)[:n - (dot + 1 - host)])
        return self.other if found is None else <HostTable>found
