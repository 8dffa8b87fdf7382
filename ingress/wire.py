"""What supervisor and workers say to each other over a unix socketpair: frames of 4 bytes length and one message.

Supervisor to worker: Start, Configure, Ports, Update, TicketKeys, Drain, AskStats, AskEndpoints, Ping, OpenLog.
Worker to supervisor: Applied, CountedRequests, Stats, SeenEndpoints, Pong, Drained.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ingress.proxy.counted import Counted, EndpointSeen
from ingress.routes.model import Backend, Certificate, Changes, Endpoint, FilterLine, HostTable, Route, split_key

LENGTH_BYTES = 4
SOCKETS_AT_ONCE = 200
"""The kernel passes no more than 253 in a message (SCM_MAX_FD)."""
NO_ROUTE = -1
"""What requests are counted by that no route takes."""


class Message(msgspec.Struct, tag=True, frozen=True):
    """Base of everything that is sent."""


class ListenerLine(msgspec.Struct, frozen=True, array_like=True):
    """A listening socket that the worker has inherited."""

    fd: int
    tls: bool
    port: int
    proxy_protocol: bool = False
    """Every connection begins with a PROXY header."""


class Start(Message, frozen=True):
    """The first message: what to listen on, once the first Update is applied."""

    listeners: tuple[ListenerLine, ...]
    settings: dict[str, Any]
    """Fields of ingress/proxy/settings.py Settings that differ from their defaults."""
    backend_spec: dict[str, Any] = {}
    """Likewise of BackendSpec, for every backend."""
    passthrough: dict[str, tuple[Endpoint, ...]] = {}
    """Server names whose TLS is handed to endpoints undecrypted."""
    slot: int = 0
    tallies_fd: int = -1
    """Of ingress/tallies.py, inherited."""


class RouteLine(msgspec.Struct, frozen=True, array_like=True):
    """A RouteSpec of ingress/proxy/settings.py. `options` are fields of its RouteOptions."""

    path: str
    exact: bool
    backend: str
    id: int
    labels: tuple[str, ...] = ()
    filters: tuple[FilterLine, ...] = ()
    options: dict[str, Any] = {}


class HostLines(msgspec.Struct, frozen=True, array_like=True):
    """A host and what holds for all of it."""

    routes: tuple[RouteLine, ...]
    client_auth: dict[str, Any] | None = None
    """Fields of ClientAuth."""
    passthrough: str = ""
    """Key of the backend that gets its TLS connections."""
    patterns: tuple[tuple[str, int], ...] = ()
    """Of its paths, in the order in which they are tried, with the place of their routes."""
    ciphers: str = ""
    """OpenSSL's names, if they are others than those of all hosts."""
    headed: bool = False
    """Of a stream: connections begin with a PROXY header."""


class Update(Message, frozen=True):
    """Entries to replace; None removes one. The first one that a worker gets is the whole table."""

    generation: int
    backends: dict[str, tuple[Endpoint, ...] | None] = {}
    hosts: dict[str, HostLines | None] = {}
    certificates: dict[str, tuple[bytes, bytes] | None] = {}
    specs: dict[str, dict[str, Any]] = {}
    """Of those of `backends` that are not treated as most are: fields of BackendSpec that differ."""


class Configure(Message, frozen=True):
    """What the controller's ConfigMap says now; the whole tables follow. What flags say comes before it."""

    settings: dict[str, Any] = {}
    """Fields of Settings."""
    backend_spec: dict[str, Any] = {}
    proxy_protocol: bool = False
    """Of all listeners; only if they are not open yet."""


class Ports(Message, frozen=True):
    """Ports of TCP services and how many listening sockets each has: these are in the worker's other unix socket."""

    ports: tuple[tuple[int, int], ...]


class TicketKeys(Message, frozen=True):
    """Keys for TLS session tickets: the first makes tickets, all read them."""

    keys: tuple[bytes, ...]


class Drain(Message, frozen=True):
    """Stop accepting, finish what is under way, say Drained and end."""


class AskStats(Message, frozen=True):
    number: int


class AskEndpoints(Message, frozen=True):
    number: int


class Ping(Message, frozen=True):
    """Answer with the same number: the loop turns."""

    number: int


class Pong(Message, frozen=True):
    number: int


class OpenLog(Message, frozen=True):
    """Append the access log to this file from now on: it was renamed, and a new one has taken its place."""

    path: str


