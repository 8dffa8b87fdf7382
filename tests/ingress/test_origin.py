"""The flags that say whose word on a client's address is believed."""

import asyncio

from tests.ingress.peers import Client, ask, endpoints
from tests.ingress.serving import serving


async def test_proxy_protocol_by_flag() -> None:
    async with endpoints("web") as (web,):
        flags = ("--to", web.address, "--proxy-protocol", "--trusted-proxies", "127.0.0.0/8", "--forwarded")
        async with serving(*flags, "--workers", "1") as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.http)
            writer.write(b"PROXY TCP4 192.0.2.7 192.0.2.8 4000 443\r\n")
            headers = (await Client(reader, writer).ask("a.example", "/")).echo["headers"]
            writer.close()
            assert headers["x-forwarded-for"] == "192.0.2.7"
            assert headers["x-forwarded-proto"] == "https"
            assert headers["forwarded"] == "for=192.0.2.7;host=a.example;proto=https"


async def test_forwarded_headers_by_flag() -> None:
    async with endpoints("web") as (web,):
        flags = ("--to", web.address, "--use-forwarded-headers", "--trusted-proxies", "10.0.0.0/8")
        async with serving(*flags, "--workers", "1") as running:
            headers = (await ask(running.http, "a.example")).echo["headers"]
            assert headers["x-forwarded-for"] == "127.0.0.1"
