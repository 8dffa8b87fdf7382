"""Many requests from the internet, and how many of them failed.

Strict: whatever is not a whole 200 within the limit has failed; nothing is asked a second time.
"""

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field

from causeway.demo import netns
from causeway.demo.layout import INTERNET, Layout

READ_BYTES = 65536


class Wrong(Exception):
    """An answer that is not what it must be."""


@dataclass(frozen=True)
class Target:
    """What is asked: http://HOST/ at an address. `per_connection` requests are sent over each connection."""

    ip: str
    port: int
    host: str
    per_connection: int = 1
    limit_s: float = 2.0


@dataclass
class Tally:
    """What came of the requests. `failures` are (loop time the request began, what went wrong)."""

    answered: int = 0
    failures: list[tuple[float, str]] = field(default_factory=list)
    pods: Counter[str] = field(default_factory=Counter)
    last_good: float = 0.0
    """Loop time at which the last good answer was there."""

    def worst(self) -> str:
        """The failures in words, most frequent first."""
        return ", ".join(
            f"{count} x {what}" for what, count in Counter(what for _, what in self.failures).most_common(3)
        )


class Load:
    """Asks `target` from `workers` connections at once, each pausing `pause_s` between two requests."""

    def __init__(self, layout: Layout, target: Target, *, workers: int, pause_s: float) -> None:
        self.netns = layout.netns(INTERNET)
        self.target = target
        self.workers = workers
        self.pause_s = pause_s
        self.tally = Tally()
        self.tasks: list[asyncio.Task[None]] = []
        self.ending = False

    async def __aenter__(self) -> "Load":
        self.tasks = [asyncio.create_task(self.work()) for _ in range(self.workers)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.ending = True  # requests under way are finished and counted
        await asyncio.gather(*self.tasks)

    async def work(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.ending:
            connection = netns.open_socket(self.netns, netns.STREAM)
            with contextlib.closing(connection):
                for count in range(self.target.per_connection):
                    began = loop.time()
                    try:
                        async with asyncio.timeout(self.target.limit_s):
                            if not count:
                                await loop.sock_connect(connection, (self.target.ip, self.target.port))
                            last = self.ending or count + 1 == self.target.per_connection
                            pod, stays = await self.ask(connection, last)
                    except TimeoutError:
                        self.tally.failures.append((began, "no answer in time"))
                        break
                    except (OSError, Wrong) as error:
                        self.tally.failures.append((began, str(error)))
                        break
                    self.tally.answered += 1
                    self.tally.pods[pod] += 1
                    self.tally.last_good = loop.time()
                    await asyncio.sleep(self.pause_s)
                    if last or not stays:
                        break
            if self.tally.failures and not self.ending:
                await asyncio.sleep(self.pause_s)  # a refused connection must not become a busy loop

    async def ask(self, connection: netns.Socket, last: bool) -> tuple[str, bool]:
        """One request on an open connection: the pod that answered, and whether the connection stays open."""
        loop = asyncio.get_running_loop()
        close = "Connection: close\r\n" if last else ""
        await loop.sock_sendall(connection, f"GET / HTTP/1.1\r\nHost: {self.target.host}\r\n{close}\r\n".encode())
        received = b""
        while b"\r\n\r\n" not in received:
            received += await self.read(connection)
        head, _, body = received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if lines[0].split(" ")[1] != "200":
            raise Wrong(lines[0])
        length = int(fields.get("content-length", "-1"))
        if length < 0:
            raise Wrong("an answer without Content-Length")
        while len(body) < length:
            body += await self.read(connection)
        pod = body.partition(b'"pod": "')[2].partition(b'"')[0].decode()
        return pod, fields.get("connection", "").lower() != "close"

    async def read(self, connection: netns.Socket) -> bytes:
        piece = await asyncio.get_running_loop().sock_recv(connection, READ_BYTES)
        if not piece:
            raise Wrong("closed before the answer was whole")
        return piece
