"""Responses cut off, in pieces, with long heads, and WebSockets, by the numbers in the inventory of behaviours."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.ingress.site import CONFIGURED, Site, annotated, several, site_of

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Script = Callable[[str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Is told the target, and answers."""

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@contextlib.asynccontextmanager
async def scripted(tmp_path: Path, script: Script, annotations: dict[str, str], size: int = 1) -> AsyncIterator[Site]:
    """ "web.example", whose endpoints follow a script."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            await script(head.split()[1].decode(), reader, writer)
        writer.close()

    async with contextlib.AsyncExitStack() as stack:
        servers = [await asyncio.start_server(serve, "127.0.0.1", 0) for _ in range(size)]
        for each in servers:
            await stack.enter_async_context(each)
        addresses = [f"127.0.0.1:{each.sockets[0].getsockname()[1]}" for each in servers]
        slices = several("scripted", *addresses)[1:]  # there from the start, of the Service that the site makes
        rule = annotated("web.example", annotations, ("/", "Prefix", "scripted"))
        yield await stack.enter_async_context(site_of(tmp_path, rule, *slices, flags=CONFIGURED, sizes={"scripted": 0}))


@contextlib.asynccontextmanager
async def asking(site: Site, target: str, *lines: str) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.served.http)
    try:
        writer.write("\r\n".join([f"GET {target} HTTP/1.1", "Host: web.example", *lines, "", ""]).encode())
        yield reader, writer
    finally:
        writer.close()


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_185_nothing_is_asked_again_after_the_first_octet(tmp_path: Path, framing: str) -> None:
    asked: list[str] = []

    async def script(target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(target)
        begins = CHUNKED + b"8\r\nhalf" if framing == "chunks" else HEAD + b"Content-Length: 8\r\n\r\nhalf"
        writer.write(begins)
        await writer.drain()
        await heard.wait()  # the client has it
        writer.transport.abort()

    heard = asyncio.Event()
    again = {"proxy-next-upstream": "error timeout invalid_header http_502 non_idempotent"}
    async with scripted(tmp_path, script, again, size=3) as site, asking(site, "/once") as (reader, _):
        assert b" 200 " in await reader.readline()
        await reader.readuntil(b"half")
        heard.set()
        assert await reader.read() == b""
        assert asked == ["/once"]


@pytest.mark.parametrize("annotations", [{"proxy-buffering": "off"}, {}], ids=["187", "187-by-default"])
async def test_187_pieces_arrive_as_they_are_sent(tmp_path: Path, annotations: dict[str, str]) -> None:
    seen = [asyncio.Event() for _ in range(3)]

    async def script(target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        for number, each in enumerate(seen):
            writer.write(b"7\r\npiece-%d\r\n" % number)
            await writer.drain()
            await each.wait()  # nothing more before the client has this one
        writer.write(b"0\r\n\r\n")

    async with scripted(tmp_path, script, annotations) as site, asking(site, "/") as (reader, _):
        await reader.readuntil(b"\r\n\r\n")
        for number, each in enumerate(seen):
            await reader.readuntil(b"piece-%d" % number)
            each.set()
        await reader.readuntil(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("size", "config"),
    [
        pytest.param("", {}, id="188-default"),
        pytest.param("4k", {}, id="188"),
        pytest.param("", {"proxy-buffer-size": "8k"}, id="188-by-the-config-map"),
    ],
)
async def test_188_heads_have_room_whatever_is_said_of_it(tmp_path: Path, size: str, config: dict[str, str]) -> None:
    async def script(target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"X-Long: " + b"x" * int(target[1:]) + b"\r\nContent-Length: 0\r\n\r\n")

    async with scripted(tmp_path, script, {"proxy-buffer-size": size}) as site:
        site.configure({**config, "server-tokens": "true"})

        async def server() -> str:
            return (await site.get("web.example", "/10")).fields.get("server", "")

        await site.becomes(server, "causeway")
        assert len((await site.get("web.example", "/30000")).fields["x-long"]) == 30000
        assert (await site.get("web.example", "/100000")).status == 502


async def switch(target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says back what it hears, in upper case."""
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    while octets := await reader.read(65536):
        writer.write(octets.upper())


UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")


async def test_207_websockets_pass_and_idle_ones_are_cut(tmp_path: Path) -> None:
    async with (
        scripted(tmp_path, switch, {"proxy-read-timeout": "2"}) as site,
        asking(site, "/socket", *UPGRADE) as (reader, writer),
    ):
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        for _ in range(7):  # in all longer than it may be idle
            writer.write(b"ping")
            assert await reader.readexactly(4) == b"PING"
            await asyncio.sleep(0.4)
        began = time.monotonic()
        assert await reader.read() == b""
        assert 1 < time.monotonic() - began < 10


async def test_207_no_annotation_is_needed_and_none_stands_in_the_way(tmp_path: Path) -> None:
    among = {"enable-cors": "true", "custom-http-errors": "404", "proxy-buffering": "on", "proxy-body-size": "1k"}
    for number, annotations in enumerate(({}, among)):
        async with (
            scripted(tmp_path / str(number), switch, annotations) as site,
            asking(site, "/", *UPGRADE) as (reader, writer),
        ):
            assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
            writer.write(b"x" * 100_000)
            assert await reader.readexactly(100_000) == b"X" * 100_000
