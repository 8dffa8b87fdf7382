"""Between a controller and its API server: hands bytes on, and tells when those of a change were handed on.

So the arrival of an event is that of its bytes at the controller's socket, however busy the controller is, and not the
moment at which some other watcher saw it. Encrypted on both sides, as the way is without it. Started as
`python -m bench.scenarios.relay PORT TLS-CRT TLS-KEY`: prints its port, then "TURN NANOSECONDS" for each new turn.
"""

import asyncio
import contextlib
import re
import ssl
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from bench.peers.process import python_env

TURN = "bench.example.com/turn"
"""Annotation of an object: a number, another one for each change of any."""
_TURN = re.compile(rb'"bench\.example\.com/turn":"(\d+)"')
_CUT = 64
"""A piece may end within a turn: so much of it is looked at again."""
PIECE = 1 << 18


class Arrivals:
    """When the changes of each turn reached the controller, by CLOCK_MONOTONIC in ns."""

    def __init__(self) -> None:
        self.url = ""
        self._seen: dict[int, asyncio.Future[int]] = {}

    async def of(self, turn: int) -> int:
        """Wait for it."""
        return await self._future(turn)

    async def read(self, output: asyncio.StreamReader) -> None:
        """What the relay prints, until it ends."""
        async for line in output:
            turn, at = map(int, line.split())
            self._future(turn).set_result(at)

    def _future(self, turn: int) -> "asyncio.Future[int]":
        return self._seen.setdefault(turn, asyncio.get_running_loop().create_future())


@contextlib.asynccontextmanager
async def relay(api_url: str, folder: Path) -> AsyncIterator[Arrivals]:
    """A running relay before an API server on loopback; `folder` holds a tls.crt and tls.key for it."""
    argv = [sys.executable, "-m", "bench.scenarios.relay", api_url.rpartition(":")[2], str(folder / "tls.crt")]
    process = await asyncio.create_subprocess_exec(
        *argv, str(folder / "tls.key"), stdout=asyncio.subprocess.PIPE, env=python_env()
    )
    assert process.stdout is not None
    arrivals = Arrivals()
    arrivals.url = f"https://127.0.0.1:{int(await process.stdout.readline())}"
    reading = asyncio.create_task(arrivals.read(process.stdout))
    try:
        yield arrivals
    finally:
        process.kill()
        await process.wait()
        await reading


class _Relay:
    def __init__(self, api_port: int) -> None:
        self.api_port = api_port
        self.context = ssl._create_unverified_context()
        self.told: set[bytes] = set()

    async def carry(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        api, forth = await asyncio.open_connection("127.0.0.1", self.api_port, ssl=self.context)
        try:
            await asyncio.gather(self.forward(client, forth, telling=False), self.forward(api, back, telling=True))
        except OSError:
            pass
        finally:
            forth.close()
            back.close()

    async def forward(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, telling: bool) -> None:
        rest = b""
        while piece := await source.read(PIECE):
            now = time.monotonic_ns()
            target.write(piece)
            if telling:
                rest += piece
                self.tell(rest, now)
                rest = rest[-_CUT:]
            await target.drain()
        target.close()

    def tell(self, octets: bytes, now: int) -> None:
        for turn in _TURN.findall(octets):
            if turn not in self.told:
                self.told.add(turn)
                print(turn.decode(), now, flush=True)


async def _serve(api_port: int, certificate: str, key: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(_Relay(api_port).carry, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), *sys.argv[2:4]))
