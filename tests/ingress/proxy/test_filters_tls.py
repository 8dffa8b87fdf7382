"""Filters and clients that speak TLS: what is seen of it, parked requests, limited rates, switched protocols."""

import asyncio
import time

import pytest

from ingress.filters.api import ClientCertificate, Request
from ingress.filters.chain import Chain
from ingress.proxy import ClientAuth, RouteOptions, RouteSpec
from tests.ingress.proxy.filtered import Base, chain, route, values
from tests.ingress.proxy.rig import read_response, request, rig
from tests.ingress.proxy.test_client_auth import EXPIRED, GOOD, OURS, ask
from tests.ingress.proxy.test_filters_waiting import Gate
from tests.ingress.proxy.test_pace import content, sized
from tests.ingress.proxy.test_tls import client, open_tls, secure
from tests.ingress.proxy.test_upgrade import switch


async def test_what_is_seen_of_tls() -> None:
    seen: list[tuple[object, ...]] = []

    def look(asked: Request) -> None:
        seen.append((asked.secure, asked.server_name, asked.port, asked.client_certificate))

    async with secure() as (r, port):
        route(r, chain(look))
        await r.get("/")
        await ask(port, None, name="Shop.Example")
        assert seen == [(False, "", r.port, None), (True, "shop.example", seen[1][2], None)]


async def test_client_certificates() -> None:
    seen: list[ClientCertificate | None] = []
    async with secure() as (r, port):
        route(r, chain(lambda asked: seen.append(asked.client_certificate)))
        r.engine.set_client_auth("shop.example", ClientAuth(ca_pem=OURS.pem, verify="optional"))
        await ask(port, None)
        await ask(port, GOOD)
        assert await ask(port, EXPIRED)
        assert seen[0] == ClientCertificate("NONE", "", "", "")
        assert seen[1] is not None
        assert seen[1][:3] == ("SUCCESS", r"CN=a client,O=Wharf\, Inc", r"CN=Our Authority,O=Wharf\, Inc")
        assert seen[1].pem.encode() == GOOD.pem


async def test_filters_of_one_scheme() -> None:
    seen: list[str] = []

    class Some(Base):
        def __init__(self, name: str) -> None:
            self.said = name

        def request(self, asked: Request) -> None:
            seen.append(self.said)

    class Plain(Some):
        only = "http"

    class Secure(Some):
        only = "https"

    async with secure() as (r, port):
        for filters, expected in (
            ([Plain("p"), Some("a"), Secure("s")], ["p", "a", "a", "s"]),
            ([Plain("p")], ["p"]),
            ([Secure("s")], ["s"]),
        ):
            seen.clear()
            route(r, Chain(filters))
            await r.get("/")
            await ask(port, None)
            assert seen == expected


async def test_a_parked_request_and_what_follows_it() -> None:
    gate = Gate()
    async with secure() as (r, port):
        route(r, chain(gate))
        reader, writer = await open_tls(port, "shop.example", client())
        body = 200_000 * b"x"
        for _ in range(3):
            writer.write(request("/1", method="POST", body=body) + request("/pass") + request("/2"))
            await gate.arrived()
            await asyncio.sleep(0.01)
            gate.open()
            assert (await read_response(reader))[1] == b"POST /1|" + body
            assert (await read_response(reader))[1] == b"GET /pass|"
            await gate.arrived()
            gate.open()
            assert (await read_response(reader))[1] == b"GET /2|"
        writer.close()
        await r.empty()


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
async def test_a_limited_rate(tls: bool) -> None:
    async with secure(sized) as (r, port):
        options = RouteOptions(rate_bytes_per_second=400_000, response_set=(("X-A", "1"),))
        r.engine.set_host("", [RouteSpec("/", False, "backend", 1, (), options)])
        reader, writer = await (open_tls(port, "shop.example", client()) if tls else r.connect())
        begun = time.monotonic()
        writer.write(request("/300000"))
        head, body = await read_response(reader)
        assert values(head, "x-a") == ["1"]
        assert body == content(300_000)
        assert time.monotonic() - begun > 0.5
        writer.close()
        await r.empty()


async def test_another_protocol_after_waiting() -> None:
    gate = Gate()
    async with rig(switch) as r:
        options = RouteOptions(response_set=(("X-Seen", "1"),), rate_bytes_per_second=10)
        route(r, chain(gate), options)
        reader, writer = await r.connect()
        writer.write(request("/", "Connection: Upgrade", "Upgrade: websocket") + b"early")
        await gate.arrived()
        gate.open()
        head = await reader.readuntil(b"\r\n\r\n")
        assert values(head, "x-seen") == ["1"]
        assert await reader.readexactly(10) == b"readyEARLY"
        writer.write(b"bye")
        assert await reader.read() == b"BYE"
        writer.close()
        await r.empty()
