"""Supervisors of different versions: what one does not say, the other does without. (Upgrades: test_upgrade.py.)"""

import asyncio
import os
import socket
import subprocess
import sys

import msgspec
import pytest

from ingress.handover import VARIABLE, Predecessor, Successor


def predecessor(monkeypatch: pytest.MonkeyPatch, **more: object) -> tuple[socket.socket, Predecessor]:
    """Its end of the line, and what we make of it."""
    its, ours = socket.socketpair()
    bequest = {"line": ours.detach(), "listeners": [], "admin": None, **more}
    monkeypatch.setenv(VARIABLE, msgspec.json.encode(bequest).decode())
    found = Predecessor.from_environment()
    assert found is not None
    assert VARIABLE not in os.environ
    return its, found


async def test_an_older_one_gives_no_keys_and_no_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    its, ours = predecessor(monkeypatch)
    assert ours.keys == b""
    with its:
        ours.say_ready()
        assert its.recv(64) == b"ready\n"
        its.sendall(b"yours\n")
    await ours.let_go()
    assert [each async for each in ours.counts()] == []


async def test_what_a_newer_one_adds_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(b"octets")
    its, ours = predecessor(monkeypatch, keys=reading, sessions={"more": 1})
    assert ours.keys == b"octets"
    its.sendall(b"yours\n\0\0\0\3abc\0\0\0\0\0\0\0\1d\0\0\0\7cut")
    its.close()
    await ours.let_go()
    assert [each async for each in ours.counts()] == [b"abc", b"", b"d"]


async def test_one_that_is_gone_has_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    its, ours = predecessor(monkeypatch)
    its.close()
    ours.say_ready()
    await ours.let_go()
    assert [each async for each in ours.counts()] == []


@pytest.mark.parametrize("reads", [True, False])
async def test_a_successor_that_does_not_listen_any_more(reads: bool) -> None:
    """An older one closes the line as soon as it has taken over; another has ended."""
    ours, its = socket.socketpair()
    with subprocess.Popen([sys.executable, "-c", ""]) as process:  # noqa: ASYNC220
        successor = Successor(process, ours)
        if not reads:
            its.close()
        await successor.take_over()
        if reads:
            assert its.recv(64) == b"yours\n"
            its.close()
        async with asyncio.timeout(20):
            for _ in range(3):
                await successor.tell(bytes(1 << 20))
            await successor.leave()
