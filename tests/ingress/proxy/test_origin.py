"""Where endpoints are told that a request comes from: nothing of a stranger's word, a trusted proxy's on request."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ingress.proxy import Engine, Settings
from tests.ingress.proxy.rig import Request, request, rig, until

CLAIMS = (
    "X-Forwarded-For: 1.2.3.4",
    "X-Forwarded-Host: myhost",
    "X-Forwarded-Port: 1234",
    "X-Forwarded-Proto: myproto",
)
LOOPBACK = Settings(trusted_proxies=("127.0.0.0/8", "::1"))
FORWARDED = replace(LOOPBACK, use_forwarded_headers=True)


async def told(settings: Settings, *fields: str) -> Request:
    """What an endpoint gets."""
    async with rig(settings=settings) as r:
        assert (await r.get("/", *fields)).startswith(b"HTTP/1.1 200")
        got = r.endpoint.requests[0]
        got.port = r.port  # type: ignore[attr-defined]
        return got


def origin(got: Request) -> dict[str, str | None]:
    names = ("for", "host", "port", "proto", "scheme")
    found = {name: got.get(f"x-forwarded-{name}") for name in names}
    return {**found, "real": got.get("x-real-ip"), "x-scheme": got.get("x-scheme")}


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        LOOPBACK,
        Settings(use_forwarded_headers=True, enable_real_ip=True, compute_full_forwarded_for=True),
        replace(FORWARDED, trusted_proxies=("10.0.0.0/8", "128.0.0.0/1", "127.0.0.2/32")),
    ],
    ids=["default", "trusted only", "asked for, nobody trusted", "others trusted"],
)
async def test_nothing_is_believed(settings: Settings) -> None:
    got: Any = await told(settings, *CLAIMS)
    assert origin(got) == {
        "for": "127.0.0.1",
        "real": "127.0.0.1",
        "host": "shop.example",
        "port": str(got.port),
        "proto": "http",
        "scheme": "http",
        "x-scheme": "http",
    }
    assert got.get("x-original-forwarded-for") == "1.2.3.4"
    assert got.get("x-original-forwarded-host") == "myhost"


async def test_forwarded_headers_of_a_trusted_proxy() -> None:
    got = await told(FORWARDED, *CLAIMS)
    assert origin(got) == {
        "for": "1.2.3.4",
        "real": "1.2.3.4",
        "host": "myhost",
        "port": "1234",
        "proto": "myproto",
        "scheme": "myproto",
        "x-scheme": "myproto",
    }
    assert got.get("host") == "shop.example"


async def test_lists() -> None:
    got = await told(FORWARDED, "X-Forwarded-Host: myhost.com, another.host", "X-Forwarded-Proto: https, http")
    assert (got.get("x-forwarded-host"), got.get("x-forwarded-proto")) == ("myhost.com", "https")


async def test_ill_formed_claims_of_a_trusted_proxy() -> None:
    got: Any = await told(
        FORWARDED,
        'X-Forwarded-Host: a"b',
        "X-Forwarded-Port: 70000",
        "X-Forwarded-Proto: h t t p",
        "X-Forwarded-For: unknown",
    )
    assert origin(got)["host"] == "shop.example"
    assert origin(got)["port"] == str(got.port)
    assert origin(got)["proto"] == "http"
    assert origin(got)["for"] == "127.0.0.1"


async def test_real_ip_alone() -> None:
    got: Any = await told(replace(LOOPBACK, enable_real_ip=True), *CLAIMS)
    found = origin(got)
    assert (found["for"], found["real"]) == ("1.2.3.4", "1.2.3.4")
    assert (found["host"], found["port"], found["proto"]) == ("shop.example", str(got.port), "http")


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("1.2.3.4, 127.0.0.9", "1.2.3.4"),
        ("6.6.6.6, 1.2.3.4, 127.0.0.9,127.0.0.8", "1.2.3.4"),
        ("127.0.0.9, 127.0.0.8", "127.0.0.9"),
        ("nonsense, 127.0.0.8", "127.0.0.8"),
        ("2001:db8::5", "2001:db8::5"),
        ("[2001:db8::5]:443, ::1", "2001:db8::5"),
        ("1.2.3.4:5678", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("", "127.0.0.1"),
        (", ,", "127.0.0.1"),
    ],
)
async def test_the_last_address_that_is_not_trusted(value: str, client: str) -> None:
    assert (await told(FORWARDED, f"X-Forwarded-For: {value}")).get("x-real-ip") == client


async def test_repeated_fields_are_one_list() -> None:
    fields = ("X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 127.0.0.9")
    assert (await told(FORWARDED, *fields)).get("x-real-ip") == "1.2.3.4"


async def test_each_request_of_a_connection_has_its_own_client() -> None:
    async with rig(settings=FORWARDED) as r:
        answers = await r.ask(
            request("/1", "X-Forwarded-For: 1.1.1.1")
            + request("/2")
            + request("/3", "X-Forwarded-For: 3.3.3.3", "Connection: close")
        )
        assert answers.count(b"200 OK") == 3
        assert [got.get("x-real-ip") for got in r.endpoint.requests] == ["1.1.1.1", "127.0.0.1", "3.3.3.3"]


async def test_the_whole_list() -> None:
    full = replace(FORWARDED, compute_full_forwarded_for=True)
    got = await told(full, "X-Forwarded-For: 1.2.3.4, 5.6.7.8", "X-Forwarded-For: 127.0.0.9")
    assert got.get("x-forwarded-for") == "1.2.3.4, 5.6.7.8, 127.0.0.9, 127.0.0.1"
    assert got.get("x-real-ip") == "5.6.7.8"
    assert (await told(full)).get("x-forwarded-for") == "127.0.0.1"


async def test_another_field() -> None:
    other = replace(FORWARDED, forwarded_for_header="CF-Connecting-IP")
    got = await told(other, "CF-Connecting-IP: 1.2.3.4", "X-Forwarded-For: 6.6.6.6")
    assert got.get("x-real-ip") == got.get("x-forwarded-for") == "1.2.3.4"


@pytest.mark.parametrize("size", [8000, 30000])
async def test_long_lists(size: int) -> None:
    value = "1.2.3.4, " * (size // 9) + "9.9.9.9"
    full = replace(FORWARDED, compute_full_forwarded_for=True, forwarded=True)
    got = await told(full, f"X-Forwarded-For: {value}", f"Forwarded: {'for=a,' * (size // 6)}for=b")
    assert got.get("x-forwarded-for") == f"{value}, 127.0.0.1"
    assert got.get("x-original-forwarded-for") == value


async def test_forwarded() -> None:
    asked = replace(LOOPBACK, forwarded=True)
    got = await told(asked, "Forwarded: for=6.6.6.6")
    assert got.get("forwarded") == "for=127.0.0.1;host=shop.example;proto=http"
    assert (await told(Settings(), "Forwarded: for=6.6.6.6")).get("forwarded") is None
    trusting = replace(asked, use_forwarded_headers=True)
    got = await told(trusting, "Forwarded: for=6.6.6.6")
    assert got.get("forwarded") == "for=6.6.6.6, for=127.0.0.1;host=shop.example;proto=http"
    got = await told(
        trusting, "X-Forwarded-For: 2001:db8::5", "X-Forwarded-Host: a.example:8443", "X-Forwarded-Proto: https"
    )
    assert got.get("forwarded") == 'for="[2001:db8::5]";host="a.example:8443";proto=https'


async def test_client_certificates_are_not_a_clients_to_tell() -> None:
    got = await told(FORWARDED, "ssl-client-verify: SUCCESS", "SSL-Client-Subject-DN: CN=root", "ssl-client-cert: x")
    assert [name for name in ("verify", "subject-dn", "cert") if got.get(f"ssl-client-{name}")] == []


async def test_the_log_names_the_client(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with path.open("wb") as log:
        settings = replace(FORWARDED, access_log_fd=log.fileno(), access_log_format="$remote_addr $request_uri")
        async with rig(settings=settings) as r:
            await r.ask(request("/1", "X-Forwarded-For: 1.2.3.4") + request("/2", "Connection: close"))
            await until(lambda: path.read_text().count("\n") == 2)
    assert path.read_text() == "1.2.3.4 /1\n127.0.0.1 /2\n"


async def test_ranges_are_checked() -> None:
    with pytest.raises(ValueError, match=r"trusted_proxies: '10\.0\.0\.0/40'"):
        Engine(Settings(trusted_proxies=("10.0.0.0/40",)), asyncio.get_running_loop())
