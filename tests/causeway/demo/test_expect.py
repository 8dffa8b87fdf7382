import pytest

from causeway.demo import expect
from causeway.demo.expect import Answer

BODY = '{"pod": "web-1", "container": "web", "peer": "10.0.0.1:5000", "local": "10.0.0.2:8080"}\n'
FACTS = "\n200 10.0.0.1 5000 10.0.0.2 8080"
GOOD = Answer(0, 200, "10.0.0.1:5000", "10.0.0.2:8080", expect.parse_said(BODY))


@pytest.mark.parametrize(
    ("status", "out", "err", "answer"),
    [
        (0, BODY + FACTS, "* Connected", GOOD),
        (0, "not json" + "\n404 1.1.1.1 1 2.2.2.2 2", "", Answer(0, 404, "1.1.1.1:1", "2.2.2.2:2")),
        (28, "\n000  0  0", "curl: (28) timed out", Answer(28, error="curl: (28) timed out")),
        (0, "", "", Answer(1, error="no answer")),
        (
            7,
            "\n000  0  0",
            "* connect to 10.96.0.9 port 80 failed: Connection refused\n* Closing\ncurl: (7) no",
            Answer(7, error="connect to 10.96.0.9 port 80 failed: Connection refused; curl: (7) no"),
        ),
    ],
)
def test_parse_curl(status: int, out: str, err: str, answer: Answer) -> None:
    assert expect.parse_curl(status, out, err) == answer


@pytest.mark.parametrize(
    ("judge", "answer", "says"),
    [
        (expect.code(200), GOOD, ""),
        (expect.code(404), GOOD, "HTTP status 200, not 404"),
        (expect.code(200), Answer(28, error="timed out"), "no answer: timed out"),
        (expect.refused, Answer(7, error="failed: Connection refused"), ""),
        (expect.refused, Answer(7, error="failed: No route to host"), "not refused: failed: No route"),
        (expect.refused, GOOD, "not refused"),
        (expect.by_pod(["web-1", "web-2"]), GOOD, ""),
        (expect.by_pod(["web-2"]), GOOD, "answered by web-1, not by web-2"),
        (expect.by_pod(["web-1"], "notes"), GOOD, "answered by container web, not notes"),
        (expect.same_ends, GOOD, ""),
        (expect.same_ends, Answer(0, 200, "10.0.0.9:5000", GOOD.remote, GOOD.said), "source was changed"),
        (expect.same_ends, Answer(0, 200, "10.0.0.1:5001", GOOD.remote, GOOD.said), "source was changed"),
        (expect.same_ends, Answer(0, 200, GOOD.local, "10.96.0.1:80", GOOD.said), "destination was changed"),
        (expect.same_source, Answer(0, 200, GOOD.local, "10.96.0.1:80", GOOD.said), ""),
        (expect.seen_as(["10.0.0.1"], "the node"), GOOD, ""),
        (expect.seen_as(["10.0.0.3"], "the node"), GOOD, "it came from 10.0.0.1, which is not the node"),
        (expect.not_seen_as("10.0.0.1", "the client"), GOOD, "it came from 10.0.0.1, the client"),
        (expect.all_of(expect.code(200), expect.by_pod(["x"])), GOOD, "answered by web-1"),
        (expect.all_of(expect.code(200), expect.same_ends), GOOD, ""),
    ],
)
def test_judges(judge: expect.Judge, answer: Answer, says: str) -> None:
    wrong = judge(answer)
    assert wrong.startswith(says) if not says else says in wrong
    assert bool(wrong) == bool(says)
