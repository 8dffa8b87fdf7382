"""A service that says who may pass: a real server, told by its URL what to answer.

/STATUS?NAME=VALUE&...: that status with these fields; any other path: 200. What it was asked is kept.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

import h11


@dataclass
class Asked:
    method: str
    target: str
    fields: list[tuple[str, str]]
    """Names in lower case."""
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]


@dataclass
class Judge:
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    server: asyncio.Server | None = None
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def url(self, answer: str) -> str:
        return f"http://127.0.0.1:{self.port}/{answer}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        self.writers.add(writer)
        try:
            while await self._exchange(connection, reader, writer):
                connection.start_next_cycle()
        except (ConnectionError, h11.RemoteProtocolError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def _exchange(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        found: Asked | None = None
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Request):
                fields = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
                found = Asked(event.method.decode(), event.target.decode(), fields)
            elif isinstance(event, h11.Data) and found:
                found.body += event.data
            else:
                break
        if not isinstance(event, h11.EndOfMessage) or found is None:
            return False
        self.asked.append(found)
        parts = urlsplit(found.target)
        status = int(parts.path[1:4]) if parts.path[1:4].isdigit() else 200
        empty = status in (204, 304)
        answer = [*parse_qsl(parts.query), *([] if empty else [("content-length", "4")])]
        out = connection.send(h11.Response(status_code=status, headers=answer)) or b""
        if found.method != "HEAD" and not empty:
            out += connection.send(h11.Data(data=b"page")) or b""
        writer.write(out + (connection.send(h11.EndOfMessage()) or b""))
        await writer.drain()
        return connection.our_state is h11.DONE

    async def start(self) -> None:
        """On the port it had before, if it had one."""
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self.server is not None
        self.server.close()
        for each in list(self.writers):
            each.close()
        await self.server.wait_closed()


@asynccontextmanager
async def judging() -> AsyncIterator[Judge]:
    judge = Judge()
    await judge.start()
    try:
        yield judge
    finally:
        await judge.stop()
