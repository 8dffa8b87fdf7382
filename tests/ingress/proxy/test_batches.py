"""What comes at the same moment is one batch to the engine: its requests go out at its end, each of them once."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

from tests.ingress.proxy.rig import Rig, rig

RESET = struct.pack("ii", 1, 0)


def asking(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode()


async def answer(client: socket.socket, path: str) -> None:
    """The echo of a request for this path; nothing else is left."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        got = b""
        while not got.endswith(f"GET {path}|".encode()):
            piece = await loop.sock_recv(client, 65536)
            assert piece, got
            got += piece
    assert got.startswith(b"HTTP/1.1 200 ")
    assert got.count(b"HTTP/1.1 ") == 1


@contextlib.asynccontextmanager
async def kept_clients(r: Rig, count: int) -> AsyncIterator[list[socket.socket]]:
    """Connections that have been answered once, with as many idle ones behind them."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as opened:
        clients = []
        for number in range(count):
            client = opened.enter_context(socket.socket())
            client.setblocking(False)
            await loop.sock_connect(client, ("127.0.0.1", r.port))
            clients.append(client)
            client.send(asking(f"/first/{number}"))
        await asyncio.gather(*(answer(client, f"/first/{number}") for number, client in enumerate(clients)))
        r.endpoint.requests.clear()
        yield clients
    await r.empty()


async def test_requests_of_one_batch_go_out_in_their_order_each_once() -> None:
    async with rig() as r, kept_clients(r, 8) as clients:
        for number, client in enumerate(clients):
            client.send(asking(f"/{number}"))
        await asyncio.gather(*(answer(client, f"/{number}") for number, client in enumerate(clients)))
        assert sorted(got.path for got in r.endpoint.requests) == [f"/{number}" for number in range(8)]


async def test_clients_that_go_in_the_batch_of_their_request_harm_no_other() -> None:
    async with rig() as r, kept_clients(r, 8) as clients:
        for number, client in enumerate(clients):
            client.send(asking(f"/{number}"))
        for gone in clients[::2]:
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            gone.close()
        clients[1].shutdown(socket.SHUT_WR)  # still wants its answer
        await asyncio.gather(*(answer(clients[number], f"/{number}") for number in range(1, 8, 2)))
        paths = [got.path for got in r.endpoint.requests]
        assert len(paths) == len(set(paths))


async def test_connections_closed_by_the_endpoint_in_the_batch_of_a_request_are_not_used() -> None:
    async with rig() as r, kept_clients(r, 8) as clients:
        before = r.endpoint.accepted
        for writer in list(r.endpoint.writers):
            writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        for number, client in enumerate(clients):
            client.send(asking(f"/{number}"))
        await asyncio.gather(*(answer(client, f"/{number}") for number, client in enumerate(clients)))
        assert sorted(got.path for got in r.endpoint.requests) == [f"/{number}" for number in range(8)]
        assert all(got.connection > before for got in r.endpoint.requests)


async def test_bodies_follow_their_heads_in_the_same_batch() -> None:
    async with rig() as r, kept_clients(r, 4) as clients:
        loop = asyncio.get_running_loop()
        for client in clients:
            client.send(b"POST /b HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 10\r\n\r\n01234")
        await asyncio.sleep(0.05)  # the first halves have been read
        for client in clients:
            client.send(b"56789" + asking("/next"))
        for client in clients:
            got = b""
            async with asyncio.timeout(10):
                while not got.endswith(b"GET /next|"):
                    got += await loop.sock_recv(client, 65536)
            assert b"POST /b|0123456789" in got
