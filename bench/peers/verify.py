"""Whether a proxy does the work: its answers, and what reaches the endpoint, before any number is told of it."""

import contextlib
import http.client
import socket
import ssl
import time
from dataclasses import dataclass

from bench.load.scenario import Request
from bench.peers.configs import DUTIES
from bench.peers.process import Peer, PeerFailed
from bench.peers.work import BROWSER, HOST, MEBIBYTE, SMALL

START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    body_octets: int
    """How many octets of the request's body the endpoint has got."""


def verify(peer: Peer) -> None:
    """Wait until a peer answers, then check that it does the work: status and body of each way to ask, the fields that
    reach the endpoint, and an unknown host refused. Raises PeerFailed."""
    request = Request(path="/api/v1/small") if peer.work.websocket else peer.work.requests[0]
    _await_answer(peer, request.host or HOST)
    _check_bodies(peer, request)
    if peer.name != "floor":
        _check_fields(peer)
        _check_unknown_host(peer)
    if peer.work.tls:
        _check_handshake(peer)


def _await_answer(peer: Peer, host: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    status = 0
    while status != 200:
        peer.require_alive()
        with contextlib.suppress(OSError, http.client.HTTPException):
            status = _ask(peer, Request(path=_routed(peer, "x"), host=host)).status
        if time.monotonic() > deadline:
            raise PeerFailed(f"{peer.name} does not answer with 200 within {START_SECONDS:g} s: {peer.said()}")
        if status != 200:
            time.sleep(0.05)


def _routed(peer: Peer, last: str) -> str:
    return f"{peer.work.prefixes[-1].rstrip('/')}/{last}"


def _check_bodies(peer: Peer, request: Request) -> None:
    answer = _ask(peer, request)
    sent = request.body_bytes or len(request.body)
    expected = request.path[1:]
    length = int(expected) if expected.isdigit() else len(SMALL)
    if answer.status != 200 or len(answer.body) != length or (length == len(SMALL) and answer.body != SMALL.encode()):
        raise PeerFailed(
            f"{peer.name} answers {request.path} with {answer.status} and another body: {answer.body[:60]!r}"
        )
    if answer.body_octets != sent:
        raise PeerFailed(f"{peer.name} passes {answer.body_octets} of {sent} octets of a body to the endpoint")
    assert length <= MEBIBYTE


def _check_fields(peer: Peer) -> None:
    """All that the client sends arrives, and all duties are done, also against a client that lies."""
    lies = dict.fromkeys(("X-Real-IP", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto"), "192.0.2.66")
    answer = _ask(
        peer, Request(path=_routed(peer, "echo"), host=HOST, headers={**BROWSER, **lies, "Connection": "keep-alive"})
    )
    lines = [line.partition(b":") for line in answer.body.split(b"\r\n")[1:] if line]
    found = {name.decode().lower(): value.strip().decode() for name, _, value in lines}
    scheme = "https" if peer.work.tls else "http"
    wanted = {name.lower(): value for name, value in BROWSER.items()} | {
        "host": HOST,
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": HOST,
        "x-forwarded-proto": scheme,
        "x-forwarded-scheme": scheme,
        "x-real-ip": "127.0.0.1",
        "x-scheme": scheme,
    }
    wrong = {name: found.get(name) for name, value in wanted.items() if found.get(name) != value}
    wrong |= {name: None for name in map(str.lower, DUTIES) if not found.get(name)}
    if wrong:
        told = ", ".join(f"{name}: {value!r} instead of {wanted.get(name, 'any')!r}" for name, value in wrong.items())
        raise PeerFailed(f"{peer.name} gives the endpoint other fields than the rest: {told}")


def _check_unknown_host(peer: Peer) -> None:
    status = _ask(peer, Request(path=_routed(peer, "x"), host="nobody.example.org")).status
    if status != 404:
        raise PeerFailed(f"{peer.name} answers an unknown host with {status} instead of 404")


def _check_handshake(peer: Peer) -> None:
    """TLS 1.3, and tickets, by which clients can resume their sessions: making one costs a part of a handshake."""
    with (
        socket.create_connection(("127.0.0.1", peer.port), timeout=5) as plain,
        _unverified().wrap_socket(plain, server_hostname=HOST) as stream,
    ):
        stream.sendall(f"GET {_routed(peer, 'x')} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        stream.recv(1)  # tickets come before the answer
        resumable = stream.session is not None and stream.session.has_ticket
        if (stream.version(), resumable) != ("TLSv1.3", True):
            raise PeerFailed(f"{peer.name} speaks {stream.version()}, and sessions resumable: {resumable}")


def _unverified() -> ssl.SSLContext:
    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def _ask(peer: Peer, request: Request) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=5)
    if peer.work.tls:
        connection = http.client.HTTPSConnection("127.0.0.1", peer.port, timeout=5, context=_unverified())
    with contextlib.closing(connection):
        body = b"x" * request.body_bytes or request.body.encode() or None
        connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": request.host or HOST, **request.headers}.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(), int(answer.headers.get("X-Body-Octets", -1)))
