"""Heartbeats over real UDP sockets, on several loopback addresses: one is one node."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lb.balancer.heartbeat import Heartbeats
from lb.balancer.liveness import Beat, encode
from tests.lb.cluster.waiting import until

NODES: dict[str, tuple[str, ...]] = {"a": ("127.0.0.11",), "b": ("127.0.0.12",), "c": ("127.0.0.13",)}
DEADLINE_SECONDS = 10.0


class One:
    """A node's heartbeats and what they reported."""

    def __init__(self, name: str, port: int, nodes: dict[str, tuple[str, ...]]) -> None:
        self.changed = asyncio.Event()
        self.came: list[bool] = []
        self.beats = Heartbeats(name, self._on_change, port)
        self.beats.set_nodes(nodes)
        self.beats.allow_ready()

    def _on_change(self, came: bool) -> None:
        self.came.append(came)
        self.changed.set()

    async def sees(self, names: str) -> None:
        """Wait until exactly these are ready."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while self.beats.ready_nodes != frozenset(names):
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def started(name: str, port: int, nodes: dict[str, tuple[str, ...]] | None = None) -> AsyncIterator[One]:
    one = One(name, port, NODES if nodes is None else nodes)
    task = asyncio.create_task(one.beats.run())
    try:
        yield one
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
def port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_nodes_find_each_other_and_miss_the_one_that_ends(port: int) -> None:
    loop = asyncio.get_running_loop()
    async with started("a", port) as a, started("b", port) as b:
        async with started("c", port) as c:
            for each in (a, b, c):
                await each.sees("abc")
            began = loop.time()
        # It ended without a word.
        await a.sees("ab")
        assert 0.5 < loop.time() - began < 3
        assert a.came[-1] is False
        assert a.beats.describe("c") == "silent"


async def test_one_that_leaves_is_gone_at_once(port: int) -> None:
    async with started("a", port) as a, started("b", port) as b:
        await a.sees("ab")
        await b.sees("ab")
        loop = asyncio.get_running_loop()
        began = loop.time()
        b.beats.leave()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while "b" in a.beats.ready_nodes:
                a.changed.clear()
                await a.changed.wait()
        assert loop.time() - began < 0.3


async def test_alone_it_waits_for_the_others_only_a_moment(port: int) -> None:
    async with started("a", port) as a:
        assert a.beats.ready_nodes == frozenset()
        await a.sees("a")
    async with started("a", port, {"a": NODES["a"]}) as a:
        await a.sees("a")


async def test_not_ready_before_the_data_plane_is(port: int) -> None:
    async with started("a", port) as a:
        await a.sees("a")
        waits = Heartbeats("b", lambda came: None, port)
        waits.set_nodes(NODES)
        task = asyncio.create_task(waits.run())
        try:
            await until(lambda: a.beats.describe("b") == "heard, not ready yet")
            assert a.beats.ready_nodes == frozenset("a")
            waits.allow_ready()
            await a.sees("ab")
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_forged_and_foreign_datagrams_do_nothing(port: int) -> None:
    async with started("a", port) as a:
        await a.sees("a")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
            forger.bind(("127.0.0.13", 0))  # c's address
            for datagram in (encode(Beat("b", 1, 1, 0.3, ready=True)), b"hello", b""):
                forger.sendto(datagram, (NODES["a"][0], port))
            forger.sendto(encode(Beat("c", 1, 1, 0.3, ready=True)), (NODES["a"][0], port))
        await a.sees("ac")  # the last one was believed: those before it have been read


async def test_a_port_in_use_is_said_and_nothing_is_announced(port: int, caplog: pytest.LogCaptureFixture) -> None:
    holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    holder.bind((NODES["a"][0], port))
    async with started("a", port) as a:
        await until(lambda: "is in use" in a.beats.describe("a"))
        assert "--heartbeat-port" in caplog.text
        assert a.beats.ready_nodes == frozenset()
        holder.close()
        await a.sees("a")


async def test_a_node_that_is_not_known_waits(port: int) -> None:
    async with started("x", port) as x:
        await until(lambda: "Node x is not known" in x.beats.describe("x"))
        x.beats.set_nodes({**NODES, "x": ("127.0.0.14",)})
        await x.sees("x")
