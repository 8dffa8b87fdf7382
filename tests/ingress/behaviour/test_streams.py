"""TCP services: --tcp-services-configmap."""

import asyncio
import contextlib
import os
import re
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import msgspec
import pytest

from lb.cluster.objects import Object
from tests.ingress.serving import Folder, Served, serving
from tests.ingress.site import config_map, several
from tests.ingress.state import endpoint_slice, service
from tests.lb.cluster.waiting import until

FLAGS = ("--workers", "2", "--tcp-services-configmap", "ops/tcp", "--trusted-proxies", "127.0.0.1")


PORTS = iter(range(20000 + os.getpid() * 7 % 9000, 32000))
"""Below those that the kernel gives to sockets that ask for any, such as the proxy's own."""


def free_port() -> int:
    for port in PORTS:
        with socket.socket() as made, contextlib.suppress(OSError):
            made.bind(("", port))
            return port
    raise AssertionError("no port is free")


@contextlib.asynccontextmanager
async def speaker(name: str) -> AsyncIterator[str]:
    """Says its name before anything else, then what it was told, in upper case."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name.encode() + b"\n")
        while line := await reader.readline():
            writer.write(line.upper())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def said(port: int, before: bytes = b"") -> str:
    """The first line; "" if there is none."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return ""
    try:
        writer.write(before)
        return (await reader.readline()).decode().strip()
    except ConnectionError:
        return ""
    finally:
        writer.close()


async def becomes(served: Served, port: int, wanted: str, before: bytes = b"") -> None:
    async def asked() -> str:
        return await said(port, before)

    deadline = asyncio.get_running_loop().time() + 15
    while (found := await asked()) != wanted:
        assert asyncio.get_running_loop().time() < deadline, f"still {found!r}; its log:\n{served.log}"
        await asyncio.sleep(0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "manifests")


def lead(folder: Folder, entries: dict[int | str, str]) -> None:
    folder.write("tcp", [config_map("ops", "tcp", {str(port): text for port, text in entries.items()})])


async def test_209_ports_lead_to_services_live(folder: Folder, tmp_path: Path) -> None:
    port, other = free_port(), free_port()
    log = tmp_path / "access.log"
    async with speaker("one") as one, speaker("two") as two:
        folder.write("one", several("one", one))
        folder.write("two", several("two", two))
        lead(folder, {port: "shop/one:80"})
        async with serving("-f", str(folder.path), *FLAGS, "--access-log", str(log)) as served:
            await becomes(served, port, "one")
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.readline() == b"one\n"
            lead(folder, {port: "shop/two:80", other: "shop/one:80"})
            await becomes(served, port, "two")
            await becomes(served, other, "one")
            writer.write(b"still here\n")
            assert await reader.readline() == b"STILL HERE\n"
            writer.close()
            folder.write("two", several("two"))
            await becomes(served, port, "")
            folder.write("two", several("two", one))
            await becomes(served, port, "one")
            lead(folder, {other: "shop/one:80"})
            await becomes(served, port, "")
            assert await said(other) == "one"
            await served.end()
        lines = log.read_text().splitlines()
        assert any(line.startswith("[127.0.0.1] [") and "] TCP 200 4 0 " in line for line in lines), lines


