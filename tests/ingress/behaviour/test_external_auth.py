"""External authentication, by its numbers in the inventory of behaviours."""

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from lb.cluster.objects import Metadata, Object, Secret
from tests.ingress.behaviour.judge import Asked, Judge, judging
from tests.ingress.peers import Answer
from tests.ingress.site import CONFIGURED, CONTROLLER, Site, annotated, config_map, site_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
ADA = ("Authorization", "Basic " + base64.b64encode(b"ada:secret").decode())
SIGNIN = {"auth-signin": "http://$host/auth/start"}
OPEN = "/.well-known/acme-challenge"


def objects(judge: Judge) -> list[Object]:
    def asking(answer: str, **more: str) -> dict[str, str]:
        return {"auth-url": judge.url(answer), **{key.replace("_", "-"): value for key, value in more.items()}}

    users = Secret(
        metadata=Metadata(name="users", namespace="shop"),
        data={"auth": base64.b64encode(f"ada:{SHA}".encode()).decode()},
    )
    basic = {"auth-type": "basic", "auth-secret": "users"}
    either = {**basic, "satisfy": "any", "allowlist-source-range": "10.0.0.0/8"}
    passing = asking("200?X-User=ada&X-Group=a&X-Group=b&X-Other=no", auth_response_headers="X-User, X-Group, X-None")
    return [
        users,
        config_map("shop", "more", {"X-Shop": "$host", "X-Sent-By": "us", "Cookie": "only=ours"}),
        annotated("pass.example", asking("200"), ("/", "Prefix"), (OPEN, "Prefix")),
        annotated("204.example", asking("204")),
        *(annotated(f"{each}.example", asking(f"{each}?WWW-Authenticate=Bearer")) for each in (401, 403)),
        *(annotated(f"{each}.example", asking(str(each))) for each in (302, 304, 400, 404, 500, 503)),
        annotated("nobody.example", {"auth-url": "http://127.0.0.1:1/"}),
        annotated("noname.example", {"auth-url": "http://nowhere.invalid/"}),
        annotated("signin.example", asking("401", **SIGNIN)),
        annotated("orig.example", asking("401", auth_signin_redirect_param="orig", **SIGNIN)),
        annotated("no-signin.example", asking("401", auth_signin="not a URL")),
        annotated("query.example", asking("401", auth_signin="https://login.example/?a=b")),
        annotated("given.example", asking("401", auth_signin="https://login.example/?rd=$escaped_request_uri")),
        annotated("stays.example", asking("403", **SIGNIN)),
        annotated("fields.example", passing),
        annotated("cookie.example", asking("200?Set-Cookie=a%3D1&Set-Cookie=b%3D2")),
        annotated("always.example", asking("200?Set-Cookie=a%3D1", auth_always_set_cookie="true")),
        annotated("401-cookie.example", asking("401?Set-Cookie=a%3D1", **SIGNIN)),
        annotated("invalid.example", {"auth-url": "https://invalid..auth.url"}),
        annotated("post.example", asking("200", auth_method="POST", auth_request_redirect="https://$host/back")),
        annotated("more.example", asking("200", auth_proxy_set_headers="shop/more")),
        annotated("variable.example", {"auth-url": f"http://127.0.0.1:{judge.port}/$http_x_status?u=$remote_addr"}),
        annotated("either.example", {**asking("401", **SIGNIN), **either}),
        annotated("either-service.example", {**passing, **either}),
        annotated("both.example", {**passing, **basic}),
        annotated("cors.example", {**asking("401"), "enable-cors": "true"}),
    ]


