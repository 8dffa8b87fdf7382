# The engine's plain memory: sockets, exchanges, endpoints, options. One Core per Engine, reached from every struct.

cdef enum ConnKind:
    LISTENER, CLIENT, UPSTREAM

# Whether a client's connection ends after the response in work, and whether more may still come from it then: closing
# at once would send a reset, which takes from the client what it has not read yet.
cdef enum Closing:
    NO, CLOSE, LINGER

cdef enum TimerKind:
    T_NONE, T_IDLE, T_HEAD, T_BODY, T_SEND, T_LINGER, T_PROBE, T_CONNECT, T_READ, T_PACED

cdef enum:
    WHEEL_SLOTS = 512
    TICK_SHIFT = 28          # a tick is 2 ** 28 ns = 0.27 s: time-outs are that coarse
    SPARE_MAX = 4096         # structs kept for reuse
    EVENTS_MAX = 512
    ADDRESS_TEXT = 46        # INET6_ADDRSTRLEN
    DATE_TEXT = 64
    TRIED_MAX = 8
    NAME_MAX = 300           # "namespace-service-port" with all parts at their longest
    LOG_ID_MAX = 128

# The other end of a connection, as far as routes, filters, fields and log lines may know it.
cdef struct Peer:
    ClientAuth* auth         # what its TLS client was asked for; NULL: nothing
    uint32_t served          # its requests so far
    uint16_t port
    uint16_t own_port        # that it has connected to
    u8 tls
    u8 secure                # TLS has ended before us
    u8 trusted               # what its requests say of their client is believed
    u8 proxied               # its address is a PROXY header's
    u8 address_n
    u8 address[ADDRESS_TEXT]

# One non-blocking socket of the epoll set.
cdef struct Conn:
    Core* k
    Conn* next               # all of its kind
    Conn* prev
    Conn* timer_next
    Conn* timer_prev
    Conn* pool_next          # idle upstream connections of an endpoint; spare and dead ones by pool_next alone
    Conn* pool_prev
    Exchange* x
    Endpoint* endpoint
    SSL* ssl
    Pace* pace               # NULL: as fast as it goes
    Conn* ready_next         # connections with octets left that epoll cannot see
    Buffer inbox             # come too early: part of a head, pipelined requests
    Buffer outbox            # could not be sent yet
    int fd
    uint32_t mask
    uint32_t deadline        # tick; 0: none
    int slot                 # of the wheel; -1: not in it
    uint32_t born            # tick
    uint32_t progress        # octets moved since the running time-out was last put off
    Peer peer                # clients and listeners
    u8 kind
    u8 timer
    u8 in_epoll
    u8 handshaking
    u8 write_wants_read      # TLS: what the library waits for is not what we asked for
    u8 read_wants_write
    u8 ready                 # it gets a turn though its socket may have nothing: in the list of ready ones
    u8 backlog               # requests in its inbox wait for that turn, and nothing more is read
    u8 connecting
    u8 pooled
    u8 reused
    u8 closing               # Closing
    u8 eof                   # the client has sent its FIN
    u8 last                  # its FIN follows what is being sent
    u8 lingering
    u8 running               # client_run is on the stack
    u8 arriving              # AWAIT_PROXY, AWAIT_HELLO: what a client's first octets, or a listener's clients', are looked at for
    u8 lowat                 # SO_RCVLOWAT is set
    u8 proxy_trusted         # what a PROXY header says is believed

cdef enum BodyMode:
    B_DONE, B_LENGTH, B_CHUNKED, B_UNTIL_CLOSE, B_TUNNEL, B_HEAD

# How far a message's body has come.
cdef struct Body:
    int mode
    int64_t left
    Chunked chunked

cdef enum RouteOption:
    BUFFER_REQUEST = 1
    BUFFER_RESPONSE = 2
    COMPRESS = 4

# A request's body that is gathered before an endpoint is asked.
cdef struct Spool:
    Buffer memory            # its first part, until it is whole; then that is in the exchange's `head`
    int fd                   # of the file with the rest; -1: there is none
    int64_t size             # of the file
    int64_t sent             # of the file
    bint chunked
    bint late                # its length goes into the head only at its end

cdef enum:
    PARKED = -1              # instead of a status: filters take their time

