"""Flags for how requests are treated: reading them, and that they reach the workers."""

import asyncio
import zlib

import pytest

from ingress.listeners import BadAddress
from ingress.proxy import BackendSpec
from ingress.tuning import read_balance, read_size
from tests.ingress.peers import endpoints
from tests.ingress.proxy.rig import read_response, request
from tests.ingress.serving import serving


@pytest.mark.parametrize(("text", "octets"), [("0", 0), ("1500", 1500), ("3k", 3072), ("8m", 8 << 20), ("2G", 2 << 30)])
def test_sizes(text: str, octets: int) -> None:
    assert read_size(text) == octets


@pytest.mark.parametrize("text", ["", "m", "15r", "-1", "1.5m", "1 m", "9" * 13])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(BadAddress, match="no size"):
        read_size(text)


def test_balancing() -> None:
    assert BackendSpec(**read_balance("ewma")) == BackendSpec(algorithm="ewma")
    assert BackendSpec(**read_balance("ring:cookie:sid")) == BackendSpec(algorithm="ring", hash_by="cookie:sid")
    for wrong in ("best", "ring", "ring:", "ring:header:", "maglev:port", "ewma:uri", ""):
        with pytest.raises(BadAddress):
            read_balance(wrong)


async def test_the_command() -> None:
    flags = ("--max-body", "1k", "--compress", "--workers", "1")
    async with endpoints("a") as [endpoint], serving("--to", endpoint.address, *flags) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.http)
        writer.write(request("/", method="POST", body=bytes(1025)))
        assert (await read_response(reader))[0].startswith(b"HTTP/1.1 413")
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", served.http)
        writer.write(request("/", "Accept-Encoding: gzip", "X-Long: " + "x" * 2000, method="PUT", body=bytes(1024)))
        head, body = await read_response(reader)
        assert head.startswith(b"HTTP/1.1 200")
        assert b"Content-Encoding: gzip\r\n" in head
        assert b"xxxx" in zlib.decompress(body, wbits=31)
        writer.close()