@dataclass
class Trial:
    site: Site
    judge: Judge

    async def get(self, host: str, path: str = "/", **how: Any) -> Answer:
        return await self.site.get(host, path, **how)

    async def asked(self, host: str, path: str = "/", *, status: int = 200, **how: Any) -> Asked:
        """What the service was asked because of a request."""
        before = len(self.judge.asked)
        assert (await self.site.get(host, path, **how)).status == status
        assert len(self.judge.asked) == before + 1
        return self.judge.asked[-1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trial(tmp_path_factory: Any) -> AsyncIterator[Trial]:
    path: Path = tmp_path_factory.mktemp("site")
    flags = ["--use-forwarded-headers", "--trusted-proxies", "127.0.0.1/32"]
    async with judging() as judge, site_of(path, *objects(judge), flags=flags) as site:
        yield Trial(site, judge)


async def test_114_who_may_pass(trial: Trial) -> None:
    assert (await trial.get("pass.example")).status == 200
    assert (await trial.get("204.example", "/x", method="POST", body=b"octets")).echo["body_octets"] == 6


@pytest.mark.parametrize("status", [401, 403])
async def test_115_who_may_not(trial: Trial, status: int) -> None:
    before = trial.site.endpoints["echo"].requests
    answer = await trial.get(f"{status}.example", method="POST", body=b"octets")
    assert answer.status == status
    assert answer.fields.get("www-authenticate") == ("Bearer" if status == 401 else None)
    assert b"page" not in answer.body, "the service's page is not the client's"
    assert trial.site.endpoints["echo"].requests == before


@pytest.mark.parametrize("host", [*(f"{each}.example" for each in (302, 304, 400, 404, 500, 503)), "nobody.example"])
async def test_116_anything_else(trial: Trial, host: str) -> None:
    before = trial.site.endpoints["echo"].requests
    assert (await trial.get(host)).status == 500
    assert trial.site.endpoints["echo"].requests == before


async def test_116_a_name_that_means_nothing(trial: Trial) -> None:
    assert (await trial.get("noname.example")).status == 500


@pytest.mark.parametrize(
    ("host", "path", "wanted"),
    [
        pytest.param(
            "signin.example",
            "/?a=b&c=d",
            "http://signin.example/auth/start?rd=http://signin.example%2F%3Fa%3Db%26c%3Dd",
            id="117",
        ),
        pytest.param(
            "signin.example:8080",
            "/a%20b",
            "http://signin.example/auth/start?rd=http://signin.example:8080%2Fa%2520b",
            id="117-port",
        ),
        pytest.param("orig.example", "/x", "http://orig.example/auth/start?orig=http://orig.example%2Fx", id="118"),
        pytest.param("query.example", "/x", "https://login.example/?a=b&rd=http://query.example%2Fx", id="119"),
        pytest.param("given.example", "/x?y", "https://login.example/?rd=%2Fx%3Fy", id="119-given"),
    ],
)
async def test_117_sent_to_sign_in(trial: Trial, host: str, path: str, wanted: str) -> None:
    assert await trial.site.location(host, path) == (302, wanted)


async def test_117_a_sign_in_that_is_no_url_is_not_offered(trial: Trial) -> None:
    assert await trial.site.location("no-signin.example") == (401, "")
    assert '"not a URL" is neither a URL nor a path' in trial.site.served.log


async def test_120_403_stays(trial: Trial) -> None:
    assert await trial.site.location("stays.example") == (403, "")


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("X-User", "root"), ("x-group", "wheel"), ("X-NONE", "all")],
        [("X_User", "root"), ("X_group", "wheel"), ("X-None", ""), ("X_None", "1")],
        [("X-User", "root"), ("X-User", "toor"), ("Connection", "X-User, X-Group")],
    ],
)
async def test_121_fields_of_the_answer(trial: Trial, fields: list[tuple[str, str]]) -> None:
    got = (await trial.get("fields.example", fields=fields)).echo["headers"]
    found = {name.lower().replace("_", "-"): value for name, value in got.items()}
    assert (found["x-user"], found["x-group"]) == ("ada", "a, b")
    assert not {"x-none", "x-other"} & set(found)


