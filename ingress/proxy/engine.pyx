# cython: language_level=3, cdivision=True
"""The HTTP data plane's engine: sockets of its own in an epoll set of its own, which asyncio's loop watches as one fd.

Life of a request: events.pxi reads readiness and hands it out; downstream.pxi reads what a client sends; intake.pxi
takes a head from it (head.pxi, target.pxi), finds its route (routes.pxi) and writes the head an endpoint gets
(rewrite.pxi); exchange.pxi picks an endpoint (backends.pxi) and moves bodies (chunked.pxi) both ways; upstream.pxi does
the same for the response.
"""

cimport cython

import asyncio
import functools
import hashlib
import ipaddress
import os
import re
import resource
import socket as sockets
import tempfile
import weakref

from http import HTTPStatus

from ingress.filters.api import Elsewhere, Reply
from ingress.proxy.counted import METHODS, Counted, Durations, EndpointSeen, Histograms
from ingress.proxy.logwriter import LogWriter
from ingress.proxy.settings import BackendSpec, RouteOptions, RouteSpec

include "libc.pxi"
include "tls.pxi"
include "octets.pxi"
include "fields.pxi"
include "head.pxi"
include "chunked.pxi"
include "target.pxi"
include "stats.pxi"
include "logformat.pxi"
include "log.pxi"
include "sessionlog.pxi"
include "trust.pxi"
include "tickets.pxi"
include "core.pxi"
include "edits.pxi"
include "balance.pxi"
include "hashing.pxi"
include "requests.pxi"
include "routes.pxi"
include "transport.pxi"
include "backends.pxi"
include "timers.pxi"
include "pace.pxi"
include "client_auth.pxi"
include "certificates.pxi"
include "conn.pxi"
include "tls_conn.pxi"
include "arrival.pxi"
include "passthrough.pxi"
include "forwarding.pxi"
include "carrier.pxi"
include "errand.pxi"
include "rewrite.pxi"
include "replies.pxi"
include "packers.pxi"
include "compression.pxi"
include "spool.pxi"
include "filtering.pxi"
include "exchange.pxi"
include "intake.pxi"
include "downstream.pxi"
include "upstream.pxi"
include "events.pxi"
include "options.pxi"
include "sansio.pxi"


