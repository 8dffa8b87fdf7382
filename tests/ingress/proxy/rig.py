"""An engine between real sockets: scripted endpoints behind it, raw clients before it. All on loopback."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from ingress.proxy import Engine, RouteSpec, Settings
from ingress.proxy.counted import Counted

Script = Callable[["Request", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Request:
    """What an endpoint got: the head as sent, and its body where the script reads it."""

    head: bytes
    connection: int

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n", 1)[0]

    @property
    def path(self) -> str:
        return self.line.split(b" ")[1].decode()

    def get(self, name: str) -> str | None:
        """The value of a field, None without; several are joined."""
        found = [
            value.strip().decode("latin-1")
            for key, _, value in (line.partition(b":") for line in self.head.split(b"\r\n")[1:] if line)
            if key.lower() == name.lower().encode()
        ]
        return ", ".join(found) if found else None

    async def body(self, reader: asyncio.StreamReader) -> bytes:
        if (length := self.get("content-length")) is not None:
            return await reader.readexactly(int(length))
        if self.get("transfer-encoding") != "chunked":
            return b""
        content = b""
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            content += await reader.readexactly(size)
            assert await reader.readexactly(2) == b"\r\n"
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return content


async def echo(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the method, the target and the body."""
    content = request.line.rsplit(b" ", 1)[0] + b"|" + await request.body(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content))
    if not request.line.startswith(b"HEAD"):
        writer.write(content)


@dataclass
class Endpoint:
    """A server on loopback that does what its script says with each request."""

    script: Script = echo
    requests: list[Request] = field(default_factory=list)
    accepted: int = 0
    open: int = 0
    address: tuple[str, int] = ("", 0)
    server: asyncio.Server | None = None
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.server = await asyncio.start_server(self.serve, host, port, limit=1 << 20)
        self.address = self.server.sockets[0].getsockname()[:2]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.open += 1
        self.writers.add(writer)
        number = self.accepted
        try:
            while True:
                request = Request(await reader.readuntil(b"\r\n\r\n"), number)
                self.requests.append(request)
                await self.script(request, reader, writer)
                if writer.is_closing():
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            self.writers.discard(writer)
            writer.close()

    async def restart(self) -> None:
        """Close every connection and listen anew on the same port."""
        assert self.server is not None
        self.server.close()
        for writer in self.writers:
            writer.close()
        await self.start(port=self.address[1])


@dataclass
class Rig:
    engine: Engine
    port: int
    endpoints: list[Endpoint]
    backend: str = "backend"
    taken: list[Counted] = field(default_factory=list)

    @property
    def counted(self) -> list[Counted]:
        """Every row of counters so far."""
        self.taken += self.engine.take_requests()
        return self.taken

    @property
    def answered(self) -> dict[tuple[int, int], int]:
        """Requests by route and status."""
        found: dict[tuple[int, int], int] = {}
        for row in self.counted:
            found[row.route, row.status] = found.get((row.route, row.status), 0) + row.requests
        return found

    @property
    def endpoint(self) -> Endpoint:
        return self.endpoints[0]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)

    async def ask(self, octets: bytes, *, half_close: bool = False) -> bytes:
        """Everything that comes back until the engine closes the connection."""
        reader, writer = await self.connect()
        writer.write(octets)
        if half_close:
            writer.write_eof()
        async with asyncio.timeout(10):
            got = await reader.read()
        writer.close()
        return got

    async def get(self, path: str = "/", *fields: str) -> bytes:
        return await self.ask(request(path, *fields, "Connection: close"))

    async def quiet(self) -> None:
        """Wait until nothing is under way."""
        await until(lambda: self.engine.stats()["exchanges"] == 0)

    async def empty(self) -> None:
        """Wait until every client's connection is gone, and nothing under way."""
        await until(lambda: self.engine.connections == 0)
        await self.quiet()

    def event(self, name: str) -> int:
        return self.engine.stats()["events"][name]


def request(path: str = "/", *fields: str, method: str = "GET", body: bytes = b"") -> bytes:
    if body:
        fields = (*fields, f"Content-Length: {len(body)}")
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: shop.example", *fields, "", ""]).encode() + body


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for a condition; fail when it does not come."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is a counter in plain memory: there is no event
            await asyncio.sleep(0.005)


async def read_response(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of one response with Content-Length or the chunked coding."""
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        answer = Request(head, 0)
        return head, await answer.body(reader)


@contextlib.asynccontextmanager
async def rig(*scripts: Script, settings: Settings | None = None) -> AsyncIterator[Rig]:
    """An engine whose host "" sends everything to one backend of as many endpoints as there are scripts."""
    endpoints = [Endpoint(script) for script in scripts or (echo,)]
    for endpoint in endpoints:
        await endpoint.start()
    engine = Engine(settings or Settings(), asyncio.get_running_loop())
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        port = listener.getsockname()[1]
        engine.listen(listener.fileno(), tls=False, port=port)
        engine.set_backend("backend", [endpoint.address for endpoint in endpoints])
        engine.set_host("", [RouteSpec("/", False, "backend", 1)])
        try:
            yield Rig(engine, port, endpoints)
        finally:
            engine.close()
            for endpoint in endpoints:
                assert endpoint.server is not None
                endpoint.server.close()


async def hang(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def flood(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A response as long as its path says, in MB."""
    size = int(got.path[1:])
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (size << 20))
    block = bytes(1 << 20)
    for _ in range(size):
        writer.write(block)
        await writer.drain()


def held(r: Rig) -> dict[str, int]:
    stats = r.engine.stats()
    return {
        "clients": stats["connections"],
        "upstreams": stats["upstream_connections"],
        "exchanges": stats["exchanges"],
    }


NOTHING = {"clients": 0, "upstreams": 0, "exchanges": 0}
