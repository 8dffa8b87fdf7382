"""What a service is asked, and what is kept of its answers."""

import pytest

from ingress.filters import external
from ingress.filters.api import Answer, Fields
from ingress.filters.external import BROKEN, External, ExternalSpecification, host_of, with_return
from tests.ingress.filters.asked import Asked, Desk

URL = "http://auth.example/check"


def saying(status: int, *fields: tuple[str, str]) -> Desk:
    return Desk(answer=lambda *_: Answer(status, fields, b""))


def cached(**more: object) -> ExternalSpecification:
    return ExternalSpecification(URL, cache_key="$http_x_user", cache_seconds={200: 10, 0: 5}, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://auth.example", "auth.example"),
        ("https://auth.example:8443/x:y?z=a@b", "auth.example"),
        ("http://[fd00::1]:80/", "[fd00::1]"),
        ("http://[fd00::1]/", "[fd00::1]"),
        ("http://$host/", ""),
    ],
)
def test_host_of(url: str, host: str) -> None:
    assert host_of(url) == host


BACK = "$pass_access_scheme://$http_host$escaped_request_uri"


@pytest.mark.parametrize(
    ("signin", "parameter", "wanted"),
    [
        ("http://a/in", "rd", f"http://a/in?rd={BACK}"),
        ("http://a/in?x=1", "rd", f"http://a/in?x=1&rd={BACK}"),
        ("http://a/in?rd=$request_uri", "rd", "http://a/in?rd=$request_uri"),
        ("http://a/in?rd=/", "back", f"http://a/in?rd=/&back={BACK}"),
        ("http://a/in?rd=", "rd", f"http://a/in?rd=&rd={BACK}"),
    ],
)
def test_the_way_back(signin: str, parameter: str, wanted: str) -> None:
    assert with_return(signin, parameter) == wanted


async def test_nobody_answers() -> None:
    assert await External(ExternalSpecification(URL), Desk()).ask(Asked()) == BROKEN


async def test_without_a_key_nothing_is_kept() -> None:
    found = External(ExternalSpecification(URL, cache_seconds={200: 10}), saying(200))
    await found.ask(Asked())
    assert found.kept(Asked()) is None


async def test_a_verdict_belongs_to_a_route_and_a_key() -> None:
    desk = saying(200)
    found = External(cached(), desk)
    ada = Asked(headers=(("X-User", "ada"),))
    verdict = await found.ask(ada)
    assert found.kept(ada) == verdict
    assert found.kept(Asked(headers=(("X-User", "bob"),))) is None
    assert found.kept(Asked(headers=(("X-User", "ada"),), route_id=2)) is None
    desk.clock += 10
    assert found.kept(ada) is None


@pytest.mark.parametrize(
    ("status", "fields", "seconds"),
    [
        (200, (), 10),
        (403, (), 5),
        (200, (("Set-Cookie", "a=b"),), 0),
        (200, (("Cache-Control", "private"),), 0),
        (200, (("Cache-Control", "no-cache, max-age=60"),), 0),
        (200, (("Cache-Control", "public, max-age=60"),), 60),
        (200, (("Cache-Control", "max-age=60, s-maxage=7"),), 7),
        (200, (("Cache-Control", "max-age=0"),), 0),
        (200, (("Vary", "*"),), 0),
    ],
)
async def test_how_long(status: int, fields: Fields, seconds: int) -> None:
    desk = saying(status, *fields)
    found = External(cached(), desk)
    await found.ask(Asked())
    assert (found.kept(Asked()) is not None) == (seconds > 0)
    desk.clock += max(0.0, seconds - 0.1)
    assert (found.kept(Asked()) is not None) == (seconds > 0)
    desk.clock += 0.2
    assert found.kept(Asked()) is None


async def test_an_answer_that_varies() -> None:
    found = External(cached(), saying(200, ("Vary", "Origin, X-Tenant")))
    await found.ask(Asked(headers=(("X-Tenant", "a"),)))
    assert found.kept(Asked(headers=(("X-Tenant", "a"),))) is not None
    assert found.kept(Asked(headers=(("X-Tenant", "b"),))) is None
    assert found.kept(Asked(headers=(("X-Tenant", "a"), ("Origin", "x")))) is None


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "VERDICTS_MAX", 3)
    found = External(cached(), saying(200))
    for number in range(5):
        await found.ask(Asked(headers=(("X-User", str(number)),)))
    assert [found.kept(Asked(headers=(("X-User", str(each)),))) is not None for each in range(5)] == [
        False,
        False,
        True,
        True,
        True,
    ]