@pytest.mark.parametrize(
    ("host", "status", "cookies"),
    [
        pytest.param("cookie.example", "200", ["a=1", "b=2"], id="122"),
        pytest.param("cookie.example", "302", ["a=1", "b=2"], id="122-redirect"),
        pytest.param("cookie.example", "503", [], id="123"),
        pytest.param("cookie.example", "404", [], id="123-other"),
        pytest.param("always.example", "503", ["a=1"], id="124"),
        pytest.param("always.example", "200", ["a=1"], id="124-good"),
    ],
)
async def test_122_cookies(trial: Trial, host: str, status: str, cookies: list[str]) -> None:
    answer = await trial.get(host, fields=[("tell-status", status), ("tell-set-cookie", "own=1")])
    assert [value for name, value in answer.lines if name == "set-cookie"] == ["own=1", *cookies]


async def test_122_cookies_of_a_redirect_to_sign_in(trial: Trial) -> None:
    answer = await trial.get("401-cookie.example")
    assert (answer.status, answer.fields["set-cookie"]) == (302, "a=1")


async def test_128_an_address_that_makes_no_sense(trial: Trial) -> None:
    assert (await trial.get("invalid.example")).status == 503


async def test_129_what_the_service_is_asked(trial: Trial) -> None:
    sent = [
        ("Cookie", "id=7"),
        ("Authorization", "Bearer x"),
        ("X-Mine", "1"),
        ("X-Mine", "2"),
        ("X-Request-ID", "0123456789abcdef0123456789abcdef"),
        ("X-Original-URL", "http://evil.example/"),
        ("X-Original-Method", "GET"),
        ("X-Sent-From", "evil"),
        ("X-Auth-Request-Redirect", "/evil"),
        ("X-Forwarded-For", "192.0.2.9"),
        ("X-Real-IP", "10.0.0.1"),
        ("X-Dropped", "1"),
        ("Connection", "X-Dropped"),
        ("Expect", "nothing"),
        ("Range", "bytes=1-2"),
        ("If-None-Match", '"x"'),
    ]
    asked = await trial.asked("pass.example:8080", "/a%20b?c=d", method="PUT", body=b"octets", fields=sent[:-4])
    assert (asked.method, asked.target, asked.body) == ("GET", "/200", b"")
    found = {name: asked.all(name) for name, _ in asked.fields}
    assert found["host"] == ["127.0.0.1"]
    assert found["x-original-url"] == ["http://pass.example:8080/a%20b?c=d"]
    assert found["x-original-method"] == ["PUT"]
    assert found["x-sent-from"] == ["nginx-ingress-controller"]
    assert found["x-real-ip"] == found["x-forwarded-for"] == ["192.0.2.9"]
    assert found["x-request-id"] == ["0123456789abcdef0123456789abcdef"]
    assert found["x-auth-request-redirect"] == ["/a%20b?c=d"]
    assert (found["cookie"], found["authorization"], found["x-mine"]) == (["id=7"], ["Bearer x"], ["1", "2"])
    assert found.get("content-length", [""]) in ([""], ["0"])
    assert not {"transfer-encoding", "expect", "x-forwarded-proto"} & set(found)
    asked = await trial.asked("pass.example", fields=sent[-5:])
    assert not {"x-dropped", "range", "if-none-match"} & {name for name, _ in asked.fields}


async def test_129_another_method(trial: Trial) -> None:
    asked = await trial.asked("post.example", "/x")
    assert (asked.method, asked.body) == ("POST", b"")
    assert asked.all("x-auth-request-redirect") == ["https://post.example/back"]


async def test_129_variables_in_the_address(trial: Trial) -> None:
    asked = await trial.asked("variable.example", fields=[("X-Status", "202")])
    assert asked.target == "/202?u=127.0.0.1"
    assert (await trial.get("variable.example", fields=[("X-Status", "403")])).status == 403
    assert (await trial.get("variable.example", fields=[("X-Status", "2 0 0")])).status == 500


async def test_130_more_fields(trial: Trial) -> None:
    asked = await trial.asked("more.example", fields=[("X-Shop", "evil"), ("Cookie", "id=7")])
    assert (asked.all("x-shop"), asked.all("x-sent-by")) == (["more.example"], ["us"])
    assert asked.all("cookie") == ["only=ours"]


