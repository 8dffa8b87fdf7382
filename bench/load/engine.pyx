# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled half of the load generator: connections as C structs, one epoll set inside the asyncio loop.

Open loop: every request has an intended send time that does not depend on earlier answers. When all connections are
busy the schedule is not stretched: the request is sent late and its latency still counts from the intended time, so
that a stalled server shows in the percentiles (no coordinated omission).

Closed loop: each connection sends its next request when the answer to the last one is complete.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINPROGRESS, EMFILE, ENFILE, ETIMEDOUT, errno
from libc.math cimport log, sqrt
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcpy, memset

import socket as pysocket

include "system.pxi"
include "answer.pxi"
include "histogram.pxi"
include "tls.pxi"

cdef enum:
    READ_BYTES = 65536
    EVENTS = 512
    NS = 1000000000

cdef enum:
    CLOSED
    CONNECTING
    HANDSHAKE
    IDLE
    SENDING
    READING

# Error kinds; result.py gives them their names in this order.
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

cdef struct Conn:
    int fd
    int state
    uint32_t mask
    int request          # index of the request under way
    int sent             # bytes of it that are out
    int answered         # answers taken on this connection
    uint64_t intended    # ns; what latency counts from
    uint64_t deadline    # ns; 0: none
    uint64_t resume      # ns; when think time ends; 0: not thinking
    SSL* ssl
    Answer answer
    Conn* next_idle


cdef inline uint64_t now_ns() noexcept nogil:
    cdef timespec at
    clock_gettime(CLOCK_MONOTONIC, &at)
    return <uint64_t>at.tv_sec * NS + <uint64_t>at.tv_nsec


cdef inline uint64_t next_random(uint64_t* state) noexcept nogil:
    """xorshift64*; good enough to draw arrivals and requests from."""
    cdef uint64_t x = state[0]
    x ^= x >> 12
    x ^= x << 25
    x ^= x >> 27
    state[0] = x
    return x * <uint64_t>2685821657736338717


