import pytest

from bench import native
from bench.load.run import Plan, run
from bench.load.scenario import BadScenario, Request, Scenario, WebSocket, frame, parse


@pytest.mark.parametrize(("size", "head"), [(5, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)])
def test_a_frame_has_the_shortest_head(size: int, head: int) -> None:
    made = frame(b"y" * size, b"\1\2\3\4")
    assert len(made) == head + 4 + size
    assert made[0] == 0x82
    assert made[head : head + 4] == b"\1\2\3\4"
    assert made[head + 4 : head + 6] == bytes([ord("y") ^ 1, ord("y") ^ 2])


@pytest.mark.parametrize("size", [1, 200, 70_000])
async def test_messages_come_back(size: int) -> None:
    with native.endpoint() as (port, _):
        scenario = Scenario(
            target=f"http://127.0.0.1:{port}", websocket=WebSocket("/chat"), requests=(Request(body_bytes=size),)
        )
        result = await run(scenario, Plan(duration_seconds=0.4, connections=3))
    assert result["errors"] == {}
    assert result["reached"]["connects"] == 3
    assert set(result["statuses"]) == {"101"}
    assert result["requests"] > 3


async def test_a_server_that_does_not_upgrade_is_a_status_error() -> None:
    with native.endpoint() as (port, _):
        scenario = Scenario(
            target=f"http://127.0.0.1:{port}", websocket=WebSocket(headers={"Sec-WebSocket-Key": "x" * 61})
        )
        result = await run(scenario, Plan(duration_seconds=0.2, connections=1))
    assert set(result["errors"]) == {"closed_early"}


def test_what_does_not_go_together() -> None:
    with pytest.raises(BadScenario, match=r"requests\[0\].expect"):
        parse("target: http://a\nwebsocket: {}\nrequests: [{expect: {status: 200}}]")
    with pytest.raises(BadScenario, match="websocket"):
        parse("target: http://a\nwebsocket: {}\nkeep_alive: false")