@pytest.mark.parametrize(
    ("host", "fields", "wanted"),
    [
        ("either.example", [ADA], (200, "")),
        ("either.example", [("X-Forwarded-For", "10.0.0.1")], (200, "")),
        (
            "either.example",
            [("X-Forwarded-For", "11.0.0.1")],
            (302, "http://either.example/auth/start?rd=http://either.example%2F"),
        ),
        ("either-service.example", [("X-Forwarded-For", "11.0.0.1")], (200, "")),
        ("both.example", [], (401, "")),
        ("both.example", [ADA], (200, "")),
    ],
)
async def test_136_all_or_any(trial: Trial, host: str, fields: list[tuple[str, str]], wanted: tuple[int, str]) -> None:
    assert await trial.site.location(host, fields=fields) == wanted


async def test_136_who_passes_otherwise_does_not_speak_for_the_service(trial: Trial) -> None:
    sent = [ADA, ("X-User", "root")]
    got = (await trial.get("either-service.example", fields=sent)).echo["headers"]
    assert not {"x-user", "authorization"} & set(got)
    got = (await trial.get("both.example", fields=sent)).echo["headers"]
    assert got["x-user"] == "ada"
    assert "authorization" not in got
    assert trial.judge.asked[-1].all("authorization") == [ADA[1]]


async def test_132_open_paths(trial: Trial) -> None:
    before = len(trial.judge.asked)
    assert (await trial.get("pass.example", OPEN + "/x")).status == 200
    assert len(trial.judge.asked) == before


async def test_114_many_at_once_over_few_connections(trial: Trial) -> None:
    for _ in range(50):
        assert (await trial.get("pass.example")).status == 200
    assert len(trial.judge.writers) <= 5


# -- verdicts that are kept


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cached(tmp_path_factory: Any) -> AsyncIterator[Trial]:
    async with judging() as judge:
        key = {"auth-cache-key": "$http_authorization$cookie_id", "auth-cache-duration": "200 10m, 403 10m"}

        def asking(answer: str, **more: str) -> dict[str, str]:
            named = {name.replace("_", "-"): value for name, value in more.items()}
            return {"auth-url": judge.url(answer), **key, **named}

        fields = asking("200?X-User=ada", auth_response_headers="X-User,Authorization")
        found = [
            annotated("kept.example", fields, ("/", "Prefix"), ("/other", "Prefix")),
            annotated("other.example", fields),
            annotated("403.example", asking("403")),
            annotated("cookie.example", asking("200?Set-Cookie=a%3D1")),
            annotated("private.example", asking("200?Cache-Control=no-store")),
            annotated("short.example", asking("200", auth_cache_duration="200 1s")),
        ]
        async with site_of(tmp_path_factory.mktemp("cached"), *found) as site:
            yield Trial(site, judge)


async def test_125_126_127_a_verdict_is_kept_for_its_location(cached: Trial) -> None:
    assert (await cached.get("kept.example")).status == 200
    await cached.judge.stop()
    again = await cached.get("kept.example", "/below?x")
    assert (again.status, again.echo["headers"]["x-user"]) == (200, "ada"), "125"
    assert (await cached.get("kept.example", "/other")).status == 500, "126"
    assert (await cached.get("other.example")).status == 500, "127"
    await cached.judge.start()
    assert (await cached.get("kept.example", "/other")).status == 200


async def test_125_each_key_has_its_own(cached: Trial) -> None:
    for sent in ([ADA], [("Authorization", "Bearer x")], [("Cookie", "id=7")], [("Cookie", "id=8; x=y")]):
        await cached.asked("kept.example", fields=sent)
        before = len(cached.judge.asked)
        assert (await cached.get("kept.example", fields=sent)).status == 200
        assert len(cached.judge.asked) == before


