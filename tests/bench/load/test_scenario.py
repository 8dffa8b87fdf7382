import pytest

from bench.load.scenario import BadScenario, Expect, judge, message, of_url, parse, refuse_strangers

GOOD = """
target: http://127.0.0.1:8080
answered_by: X-Pod
requests:
  - {weight: 9, path: "/cart?x=1", host: shop.example.com, headers: {User-Agent: demo}, expect: {status: 200}}
  - {method: POST, path: /orders, body: "a=1"}
"""


def test_a_request_goes_over_the_wire_as_written() -> None:
    scenario = parse(GOOD)
    assert message(scenario, scenario.requests[0]) == (
        b"GET /cart?x=1 HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: demo\r\n\r\n"
    )
    assert message(scenario, scenario.requests[1]) == (
        b"POST /orders HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: causeway-bench\r\nContent-Length: 3\r\n\r\na=1"
    )


def test_new_connections_are_announced_to_the_server() -> None:
    scenario = of_url("http://127.0.0.1/", headers={}, body="", keep_alive=False)
    assert b"\r\nConnection: close\r\n" in message(scenario, scenario.requests[0])


def test_a_header_replaces_ours_whatever_its_case() -> None:
    scenario = of_url("127.0.0.1:80/x", headers={"host": "a.example"}, body="", keep_alive=True)
    sent = message(scenario, scenario.requests[0])
    assert sent.count(b"ost: ") == 1
    assert b"Host: a.example\r\n" in sent


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("target: 127.0.0.1", "target"),
        ("target: http://127.0.0.1:99999", "port"),
        ("target: http://a\nrequests: []", "there are none"),
        ("target: http://a\nrequests: [{weight: 0}]", r"requests\[0\].weight"),
        ("target: http://a\nrequests: [{path: x}]", r"requests\[0\].path"),
        ('target: http://a\nrequests: [{headers: {A: "b\\r\\nc: d"}}]', r"requests\[0\].headers"),
        ("target: http://a\nrequests: [{paht: /}]", "paht"),
        ("target: [", "not YAML"),
    ],
)
def test_a_bad_scenario_names_the_field(text: str, why: str) -> None:
    with pytest.raises(BadScenario, match=why):
        parse(text)


def test_strangers_are_refused_unless_named() -> None:
    scenario = parse("target: http://192.0.2.1/")
    with pytest.raises(BadScenario, match=r"allow: \[192.0.2.1\]"):
        refuse_strangers(scenario, ["192.0.2.1"])
    refuse_strangers(parse("target: http://192.0.2.1/\nallow: [192.0.2.1]"), ["192.0.2.1"])
    refuse_strangers(scenario, ["127.0.0.2", "::1"])


@pytest.mark.parametrize(
    ("expect", "verdict"),
    [
        (None, True),
        (Expect(status=200), True),
        (Expect(status=404), False),
        (Expect(body="hello"), True),
        (Expect(body="X-Pod"), False),  # the head is not the body
        (Expect(header={"x-pod": "web"}), True),
        (Expect(header={"X-Pod": "cart"}), False),
        (Expect(header={"X-None": "a"}), False),
    ],
)
def test_answers_are_judged(expect: Expect | None, verdict: bool) -> None:
    assert judge(expect, 200, b"HTTP/1.1 200 OK\r\nX-Pod: web-1\r\n\r\nhello") is verdict
