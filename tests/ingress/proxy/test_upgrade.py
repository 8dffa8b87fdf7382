"""Upgrade: another protocol's octets both ways, until either side closes."""

import asyncio

import pytest

from tests.ingress.proxy.rig import Request, request, rig


async def switch(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Switches protocols, then says back what it hears, in upper case, until it hears an end."""
    assert got.get("connection") == "Upgrade"
    assert got.get("upgrade") == "websocket"
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX: 1\r\n\r\nready")
    while data := await reader.read(65536):
        writer.write(data.upper())
        await writer.drain()
        if b"bye" in data:
            writer.close()
            return


@pytest.mark.parametrize("who", ["client", "endpoint"])
async def test_upgrade_passes_octets_both_ways_until_either_closes(who: str) -> None:
    async with rig(switch) as r:
        reader, writer = await r.connect()
        writer.write(request("/", "Connection: Upgrade", "Upgrade: websocket") + b"early")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"101" in head
        assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in head
        assert await reader.readexactly(10) == b"readyEARLY"
        writer.write(b"x" * 1000000)
        assert await reader.readexactly(1000000) == b"X" * 1000000
        if who == "endpoint":
            writer.write(b"bye")
            assert await reader.read() == b"BYE"
        writer.close()
        await r.empty()
        assert r.engine.stats()["upstream_connections"] == 0


async def unasked(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")


async def test_a_switch_nobody_asked_for_is_a_bad_gateway() -> None:
    async with rig(unasked) as r:
        assert b"502 Bad Gateway" in await r.get()