class Refused(msgspec.Struct, frozen=True):
    """An entry the engine does not take; it keeps what it had."""

    table: str
    """"certificates", "backends", "hosts", or "settings"."""
    key: str
    reason: str


class Applied(Message, frozen=True):
    generation: int
    refused: tuple[Refused, ...] = ()


class Stats(Message, frozen=True):
    number: int
    stats: msgspec.Raw
    """What the engine counts, encoded: see ingress/observe/metrics.py."""


class CountedRequests(Message, frozen=True):
    """Rows of counters, each told once. Those of an answer to AskStats come before it."""

    rows: tuple[Counted, ...]


class SeenEndpoints(Message, frozen=True):
    """An answer to AskEndpoints, part by part."""

    number: int
    rows: tuple[EndpointSeen, ...]
    last: bool = False


class Drained(Message, frozen=True):
    """No connection is left."""


Downward = Start | Configure | Ports | Update | Drain | AskStats | AskEndpoints | Ping | OpenLog | TicketKeys
Upward = Applied | Stats | CountedRequests | SeenEndpoints | Pong | Drained

_encoder = msgspec.msgpack.Encoder()
_downward = msgspec.msgpack.Decoder(Downward)
_upward = msgspec.msgpack.Decoder(Upward)


def encode(message: Message) -> bytes:
    """One frame, ready to be sent."""
    body = _encoder.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


async def _frame(reader: asyncio.StreamReader) -> bytes:
    length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
    return await reader.readexactly(length)


async def receive_downward(reader: asyncio.StreamReader) -> Downward:
    """The supervisor's next message. Raises asyncio.IncompleteReadError or ConnectionError when it is gone."""
    message: Downward = _downward.decode(await _frame(reader))
    return message


async def receive_upward(reader: asyncio.StreamReader) -> Upward:
    """A worker's next message. Raises asyncio.IncompleteReadError or ConnectionError when it is gone."""
    message: Upward = _upward.decode(await _frame(reader))
    return message


def update_of(generation: int, changes: Changes) -> Update:
    """Changes of the tables, as workers take them."""
    return Update(
        generation,
        {key: backend.endpoints if backend else None for key, backend in changes.backends.items()},
        {host: _lines(table) if table else None for host, table in changes.hosts.items()},
        {host: (found.chain_pem, found.key_pem) if found else None for host, found in changes.certificates.items()},
        _specs(changes.backends),
    )


def snapshot_of(
    generation: int,
    hosts: Mapping[str, HostTable],
    backends: Mapping[str, Backend],
    certificates: Iterable[Certificate],
) -> Update:
    """The whole tables, for a worker that has nothing yet."""
    return Update(
        generation,
        {key: backend.endpoints for key, backend in backends.items()},
        {host: _lines(table) for host, table in hosts.items()},
        {found.host: (found.chain_pem, found.key_pem) for found in certificates},
        _specs(backends),
    )


def over(changes: Update, whole: Update) -> Update:
    """The whole tables for workers that have had some: what has gone since is taken from them as well."""
    return Update(
        whole.generation,
        {**changes.backends, **whole.backends},
        {**changes.hosts, **whole.hosts},
        {**changes.certificates, **whole.certificates},
        whole.specs,
    )


def _specs(backends: Mapping[str, Backend | None]) -> dict[str, dict[str, Any]]:
    return {key: found.variant.spec for key, found in backends.items() if found and found.variant}


def _lines(table: HostTable) -> HostLines:
    routes = tuple(
        RouteLine(route.path, route.exact, route.backend, route.id, _labels(route), route.filters, dict(route.options))
        for route in table.routes
    )
    patterns = table.patterns
    if table.healthy:
        filters = (("healthy", msgspec.msgpack.encode({})),)
        if patterns:
            patterns = ((f"{re.escape(table.healthy)}$", len(routes)), *patterns)
        routes += (RouteLine(table.healthy, True, "", NO_ROUTE, filters=filters, options={"log": False}),)
    if table.rest:
        nobody = ("nobody", msgspec.msgpack.encode({}))
        if patterns:
            patterns = (*patterns, ("", len(routes)))
        after = (*table.rest.filters, nobody)
        routes += (RouteLine("/", False, "", NO_ROUTE, filters=after, options=dict(table.rest.options)),)
    return HostLines(routes, table.client_auth, table.passthrough, patterns, table.ciphers, table.headed)


def _labels(route: Route) -> tuple[str, ...]:
    namespace, _, name = route.ingress.partition("/")
    _, service, port = split_key(route.backend)
    return namespace, name, service, port, route.path
