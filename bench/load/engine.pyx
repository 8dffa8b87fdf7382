# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The compiled half of the load generator: connections as C structs, one epoll set inside the asyncio loop.

Open loop: every request has an intended send time that does not depend on earlier answers. When all connections are
busy the schedule is not stretched: the request is sent late and its latency still counts from the intended time, so
that a stalled server shows in the percentiles (no coordinated omission).

Closed loop: each connection sends its next request when the answer to the last one is complete.

Beside this file: connections.pxi (asking and being answered on one connection), schedule.pxi (when is the next request
due, and which), answer.pxi (where an answer ends).
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINPROGRESS, EMFILE, ENFILE, ETIMEDOUT, errno
from libc.math cimport log, sqrt
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcpy, memmove, memset

import socket as pysocket

cdef enum:
    NS = 1000000000
    EVENTS = 512
    TURN_NS = 10000000  # how long the engine keeps the loop to itself
    TURN_WAIT_MS = 5    # and how long of that it waits for the kernel without anything to do

include "system.pxi"
include "answer.pxi"
include "histogram.pxi"
include "tls.pxi"
include "schedule.pxi"
include "connections.pxi"


cdef class Engine(Connections):
    """Drives one target (an address) with a mix of prepared requests over a fixed number of connections.

    Counters are read by `snapshot`; nothing here allocates per request.
    """
    cdef int timer
    cdef bint running, open_loop, sending
    cdef Conn* idle
    cdef uint64_t think, next_send
    cdef Schedule schedule
    cdef object loop

    def __cinit__(self):
        self.timer = -1

    def __init__(self, loop, address, requests, *, connections, keep_alive, timeout_seconds, think_seconds, seed,
                 tls_name=None, tls_verify=None, on_answer=None, keep_bytes=0, upgrade=None):
        """address: a packed sockaddr (see `pack_address`). requests: (whole message ready to send, weight, whether it is
        HEAD, octets of its answer on an upgraded connection or 0). on_answer(index, status, head_and_body) -> bool judges
        each answer; None skips it (and its cost). upgrade: the request that a connection begins with and that must be
        answered by 101; all further messages are not HTTP."""
        cdef int i
        self.open(address, requests, upgrade, connections, timeout_seconds)
        set_weights(&self.schedule, [each[1] for each in requests], seed)
        self.loop, self.keep_alive = loop, keep_alive
        self.think = <uint64_t>(think_seconds * NS)
        self.on_answer = on_answer
        if on_answer is not None:
            self.kept_max = keep_bytes
            for i in range(connections):
                self.all[i].answer.keep = 1
        if tls_name is not None:
            self.server_name = tls_name.encode()
            self.ssl_ctx = client_context(tls_verify)
        self.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        self.watch(self.timer, NULL, EPOLLIN)

    def __dealloc__(self):
        free_schedule(&self.schedule)
        if self.timer >= 0:
            c_close(self.timer)

    # -- driving it

    def start(self, double duration_seconds, pieces, bint poisson, recording=()):
        """Begin. `pieces`: [(seconds, rate at its begin, rate at its end)], requests/s; none: closed loop.

        `recording`: [(seconds from now, index of the request)] in order of time, instead of rates and weights."""
        cdef int i
        self.schedule.started = now_ns()
        self.schedule.ends = self.schedule.started + <uint64_t>(duration_seconds * NS)
        self.schedule.poisson = poisson
        self.open_loop = bool(pieces) or bool(recording)
        self.running = True
        self.loop.add_reader(self.epoll, self.ready)
        if self.open_loop:
            self.next_send = set_recording(&self.schedule, recording) if recording else set_pieces(&self.schedule, pieces)
            for i in range(self.count - 1, -1, -1):
                self.put_idle(&self.all[i])
            self.send_due()
        else:
            for i in range(self.count):
                self.ask(&self.all[i], pick(&self.schedule), now_ns())
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
        for i in range(self.count):
            if self.all[i].state >= SENDING or self.all[i].state in (CONNECTING, HANDSHAKE):
                self.errors[E_TIMEOUT] += 1
            self.drop(&self.all[i])
        if self.open_loop:
            while self.next_send < self.schedule.ends and self.next_send <= at:
                self.errors[E_UNSENT] += 1
                self.next_send = arrival_after(&self.schedule, self.next_send)
        self.loop.remove_reader(self.epoll)

    cdef void finish(self) noexcept:
        cdef int i
        if self.running:
            self.running = False
            for i in range(self.count):
                self.drop(&self.all[i])
            self.loop.remove_reader(self.epoll)

    # -- what a connection does next

    cdef void freed(self, Conn* conn, uint64_t at, bint has_failed) noexcept:
        if not self.running:
            return
        if self.open_loop:
            self.put_idle(conn)
            self.send_due()
        elif at >= self.schedule.ends:
            self.drop(conn)
            if self.busy == 0:
                self.finish()
        elif has_failed:
            # Not at once: a refused connection in a tight loop would be nothing but a spin.
            conn.resume = at + 10000000
        elif self.think:
            conn.resume = at + self.think
        else:
            self.ask(conn, pick(&self.schedule), at)

    cdef void put_idle(self, Conn* conn) noexcept:
        conn.next_idle = self.idle
        self.idle = conn

    cdef void send_due(self) noexcept:
        """Send everything whose time has come, as long as there are free connections."""
        cdef Conn* conn
        cdef uint64_t at = now_ns(), intended
        cdef int request
        if self.sending:
            return  # a connection failed at once and is free again: the loop below goes on with it
        self.sending = True
        while self.next_send <= at and self.next_send <= self.schedule.ends and self.idle != NULL:
            conn = self.idle
            self.idle = conn.next_idle
            conn.next_idle = NULL
            intended, request = self.next_send, pick(&self.schedule)
            self.next_send = arrival_after(&self.schedule, intended)
            self.ask(conn, request, intended)
        self.sending = False
        self.arm()
        if self.next_send > self.schedule.ends and self.busy == 0:
            self.finish()

    cdef void arm(self) noexcept:
        """Set the timer to the next intended send, if a connection is free to take it."""
        cdef itimerspec when
        memset(&when, 0, sizeof(when))
        if self.next_send <= self.schedule.ends and self.idle != NULL:
            when.it_value.tv_sec = self.next_send // NS
            when.it_value.tv_nsec = self.next_send % NS
        timerfd_settime(self.timer, TFD_TIMER_ABSTIME, &when, NULL)

    # -- events

    cpdef ready(self):
        """The epoll set has something: serve it, and stay with it for a while.

        Going back to the loop after every batch would cost a second epoll_wait, of the set that this set is in, and some
        Python for each; the loop has nothing to do but to look after time-outs and to report twice a second."""
        cdef epoll_event events[EVENTS]
        cdef Conn* conn
        cdef uint64_t expired, until = now_ns() + TURN_NS
        cdef int i, count, wait_ms = 1 if self.think else TURN_WAIT_MS
        while self.running:
            with nogil:
                count = epoll_wait(self.epoll, events, EVENTS, wait_ms)
            for i in range(count):
                conn = <Conn*>events[i].data.ptr
                if conn == NULL:
                    c_read(self.timer, &expired, sizeof(expired))
                    self.send_due()
                elif conn.fd >= 0:
                    self.serve(conn, events[i].events)
            if count <= 0 or now_ns() > until:
                return

    def sweep(self):
        """Every 50 ms: time-outs, think time, and the end of the closed loop."""
        cdef int i
        cdef uint64_t at = now_ns()
        cdef Conn* conn
        if not self.running:
            return
        for i in range(self.count):
            conn = &self.all[i]
            if conn.deadline and at > conn.deadline:
                self.failed(conn, E_CONNECT_TIMEOUT if conn.state == CONNECTING else E_TIMEOUT)
            elif conn.resume and at >= conn.resume:
                if at < self.schedule.ends:
                    self.ask(conn, pick(&self.schedule), at)
                else:
                    conn.resume = 0
        if not self.open_loop and at >= self.schedule.ends and self.busy == 0:
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
