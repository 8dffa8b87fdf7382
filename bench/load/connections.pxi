# The connections to the target, without any notion of when to send: `ask` begins a request on one, and `freed` is called
# when it has been answered or has failed.

cdef enum:
    READ_BYTES = 65536

cdef enum:
    CLOSED
    CONNECTING
    HANDSHAKE
    IDLE
    SENDING
    READING

# Error kinds; ERROR_KINDS gives them their names in this order.
cdef enum:
    E_CONNECT
    E_CONNECT_TIMEOUT
    E_TIMEOUT
    E_RESET
    E_CLOSED
    E_PROTOCOL
    E_TLS
    E_FILES
    E_UNSENT
    E_KINDS

ERROR_KINDS = (
    "connect", "connect_timeout", "timeout", "reset", "closed_early", "protocol", "tls", "out_of_file_descriptors", "unsent"
)

cdef struct Message:
    const uint8_t* octets
    int length
    int is_head          # of method HEAD: its answer has no body
    int echo             # octets that answer it on an upgraded connection

cdef struct Conn:
    int fd
    int state
    uint32_t mask
    int request          # index of the request under way
    int sent             # bytes of it that are out
    int upgraded         # 1: beyond HTTP, messages go both ways
    int upgrading        # 1: what is under way is the upgrade, not yet the message
    uint64_t intended    # ns; what latency counts from
    uint64_t deadline    # ns; 0: none
    uint64_t resume      # ns; when it may send again in the closed loop; 0: not waiting
    SSL* ssl
    Answer answer
    Conn* next_idle


cdef inline uint64_t now_ns() noexcept nogil:
    cdef timespec at
    clock_gettime(CLOCK_MONOTONIC, &at)
    return <uint64_t>at.tv_sec * NS + <uint64_t>at.tv_nsec


