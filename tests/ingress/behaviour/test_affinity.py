"""Sessions, by their numbers in the inventory of behaviours."""

import re
import socket
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from ingress.filters.sessions import backend_mark, endpoint_mark
from tests.ingress.peers import Answer
from tests.ingress.site import Site, annotated, fixture_of, several

pytestmark = pytest.mark.asyncio(loop_scope="module")

SESSION = {"affinity": "cookie"}
PERSISTENT = SESSION | {"affinity-mode": "persistent"}
CHANGE = {"session-cookie-change-on-failure": "true"}
STAY = {"proxy-next-upstream": "error timeout http_503"}

CART = ("/", "Prefix", "cart")
HALF = ("/", "Prefix", "half")

site = fixture_of(
    annotated("plain.example", None, CART),
    annotated("default.example", SESSION, CART),
    annotated("name.example", SESSION | {"session-cookie-name": "SERVERID"}, CART),
    annotated("path.example", SESSION, ("/something", "Prefix", "cart"), ("/else", "Exact", "cart")),
    annotated("time.example", SESSION | {"session-cookie-expires": "172800", "session-cookie-max-age": "259200"}, CART),
    annotated("no-time.example", SESSION | {"session-cookie-expires": "1.5d", "session-cookie-max-age": "soon"}, CART),
    annotated("domain.example", SESSION | {"session-cookie-domain": "foo.bar"}, CART),
    annotated(
        "regex.example",
        SESSION | {"use-regex": "true", "session-cookie-path": "/foo/bar"},
        ("/foo/bar", "ImplementationSpecific", "cart"),
    ),
    annotated("warning.example", SESSION | {"use-regex": "true"}, ("/foo/.*", "ImplementationSpecific", "cart")),
    annotated("both.example", SESSION, ("/with", "Prefix", "cart")),
    annotated("both.example", None, ("/without", "Prefix", "cart"), name="without"),
    annotated("alias.example", SESSION | {"server-alias": "other.example"}, CART),
    annotated("", SESSION, CART, name="every"),
    annotated("secure.example", SESSION | {"session-cookie-secure": "true"}, CART),
    annotated("insecure.example", SESSION | {"session-cookie-secure": "false"}, CART),
    annotated("strict.example", SESSION | {"session-cookie-samesite": "Strict"}, CART),
    annotated(
        "none.example",
        SESSION | {"session-cookie-samesite": "None", "session-cookie-conditional-samesite-none": "true"},
        CART,
    ),
    annotated("persistent.example", PERSISTENT, CART),
    annotated("other-service.example", SESSION, ("/", "Prefix", "other")),
    annotated("growing.example", PERSISTENT, ("/", "Prefix", "growing")),
    annotated("moving.example", SESSION, ("/", "Prefix", "moving")),
    annotated("fading.example", PERSISTENT, ("/", "Prefix", "fading")),
    annotated("change.example", PERSISTENT | CHANGE, HALF),
    annotated("change-balanced.example", SESSION | CHANGE, HALF),
    annotated("keep.example", PERSISTENT, HALF),
    annotated("stay.example", PERSISTENT | STAY, CART),
    annotated("stay-balanced.example", SESSION | STAY, CART),
    sizes={"cart": 5, "growing": 10, "moving": 10, "fading": 3, "half": 1},
    https=True,
)


def cookie_of(answer: Answer) -> str:
    return answer.fields["set-cookie"].partition(";")[0]


def attributes(answer: Answer) -> str:
    """Of the cookie, without its name and value."""
    return answer.fields["set-cookie"].partition("; ")[2]


@pytest.mark.parametrize(
    ("host", "path", "wanted"),
    [
        pytest.param("name.example", "/", r"SERVERID=[0-9a-f]+\|[0-9a-f]+; Path=/; HttpOnly", id="34"),
        pytest.param("default.example", "/", r"INGRESSCOOKIE=[0-9a-f]+\|[0-9a-f]+; Path=/; HttpOnly", id="36"),
        pytest.param("path.example", "/something/x", r".*; Path=/something; HttpOnly", id="37"),
        pytest.param("path.example", "/else", r".*; Path=/else; HttpOnly", id="38"),
        pytest.param("domain.example", "/", r".*; Domain=foo.bar; Path=/; HttpOnly", id="40"),
        pytest.param("path.example", "/something", r"[^;]*; Path=/something; HttpOnly", id="41"),
        pytest.param("regex.example", "/foo/bar", r".*; Path=/foo/bar; HttpOnly", id="42"),
        pytest.param("both.example", "/with", r".*; Path=/with; HttpOnly", id="44"),
        pytest.param("nobody.example", "/", r".*; Path=/; HttpOnly", id="45-no-host"),
        pytest.param("alias.example", "/", r".*; Path=/; HttpOnly", id="45"),
        pytest.param("other.example", "/", r".*; Path=/; HttpOnly", id="45-alias"),
        pytest.param("secure.example", "/", r".*; Path=/; Secure; HttpOnly", id="46"),
        pytest.param("insecure.example", "/", r".*; Path=/; HttpOnly", id="47"),
        pytest.param("strict.example", "/", r".*; Path=/; HttpOnly; SameSite=Strict", id="49"),
        pytest.param("none.example", "/", r".*; Path=/; HttpOnly; SameSite=None", id="50-able"),
    ],
)
async def test_34_to_50_the_cookie(site: Site, host: str, path: str, wanted: str) -> None:
    assert re.fullmatch(wanted, (await site.get(host, path)).fields["set-cookie"])