async def test_209_proxy_headers_in_and_out(folder: Folder, tmp_path: Path) -> None:
    comes, goes = free_port(), free_port()
    log = tmp_path / "access.log"
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readline())
        writer.write(b"seen\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, speaker("one") as one:
        folder.write("one", several("one", one))
        folder.write("two", several("two", f"127.0.0.1:{server.sockets[0].getsockname()[1]}"))
        lead(folder, {comes: "shop/one:80:PROXY", goes: "shop/two:80::PROXY"})
        async with serving("-f", str(folder.path), *FLAGS, "--access-log", str(log)) as served:
            await becomes(served, comes, "one", b"PROXY TCP4 192.0.2.77 127.0.0.1 4567 993\r\n")
            await becomes(served, goes, "seen")
            await served.end()
    assert re.fullmatch(rb"PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ %d\r\n" % goes, got[-1]), got[-1]
    assert "[192.0.2.77] [" in log.read_text()


async def test_who_waits_at_a_killed_worker_is_served_by_the_next(folder: Folder) -> None:
    port = free_port()
    async with speaker("one") as one:
        folder.write("one", several("one", one))
        lead(folder, {port: "shop/one:80"})
        flags = ("--workers", "1", "--tcp-services-configmap", "ops/tcp")
        async with serving("-f", str(folder.path), *flags) as served:
            await becomes(served, port, "one")
            (victim,) = served.workers()
            os.kill(victim, signal.SIGSTOP)
            waiting = [asyncio.create_task(said(port)) for _ in range(20)]
            await queued(port, 20)
            os.kill(victim, signal.SIGKILL)
            assert await asyncio.gather(*waiting) == ["one"] * 20


async def queued(port: int, count: int) -> None:
    """Wait until so many connections are in a listening socket's queue: its rx_queue in proc(5)."""
    wanted = re.compile(rf"^ *\d+: [0-9A-F]+:{port:04X} [0-9A-F:]+ 0A \w+:{count:08X} ", re.M)
    await until(lambda: wanted.search(Path("/proc/net/tcp").read_text()), f"{count} connections wait")


async def test_entries_that_make_no_sense_are_reported(folder: Folder) -> None:
    port = free_port()
    async with speaker("one") as one:
        folder.write("one", several("one", one))
        lead(folder, {port: "shop/one:80", 70000: "shop/one:80", "x": "shop/one:80", 9: "one", 10: "shop/nobody:1"})
        async with serving("-f", str(folder.path), *FLAGS) as served:
            await becomes(served, port, "one")
            assert "ConfigMap ops/tcp: data[70000]" in served.log
            assert "ConfigMap ops/tcp: data[x]" in served.log
            assert "ConfigMap ops/tcp: data[9]" in served.log
            assert "ConfigMap ops/tcp: data[10]: Service shop/nobody does not exist" in served.log


async def test_a_port_of_http_stays_one(folder: Folder) -> None:
    async with speaker("one") as one:
        folder.write("one", several("one", one))
        async with serving("-f", str(folder.path), *FLAGS) as served:
            lead(folder, {served.http: "shop/one:80"})
            await served.until(lambda: f"TCP service :{served.http}: --http listens there already" in served.log)
            assert (await said(served.http, b"GET / HTTP/1.0\r\n\r\n")).startswith("HTTP/1.1 404")


class Repeats(asyncio.DatagramProtocol):
    """Sends back what it gets, behind its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, octets: bytes, address: tuple[str, int]) -> None:
        self.transport.sendto(f"{self.name} {octets.decode()}".encode(), address)


async def told(port: int) -> str:
    """What comes back from a client of its own; "" for nothing."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as client:
        client.connect(("127.0.0.1", port))
        with contextlib.suppress(OSError, TimeoutError):
            await loop.sock_sendall(client, b"hello")
            return (await asyncio.wait_for(loop.sock_recv(client, 100), 0.5)).decode()
    return ""


async def test_209_datagrams(folder: Folder, tmp_path: Path) -> None:
    port, loop = free_port(), asyncio.get_running_loop()
    addresses = {}
    for name in ("one", "two"):
        transport, _ = await loop.create_datagram_endpoint(lambda name=name: Repeats(name), ("127.0.0.1", 0))
        addresses[name] = transport.get_extra_info("sockname")[1]

    def both(name: str) -> list[Object]:
        ports = [{"name": "t", "port": 53}, {"name": "u", "port": 53, "protocol": "UDP"}]
        made = endpoint_slice(name, f"127.0.0.1:{addresses[name]}", port_name="u")
        ports_of_it = msgspec.structs.replace(made.ports[0], protocol="UDP")
        return [*service(name, ports=ports), msgspec.structs.replace(made, ports=(ports_of_it,))]

    async def becomes_told(served: Served, wanted: str) -> None:
        deadline = loop.time() + 15
        while (found := await told(port)) != wanted:
            assert loop.time() < deadline, f"still {found!r}; its log:\n{served.log}"

    def lead_to(entries: dict[str, str]) -> None:
        folder.write("udp", [config_map("ops", "udp", entries)])

    for name in ("one", "two"):
        folder.write(name, both(name))
    lead_to({str(port): "shop/one:53"})
    folder.write("controller", [config_map("ops", "controller", {"proxy-stream-timeout": "1s"})])
    log = tmp_path / "access.log"
    flags = ("--udp-services-configmap", "ops/udp", "--configmap", "ops/controller", "--access-log", str(log))
    async with serving("-f", str(folder.path), "--workers", "2", *flags) as served:
        await becomes_told(served, "one hello")
        # A session is a line once nothing has come for a while: what it got, what it sent, how long it was.
        await served.until(
            lambda: re.search(r"^\[127\.0\.0\.1\] \[.+\] UDP 200 9 5 [1-9]\d?\.\d{3}$", log.read_text(), re.M)
        )
        lead_to({str(port): "shop/two:53"})
        await becomes_told(served, "two hello")
        lead_to({})
        await becomes_told(served, "")
        await served.until(lambda: log.read_text().count(" UDP 200 9 5 ") >= 2)


async def test_209_an_endpoint_that_does_not_listen_is_a_line_with_502(folder: Folder, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "access.log"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        nobody = gone.getsockname()[1]
    made = endpoint_slice("one", f"127.0.0.1:{nobody}", port_name="u")
    udp = msgspec.structs.replace(made, ports=(msgspec.structs.replace(made.ports[0], protocol="UDP"),))
    folder.write("one", [*service("one", ports=[{"name": "u", "port": 53, "protocol": "UDP"}]), udp])
    folder.write("udp", [config_map("ops", "udp", {str(port): "shop/one:53"})])
    flags = ("--udp-services-configmap", "ops/udp", "--access-log", str(log))
    async with serving("-f", str(folder.path), "--workers", "1", *flags) as served:
        deadline = asyncio.get_running_loop().time() + 15
        while " UDP 502 0 5 " not in log.read_text():
            assert asyncio.get_running_loop().time() < deadline, served.log
            assert not await told(port)
