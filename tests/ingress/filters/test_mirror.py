"""Copies of requests."""

import pytest

from ingress.filters.api import Answer
from ingress.filters.mirror import MOST_UNDER_WAY, Mirror, MirrorHead, MirrorSpecification
from tests.ingress.filters.asked import Asked, Desk

TARGET = "https://mirror.example.com$request_uri"
FIELDS = (("X-Role", "buyer"), ("Connection", "x-hop"), ("X-Hop", "1"), ("Content-Length", "4"))


async def finish(desk: Desk) -> None:
    for each in desk.spawned:
        await each
    desk.spawned.clear()


def answering() -> Desk:
    return Desk(answer=lambda *asked: Answer(200, (), b""))


async def test_208_copies_have_the_body() -> None:
    desk = answering()
    mirror = Mirror(MirrorSpecification(TARGET), desk)
    request = Asked("/a?x=1", method="POST", headers=FIELDS, content_length=4)
    mirror.request(request)
    assert not desk.spawned
    mirror.request_body(request, b"body")
    await finish(desk)
    assert desk.fetched == [("POST", "https://mirror.example.com/a?x=1", (("X-Role", "buyer"),), b"body")]


async def test_208_a_request_without_a_body_is_copied_at_once() -> None:
    desk = answering()
    mirror = Mirror(MirrorSpecification(TARGET), desk)
    request = Asked("/")
    mirror.request(request)
    mirror.request_body(request, b"")
    await finish(desk)
    assert desk.fetched == [("GET", "https://mirror.example.com/", (), b"")]


async def test_208_without_bodies_and_with_a_host() -> None:
    desk = answering()
    MirrorHead(MirrorSpecification(TARGET, "other.example.com"), desk).request(
        Asked(method="POST", headers=FIELDS, content_length=4)
    )
    await finish(desk)
    assert desk.fetched == [
        ("POST", "https://mirror.example.com/", (("X-Role", "buyer"), ("Host", "other.example.com")), b"")
    ]


async def test_only_so_many_copies_are_under_way() -> None:
    desk = Desk()  # every sub-request fails
    mirror = MirrorHead(MirrorSpecification(TARGET), desk)
    for _ in range(MOST_UNDER_WAY + 10):
        mirror.request(Asked())
    assert len(desk.spawned) == MOST_UNDER_WAY
    await finish(desk)
    mirror.request(Asked())
    assert len(desk.spawned) == 1
    await finish(desk)


@pytest.mark.parametrize("target", ["http://$arg_nobody/", "http:///x"])
def test_a_copy_without_an_address_is_left_out(target: str) -> None:
    desk = Desk()
    MirrorHead(MirrorSpecification(target), desk).request(Asked())
    assert not desk.spawned