# One request and its response.
cdef struct Exchange:
    Core* k
    Conn* down               # what carries it, carrier.pxi's alone: a connection of HTTP/1.1,
    void* errand             # or an Errand, held
    Peer* peer               # who asks
    Conn* up
    Exchange* next_spare
    Exchange* next_unsent
    Backend* backend
    Endpoint* tried[TRIED_MAX]
    int tried_n
    uint32_t turn            # of the backend, where the first attempt was
    int attempts
    int route_id
    int status
    Body request
    Body response
    u8* head                 # the request as sent: its head, and body octets that came with it
    int head_n
    int head_sent            # octets of it the endpoint's socket has taken
    int64_t started_ns
    int64_t attempt_ns
    int64_t connected_ns     # when that had its connection; 0: not yet
    int64_t first_ns         # when the first attempt began
    uint64_t hash            # of what a consistent hash goes by
    int64_t response_ns      # when the response's head came
    int64_t octets_in
    int64_t octets_out       # with head
    int64_t body_out
    int64_t upstream_octets
    LogLine* log
    void* labels             # a tuple of the route's labels, if the log is on and it has some
    void* asked              # Request: what its filters see; NULL: it has none
    void* request_edits      # Edits of what goes on; NULL: none
    void* response_edits     # Edits of what the client gets
    double rate              # octets a second of the response; 0: no limit
    int64_t rate_after       # of its first octets
    int told_status          # 0: the client is told the status that came
    int64_t body_limit       # 0: none
    Spool* spool             # NULL: the request's body goes on as it comes
    Packer* packer           # NULL: the response goes on as it comes
    u8 options               # RouteOption
    u8 spooling              # the request's body is not whole yet
    u8 accepts               # the coding a compressed response would have
    u8 vary                  # the response depends on it
    u8 over
    u8 unsent                # in the list of those whose requests go out at the end of the batch
    u8 raw                   # no HTTP: HANDED, STREAM
    u8 content               # its carrier takes the response's content as it is, and says itself where it ends
    u8 ours                  # the proxy's own request: no page, no log line, not counted
    u8 verified              # endpoints are told of the client's certificate
    u8 client_n
    u8 client[ADDRESS_TEXT]  # behind trusted proxies; none: the connection's own
    u8 minor
    u8 method                # index in METHODS
    u8 is_head
    u8 repeatable            # once sent, it may be sent again
    u8 whole                 # `head` holds the entire request
    u8 keep_head             # until the response begins, for another attempt
    u8 stale_retried
    u8 upgrade
    u8 responding            # octets of the final response have gone to the client
    u8 decode                # an HTTP/1.0 client gets a chunked body without its chunks
    u8 encode                # what has no end of its own, or has become another, goes on in chunks of ours
    u8 upstream_close
    u8 parked                # its filters take their time; octets of the client are kept
    u8 shown                 # its filters have seen the response
    u8 changing              # its filters get the response's body, and the client what they make of it
    u8 elsewhere             # what goes on is a request of our own, for the response its filters want

cdef struct Endpoint:
    Core* k
    Transport* transport     # NULL: plain
    SSL_SESSION* session     # for the next connection
    uint32_t told            # tick of the last trouble told
    sockaddr_storage address
    socklen_t address_n
    Conn* idle               # pool: last in, first out
    Conn* idle_last
    int members              # backends it belongs to
    int open_n
    int idle_n
    uint64_t requests
    uint64_t failures
    int streak               # failures in a row
    int ejections            # in a row
    uint32_t ejected_until   # tick; 0: it is not
    int refs                 # exchanges that have tried it
    uint32_t well_since      # tick of its return from an ejection
    double latency_ns        # peak-sensitive moving average until the response's head; 0: nothing is known
    int64_t latency_at_ns
    u8 key_n
    u8 key[ADDRESS_TEXT + 10]    # ip:port or [ip]:port

# What a failed attempt may be tried again for (BackendSpec.retry_on).
cdef enum RetryOn:
    RETRY_ERROR = 1
    RETRY_TIMEOUT = 2
    RETRY_INVALID_HEADER = 4
    RETRY_500 = 8
    RETRY_502 = 16
    RETRY_503 = 32
    RETRY_504 = 64
    RETRY_403 = 128
    RETRY_404 = 256
    RETRY_429 = 512
    RETRY_STATUSES = 1016    # RETRY_500 to RETRY_429
    RETRY_NON_IDEMPOTENT = 1024

# How long a backend's endpoints may take and what happens when they fail.
cdef struct Patience:
    int attempts
    uint32_t retry_on
    int64_t retry_ns         # 0: no limit
    uint32_t connect         # ticks
    uint32_t send
    uint32_t read
    int eject_after
    uint32_t eject           # ticks
    double eject_share

cdef enum Algorithm:
    ROUND_ROBIN, EWMA, LEAST_REQUESTS, RING, MAGLEV

cdef enum HashBy:
    BY_NOTHING, BY_CLIENT, BY_URI, BY_HEADER, BY_COOKIE, BY_FILTER

