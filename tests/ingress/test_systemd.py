"""Sockets that somebody else has opened for us, and the news we send."""

import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from ingress.listeners import Address, BadAddress, CannotListen, open_listeners, read_listening
from tests.ingress.peers import ask, endpoints
from tests.ingress.serving import started

ACTIVATE = """
import fcntl, os, sys
descriptors, names, *command = sys.argv[1:]
given = [fcntl.fcntl(int(each), fcntl.F_DUPFD, 100) for each in descriptors.split(",")]
for place, fd in enumerate(given, 3):
    os.dup2(fd, place)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)), LISTEN_FDNAMES=names)
os.execv(command[0], command)
"""
"""Does what systemd does: descriptors from 3 on, named, and then the command in the same process."""


def activated(sockets: Sequence[socket.socket], names: str) -> list[str]:
    return [sys.executable, "-c", ACTIVATE, ",".join(str(each.fileno()) for each in sockets), names]


def listening(*, reuse: bool = False) -> socket.socket:
    made = socket.socket()
    if reuse:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", 0))
    made.listen()
    return made


@pytest.mark.parametrize("reuse", [False, True])
async def test_it_serves_on_the_sockets_it_is_given(reuse: bool) -> None:
    async with endpoints("one") as (one,):
        with listening(reuse=reuse) as web, listening() as admin:
            flags = ["serve", "--to", one.address, "--workers", "2"]
            flags += ["--http", f"systemd:{web.getsockname()[1]}", "--admin", "systemd:status"]
            launcher = activated((web, admin), "web:status")
            async with started(*flags, launcher=launcher, pass_fds=(web.fileno(), admin.fileno())) as running:
                await running.ready()
                assert running.http == web.getsockname()[1]
                assert running.admin == admin.getsockname()[1]
                answers = await asyncio.gather(*(ask(running.http, "any") for _ in range(20)))
                assert {answer.status for answer in answers} == {200}
                assert await running.end() == 0


async def test_the_service_manager_is_told(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as news:
        news.bind(str(path))
        news.setblocking(False)

        async def heard() -> dict[str, str]:
            async with asyncio.timeout(15):
                text = await asyncio.get_running_loop().sock_recv(news, 4096)
            return dict(line.split("=", 1) for line in text.decode().splitlines())

        flags = ("serve", "--to", "127.0.0.1:9", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "1")
        async with started(*flags, env={**os.environ, "NOTIFY_SOCKET": str(path)}) as running:
            said = await heard()
            assert (said["READY"], said["MAINPID"]) == ("1", str(running.process.pid))
            await running.ready()
            running.process.send_signal(1)
            said = await heard()
            assert said["RELOADING"] == "1"
            assert int(said["MONOTONIC_USEC"]) > 0
            assert await heard() == {"READY": "1"}
            assert await running.end() == 0
            assert await heard() == {"STOPPING": "1"}


def test_who_gets_which_socket() -> None:
    one, two, three = listening(), listening(), listening()
    passed = [("web", one), ("secure", two), ("web", three)]
    wanted = [("--https", True, Address("", 0, "secure")), ("--http", False, Address("", 0, ""))]
    opened = open_listeners(wanted, 3, passed=passed)
    assert [(each.tls, each.port, each.shared) for each in opened] == [
        (True, two.getsockname()[1], True),
        (False, one.getsockname()[1], True),
        (False, three.getsockname()[1], True),
    ]
    assert [each.fileno() for each in opened[0].of_slot(2, 3)] == [two.fileno()], "one socket for all workers"
    for listener in opened:
        listener.close()


def test_a_socket_that_is_not_there() -> None:
    with pytest.raises(CannotListen, match=r"--http systemd:web: systemd passed no such socket .there is: none"):
        open_listeners([("--http", False, Address("", 0, "web"))], 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wrong:
        wrong.bind(("127.0.0.1", 0))
        with pytest.raises(CannotListen, match="no listening TCP socket"):
            open_listeners([("--http", False, Address("", 0, ""))], 1, passed=[("x", wrong)])


def test_how_it_is_written() -> None:
    assert read_listening("systemd") == Address("", 0, "")
    assert str(read_listening("systemd:web")) == "systemd:web"
    assert read_listening("systemd.example:80") == Address("systemd.example", 80)
    with pytest.raises(BadAddress, match="FileDescriptorName"):
        read_listening("systemd:")
