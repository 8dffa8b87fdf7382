"""Verdicts on passwords: kept, shared while they are being found, bounded."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest

from ingress.filters import basic
from ingress.filters.api import Reply, Request
from ingress.filters.basic import BAD_SECONDS, BUSY, GOOD_SECONDS, Basic, BasicSpecification, read_credentials
from tests.ingress.filters.asked import Asked, Desk

SECRET, OTHER = "{PLAIN}secret", "{PLAIN}other"
SPECIFICATION = BasicSpecification('a "realm"', (("ada", SECRET), ("ada", OTHER), ("bob", OTHER)))


class Threads(Desk):
    """Work is done when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.done = 0
        self.go = asyncio.Event()

    async def in_thread(self, work: Callable[[], Any]) -> Any:
        await self.go.wait()
        self.done += 1
        return work()


def by(user: str, password: str) -> Asked:
    value = base64.b64encode(f"{user}:{password}".encode()).decode()
    return Asked(headers=(("Authorization", f"Basic {value}"),))


async def told(found: Basic, request: Request) -> int:
    """The status of the refusal, 200 without."""
    reply = found.check(request)
    if reply is not None and not isinstance(reply, Reply):
        reply = await reply
    return 200 if reply is None else reply.status


async def test_a_verdict_is_kept_for_a_while() -> None:
    desk = Threads()
    desk.go.set()
    found = Basic(SPECIFICATION, desk)
    request = by("ada", "secret")
    assert await told(found, request) == 200
    assert request.user == "ada"
    again = by("ada", "secret")
    assert found.check(again) is None, "without waiting"
    assert again.user == "ada"
    assert (await told(found, by("ada", "wrong")), await told(found, by("ada", "wrong"))) == (401, 401)
    assert desk.done == 2
    desk.clock += BAD_SECONDS + 1
    assert (await told(found, by("ada", "wrong")), await told(found, by("ada", "secret"))) == (401, 200)
    assert desk.done == 3
    desk.clock += GOOD_SECONDS
    assert await told(found, by("ada", "secret")) == 200
    assert desk.done == 4


async def test_of_a_name_that_is_there_twice_the_first_counts() -> None:
    found = Basic(SPECIFICATION, Desk())
    assert await told(found, by("ada", "other")) == 401
    assert await told(found, by("bob", "other")) == 200


async def test_verdicts_are_of_name_and_password_together() -> None:
    found = Basic(BasicSpecification("", (("a", "{PLAIN}bc"), ("ab", "{PLAIN}x"))), Desk())
    assert await told(found, by("a", "bc")) == 200
    assert await told(found, by("ab", "c")) == 401


async def test_who_asks_the_same_at_once_waits_for_one_hash_and_one_that_goes_away_does_not_end_it() -> None:
    desk = Threads()
    found = Basic(SPECIFICATION, desk)
    waiting = [asyncio.create_task(told(found, by("ada", "secret"))) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    desk.go.set()
    assert await asyncio.gather(*waiting[1:]) == [200, 200]
    assert desk.done == 1


async def test_guessing_takes_no_more_than_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basic, "PENDING_MAX", 3)
    monkeypatch.setattr(basic, "VERDICTS_MAX", 2)
    desk = Threads()
    found = Basic(SPECIFICATION, desk)
    waiting = [asyncio.create_task(told(found, by("ada", str(each)))) for each in range(3)]
    await asyncio.sleep(0)
    assert found.check(by("ada", "secret")) == BUSY
    desk.go.set()
    assert await asyncio.gather(*waiting) == [401, 401, 401]
    assert await told(found, by("ada", "secret")) == 200
    assert len(found._verdicts) == 2


def test_nothing_tells_the_password() -> None:
    found = Basic(SPECIFICATION, Desk())
    assert found.refusal == Reply(401, (("WWW-Authenticate", 'Basic realm="a \\"realm\\""'),))


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("Basic YTpi", ("a", b"b")),
        ("bAsIC   YTpi  ", ("a", b"b")),
        ("Basic YTpiOmM=", ("a", b"b:c")),
        ("Basic Og==", ("", b"")),
        ("Basic w6TDpDrDvA==", ("\xc3\xa4\xc3\xa4", b"\xc3\xbc")),
        ("Basic YQ==", None),
        ("Basic YTpi!", None),
        ("Basic YTp", None),
        ("Basic \xe4", None),
        ("BasicYTpi", None),
        ("Bearer YTpi", None),
        ("", None),
    ],
)
def test_credentials(value: str, wanted: tuple[str, bytes] | None) -> None:
    assert read_credentials(value) == wanted
