"""Workers that do not start, do not answer, or come late. (Killed ones and drains: test_run.py.)"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ingress import wire
from ingress.listeners import Address, open_listeners
from ingress.routes.model import Backend, Changes
from ingress.supervisor import Supervisor, WorkersFail
from ingress.worker_line import STATS_SECONDS, Worker
from tests.ingress.peers import ask, endpoints
from tests.lb.cluster.waiting import until


def everything_to(address: str) -> Any:
    host, _, port = address.rpartition(":")

    def snapshot(generation: int) -> wire.Update:
        table = wire.HostLines((wire.RouteLine("/", False, "x", 1),))
        return wire.Update(generation, {"x": ((host, int(port)),)}, hosts={"": table})

    return snapshot


@asynccontextmanager
async def supervised(snapshot: Any, workers: int, **settings: Any) -> AsyncIterator[tuple[Supervisor, int]]:
    listeners = open_listeners([("--http", False, Address("127.0.0.1", 0))], workers)
    port = listeners[0].port
    supervisor = Supervisor(listeners, workers, snapshot, settings=settings)
    task = asyncio.create_task(supervisor.run())
    try:
        yield supervisor, port
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_no_worker_comes_up(capfd: pytest.CaptureFixture[str]) -> None:
    listeners = open_listeners([("--http", False, Address("127.0.0.1", 0))], 1)
    supervisor = Supervisor(listeners, 1, everything_to("127.0.0.1:9"), settings={"nonsense": 1})
    with pytest.raises(WorkersFail, match="ended with code 1"):
        await supervisor.run()
    assert "nonsense" in capfd.readouterr().err, "the worker's own words are on standard error"


async def test_requests_wait_for_the_first_tables() -> None:
    async with endpoints("web") as (web,), supervised(everything_to(web.address), 1) as (supervisor, port):
        early = asyncio.create_task(ask(port, "any"))
        await until(lambda: supervisor.workers, "a worker is there")
        assert not early.done()
        supervisor.publish(Changes())
        assert (await early).status == 200
        assert supervisor.first_applied.is_set()


async def test_a_new_worker_gets_the_tables_of_now() -> None:
    async with endpoints("old", "new") as (old, new):
        now = [old.address]
        async with supervised(lambda number: everything_to(now[0])(number), 1) as (supervisor, port):
            supervisor.publish(Changes())
            assert (await ask(port, "any")).service == "old"
            now[0] = new.address
            host, _, number = new.address.rpartition(":")
            supervisor.publish(Changes(backends={"x": Backend("", "", "", ((host, int(number)),))}))
            await until(lambda: [worker.applied for worker in supervisor.workers.values()] == [2], "it is applied")
            assert (await ask(port, "any")).service == "new"
            os.kill(supervisor.workers[0].pid, signal.SIGKILL)
            assert (await ask(port, "any")).service == "new", "the connection waits for the worker that comes"
            assert supervisor.replaced == {"killed": 1}


async def test_a_stopped_worker_holds_nobody_up() -> None:
    async with supervised(everything_to("127.0.0.1:9"), 2) as (supervisor, _):
        supervisor.publish(Changes())
        await supervisor.first_applied.wait()
        stopped = supervisor.workers[0]
        os.kill(stopped.pid, signal.SIGSTOP)
        before = time.monotonic()
        await supervisor.refresh_stats()
        assert time.monotonic() - before < 5
        assert not stopped.stats
        assert supervisor.workers[1].stats["connections"] == 0
        os.kill(stopped.pid, signal.SIGCONT)
        await until(lambda: stopped.stats, "the late answer is taken as well")
        assert not await supervisor.drain(0) or not supervisor.workers


async def test_a_worker_that_hangs_is_replaced() -> None:
    async with endpoints("web") as (web,), supervised(everything_to(web.address), 2) as (supervisor, port):
        supervisor.publish(Changes())
        await supervisor.first_applied.wait()
        hanging = supervisor.workers[0]
        supervisor.hang_seconds = 2.0
        os.kill(hanging.pid, signal.SIGSTOP)
        answers = await asyncio.gather(*(ask(port, "any") for _ in range(20)))
        assert [answer.status for answer in answers] == [200] * 20, "those of the stopped one wait for the next"
        assert supervisor.replaced == {"hung": 1}
        assert supervisor.workers[0].pid != hanging.pid
        assert not supervisor.trouble


async def test_a_crash_loop_is_told_and_slows_down() -> None:
    async with supervised(everything_to("127.0.0.1:9"), 2) as (supervisor, _):
        supervisor.publish(Changes())
        await supervisor.first_applied.wait()
        for count in range(1, 6):
            victim = supervisor.workers[0].pid
            os.kill(victim, signal.SIGKILL)
            await until(lambda count=count: supervisor.replaced["killed"] == count, "the end is noticed")  # type: ignore[misc]
            if count > 3:
                assert supervisor.waiting == 1
            await until(lambda old=victim: 0 in supervisor.workers and supervisor.workers[0].pid != old, "replaced")  # type: ignore[misc]
        assert supervisor.trouble == "slot 0: 5 workers ended within 60 s, the last one was ended by signal 9 (SIGKILL)"


async def test_a_worker_that_cannot_be_started_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The interpreter is away for a moment, as while packages are replaced: the other worker goes on."""
    async with endpoints("web") as (web,), supervised(everything_to(web.address), 2) as (supervisor, port):
        supervisor.publish(Changes())
        await supervisor.first_applied.wait()
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", str(tmp_path / "away"))
            victim = supervisor.workers[0].pid
            os.kill(victim, signal.SIGKILL)
            await until(lambda: supervisor.waiting == 1, "it waits to be started")
            assert "worker 0 could not be started: [Errno 2] No such file or directory" in caplog.text
            assert supervisor.serving == 1
        await until(lambda: supervisor.serving == 2, "it is started")
        answers = await asyncio.gather(*(ask(port, "any") for _ in range(20)))
        assert [answer.status for answer in answers] == [200] * 20