async def test_125_also_of_who_may_not_pass(cached: Trial) -> None:
    await cached.asked("403.example", status=403)
    before = len(cached.judge.asked)
    assert (await cached.get("403.example")).status == 403
    assert len(cached.judge.asked) == before


@pytest.mark.parametrize("host", ["cookie.example", "private.example"])
async def test_125_what_must_not_be_kept(cached: Trial, host: str) -> None:
    for _ in range(2):
        await cached.asked(host)


async def test_125_not_for_ever(cached: Trial) -> None:
    await cached.asked("short.example")
    before = len(cached.judge.asked)

    async def asked_again() -> bool:
        return (await cached.get("short.example")).status == 200 and len(cached.judge.asked) > before

    await cached.site.becomes(asked_again, True)


# -- a service for everybody


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def everywhere(tmp_path_factory: Any) -> AsyncIterator[Trial]:
    async with judging() as judge:
        config = {
            "global-auth-url": judge.url("401?Set-Cookie=a%3D1"),
            "no-auth-locations": "/bar, /open",
            "global-auth-response-headers": "X-User",
        }
        found = [
            config_map(*CONTROLLER.split("/"), config),
            annotated("one.example", {}, ("/", "Prefix"), ("/bar", "Prefix"), ("/foo", "Exact")),
            annotated("two.example"),
            annotated("out.example", {"enable-global-auth": "false"}),
            annotated("own.example", {"auth-url": judge.url("200?X-Own=1"), "auth-response-headers": "X-Own"}),
        ]
        async with site_of(tmp_path_factory.mktemp("everywhere"), *found, flags=CONFIGURED) as site:
            yield Trial(site, judge)


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        pytest.param("one.example", "/", 401, id="131"),
        pytest.param("one.example", "/foo", 401, id="131-path"),
        pytest.param("two.example", "/", 401, id="131-host"),
        pytest.param("one.example", "/bar/x", 200, id="132"),
        pytest.param("two.example", "/bar", 401, id="132-by-the-path-of-the-rule"),
        pytest.param("out.example", "/", 200, id="133"),
        pytest.param("own.example", "/", 200, id="133-own"),
    ],
)
async def test_131_everywhere_but(everywhere: Trial, host: str, path: str, status: int) -> None:
    assert (await everywhere.get(host, path)).status == status


async def test_134_135_verdicts_and_cookies(everywhere: Trial) -> None:
    judge = everywhere.judge

    def configure(answer: str, **more: str) -> None:
        data = {"global-auth-url": judge.url(answer), **{name.replace("_", "-"): each for name, each in more.items()}}
        everywhere.site.configure(data)

    async def cookies(path: str = "/", status: str = "200") -> tuple[int, list[str]]:
        answer = await everywhere.get("one.example", path, fields=[("tell-status", status)])
        return answer.status, [value for name, value in answer.lines if name == "set-cookie"]

    configure("200?Set-Cookie=a%3D1")
    await everywhere.site.becomes(cookies, (200, ["a=1"]))
    assert await cookies(status="503") == (503, [])
    configure("200?Set-Cookie=a%3D1", global_auth_always_set_cookie="true")
    await everywhere.site.becomes(lambda: cookies(status="503"), (503, ["a=1"]))
    configure("200", global_auth_cache_key="$remote_addr")
    await everywhere.site.becomes(cookies, (200, []))
    await judge.stop()
    assert await cookies("/x") == (200, []), "134: the same location"
    assert await cookies("/foo") == (500, []), "134: another one"
    await judge.start()


async def test_131_what_is_wrong_closes(everywhere: Trial) -> None:
    async def statuses() -> list[int]:
        return [(await everywhere.get(host)).status for host in ("one.example", "out.example", "own.example")]

    everywhere.site.configure({"global-auth-url": "https://invalid..auth.url"})
    await everywhere.site.becomes(statuses, [503, 200, 200])
    everywhere.site.configure({})
    await everywhere.site.becomes(statuses, [200, 200, 200])
