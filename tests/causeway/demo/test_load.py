import asyncio
import socket

import pytest

from causeway.demo.layout import Layout
from causeway.demo.load import Load, Tally, Target, Wrong

BODY = b'{"pod": "web-1"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n"


async def ask(answer: bytes, step: int) -> tuple[str, bool]:
    """One request whose answer comes in pieces of `step` bytes, after which the server closes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        load = Load(Layout("t1"), Target("192.0.2.1", 80, "h"), workers=0, pause_s=0)
        asked = asyncio.create_task(load.ask(ours, last=False))
        for start in range(0, len(answer), step):
            theirs.sendall(answer[start : start + step])
            await asyncio.sleep(0)
        theirs.shutdown(socket.SHUT_WR)
        result = await asked
        assert theirs.recv(1000).startswith(b"GET / HTTP/1.1\r\nHost: h\r\n")
        return result


@pytest.mark.parametrize("step", [1, 7, 10_000], ids="cut={}".format)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (HEAD + b"\r\n" + BODY, ("web-1", True)),
        (HEAD + b"Connection: close\r\n\r\n" + BODY, ("web-1", False)),
    ],
)
async def test_good_answers(answer: bytes, expected: tuple[str, bool], step: int) -> None:
    assert await ask(answer, step) == expected


@pytest.mark.parametrize("step", [1, 10_000], ids="cut={}".format)
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "closed before"),
        (HEAD, "closed before"),
        (HEAD + b"\r\n" + BODY[:-1], "closed before"),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "503"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "without Content-Length"),
    ],
)
async def test_whatever_is_not_a_whole_200_is_wrong(answer: bytes, says: str, step: int) -> None:
    with pytest.raises(Wrong, match=says):
        await ask(answer, step)


def test_the_worst_in_words() -> None:
    tally = Tally(failures=[(1.0, "a"), (2.0, "b"), (3.0, "a")])
    assert tally.worst() == "2 x a, 1 x b"
