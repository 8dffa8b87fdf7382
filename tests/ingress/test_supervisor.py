"""Workers that do not start, do not answer, or come late. (Killed ones and drains: test_run.py.)"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ingress import wire
from ingress.listeners import Address, open_listeners
from ingress.routes.model import Backend, Changes
from ingress.supervisor import Supervisor, WorkersFail
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
