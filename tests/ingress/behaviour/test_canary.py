"""Canaries, by their numbers in the inventory of behaviours."""

from collections import Counter
from collections.abc import Mapping

import pytest

from lb.cluster.objects import Ingress
from tests.ingress.site import Site, annotated, fixture_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAIN = ("/", "Prefix", "main")
NEW = ("/", "Prefix", "new")
HEADER = {"canary-by-header": "X-Beta"}
VALUE = HEADER | {"canary-by-header-value": "DoCanary"}
PATTERN = HEADER | {"canary-by-header-pattern": "^Do[A-Z][a-z]+y$"}
ALL = {"canary": "true", "canary-weight": "100"}
SESSION = {"affinity": "cookie", "session-cookie-name": "S"}


def pair(host: str, canary: Mapping[str, str], main: Mapping[str, str] | None = None) -> list[Ingress]:
    return [
        annotated(host, main, MAIN, created="2020"),
        annotated(host, {"canary": "true"} | canary, NEW, name=f"{host}-canary", created="2021"),
    ]


def first(host: str, canary: Mapping[str, str]) -> list[Ingress]:
    """The canary is older."""
    return [
        annotated(host, {"canary": "true"} | canary, NEW, name=f"{host}-canary", created="2019"),
        annotated(host, None, MAIN, created="2020"),
    ]


site = fixture_of(
    annotated("plain.example", None, MAIN),
    annotated("alone.example", {"canary": "true"} | HEADER, NEW),
    *first("first.example", HEADER),
    *pair("header.example", HEADER),
    *pair("value.example", VALUE),
    *pair("pattern.example", PATTERN),
    *pair("both.example", VALUE | PATTERN),
    *pair("broken.example", HEADER | {"canary-by-header-pattern": "[[", "canary-by-cookie": "beta"}),
    *pair("mismatch.example", VALUE | {"canary-by-cookie": "beta"}),
    *pair("cookie.example", {"canary-by-cookie": "beta"}),
    *pair("all.example", HEADER | {"canary-by-cookie": "beta", "canary-weight": "100"}),
    *pair("none.example", {"canary-weight": "0"}),
    *pair("thousand.example", {"canary-weight": "1000", "canary-weight-total": "1000"}),
    *pair("half.example", {"canary-weight": "50"}),
    *pair("share.example", {"canary-weight": "100", "canary-weight-total": "200"}),
    *pair("small.example", {"canary-weight": "50", "canary-weight-total": "50"}),
    annotated("path.example", None, ("/a", "Prefix", "main"), ("/b", "Exact", "main")),
    annotated(
        "path.example",
        {"canary": "true", "canary-weight": "100"},
        ("/a", "Exact", "new"),
        ("/b", "Exact", "new"),
        ("/c", "Prefix", "new"),
        name="path-canary",
    ),
    *pair("twice.example", {"canary-weight": "100"}),
    annotated("twice.example", ALL, ("/", "Prefix", "late"), created="2022", name="late"),
    annotated("own.example", None, MAIN),
    annotated("own.example", ALL, MAIN, name="own"),
    *pair("other.example", {"canary-weight": "100", "permanent-redirect": "http://x.example"}),
    *pair("sticky.example", HEADER | {"canary-weight": "1"}, SESSION),
    *pair("legacy.example", HEADER | {"canary-weight": "50", "affinity-canary-behavior": "legacy"}, SESSION),
    *pair("empty.example", {"canary-weight": "100"}),
    *[
        annotated("gone.example", None, MAIN),
        annotated("gone.example", ALL, ("/", "Prefix", "gone"), name="gone"),
    ],
    sizes={"gone": 0},
)  # fmt: skip


async def asked(site: Site, host: str, *fields: tuple[str, str], path: str = "/") -> str | int:
    """Which Service has answered, or the status."""
    answer = await site.get(host, path, fields=fields)
    return answer.service if answer.status == 200 else answer.status


async def split(site: Site, host: str, times: int, *fields: tuple[str, str]) -> Counter[str | int]:
    return Counter([await asked(site, host, *fields) for _ in range(times)])


ALWAYS, NEVER = ("x-beta", "always"), ("x-beta", "never")