cdef class Connections:
    """A fixed number of connections to one address, and what was counted on them."""
    cdef int epoll, count, keep_alive, busy
    cdef Conn* all
    cdef bytes address, server_name, upgrade
    cdef list octets
    cdef Message* messages
    cdef Message upgrade_message
    cdef int message_count
    cdef uint64_t timeout
    cdef uint64_t* latencies
    cdef uint64_t errors[E_KINDS]
    cdef uint64_t statuses[600]
    cdef uint64_t sends, answers, bytes_in, bytes_out, connects, failed_checks
    cdef uint64_t longest
    cdef double latency_sum
    cdef SSL_CTX* ssl_ctx
    cdef object on_answer
    cdef uint8_t buffer[READ_BYTES]
    cdef int kept_max

    def __cinit__(self):
        self.epoll = -1

    cdef open(self, address, requests, upgrade, int count, double timeout_seconds):
        cdef int i
        if not requests:
            raise ValueError("no request to send")
        self.address, self.octets, self.upgrade = address, [each[0] for each in requests], upgrade
        self.message_count, self.count = len(requests), count
        self.timeout = <uint64_t>(timeout_seconds * NS)
        self.messages = <Message*>calloc(self.message_count, sizeof(Message))
        for i, (octets, _, is_head, echo) in enumerate(requests):
            self.messages[i] = Message(<uint8_t*>PyBytes_AS_STRING(octets), <int>len(octets), is_head, echo)
        if upgrade is not None:
            self.upgrade_message = Message(<uint8_t*>PyBytes_AS_STRING(upgrade), <int>len(upgrade), 0, 0)
        self.latencies = <uint64_t*>calloc(HISTOGRAM_LENGTH, sizeof(uint64_t))
        self.all = <Conn*>calloc(count, sizeof(Conn))
        for i in range(count):
            self.all[i].fd = -1
        self.epoll = epoll_create1(EPOLL_CLOEXEC)

    def __dealloc__(self):
        cdef int i
        if self.all != NULL:
            for i in range(self.count):
                self.drop(&self.all[i])
                free(self.all[i].answer.kept)
            free(self.all)
        free(self.messages)
        free(self.latencies)
        if self.ssl_ctx != NULL:
            SSL_CTX_free(self.ssl_ctx)
        if self.epoll >= 0:
            c_close(self.epoll)

    def snapshot(self):
        """Counters so far: plain numbers, the histogram as {index: count} (see `value_at`)."""
        cdef int i
        return {
            "sends": self.sends,
            "answers": self.answers,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "connects": self.connects,
            "failed_checks": self.failed_checks,
            "longest_us": self.longest,
            "latency_sum_us": self.latency_sum,
            "errors": {ERROR_KINDS[i]: self.errors[i] for i in range(E_KINDS) if self.errors[i]},
            "statuses": {i: self.statuses[i] for i in range(600) if self.statuses[i]},
            "histogram": {i: self.latencies[i] for i in range(HISTOGRAM_LENGTH) if self.latencies[i]},
        }

    cdef void freed(self, Conn* conn, uint64_t at, bint has_failed) noexcept:
        """For a subclass: nothing is under way on this connection any more."""

    cdef void ask(self, Conn* conn, int request, uint64_t intended) noexcept:
        """Begin a request whose latency counts from `intended`; connects first if need be."""
        conn.request = request
        conn.intended = intended
        conn.resume = 0
        conn.deadline = now_ns() + self.timeout
        self.busy += 1
        if conn.state == IDLE:
            self.begin(conn)
        else:
            self.connect(conn)

    cdef void begin(self, Conn* conn) noexcept:
        """Send on a connection that is there: the upgrade first, where one is asked for."""
        conn.upgrading = self.upgrade is not None and not conn.upgraded
        conn.sent = 0
        conn.state = SENDING
        if conn.upgraded:
            answer_begin_message(&conn.answer, self.messages[conn.request].echo)
        else:
            answer_begin(&conn.answer, not conn.upgrading and self.messages[conn.request].is_head)
        self.write(conn)

    cdef void connect(self, Conn* conn) noexcept:
        cdef int one = 1
        cdef const uint8_t* packed = <const uint8_t*>PyBytes_AS_STRING(self.address)
        conn.fd = socket((<const sockaddr*>packed).sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
        if conn.fd < 0:
            self.failed(conn, E_FILES if errno in (EMFILE, ENFILE) else E_CONNECT)
            return
        setsockopt(conn.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
        conn.state = CONNECTING
        self.connects += 1
        if c_connect(conn.fd, <const sockaddr*>packed, <socklen_t>PyBytes_GET_SIZE(self.address)) == 0:
            self.watch(conn.fd, conn, EPOLLIN)
            self.connected(conn)
        elif errno == EINPROGRESS:
            self.watch(conn.fd, conn, EPOLLOUT)
        else:
            self.failed(conn, E_CONNECT)

    cdef void connected(self, Conn* conn) noexcept:
        if self.ssl_ctx == NULL:
            self.begin(conn)
            return
        conn.ssl = SSL_new(self.ssl_ctx)
        SSL_set_fd(conn.ssl, conn.fd)
        SSL_ctrl(conn.ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, 0, <void*>PyBytes_AS_STRING(self.server_name))
        SSL_set1_host(conn.ssl, PyBytes_AS_STRING(self.server_name))
        conn.state = HANDSHAKE
        self.handshake(conn)

    cdef void handshake(self, Conn* conn) noexcept:
        cdef int done = SSL_connect(conn.ssl), why
        if done == 1:
            self.begin(conn)
            return
        why = SSL_get_error(conn.ssl, done)
        if why == SSL_ERROR_WANT_READ:
            self.set_mask(conn, EPOLLIN)
        elif why == SSL_ERROR_WANT_WRITE:
            self.set_mask(conn, EPOLLOUT)
        else:
            ERR_clear_error()
            self.failed(conn, E_TLS)

    cdef void write(self, Conn* conn) noexcept:
        cdef Message* message = &self.upgrade_message if conn.upgrading else &self.messages[conn.request]
        cdef int left = message.length - conn.sent
        cdef ssize_t out
        cdef bint again
        if conn.ssl == NULL:
            out = send(conn.fd, message.octets + conn.sent, left, MSG_NOSIGNAL)
            again = out < 0 and errno == EAGAIN
        else:
            out = SSL_write(conn.ssl, message.octets + conn.sent, left)
            again = out <= 0 and SSL_get_error(conn.ssl, <int>out) in (SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE)
        if out > 0:
            self.bytes_out += out
            conn.sent += <int>out
            if conn.sent == message.length:
                self.sends += not conn.upgrading
                conn.state = READING
                self.set_mask(conn, EPOLLIN)
                return
        elif not again:
            ERR_clear_error()
            self.failed(conn, E_RESET)
            return
        # An answer may come while a large body is still going out (413, for one): keep reading.
        self.set_mask(conn, EPOLLIN | EPOLLOUT)

    cdef void read(self, Conn* conn) noexcept:
        cdef ssize_t got
        while True:
            if conn.ssl == NULL:
                got = recv(conn.fd, self.buffer, READ_BYTES, 0)
                if got < 0 and errno == EAGAIN:
                    return
            else:
                got = SSL_read(conn.ssl, self.buffer, READ_BYTES)
                if got <= 0 and SSL_get_error(conn.ssl, <int>got) in (SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE):
                    return
            if got <= 0:
                self.ended(conn, got)
                return
            self.bytes_in += got
            if conn.state == IDLE:
                self.drop(conn)  # bytes nobody asked for: not a connection to go on with
                return
            self.take(conn, <int>got)
            if conn.ssl == NULL or conn.state != READING:
                return

    cdef void ended(self, Conn* conn, ssize_t got) noexcept:
        """The peer closed, or broke, the connection."""
        ERR_clear_error()
        if conn.state == IDLE:
            self.drop(conn)
        elif got == 0 and answer_until_close(&conn.answer):
            self.complete(conn)
        else:
            self.failed(conn, E_RESET if got < 0 else E_CLOSED)

    cdef void take(self, Conn* conn, int got) noexcept:
        cdef int done
        if conn.answer.keep:
            answer_keep(&conn.answer, self.buffer, got, self.kept_max)
        done = answer_feed(&conn.answer, self.buffer, got)
        if done < 0:
            self.failed(conn, E_PROTOCOL)
        elif done > 0:
            self.complete(conn)

    cdef void complete(self, Conn* conn) noexcept:
        """An answer is whole: count it, and go on with the connection."""
        cdef uint64_t at, us
        if conn.upgrading and conn.answer.status == 101:
            conn.upgraded = 1
            self.begin(conn)
            return
        at = now_ns()
        us = (at - conn.intended) // 1000 if at > conn.intended else 0
        self.answers += 1
        self.statuses[conn.answer.status] += 1
        self.latencies[histogram_index(us)] += 1
        self.latency_sum += us
        if us > self.longest:
            self.longest = us
        if self.on_answer is not None:
            data = PyBytes_FromStringAndSize(<char*>conn.answer.kept, conn.answer.kept_length)
            if not self.on_answer(conn.request, conn.answer.status, data):
                self.failed_checks += 1
        self.busy -= 1
        conn.deadline = 0
        if conn.state == SENDING or conn.answer.closes or not self.keep_alive:
            self.drop(conn)
        else:
            conn.state = IDLE
        self.freed(conn, at, False)

    cdef void drop(self, Conn* conn) noexcept:
        if conn.ssl != NULL:
            SSL_free(conn.ssl)
            conn.ssl = NULL
        if conn.fd >= 0:
            c_close(conn.fd)
            conn.fd = -1
        conn.state = CLOSED
        conn.upgraded = 0
        conn.deadline = 0

    cdef void failed(self, Conn* conn, int kind) noexcept:
        self.errors[kind] += 1
        self.busy -= 1
        self.drop(conn)
        self.freed(conn, now_ns(), True)

    cdef void watch(self, int fd, Conn* conn, uint32_t mask) noexcept:
        cdef epoll_event event
        event.events = mask
        event.data.ptr = conn
        if conn != NULL:
            conn.mask = mask
        epoll_ctl(self.epoll, EPOLL_CTL_ADD, fd, &event)

    cdef void set_mask(self, Conn* conn, uint32_t mask) noexcept:
        cdef epoll_event event
        if conn.mask != mask:
            conn.mask = mask
            event.events = mask
            event.data.ptr = conn
            epoll_ctl(self.epoll, EPOLL_CTL_MOD, conn.fd, &event)

    cdef void serve(self, Conn* conn, uint32_t events) noexcept:
        cdef int error = 0
        cdef socklen_t size = sizeof(error)
        if conn.state == CONNECTING:
            getsockopt(conn.fd, SOL_SOCKET, SO_ERROR, &error, &size)
            if error:
                self.failed(conn, E_CONNECT_TIMEOUT if error == ETIMEDOUT else E_CONNECT)
            else:
                self.connected(conn)
            return
        if conn.state == HANDSHAKE:
            self.handshake(conn)
            return
        if events & (EPOLLIN | EPOLLHUP | EPOLLERR):
            self.read(conn)
        if conn.fd >= 0 and conn.state == SENDING and events & EPOLLOUT:
            self.write(conn)
