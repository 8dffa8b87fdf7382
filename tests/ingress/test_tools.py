"""What a worker offers its filters, beside requests (test_fetches.py)."""

import asyncio
import logging
import threading
import time

import pytest

from ingress.proxy import Engine, Settings
from ingress.tools import THREADS, WorkerTools


def tools_of_this_loop() -> WorkerTools:
    return WorkerTools(Engine(Settings(), asyncio.get_running_loop()))


async def test_threads_leave_the_loop_free() -> None:
    made = tools_of_this_loop()
    together = threading.Barrier(THREADS, timeout=10)

    def work() -> int:
        together.wait()
        return threading.get_ident()

    idents = await asyncio.gather(*[made.in_thread(work) for _ in range(THREADS)])
    assert len(set(idents)) == THREADS
    assert threading.get_ident() not in idents


async def test_what_goes_wrong_in_a_thread_is_the_callers() -> None:
    with pytest.raises(ZeroDivisionError):
        await tools_of_this_loop().in_thread(lambda: 1 // 0)


async def test_what_goes_wrong_beside_requests_is_told(caplog: pytest.LogCaptureFixture) -> None:
    made = tools_of_this_loop()
    done = asyncio.Event()

    async def well() -> None:
        done.set()

    async def badly() -> None:
        raise ValueError("why")

    with caplog.at_level(logging.ERROR):
        made.spawn(badly(), "the mirror of /a")
        made.spawn(well(), "nothing")
        async with asyncio.timeout(5):
            await done.wait()
    assert "the mirror of /a has failed" in caplog.text
    assert "why" in caplog.text


async def test_clocks_and_dice() -> None:
    made = tools_of_this_loop()
    assert made.now() <= made.now()
    assert abs(made.wall() - time.time()) < 5
    assert all(0 <= made.draw() < 1 for _ in range(1000))
