"""The wheel of deadlines: long ones, late sweeps, early ones after long ones."""

import pytest

from ingress.proxy import Settings
from ingress.proxy.engine import sweep_late
from tests.ingress.proxy.rig import hang, read_response, request, rig


@pytest.mark.timeout(5)
@pytest.mark.parametrize("late", [1, 2, 3, 100, 511, 512, 513, 5000])
@pytest.mark.parametrize("deadline", [600, 1000, 100_000])
def test_a_late_sweep_ends_with_deadlines_beyond_the_wheel(late: int, deadline: int) -> None:
    """A deadline filed anew must not land in the slot that is being swept: the sweep would never end."""
    ticks = list(range(late, deadline - 1, late))
    if not ticks:
        return
    ahead = sweep_late(deadline, ticks)
    assert 0 < ahead <= deadline - ticks[-1]


async def test_an_early_deadline_after_a_late_one() -> None:
    settings = Settings(client_idle_seconds=3600, upstream_read_seconds=0.6, attempts=1)
    calls = 0

    async def once(got, reader, writer):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        if calls > 1:
            await hang(got, reader, writer)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with rig(once, settings=settings) as r:
        reader, writer = await r.connect()
        writer.write(request("/"))
        assert (await read_response(reader))[1] == b"ok"
        writer.write(request("/"))  # the pooled connection was filed far ahead
        assert b"504" in (await read_response(reader))[0]
        writer.close()
