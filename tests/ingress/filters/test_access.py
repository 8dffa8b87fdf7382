"""Lists, basic and external authentication together."""

import base64
import itertools

import pytest

from ingress.filters.access import Access, AccessSpecification
from ingress.filters.api import Answer, Reply
from ingress.filters.basic import BasicSpecification
from ingress.filters.external import ExternalSpecification
from tests.ingress.filters.asked import Answered, Asked, Desk

BASIC = BasicSpecification("r", (("ada", "{PLAIN}secret"),))
GOOD = ("Authorization", "Basic " + base64.b64encode(b"ada:secret").decode())


def access(some: bool, listed: bool | None, basic: bool, external: int) -> Access:
    """listed: whether the client is on the list; external: what the service answers, 0: there is none."""
    specification = AccessSpecification(
        allow=() if listed is None else ("192.0.2.0/24",) if listed else ("10.0.0.0/8",),
        basic=BASIC if basic else None,
        external=ExternalSpecification("http://auth/", response_fields=("X-User",)) if external else None,
        any=some,
    )
    answer = Answer(external, (("X-User", "ada"), ("WWW-Authenticate", "Bearer")), b"")
    return Access(specification, Desk(answer=lambda *_: answer))


async def told(found: Access, request: Asked) -> Reply | None:
    reply = found.request(request)
    return reply if reply is None or isinstance(reply, Reply) else await reply


@pytest.mark.parametrize("some", [False, True], ids=["all", "any"])
@pytest.mark.parametrize(
    ("listed", "basic", "right", "external"),
    [
        each
        for each in itertools.product((None, False, True), (False, True), (False, True), (0, 200, 401, 403, 500))
        if each[1] or not each[2]
    ],
)
async def test_every_combination(some: bool, listed: bool | None, basic: bool, right: bool, external: int) -> None:
    """As nginx: each part says 200, 401 or 403; all must say 200, or any."""
    parts = [] if listed is None else [200 if listed else 403]
    parts += [200 if right else 401] if basic else []
    parts += [external] if external else []
    if not some:
        wanted = next((each for each in parts if each != 200), 200)
    else:
        said = list(itertools.takewhile(lambda each: each != 200, parts))
        if 500 in said:
            wanted = 500
        elif len(said) < len(parts) or not parts:
            wanted = 200
        else:
            wanted = 401 if 401 in said else 403
    sent = (GOOD, ("X-User", "root")) if right else (("X-User", "root"),)
    request = Asked(headers=sent)
    reply = await told(access(some, listed, basic, external), request)
    assert (reply.status if reply else 200) == wanted
    if wanted == 200 and (basic or external):
        assert request.field("Authorization") is None
        asked = external == 200 and (not some or not (listed or right))
        assert request.field("X-User") == ("ada" if asked else None if external else "root")


async def test_two_challenges_are_both_told() -> None:
    reply = await told(access(True, None, True, 401), Asked())
    assert reply is not None
    assert [value for _, value in reply.fields] == ['Basic realm="r"', "Bearer"]


async def test_a_client_whose_address_is_none_does_not_pass() -> None:
    assert await told(access(False, True, False, 0), Asked(client="unix:")) == Reply(403)
    deny = Access(AccessSpecification(deny=("10.0.0.0/8",)), Desk())
    assert await told(deny, Asked(client="unix:")) == Reply(403)


async def test_open_paths_ask_for_the_address_only() -> None:
    found = Access(AccessSpecification(allow=("192.0.2.0/24",), basic=BASIC, open_paths=("/open",)), Desk())
    assert await told(found, Asked(rule_path="/open/x")) is None
    assert (await told(found, Asked(rule_path="/", target="/open/x")) or Reply(200)).status == 401
    assert await told(found, Asked(rule_path="/open", client="198.51.100.1")) == Reply(403)


async def test_cookies_of_the_service_are_told_once_and_not_with_errors() -> None:
    specification = AccessSpecification(external=ExternalSpecification("http://auth/"))
    found = Access(specification, Desk(answer=lambda *_: Answer(200, (("Set-Cookie", "a=1"),), b"")))
    for status, wanted in ((200, (("Set-Cookie", "a=1"),)), (302, (("Set-Cookie", "a=1"),)), (500, ()), (404, ())):
        request = Asked()
        assert await told(found, request) is None
        found.response(request, Answered(status=status))
        assert request.told() == wanted