@cython.no_gc_clear    # __dealloc__ needs its dictionaries
cdef class Engine:
    """One worker's data plane. Every method is called on the loop's thread."""

    cdef Core* k
    cdef dict backends        # name -> address of a Backend
    cdef dict endpoints       # ip:port -> address of an Endpoint
    cdef dict transports      # a Transport's number -> the settings.Transport it was made from
    cdef dict passthrough     # server name -> address of a Backend
    cdef dict streams         # port -> address of a Backend
    cdef public object on_trouble
    cdef set errands          # under way
    cdef list alternatives    # keys of backends that were chosen instead of a route's
    cdef dict alternative_numbers
    cdef RouteTable routes
    cdef Certificates certificates
    cdef object loop
    cdef object sweeper
    cdef object pacer
    cdef object log_writer
    cdef object spool_folder

    def __cinit__(self, settings, loop):
        self.backends = {}
        self.endpoints = {}
        self.transports = {}
        self.passthrough = {}
        self.streams = {}
        self.errands = set()
        self.alternatives = [""]
        self.alternative_numbers = {}
        self.routes = RouteTable()
        self.certificates = Certificates(settings)
        self.loop = loop
        self.k = <Core*>calloc(1, sizeof(Core))
        if self.k == NULL:
            raise MemoryError()
        self.k.epfd = -1
        read_settings(&self.k.o, settings)
        seed_dice(self.k, settings.seed)
        read_ranges(&self.k.trusted, "trusted_proxies", settings.trusted_proxies)
        believed = settings.proxy_protocol_from
        read_ranges(&self.k.proxies, "proxy_protocol_from", settings.trusted_proxies if believed is None else believed)
        ticket_keys_put(self.k, [os.urandom(TICKET_KEY)])
        self.spool_folder = settings.spool_folder
        grow_read_buffer(self.k.o.read_bytes)
        self.k.room = self.k.o.read_bytes
        self.k.engine = <void*>self
        self.k.routes = <void*>self.routes
        self.k.certificates = <void*>self.certificates
        self.k.fd_limit = accept_limit(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        tell_time(self.k)
        self.k.swept = self.k.tick
        read_bounds(&self.k.bounds[0], settings.time_buckets, 1e9)
        read_bounds(&self.k.bounds[1], settings.length_buckets, 1)
        read_bounds(&self.k.bounds[2], settings.size_buckets, 1)
        self.k.epfd = epoll_create1(EPOLL_CLOEXEC)
        if self.k.epfd < 0:
            raise OSError(errno, os.strerror(errno))
        compile_log_format(&self.k.log.format, settings.access_log_format or UPSTREAMINFO, settings.access_log_escape)
        if settings.access_log_fd >= 0:
            self.set_access_log(settings.access_log_fd)
        loop.add_reader(self.k.epfd, self._serve)
        self.sweeper = loop.call_later(SWEEP_SECONDS, self._sweep)

    def __dealloc__(self):
        if self.k != NULL:
            core_close(self.k)
            for host in list(self.passthrough or ()):
                passthrough_drop(self.k, host.decode())
            for port in list(self.streams or ()):
                stream_drop(self.k, port)
            core_free(self.k, self.backends)

    def _serve(self):
        if self.k.epfd < 0:
            return
        serve_events(self.k)
        if self.k.ready != NULL:
            self.loop.call_soon(self._serve)

    def _unpark(self, Request request, task):
        """Filters that took their time have come to an end."""
        if request.x == NULL:
            if not task.cancelled():
                task.exception()    # nobody is left to be told
            return
        tell_time(self.k)
        self.k.serving = True
        unpark(request.x, task)
        self.k.serving = False
        reap(self.k)
        if self.k.ready != NULL:
            self.loop.call_soon(self._serve)

    def _pace(self):
        self.pacer = None
        if self.k.epfd < 0:
            return
        tell_time(self.k)
        self.k.serving = True
        pace_all(self.k)
        self.k.serving = False
        reap(self.k)
        if self.k.ready != NULL:
            self.loop.call_soon(self._serve)

    def _sweep(self):
        if self.k.epfd < 0:
            return
        tell_time(self.k)
        self.k.serving = True
        sweep(self.k)
        self.k.serving = False
        log_hand_over(self.k)
        if self.k.accept_paused:
            accept_resume(self.k)
        reap(self.k)
        self.sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    def configure(self, settings):
        """Go by other settings from now on. Backends, hosts and certificates go by those they were set under.

        Raises ValueError, and changes nothing, for what is wrong. `access_log_fd`, `read_buffer_bytes` and `seed` stay.
        """
        cdef Options o
        cdef Ranges trusted, proxies
        cdef LogFormat f
        memset(&o, 0, sizeof(o))
        memset(&trusted, 0, sizeof(trusted))
        memset(&proxies, 0, sizeof(proxies))
        believed = settings.proxy_protocol_from
        try:
            read_settings(&o, settings)
            read_ranges(&trusted, "trusted_proxies", settings.trusted_proxies)
            read_ranges(&proxies, "proxy_protocol_from", settings.trusted_proxies if believed is None else believed)
            compile_log_format(&f, settings.access_log_format or UPSTREAMINFO, settings.access_log_escape)
            self.certificates.configure(settings)
        except BaseException:
            free(trusted.range)
            free(proxies.range)
            raise
        o.read_bytes = self.k.o.read_bytes
        self.spool_folder = settings.spool_folder
        free(self.k.trusted.range)
        free(self.k.proxies.range)
        self.k.o, self.k.trusted, self.k.proxies, self.k.log.format = o, trusted, proxies, f

    def listen(self, fd, *, tls, port, proxy_protocol=False, passthrough=True, stream=False):
        """Accept on a dup of `fd`, a listening socket; `port` is what X-Forwarded-Port says.

        With `proxy_protocol` every connection begins with a PROXY header, of version 1 or 2. A `tls` listener with
        `passthrough` looks at server names for those of set_passthrough. With `stream` no HTTP is spoken: connections
        go to what set_stream says of the port.
        """
        cdef Conn* l
        cdef int own = -1, one = 1
        with sockets.socket(fileno=os.dup(fd)):    # raises OSError if it is no socket
            own = os.dup(fd)
        os.set_blocking(own, False)
        setsockopt(own, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))    # accepted sockets inherit it
        l = conn_new(self.k, own, LISTENER)
        if l == NULL:
            raise MemoryError()
        l.peer.tls = bool(tls)
        l.peer.own_port = port
        l.arriving = (AWAIT_PROXY if proxy_protocol else 0) | (AWAIT_HELLO if tls and passthrough else 0)
        if stream:
            l.arriving |= AWAIT_NOTHING
        watch(l, EPOLLIN)

    def set_backend(self, key, endpoints, spec=BackendSpec()):
        """Replace one backend: its (ip, port) or (ip, port, weight) endpoints and how they are chosen.

        Raises ValueError, and changes nothing, for what is wrong.
        """
        backend_fill(backend_named(self.k, key), endpoints, spec)
        reap(self.k)

    def choose(self, key, by=b""):
        """The endpoint, "ip:port", that a request would go to now, `by` being what a consistent hash goes by.

        None: there is none. Moves the backend's turn as a request does.
        """
        return choose_endpoint(self.k, key, by)

    def remove_backend(self, key):
        """Forget a backend; routes that still name it answer 503."""
        address = self.backends.get(key)
        if address is not None:
            backend_remove(<Backend*><size_t>address)
            reap(self.k)

    def set_host(self, host, routes, *, patterns=None):
        """Swap the whole table of one host: a name, "*.domain" for one label more, or "" for every other host.

        `patterns` says instead of the routes' paths which of them a path has, by its place.
        """
        self.routes.put(host, build_host_table(self.k, routes, patterns))

    def remove_host(self, host):
        self.routes.drop(host)

    def match(self, host, target):
        """The route id of a request for `target` (origin-form) at `host`, which may have a port; None: no route."""
        return match_route(self.routes, host.encode(), target.encode())

    def set_certificate(self, host, certificate_pem, key_pem):
        """Serve a certificate chain (PEM, leaf first) to those who ask for `host`; "" is the default.

        Raises ValueError with OpenSSL's words; then the certificate of before stays.
        """
        self.certificates.put(host, certificate_pem, key_pem)

    def remove_certificate(self, host):
        self.certificates.drop(host)

    def set_client_auth(self, host, spec):
        """Ask the TLS clients of `host` (as in set_certificate) for certificates; None asks no longer.

        Raises ValueError with OpenSSL's words; then what was asked before stays.
        """
        if spec is None:
            self.certificates.auths.pop(host.lower().encode(), None)
        else:
            self.certificates.auths[host.lower().encode()] = HostAuth(host.lower(), spec)

    def set_ciphers(self, host, ciphers):
        """Ciphers for TLS 1.2 with clients of `host`, in OpenSSL's names; "" are those of the settings.

        Raises ValueError for names that mean nothing; then those of before stay.
        """
        self.certificates.set_ciphers(host, ciphers)

    def set_ticket_keys(self, keys):
        """Keys for session tickets, each of TICKET_KEY_OCTETS random octets: the first makes tickets, all read them."""
        ticket_keys_put(self.k, keys)

    def set_passthrough(self, host, key):
        """Hand TLS connections for the server name `host` ("*.domain": one label more) to a backend, undecrypted.

        Other names are served as usual. None hands them through no longer; open connections stay.
        """
        if key is None:
            passthrough_drop(self.k, host)
        else:
            passthrough_put(self.k, host, key)

    def set_stream(self, port, key):
        """Hand connections to the stream listeners of a port to a backend. None closes these; open connections stay."""
        if key is None:
            stream_unlisten(self.k, port)
            reap(self.k)
            stream_drop(self.k, port)
        else:
            stream_put(self.k, port, key)

    def set_access_log(self, fd):
        """Write the access log to a dup of `fd` from now on, or none for -1: how a log is rotated."""
        if self.k.log.buffer == NULL:
            self.k.log.buffer = <u8*>malloc(LOG_BUFFER)
            if self.k.log.buffer == NULL:
                raise MemoryError()
        fresh = LogWriter(fd) if fd >= 0 else None
        log_hand_over(self.k)
        if self.log_writer is not None:
            self.log_writer.close(0)
        self.log_writer = fresh
        self.k.log.on = fresh is not None

    def log_datagrams(self, client, status, *, sent, received, seconds):
        """A line of the access log for a session of datagrams, if there is a log: octets to and from the client."""
        log_datagrams(self.k, client.encode(), status, (sent, received), seconds)

    def fetch(self, key, method, target, *, fields=(), body=b"", timeout_seconds=60.0, limit_bytes=65536):
        """A request of our own to a backend, over its pooled connections: a future of its status, fields and body.

        `fields` need a Host; nothing is added but Content-Length, and no log line or counter tells of the request. The
        future fails with ConnectionError or TimeoutError, which say why. Raises ValueError for what is no request.
        """
        return errand_fetch(Errand(self, "", 0, 0, False), key, errand_octets(method, target, fields, body),
                            (timeout_seconds, limit_bytes))

    def ask(self, octets, *, client="192.0.2.1", port=0, own_port=80, tls=False):
        """Have a request answered as if a client had sent it: its head, and what there is of its body, in HTTP/1.1.

        Routes, filters, limits, log and counters treat it as any other. Raises ValueError for a head that is refused.
        """
        return errand_ask(Errand(self, client, port, own_port, tls), octets)

    def stop_accepting(self):
        """Drain: listeners closed at once, connections after their next response, idle ones after a moment."""
        drain(self.k)

    @property
    def connections(self):
        """Downstream connections open."""
        return self.k.client_n

    def stats(self):
        """What has been counted since the start; see Stats."""
        return read_stats(self.k)

    def seen_endpoints(self):
        """What has been seen of each endpoint, one by one: there may be a hundred thousand, and requests go on."""
        for key in list(self.endpoints):
            address = self.endpoints.get(key)
            if address is not None:
                yield read_endpoint(address)

    def take_requests(self):
        """What requests were counted since they were last taken, row by row."""
        return take_rows(&self.k.stats, self.k.bounds, self.alternatives)

    def close(self):
        """Close every socket at once."""
        if self.k.epfd >= 0:
            self.loop.remove_reader(self.k.epfd)
            self.sweeper.cancel()
            if self.pacer is not None:
                self.pacer.cancel()
            core_close(self.k)
            if self.log_writer is not None:
                log_hand_over(self.k)
                self.log_writer.close()
                self.k.log.on = False
                self.log_writer = None
