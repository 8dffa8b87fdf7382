"""Real peers of the proxy, written over h11: an endpoint that tells what it got, and a client with keep-alive."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import h11


@dataclass
class Endpoint:
    """An HTTP server that answers every request with JSON: its own name and what it was asked.

    A request's fields "tell-NAME" are fields NAME of its answer; "tell-status" is its status, and "tell-octets" how
    long its body is instead.
    """

    name: str
    port: int = 0
    requests: int = 0
    connections: int = 0
    last: dict[str, Any] | None = None
    """What it was asked last, as its answers tell it."""
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    """Requests below /slow are answered once it is set."""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = h11.Connection(h11.SERVER)
        try:
            while await self._exchange(connection, reader, writer):
                connection.start_next_cycle()
        except (ConnectionError, h11.RemoteProtocolError, h11.LocalProtocolError):
            pass
        finally:
            writer.close()

    async def _exchange(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        request = await _next(connection, reader)
        if not isinstance(request, h11.Request):
            return False
        length = 0
        while isinstance(event := await _next(connection, reader), h11.Data):
            length += len(event.data)
        if not isinstance(event, h11.EndOfMessage):
            return False
        self.requests += 1
        target = request.target.decode()
        if target.startswith("/slow"):
            await self.hold.wait()
        headers = {name.decode(): value.decode() for name, value in request.headers}
        told = [(name[5:], value) for name, value in request.headers if name.startswith(b"tell-")]
        self.last = {
            "service": self.name,
            "method": request.method.decode(),
            "path": target,
            "protocol": f"HTTP/{request.http_version.decode()}",
            "headers": headers,
            "body_octets": length,
        }
        body = json.dumps(self.last).encode()
        status = int(headers.get("tell-status", 200))
        if "tell-octets" in headers:
            body = b"x" * int(headers["tell-octets"])
        fields = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *told]
        out = connection.send(h11.Response(status_code=status, headers=fields)) or b""
        if request.method != b"HEAD":
            out += connection.send(h11.Data(data=body)) or b""
        writer.write(out + (connection.send(h11.EndOfMessage()) or b""))
        await writer.drain()
        return connection.our_state is h11.DONE


@asynccontextmanager
async def endpoints(*names: str, address: str = "127.0.0.1") -> AsyncIterator[list[Endpoint]]:
    """One listening endpoint for each name."""
    made = [Endpoint(name) for name in names]
    async with contextlib.AsyncExitStack() as stack:
        for each in made:
            server = await asyncio.start_server(each.serve, address, 0)
            stack.push_async_callback(server.wait_closed)
            stack.callback(server.close)
            stack.callback(each.hold.set)
            each.port = server.sockets[0].getsockname()[1]
        yield made


async def _next(connection: h11.Connection, reader: asyncio.StreamReader) -> Any:
    while True:
        event = connection.next_event()
        if event is not h11.NEED_DATA:
            return event
        connection.receive_data(await reader.read(65536))


@dataclass
class Answer:
    status: int
    fields: dict[str, str]
    body: bytes
    lines: tuple[tuple[str, str], ...] = ()
    """Every field line; names in lower case."""

    @property
    def echo(self) -> dict[str, Any]:
        """What the endpoint was asked."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def service(self) -> str:
        return str(self.echo["service"])


class Client:
    """One keep-alive connection to the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.connection = h11.Connection(h11.CLIENT)

    @classmethod
    async def connect(
        cls, port: int, tls: ssl.SSLContext | None = None, name: str | None = None, *, address: str = "127.0.0.1"
    ) -> "Client":
        reader, writer = await asyncio.open_connection(address, port, ssl=tls, server_hostname=name)
        return cls(reader, writer)

    async def ask(
        self,
        host: str,
        path: str,
        *,
        method: str = "GET",
        body: bytes = b"",
        fields: Sequence[tuple[str, str]] = (("user-agent", "tests"),),
    ) -> Answer:
        """Send one request and read its answer. Raises ConnectionError if the connection ends first."""
        fields = [("host", host), ("content-length", str(len(body))), *fields]
        out = self.connection.send(h11.Request(method=method, target=path, headers=fields)) or b""
        if body:
            out += self.connection.send(h11.Data(data=body)) or b""
        self.writer.write(out + (self.connection.send(h11.EndOfMessage()) or b""))
        try:
            answer = await self._answer()
        except h11.RemoteProtocolError as error:
            raise ConnectionError(str(error)) from None
        if self.connection.our_state is h11.DONE:
            self.connection.start_next_cycle()
        return answer

    async def _answer(self) -> Answer:
        head = await _next(self.connection, self.reader)
        if not isinstance(head, h11.Response):
            raise ConnectionError(f"no answer: {head}")
        body = b""
        while isinstance(event := await _next(self.connection, self.reader), h11.Data):
            body += event.data
        if not isinstance(event, h11.EndOfMessage):
            raise ConnectionError("the answer was cut off")
        lines = tuple((name.decode(), value.decode("latin-1")) for name, value in head.headers)
        return Answer(head.status_code, dict(lines), body, lines)

    @property
    def open(self) -> bool:
        """Whether another request may be sent on it."""
        return self.connection.our_state is h11.IDLE and not self.reader.at_eof()

    def close(self) -> None:
        self.writer.close()


async def ask(port: int, host: str, path: str = "/", **how: Any) -> Answer:
    """One request on a connection of its own."""
    client = await Client.connect(port, how.pop("tls", None), how.pop("name", None))
    try:
        return await client.ask(host, path, **how)
    finally:
        client.close()
