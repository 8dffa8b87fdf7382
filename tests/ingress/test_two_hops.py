"""Two hops never disagree on where a message ends: ours in front of nginx, haproxy, h11 and aiohttp.

Each message of the corpus goes through ours, followed by a request of its own ("/sentinel"). What an h11 server behind
the second hop understands must be what an h11 server right behind ours understands, request by request; a second hop
may refuse more than ours does, and that is all it may do.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import h11
import pytest
from aiohttp import web

from bench.native import Unavailable
from bench.peers import debian
from ingress.proxy import Engine, RouteSpec, Settings
from tests.ingress.proxy.corpus import corpus

Seen = tuple[str, str, bytes]
"""Method, target, body."""

SENTINEL = b"GET /sentinel HTTP/1.1\r\nHost: sentinel\r\nConnection: close\r\n\r\n"

NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off; keepalive_timeout 75; proxy_http_version 1.1; proxy_next_upstream off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  large_client_header_buffers 8 128k; underscores_in_headers on;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{behind}; proxy_set_header Connection ""; }}
  }}
}}
"""
HAPROXY = """
global
  nbthread 1
  tune.bufsize 200000
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
  timeout http-keep-alive 75s
  retries 0
frontend in
  bind 127.0.0.1:{port}
  default_backend recorder
backend recorder
  server one 127.0.0.1:{behind}
"""


class Recorder:
    """An h11 server that remembers every complete request."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        try:
            while await self._request(connection, reader, writer):
                connection.start_next_cycle()
        except (ConnectionError, h11.ProtocolError):
            pass
        finally:
            writer.close()

    async def _request(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        request, body = None, b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    writer.write(connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
                connection.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        assert request is not None
        self.seen.append((request.method.decode("latin-1"), request.target.decode("latin-1"), body))
        response = h11.Response(status_code=200, headers=[("Content-Length", "0")])
        writer.write((connection.send(response) or b"") + (connection.send(h11.EndOfMessage()) or b""))
        return connection.our_state is h11.DONE


@asynccontextmanager
async def h11_server(recorder: Recorder, _: Path) -> AsyncIterator[int]:
    async with await asyncio.start_server(recorder.serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        server.close()


@asynccontextmanager
async def aiohttp_server(recorder: Recorder, _: Path) -> AsyncIterator[int]:
    async def take(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        recorder.seen.append((request.method, request.raw_path, body))
        return web.Response()

    runner = web.ServerRunner(web.Server(take))
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await web.SockSite(runner, listener.dup()).start()
        yield listener.getsockname()[1]
    await runner.cleanup()


@asynccontextmanager
async def program(command: list[str], config: str, folder: Path, recorder: Recorder) -> AsyncIterator[int]:
    """A proxy, with the recorder behind it."""
    async with h11_server(recorder, folder) as behind:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        (folder / "config").write_text(config.format(folder=folder, port=port, behind=behind))
        with (folder / "output").open("wb") as output:
            process = await asyncio.create_subprocess_exec(*command, folder / "config", stdout=output, stderr=output)
        try:
            await listening(port, process, folder)
            yield port
        finally:
            process.terminate()
            await process.wait()


def nginx(recorder: Recorder, folder: Path) -> AbstractAsyncContextManager[int]:
    return program([*from_debian("nginx", "usr/sbin/nginx"), "-c"], NGINX, folder, recorder)


def haproxy(recorder: Recorder, folder: Path) -> AbstractAsyncContextManager[int]:
    return program([*from_debian("haproxy", "usr/sbin/haproxy"), "-db", "-f"], HAPROXY, folder, recorder)


def from_debian(package: str, path: str) -> list[str]:
    try:
        return debian.program(package, path)
    except Unavailable as error:
        pytest.skip(f"no {package} to be had: {error}")


async def listening(port: int, process: asyncio.subprocess.Process, folder: Path) -> None:
    async with asyncio.timeout(20):
        while True:
            assert process.returncode is None, (folder / "output").read_text()
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)


SECOND_HOPS = {"h11": h11_server, "aiohttp": aiohttp_server, "nginx": nginx, "haproxy": haproxy}


@asynccontextmanager
async def ours(behind: int) -> AsyncIterator[int]:
    """The port of an engine in front of a second hop."""
    engine = Engine(Settings(attempts=1, eject_after_failures=0), asyncio.get_running_loop())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        engine.set_backend("second", [("127.0.0.1", behind)])
        engine.set_host("", [RouteSpec("/", False, "second", 1)])
        engine.listen(listener.fileno(), tls=False, port=80)
        try:
            yield listener.getsockname()[1]
        finally:
            engine.close()


async def understood(name: str, folder: Path, messages: list[bytes]) -> list[list[Seen]]:
    """What the last hop has understood of each message."""
    recorder = Recorder()
    found: list[list[Seen]] = []
    async with SECOND_HOPS[name](recorder, folder) as behind, ours(behind) as port:
        for message in messages:
            before = len(recorder.seen)
            await send(port, message)
            found.append(recorder.seen[before:])
    return found


async def send(port: int, message: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError):
        writer.write(message + SENTINEL)
        writer.write_eof()
        async with asyncio.timeout(20):
            await reader.read()
    writer.close()


def is_subsequence(some: list[Seen], whole: list[Seen]) -> bool:
    rest: Iterator[Seen] = iter(whole)
    return all(any(each == other for other in rest) for each in some)


def same_spelling(seen: Seen) -> Seen:
    """nginx and haproxy may give an absolute target as a path, and write a host's name in small letters."""
    method, target, body = seen
    for scheme in ("http://", "https://"):
        if target.lower().startswith(scheme):
            target = "/" + target[len(scheme) :].partition("/")[2]
    return method, target, body


MESSAGES = list(corpus().values())


@pytest.mark.parametrize("name", ["aiohttp", "nginx", "haproxy"])
async def test_where_messages_end(name: str, tmp_path: Path) -> None:
    (tmp_path / "h11").mkdir()
    direct = await understood("h11", tmp_path / "h11", MESSAGES)
    second = await understood(name, tmp_path, MESSAGES)
    wrong = {}
    for message, one, two in zip(MESSAGES, direct, second, strict=True):
        if not is_subsequence([same_spelling(each) for each in two], [same_spelling(each) for each in one]):
            wrong[message[:300]] = (one, two)
    assert wrong == {}
    passed = sum(map(len, direct))
    assert passed > 1200, "hardly anything gets through"
    assert sum(map(len, second)) > 0.8 * passed, "the second hop refuses too much to tell anything"