# How a backend's requests are shared out, where that is not by plain turns. One entry per endpoint of the backend.
cdef struct Balance:
    int algorithm
    int hash_by
    int name_n
    u8 name[256]             # of the field or cookie
    double load_bound
    uint32_t slow_start      # ticks
    int n
    int* weight
    double* upto             # cumulated weights, the last one being their sum
    uint32_t* since          # tick when it came; 0: it was there from the start
    int places               # of the ring or the table
    uint64_t* at             # ring: where on it a place is, ascending
    uint16_t* owner          # index of a place's endpoint

cdef struct Backend:
    Core* k
    int refs                 # the engine's, its routes' and its exchanges'
    int table_refs           # the engine's and its routes'
    Patience patience
    Balance* balance         # NULL: plain round robin
    bint removed             # but a route still names it
    uint32_t turn
    int name_n
    u8 name[NAME_MAX]        # for the log
    int n
    Endpoint** endpoints
    Transport* transport     # NULL: plain

# Which responses are compressed, and how.
cdef struct Packing:
    int order[3]             # codings as we like them
    int order_n
    int gzip_level
    int brotli_level
    int zstd_level
    int64_t least            # octets
    int types_n
    u8 types[4096]           # in lower case, a line each

cdef struct Options:
    int64_t body_limit
    int route_options        # RouteOption
    int spool_memory
    int response_memory
    Packing packing
    HeadLimits limits
    int head_bytes
    int response_head_bytes
    int pipeline_bytes
    int read_bytes
    Patience patience        # of backends that say nothing else
    int idle_per_endpoint
    int requests_per_connection
    int listen_batch
    uint32_t client_head
    uint32_t client_body
    uint32_t client_idle
    uint32_t client_send
    uint32_t linger
    uint32_t drain_idle
    uint32_t probe
    uint32_t upstream_idle
    uint32_t upstream_age
    uint32_t octets_per_tick
    uint32_t proxy_header
    uint32_t passthrough_idle
    bint use_forwarded
    bint real_ip
    bint full_forwarded_for
    bint forwarded
    bint underscores
    u8 forwarded_for[64]
    int forwarded_for_n
    u8 server[256]
    int server_n
    u8 brand[256]
    int brand_n

cdef struct Counters:
    uint64_t accepted
    uint64_t handshakes
    uint64_t handshake_failures
    uint64_t bad_requests
    uint64_t client_timeouts
    uint64_t client_aborts
    uint64_t connect_failures
    uint64_t upstream_timeouts
    uint64_t upstream_resets
    uint64_t bad_responses
    uint64_t retries
    uint64_t ejections
    uint64_t accept_pauses
    uint64_t log_lines_dropped
    uint64_t spooled         # requests whose bodies went to a file
    uint64_t no_memory
    uint64_t bad_proxy_headers
    uint64_t resumptions
    uint64_t upstream_tls_failures
    uint64_t passed_through

cdef struct Attempt:
    int status                # 0: none came
    int64_t ns
    int64_t octets

# What a line needs of a head that is gone by the time the line is written. The values follow the struct.
cdef struct LogLine:
    int value_n[LOG_ITEMS_MAX]
    int id_n
    u8 id[LOG_ID_MAX]
    Attempt attempts[TRIED_MAX]

cdef struct Log:
    bint on
    LogFormat format
    u8* buffer
    int used
    time_t second
    int time_n
    u8 time[64]

cdef struct Core:
    int epfd
    int fd_limit
    void* engine             # the Engine whose memory this is
    void* routes             # RouteTable, kept alive by the Engine
    void* certificates       # Certificates, likewise
    Options o
    Counters counters
    Conn* listeners
    Conn* clients
    Conn* upstreams
    Conn* dead
    Conn* spare
    Conn* paced              # that wait until they may send, by their Pace
    Conn* paced_last
    int paced_n
    Conn* ready              # connections with octets left that epoll cannot see, by ready_next
    int room                 # octets that one read of this batch may take
    Exchange* dead_exchanges
    Exchange* spare_exchanges
    Exchange* unsent         # requests that go out at the end of the batch, the first one first
    Exchange** unsent_end
    int spare_n
    int spare_exchange_n
    int client_n
    int upstream_n
    int exchange_n
    bint draining
    bint accept_paused
    uint32_t told            # tick when that was told last
    bint serving             # a batch of events is at work: nothing is freed now
    bint gathering           # and requests to pooled connections wait for its end
    int64_t now_ns
    uint32_t tick
    uint32_t swept
    Conn* wheel[WHEEL_SLOTS]
    StatTable stats
    Bounds bounds[3]         # of times, lengths, sizes
    Log log
    time_t date_second
    u8 date[DATE_TEXT]
    int date_n
    u8 random[4096]
    int random_left
    uint64_t dice            # state of the generator that choices are made with
    Ranges trusted
    Ranges proxies           # whose PROXY headers are believed
    u8 tickets[TICKET_KEYS_MAX][TICKET_KEY]
    int ticket_n