async def test_35_a_new_name_counts_live(site: Site) -> None:
    async def named(name: str) -> bool:
        site.folder.write("live", [annotated("live.example", SESSION | {"session-cookie-name": name}, CART)])
        answer = await site.get("live.example")
        return answer.fields.get("set-cookie", "").startswith(f"{name}=")

    await site.becomes(lambda: named("ONE"), True)
    await site.becomes(lambda: named("OTHER"), True)


async def test_39_times_that_are_none_leave_a_cookie_for_the_session(site: Site) -> None:
    assert attributes(await site.get("no-time.example")) == "Path=/; HttpOnly"
    assert site.served.log.count("is not a whole number of seconds") == 2


async def test_39_expires_and_max_age(site: Site) -> None:
    found = re.fullmatch(
        r"Expires=(\w{3}, \d\d-\w{3}-\d\d \d\d:\d\d:\d\d GMT); Max-Age=259200; Path=/; HttpOnly",
        attributes(await site.get("time.example")),
    )
    assert found is not None
    until = datetime.strptime(found[1], "%a, %d-%b-%y %H:%M:%S GMT").replace(tzinfo=UTC)
    assert abs(until - datetime.now(UTC) - timedelta(days=2)) < timedelta(seconds=20)


@pytest.mark.parametrize(
    ("host", "path"), [pytest.param("plain.example", "/", id="1"), pytest.param("both.example", "/without", id="44")]
)
async def test_44_no_cookie(site: Site, host: str, path: str) -> None:
    assert "set-cookie" not in (await site.get(host, path)).fields


@pytest.mark.parametrize("host", ["default.example", "insecure.example"], ids=["48-unset", "48-false"])
async def test_48_with_tls_it_is_secure(site: Site, host: str) -> None:
    assert attributes(await site.get(host, secure=True)) == "Path=/; Secure; HttpOnly"


@pytest.mark.parametrize("agent", ["Mozilla/5.0 Chrome/51.0", "Mozilla/5.0 (iPhone; CPU iPhone OS 12_0)"])
async def test_50_none_is_left_out_for_old_browsers(site: Site, agent: str) -> None:
    assert attributes(await site.get("none.example", fields=[("user-agent", agent)])) == "Path=/; HttpOnly"


async def test_43_patterns_without_a_path_are_reported(site: Site) -> None:
    assert "session-cookie-path" in site.served.log


@pytest.mark.parametrize("host", ["default.example", "persistent.example"])
async def test_51_a_session_goes_on(site: Site, host: str) -> None:
    answer = await site.get(host)
    for _ in range(10):
        again = await site.get(host, fields=[("cookie", f"a=b; {cookie_of(answer)}; c=d")])
        assert again.service == answer.service
        assert "set-cookie" not in again.fields


async def test_51_a_cookie_of_another_backend_pins_nobody(site: Site) -> None:
    other = cookie_of(await site.get("other-service.example"))
    assert "set-cookie" in (await site.get("default.example", fields=[("cookie", other)])).fields


@pytest.mark.parametrize("host", ["default.example", "persistent.example"])
async def test_sessions_are_spread(site: Site, host: str) -> None:
    found = Counter([(await site.get(host)).service for _ in range(100)])
    assert len(found) == 5


def size(site: Site, name: str, n: int, first: int = 0) -> None:
    site.folder.write(
        f"service-{name}", several(name, *(site.endpoints[f"{name}-{i}"].address for i in range(first, n)))
    )


async def sessions(site: Site, host: str, n: int) -> dict[str, str]:
    """Cookie -> who answers."""
    answers = [await site.get(host) for _ in range(n)]
    return {cookie_of(each): each.service for each in answers}