cdef class Engine:
    """Drives one target (an address) with a mix of prepared requests over a fixed number of connections.

    Counters are read by `snapshot`; nothing here allocates per request.
    """
    cdef int epoll, timer, connections, keep_alive, busy
    cdef bint running, poisson, open_loop
    cdef Conn* all
    cdef Conn* idle
    cdef bytes address, server_name
    cdef list requests, checks
    cdef uint8_t** request_bytes
    cdef int* request_length
    cdef int* request_is_head
    cdef uint32_t* weights      # cumulative, the last one is the total
    cdef int request_count
    cdef uint64_t random, timeout, think, started, ends, next_send
    cdef uint64_t seg_from, seg_until
    cdef double seg_rate0, seg_rate1
    cdef list segments
    cdef int seg_index
    cdef uint64_t* counts
    cdef uint64_t errors[E_KINDS]
    cdef uint64_t statuses[600]
    cdef uint64_t sends, answers, bytes_in, bytes_out, connects, failed_checks
    cdef uint64_t longest
    cdef double latency_sum
    cdef SSL_CTX* ssl_ctx
    cdef object loop, on_answer
    cdef uint8_t buffer[READ_BYTES]
    cdef uint8_t* kept
    cdef int kept_max

    def __cinit__(self):
        self.epoll = self.timer = -1

    def __init__(self, loop, address, requests, weights, *, connections, keep_alive, timeout_seconds,
                 think_seconds, seed, tls_name=None, tls_verify=None, on_answer=None, keep_bytes=0):
        """address: a packed sockaddr (see `pack_address`). requests: whole messages, ready to send, each with whether it
        is HEAD. on_answer(index, status, head_and_body) -> bool judges each answer; None skips it (and its cost)."""
        cdef int i
        cdef uint32_t total = 0
        if not requests:
            raise ValueError("no request to send")
        self.loop, self.address, self.requests = loop, address, [data for data, _ in requests]
        self.connections, self.keep_alive = connections, keep_alive
        self.timeout, self.think = <uint64_t>(timeout_seconds * NS), <uint64_t>(think_seconds * NS)
        self.random = <uint64_t>seed * <uint64_t>0x9E3779B97F4A7C15 + 1
        self.request_count = len(requests)
        self.request_bytes = <uint8_t**>calloc(self.request_count, sizeof(uint8_t*))
        self.request_length = <int*>calloc(self.request_count, sizeof(int))
        self.request_is_head = <int*>calloc(self.request_count, sizeof(int))
        self.weights = <uint32_t*>calloc(self.request_count, sizeof(uint32_t))
        for i, (data, is_head) in enumerate(requests):
            self.request_bytes[i] = <uint8_t*>PyBytes_AS_STRING(data)
            self.request_length[i] = <int>PyBytes_GET_SIZE(data)
            self.request_is_head[i] = is_head
            total += weights[i]
            self.weights[i] = total
        self.counts = <uint64_t*>calloc(HISTOGRAM_LENGTH, sizeof(uint64_t))
        self.all = <Conn*>calloc(connections, sizeof(Conn))
        for i in range(connections):
            self.all[i].fd = -1
        self.on_answer = on_answer
        if on_answer is not None:
            self.kept_max = keep_bytes
            self.kept = <uint8_t*>malloc(keep_bytes + READ_BYTES)
            for i in range(connections):
                self.all[i].answer.keep = 1
        if tls_name is not None:
            self.server_name = tls_name.encode()
            self.ssl_ctx = client_context(tls_verify)
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        self.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        self.watch(self.timer, NULL, EPOLLIN)

    def __dealloc__(self):
        cdef int i
        if self.all != NULL:
            for i in range(self.connections):
                if self.all[i].ssl != NULL:
                    SSL_free(self.all[i].ssl)
                if self.all[i].fd >= 0:
                    c_close(self.all[i].fd)
                free(self.all[i].answer.kept)
            free(self.all)
        free(self.request_bytes)
        free(self.request_length)
        free(self.request_is_head)
        free(self.weights)
        free(self.counts)
        free(self.kept)
        if self.ssl_ctx != NULL:
            SSL_CTX_free(self.ssl_ctx)
        if self.timer >= 0:
            c_close(self.timer)
        if self.epoll >= 0:
            c_close(self.epoll)

    # -- driving it

    def start(self, double duration_seconds, segments, bint poisson):
        """Begin. `segments`: [(seconds, rate at its begin, rate at its end)], requests/s; empty: closed loop."""
        cdef int i
        self.started = now_ns()
        self.ends = self.started + <uint64_t>(duration_seconds * NS)
        self.open_loop = bool(segments)
        self.poisson = poisson
        self.segments = list(segments)
        self.seg_index = -1
        self.running = True
        self.loop.add_reader(self.epoll, self.ready)
        if self.open_loop:
            self.enter_segment(self.started)
            # A constant rate begins with a request, a Poisson one with a gap; so does a ramp that begins at 0.
            self.next_send = self.started
            if poisson or self.seg_rate0 == 0:
                self.next_send = self.arrival_after(self.started)
            for i in range(self.connections - 1, -1, -1):
                self.put_idle(&self.all[i])
            self.arm()
        else:
            for i in range(self.connections):
                self.send_next(&self.all[i], now_ns())
        self.sweep()

    def finished(self):
        """Whether all that was to be sent is answered (or has failed)."""
        return not self.running

    def stop(self):
        """End now: what is under way counts as timed out, what is overdue as unsent."""
        cdef int i
        cdef uint64_t at = now_ns()
        if not self.running:
            return
        self.running = False
        for i in range(self.connections):
            if self.all[i].state >= SENDING or self.all[i].state in (CONNECTING, HANDSHAKE):
                self.errors[E_TIMEOUT] += 1
            self.drop(&self.all[i])
        if self.open_loop:
            while self.next_send < self.ends and self.next_send <= at:
                self.errors[E_UNSENT] += 1
                self.next_send = self.arrival_after(self.next_send)
        self.loop.remove_reader(self.epoll)

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
            "histogram": {i: self.counts[i] for i in range(HISTOGRAM_LENGTH) if self.counts[i]},
        }

    # -- the schedule of the open loop

    cdef enter_segment(self, uint64_t at):
        """Take the next segment of the profile; past the last one the schedule ends."""
        self.seg_index += 1
        if self.seg_index >= len(self.segments):
            self.seg_until = 0
            return
        seconds, rate0, rate1 = self.segments[self.seg_index]
        self.seg_from = at
        self.seg_until = at + <uint64_t>(<double>seconds * NS)
        self.seg_rate0, self.seg_rate1 = rate0, rate1

    cdef uint64_t arrival_after(self, uint64_t at):
        """The intended time of the arrival that follows one at `at`; past `ends` when there is none.

        The next arrival is where the area under the rate has grown by one (Poisson: by an exponential draw).
        """
        cdef double area = 1.0, left, rate, slope, step
        if self.poisson:
            area = -log((<double>(next_random(&self.random) >> 11) + 1.0) / 9007199254740993.0)
        while self.seg_until != 0:
            left = <double>(self.seg_until - at) / NS
            slope = (self.seg_rate1 - self.seg_rate0) / (<double>(self.seg_until - self.seg_from) / NS)
            rate = self.seg_rate1 - slope * left
            if area < rate * left + slope * left * left / 2:
                step = area / rate if slope == 0 else (sqrt(rate * rate + 2 * slope * area) - rate) / slope
                return at + <uint64_t>(step * NS)
            area -= rate * left + slope * left * left / 2
            at = self.seg_until
            self.enter_segment(at)
        return self.ends + 1

    cdef void arm(self) noexcept:
        """Set the timer to the next intended send, if a connection is free to take it."""
        cdef itimerspec when
        memset(&when, 0, sizeof(when))
        if self.next_send <= self.ends and self.idle != NULL:
            when.it_value.tv_sec = self.next_send // NS
            when.it_value.tv_nsec = self.next_send % NS
        timerfd_settime(self.timer, TFD_TIMER_ABSTIME, &when, NULL)

    cdef void send_due(self):
        """Send everything whose time has come, as long as there are free connections."""
        cdef Conn* conn
        cdef uint64_t at = now_ns()
        while self.next_send <= at and self.next_send <= self.ends and self.idle != NULL:
            conn = self.idle
            self.idle = conn.next_idle
            conn.next_idle = NULL
            self.send_next(conn, self.next_send)
            self.next_send = self.arrival_after(self.next_send)
        self.arm()
        if self.next_send > self.ends and self.busy == 0:
            self.finish()

    cdef void put_idle(self, Conn* conn) noexcept:
        conn.next_idle = self.idle
        self.idle = conn

    cdef void finish(self):
        cdef int i
        if self.running:
            self.running = False
            for i in range(self.connections):
                self.drop(&self.all[i])
            self.loop.remove_reader(self.epoll)

    # -- one connection

    cdef int pick(self) noexcept:
        """Draw a request by weight."""
        cdef uint32_t drawn
        cdef int i = 0
        if self.request_count == 1:
            return 0
        drawn = <uint32_t>((next_random(&self.random) >> 33) % self.weights[self.request_count - 1])
        while self.weights[i] <= drawn:
            i += 1
        return i

    cdef void send_next(self, Conn* conn, uint64_t intended):
        """Begin a request whose latency counts from `intended`; connects first if need be."""
        conn.request = self.pick()
        conn.intended = intended
        conn.sent = 0
        conn.resume = 0
        conn.deadline = now_ns() + self.timeout
        answer_begin(&conn.answer, self.request_is_head[conn.request])
        self.busy += 1
        if conn.state == IDLE:
            conn.state = SENDING
            self.write(conn)
        else:
            self.connect(conn)

    cdef void connect(self, Conn* conn):
        cdef int one = 1
        cdef const uint8_t* packed = <const uint8_t*>PyBytes_AS_STRING(self.address)
        conn.fd = socket((<const sockaddr*>packed).sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
        if conn.fd < 0:
            self.failed(conn, E_FILES if errno in (EMFILE, ENFILE) else E_CONNECT)
            return
        setsockopt(conn.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
        conn.state = CONNECTING
        conn.answered = 0
        self.connects += 1
        if c_connect(conn.fd, <const sockaddr*>packed, <socklen_t>PyBytes_GET_SIZE(self.address)) == 0:
            self.watch(conn.fd, conn, EPOLLIN)
            self.connected(conn)
        elif errno == EINPROGRESS:
            self.watch(conn.fd, conn, EPOLLOUT)
        else:
            self.failed(conn, E_CONNECT)

    cdef void connected(self, Conn* conn):
        if self.ssl_ctx == NULL:
            conn.state = SENDING
            self.write(conn)
            return
        conn.ssl = SSL_new(self.ssl_ctx)
        SSL_set_fd(conn.ssl, conn.fd)
        SSL_ctrl(conn.ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, 0, <void*>PyBytes_AS_STRING(self.server_name))
        SSL_set1_host(conn.ssl, PyBytes_AS_STRING(self.server_name))
        conn.state = HANDSHAKE
        self.handshake(conn)

    cdef void handshake(self, Conn* conn):
        cdef int done = SSL_connect(conn.ssl), why
        if done == 1:
            conn.state = SENDING
            self.write(conn)
            return
        why = SSL_get_error(conn.ssl, done)
        if why == SSL_ERROR_WANT_READ:
            self.set_mask(conn, EPOLLIN)
        elif why == SSL_ERROR_WANT_WRITE:
            self.set_mask(conn, EPOLLOUT)
        else:
            ERR_clear_error()
            self.failed(conn, E_TLS)

    cdef void write(self, Conn* conn):
        cdef int left = self.request_length[conn.request] - conn.sent
        cdef const uint8_t* data = self.request_bytes[conn.request] + conn.sent
        cdef ssize_t out
        cdef bint again
        if conn.ssl == NULL:
            out = send(conn.fd, data, left, MSG_NOSIGNAL)
            again = out < 0 and errno == EAGAIN
        else:
            out = SSL_write(conn.ssl, data, left)
            again = out <= 0 and SSL_get_error(conn.ssl, <int>out) in (SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE)
        if out > 0:
            self.bytes_out += out
            conn.sent += <int>out
            if conn.sent == self.request_length[conn.request]:
                self.sends += 1
                conn.state = READING
                self.set_mask(conn, EPOLLIN)
                return
        elif not again:
            ERR_clear_error()
            self.failed(conn, E_RESET)
            return
        # An answer may come while a large body is still going out (413, for one): keep reading.
        self.set_mask(conn, EPOLLIN | EPOLLOUT)

    cdef void read(self, Conn* conn):
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

    cdef void ended(self, Conn* conn, ssize_t got):
        """The peer closed, or broke, the connection."""
        ERR_clear_error()
        if conn.state == IDLE:
            self.drop(conn)
        elif got == 0 and answer_until_close(&conn.answer):
            self.complete(conn)
        else:
            self.failed(conn, E_RESET if got < 0 else E_CLOSED)

    cdef void take(self, Conn* conn, int got):
        cdef int done
        if conn.answer.keep:
            answer_keep(&conn.answer, self.buffer, got, self.kept_max)
        done = answer_feed(&conn.answer, self.buffer, got)
        if done < 0:
            self.failed(conn, E_PROTOCOL)
        elif done > 0:
            self.complete(conn)

    cdef void complete(self, Conn* conn):
        """An answer is whole: count it, and go on with the connection."""
        cdef uint64_t at = now_ns()
        cdef uint64_t us = (at - conn.intended) // 1000 if at > conn.intended else 0
        self.answers += 1
        self.statuses[conn.answer.status] += 1
        self.counts[histogram_index(us)] += 1
        self.latency_sum += us
        if us > self.longest:
            self.longest = us
        if self.on_answer is not None:
            data = PyBytes_FromStringAndSize(<char*>conn.answer.kept, conn.answer.kept_length)
            if not self.on_answer(conn.request, conn.answer.status, data):
                self.failed_checks += 1
        conn.answered += 1
        self.busy -= 1
        conn.deadline = 0
        if conn.state == SENDING or conn.answer.closes or not self.keep_alive:
            self.drop(conn)
        else:
            conn.state = IDLE
        self.go_on(conn, at)

    cdef void go_on(self, Conn* conn, uint64_t at):
        """What a free connection does next."""
        if not self.running:
            return
        if self.open_loop:
            self.put_idle(conn)
            self.send_due()
        elif at >= self.ends:
            self.drop(conn)
            if self.busy == 0:
                self.finish()
        elif self.think:
            conn.resume = at + self.think
        else:
            self.send_next(conn, at)

    cdef void failed(self, Conn* conn, int kind):
        self.errors[kind] += 1
        self.busy -= 1
        self.drop(conn)
        if self.running and not self.open_loop and now_ns() < self.ends:
            # Not at once: a refused connection in a tight loop would be nothing but a spin.
            conn.resume = now_ns() + 10000000
        else:
            self.go_on(conn, now_ns())

    cdef void drop(self, Conn* conn) noexcept:
        if conn.ssl != NULL:
            SSL_free(conn.ssl)
            conn.ssl = NULL
        if conn.fd >= 0:
            c_close(conn.fd)
            conn.fd = -1
        conn.state = CLOSED
        conn.deadline = 0

    # -- events

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

    cpdef ready(self):
        """The epoll set has something: serve it all."""
        cdef epoll_event events[EVENTS]
        cdef Conn* conn
        cdef uint64_t expired
        cdef int i, count = epoll_wait(self.epoll, events, EVENTS, 0)
        for i in range(count):
            conn = <Conn*>events[i].data.ptr
            if conn == NULL:
                c_read(self.timer, &expired, sizeof(expired))
                self.send_due()
            elif conn.fd >= 0:
                self.serve(conn, events[i].events)

    cdef void serve(self, Conn* conn, uint32_t events):
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

    def sweep(self):
        """Every 50 ms: time-outs, think time, and the end of the closed loop."""
        cdef int i
        cdef uint64_t at = now_ns()
        cdef Conn* conn
        if not self.running:
            return
        for i in range(self.connections):
            conn = &self.all[i]
            if conn.deadline and at > conn.deadline:
                self.failed(conn, E_CONNECT_TIMEOUT if conn.state == CONNECTING else E_TIMEOUT)
            elif conn.resume and at >= conn.resume:
                if at < self.ends:
                    self.send_next(conn, at)
                else:
                    conn.resume = 0
        if not self.open_loop and at >= self.ends and self.busy == 0:
            self.finish()
        if self.running:
            self.loop.call_later(0.05 if not self.think else 0.002, self.sweep)


def pack_address(family, address) -> bytes:
    """A sockaddr for `connect`, as the kernel wants it; address as from socket.getaddrinfo."""
    if family == pysocket.AF_INET:
        return (
            int(family).to_bytes(2, "little") + int(address[1]).to_bytes(2, "big") + pysocket.inet_aton(address[0]) + bytes(8)
        )
    return (
        int(family).to_bytes(2, "little") + int(address[1]).to_bytes(2, "big") + bytes(4)
        + pysocket.inet_pton(family, address[0].split("%")[0]) + int(address[3]).to_bytes(4, "little")
    )
