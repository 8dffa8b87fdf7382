import pytest

from bench import native
from bench.load.replay import parse_log, recorded, times
from bench.load.run import Plan, run
from bench.load.scenario import BadScenario, Replay, Scenario, message

COMBINED = """\
192.0.2.1 - - [21/Nov/2026:10:00:00 +0000] "GET /a HTTP/1.1" 200 12 "https://ref.example/" "curl/8"
192.0.2.2 - bob [21/Nov/2026:10:00:00 +0000] "GET /b?x=1 HTTP/2.0" 404 12 "-" "-"
192.0.2.1 - - [21/Nov/2026:11:00:02 +0100] "GET /a HTTP/1.1" 200 12 "https://ref.example/" "curl/8"
192.0.2.1 - - [21/Nov/2026:10:00:02 +0000] "POST /c HTTP/1.1" 201 12 "-" "curl/8"
nonsense

192.0.2.1 - - [99/Nov/2026:10:00:02 +0000] "GET /d HTTP/1.1" 200 12 "-" "curl/8"
"""
UPSTREAMINFO = (
    '192.0.2.1 - - [21/Nov/2026:10:00:01 +0000] "POST /orders HTTP/1.1" 201 12 "-" "curl/8" 1100 0.003 '
    "[shop-cart-80] [] 10.0.0.1:80 12 0.003 201 0123456789abcdef\n"
)
SCENARIO = Scenario(target="http://127.0.0.1:1")


def test_lines_of_the_combined_format() -> None:
    entries, unread = parse_log(COMBINED.splitlines())
    assert unread == 2
    assert [(entry.method, entry.path, entry.status) for entry in entries] == [
        ("GET", "/a", 200), ("GET", "/b?x=1", 404), ("GET", "/a", 200), ("POST", "/c", 201),
    ]  # fmt: skip
    assert entries[0].referer == "https://ref.example/"
    assert entries[1].agent == ""


def test_requests_of_one_second_are_spread_over_it() -> None:
    entries, _ = parse_log(COMBINED.splitlines())
    assert times(entries, 1) == [0, 0.5, 2, 2.5]
    assert times(entries, 2) == [0, 0.25, 1, 1.25]


def test_only_the_methods_asked_for_and_each_request_once() -> None:
    made = recorded(SCENARIO, Replay("x.log", host="shop.example.com"), COMBINED.splitlines())
    assert made.recording == ((0, 0), (0.5, 1), (2, 0))
    assert message(made, made.requests[0]) == (
        b"GET /a HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: curl/8\r\nReferer: https://ref.example/\r\n\r\n"
    )


def test_a_body_is_as_long_as_the_log_says() -> None:
    made = recorded(SCENARIO, Replay("x.log", methods=("POST",), expect_status=True), [UPSTREAMINFO])
    assert len(message(made, made.requests[0])) == pytest.approx(1100, abs=30)  # Content-Length is in the head, too
    assert made.requests[0].expect is not None
    assert made.requests[0].expect.status == 201


def test_a_log_without_requests_says_what_it_has() -> None:
    with pytest.raises(BadScenario, match=r"x\.log has no request with a method of GET, HEAD \(0 others, 1 lines"):
        recorded(SCENARIO, Replay("x.log"), ["nonsense"])


@pytest.mark.parametrize("processes", [1, 2])
async def test_what_was_recorded_is_sent_at_its_times(processes: int) -> None:
    lines = [
        f'192.0.2.1 - - [21/Nov/2026:10:00:0{second} +0000] "GET /{number} HTTP/1.1" 200 1 "-" "-"'
        for second in range(3)
        for number in range(1, 21)
    ]
    with native.endpoint() as (port, _):
        scenario = recorded(Scenario(target=f"http://127.0.0.1:{port}"), Replay("log", speed=3), lines)
        result = await run(scenario, Plan(duration_seconds=1, connections=4, processes=processes))
    assert (result["requests"], result["errors"]) == (60, {})
    assert result["asked"]["arrivals"] == "recorded"