async def now(site: Site, host: str, cookies: dict[str, str]) -> dict[str, str]:
    return {each: (await site.get(host, fields=[("cookie", each)])).service for each in cookies}


async def until_spread(site: Site, host: str, n: int) -> None:
    seen: set[str] = set()

    async def enough() -> bool:
        seen.add((await site.get(host)).service)
        return len(seen) >= n

    await site.becomes(enough, True)


async def until_only_one(site: Site, name: str) -> None:
    size(site, name, 1)

    async def only_one() -> bool:
        return set((await sessions(site, f"{name}.example", 10)).values()) == {f"{name}-0"}

    await site.becomes(only_one, True)


async def test_52_few_balanced_sessions_move(site: Site) -> None:
    size(site, "moving", 5)

    async def only_five() -> bool:
        services = (await sessions(site, "moving.example", 30)).values()
        return all(int(each[7:]) < 5 for each in services)

    await site.becomes(only_five, True)
    before = await sessions(site, "moving.example", 120)
    size(site, "moving", 6)
    await until_spread(site, "moving.example", 6)
    after = await now(site, "moving.example", before)
    moved = [each for each in before if after[each] != before[each]]
    assert {after[each] for each in moved} <= {"moving-5"}
    assert 2 <= len(moved) <= 50  # a sixth is 20


async def test_53_persistent_sessions_stay(site: Site) -> None:
    await until_only_one(site, "growing")
    before = await sessions(site, "growing.example", 5)
    for n in (2, 5, 10):
        size(site, "growing", n)
        await until_spread(site, "growing.example", n)
        assert await now(site, "growing.example", before) == before


async def test_54_gone_and_back(site: Site) -> None:
    async def answers(status: int) -> bool:
        return (await site.get("fading.example")).status == status

    await until_only_one(site, "fading")
    (cookie,) = await sessions(site, "fading.example", 1)
    size(site, "fading", 0)
    await site.becomes(lambda: answers(503), True)
    size(site, "fading", 3, first=1)
    await site.becomes(lambda: answers(200), True)
    answer = await site.get("fading.example", fields=[("cookie", cookie)])
    assert answer.service in ("fading-1", "fading-2")
    again = await site.get("fading.example", fields=[("cookie", cookie_of(answer))])
    assert (again.service, "set-cookie" in again.fields) == (answer.service, False)


@pytest.mark.parametrize("host", ["stay.example", "stay-balanced.example"])
async def test_55_a_failing_session_stays(site: Site, host: str) -> None:
    answer = await site.get(host)
    served = site.endpoints[answer.service]
    before = served.requests
    refused = await site.get(host, fields=[("cookie", cookie_of(answer)), ("tell-status", "503")])
    assert refused.status == 503
    assert served.requests == before + 3
    assert "set-cookie" not in refused.fields
    assert (await site.get(host, fields=[("cookie", cookie_of(answer))])).service == answer.service


@pytest.fixture
def dead() -> Iterator[str]:
    """An address that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


async def half_dead(site: Site, dead: str) -> None:
    """One endpoint of the two answers. The other one is known once a session there fails."""
    site.folder.write("service-half", several("half", site.endpoints["half-0"].address, dead))

    async def seen() -> bool:
        return (await site.get("keep.example", fields=[("cookie", named(dead))])).status == 502

    await site.becomes(seen, True)


def named(endpoint: str) -> str:
    return f"INGRESSCOOKIE={endpoint_mark(endpoint, 'shop/half:80')}|{backend_mark('shop/half:80')}"


async def test_55_a_failed_session_moves_if_it_may(site: Site, dead: str) -> None:
    await half_dead(site, dead)
    answer = await site.get("change.example", fields=[("cookie", named(dead))])
    assert (answer.service, cookie_of(answer)) == ("half-0", named(site.endpoints["half-0"].address))


async def test_55_and_else_it_does_not(site: Site, dead: str) -> None:
    await half_dead(site, dead)
    for _ in range(10):  # also when it has failed again and again
        answer = await site.get("keep.example", fields=[("cookie", named(dead))])
        assert (answer.status, "set-cookie" in answer.fields) == (502, False)


async def test_55_a_balanced_session_that_fails_moves_for_good(site: Site, dead: str) -> None:
    await half_dead(site, dead)
    for _ in range(20):
        answer = await site.get("change-balanced.example")
        assert answer.service == "half-0"
        again = await site.get("change-balanced.example", fields=[("cookie", cookie_of(answer))])
        assert (again.service, "set-cookie" in again.fields) == ("half-0", False)