async def test_a_worker_that_speaks_differently_ends_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The code on disk is newer than the supervisor."""
    stranger = tmp_path / "python"
    says = "os.write(int(sys.argv[4]), bytes([0, 0, 0, 2, 0x81, 0xA0]))"
    stranger.write_text(f"#!{sys.executable}\nimport os, sys, time\n{says}\ntime.sleep(60)\n")
    stranger.chmod(0o755)
    async with supervised(everything_to("127.0.0.1:9"), 2) as (supervisor, _):
        supervisor.publish(Changes())
        await supervisor.first_applied.wait()
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", str(stranger))
            os.kill(supervisor.workers[0].pid, signal.SIGKILL)
            await until(lambda: "is not understood" in caplog.text, "it has spoken")
            assert supervisor.serving == 1
        await until(lambda: supervisor.serving == 2, "one that is understood takes its place")


async def test_each_question_has_its_own_answer() -> None:
    """Two ask at once, as a scrape and the regular round do: neither takes the other's answer away."""
    ours, theirs = socket.socketpair()
    passing, passed = socket.socketpair()
    with theirs, passed, subprocess.Popen([sys.executable, "-c", ""]) as process:  # noqa: ASYNC220
        worker = Worker(0, process, passing)
        _, writer = await asyncio.open_unix_connection(sock=ours)
        worker.connect(writer)
        first, second = asyncio.create_task(worker.ask_stats()), asyncio.create_task(worker.ask_stats())
        await until(lambda: worker._asked == 2, "both have asked")
        worker.take(wire.Stats(1, msgspec.Raw(msgspec.msgpack.encode({"events": {}}))))
        await first
        worker.take(wire.Stats(2, msgspec.Raw(msgspec.msgpack.encode({"events": {}}))))
        before = time.monotonic()
        await second
        assert time.monotonic() - before < STATS_SECONDS / 2
        worker.gone()