@pytest.mark.parametrize(
    ("host", "fields", "wanted"),
    [
        pytest.param("plain.example", [], "main", id="1"),
        pytest.param("alone.example", [], 404, id="2"),
        pytest.param("alone.example", [ALWAYS], 404, id="2-always"),
        pytest.param("header.example", [], "main", id="3-after"),
        pytest.param("first.example", [], "main", id="3-before"),
        pytest.param("first.example", [ALWAYS], "new", id="3-before-with"),
        pytest.param("header.example", [ALWAYS], "new", id="4"),
        pytest.param("header.example", [NEVER], "main", id="5"),
        pytest.param("header.example", [("x-beta", "badheadervalue")], "main", id="6"),
        pytest.param("value.example", [("x-beta", "DoCanary")], "new", id="7"),
        pytest.param("value.example", [ALWAYS], "main", id="8-always"),
        pytest.param("value.example", [NEVER], "main", id="8-never"),
        pytest.param("value.example", [("x-beta", "badheadervalue")], "main", id="8-bad"),
        pytest.param("pattern.example", [("x-beta", "DoCanary")], "new", id="9"),
        pytest.param("pattern.example", [("x-beta", "DoFerry")], "new", id="9-other"),
        pytest.param("pattern.example", [("x-beta", "Docanary")], "main", id="10"),
        pytest.param("both.example", [("x-beta", "DoFerry")], "main", id="11"),
        pytest.param("both.example", [("x-beta", "DoCanary")], "new", id="11-exact"),
        pytest.param("broken.example", [("x-beta", "DoCanary"), ("cookie", "beta=always")], "main", id="12"),
        pytest.param("mismatch.example", [("x-beta", "no"), ("cookie", "beta=always")], "new", id="13"),
        pytest.param("cookie.example", [("cookie", "a=1; beta=always")], "new", id="14"),
        pytest.param("cookie.example", [("cookie", "beta=bad")], "main", id="16"),
        pytest.param("all.example", [NEVER, ("cookie", "beta=always")], "main", id="17"),
        pytest.param("all.example", [("cookie", "beta=never")], "main", id="18"),
    ],
)
async def test_1_to_18_who_decides(site: Site, host: str, fields: list[tuple[str, str]], wanted: str | int) -> None:
    assert await asked(site, host, *fields) == wanted


@pytest.mark.parametrize(
    ("host", "fields", "wanted"),
    [
        pytest.param("cookie.example", [("cookie", "beta=never")], "main", id="15"),
        pytest.param("none.example", [], "main", id="19"),
        pytest.param("all.example", [], "new", id="20"),
        pytest.param("thousand.example", [], "new", id="21"),
        pytest.param("gone.example", [], "main", id="30"),
    ],
)
async def test_15_to_30_every_time(site: Site, host: str, fields: list[tuple[str, str]], wanted: str) -> None:
    assert await split(site, host, 50, *fields) == {wanted: 50}


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("half.example", id="22"),
        pytest.param("share.example", id="23"),
        pytest.param("small.example", id="24"),
    ],
)
async def test_22_half_of_them(site: Site, host: str) -> None:
    found = await split(site, host, 200)
    assert min(found["main"], found["new"]) >= 60  # 5.6 sigma; 40 % would fail once in 200 runs


@pytest.mark.parametrize(
    ("path", "wanted"),
    [("/a", "main"), ("/b", "new"), ("/c", 404)],
    ids=["26-another-type", "26-the-same", "26-no-main"],
)
async def test_26_only_the_same_path_and_type(site: Site, path: str, wanted: str | int) -> None:
    assert await asked(site, "path.example", path=path) == wanted


async def test_25_a_canary_is_no_host(site: Site) -> None:
    assert await asked(site, "nobody.example", ALWAYS) == 404


async def test_27_only_the_first_canary_counts(site: Site) -> None:
    assert await split(site, "twice.example", 10) == {"new": 10}


async def test_27_a_canary_of_the_main_s_own_backend_is_ignored(site: Site) -> None:
    assert await split(site, "own.example", 10) == {"main": 10}
    assert "Ingress shop/own:" in site.served.log


async def test_28_other_annotations_of_a_canary_do_not_count(site: Site) -> None:
    assert await asked(site, "other.example") == "new"


async def test_29_a_canary_changes_live(site: Site) -> None:
    def change(header: str, main: Mapping[str, str] | None = None) -> None:
        site.folder.write("live", pair("live.example", {"canary-by-header": header}, main))

    async def answers(header: str, wanted: str) -> bool:
        return await asked(site, "live.example", (header, "always")) == wanted

    change("X-One")
    await site.becomes(lambda: answers("X-One", "new"), True)
    change("X-Two")
    await site.becomes(lambda: answers("X-Two", "new"), True)
    assert await answers("X-One", "main")
    change("X-Two", {"proxy-body-size": "3m"})
    await site.becomes(lambda: answers("X-Two", "new"), True)


def cookie_of(value: str) -> tuple[str, str]:
    return "cookie", value.partition(";")[0]


async def test_31_a_session_of_the_canary_stays_there(site: Site) -> None:
    answer = await site.get("sticky.example", fields=[ALWAYS])
    assert answer.service == "new"
    assert await split(site, "sticky.example", 50, cookie_of(answer.fields["set-cookie"])) == {"new": 50}


async def test_32_and_does_not_of_old(site: Site) -> None:
    answer = await site.get("legacy.example", fields=[ALWAYS])
    assert answer.service == "new"
    assert "set-cookie" not in answer.fields
    found = await split(site, "legacy.example", 200)
    assert min(found["main"], found["new"]) >= 60


@pytest.mark.parametrize("host", ["sticky.example", "legacy.example"])
async def test_33_a_session_of_the_main_stays_there(site: Site, host: str) -> None:
    answer = await site.get(host, fields=[NEVER])
    assert answer.service == "main"
    session = cookie_of(answer.fields["set-cookie"])
    assert await split(site, host, 30, session) == {"main": 30}
    assert await asked(site, host, session, ALWAYS) == "main"
