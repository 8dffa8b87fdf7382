"""Access log formats: nginx's $variables, escapes, labels of routes."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from ingress.proxy import Engine, RouteSpec, Settings
from tests.ingress.proxy.rig import request, rig, until


async def written(path: Path, count: int) -> list[str]:
    await until(lambda: path.exists() and path.read_bytes().count(b"\n") >= count)
    return read(path)


def read(path: Path) -> list[str]:
    return path.read_text().splitlines()


async def line_for(tmp_path: Path, octets: bytes, log_format: str, escape: str = "default") -> str:
    """The line of one request; the last one if it was refused."""
    fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT, 0o600)
    settings = Settings(access_log_fd=fd, access_log_format=log_format, access_log_escape=escape)
    async with rig(settings=settings) as r:
        labels = ("shop", "web", "cart", "80", "/a")
        r.engine.set_host("", [RouteSpec("/", False, "backend", 1, labels)])
        await r.ask(octets)
        lines = await written(tmp_path / "log", 1)
    os.close(fd)
    return lines[-1]


@pytest.mark.parametrize(
    ("log_format", "want"),
    [
        ("$request", "GET /a/./b?c=d HTTP/1.1"),
        ("$request_method $request_uri $uri $args $query_string", "GET /a/./b?c=d /a/./b c=d c=d"),
        ("${request_method}_x", "GET_x"),
        ("$server_protocol $scheme $host $status", "HTTP/1.1 http shop.example 200"),
        ("$http_user_agent|$http_x_odd|$http_missing|$content_type", "me|\\x22o\\x5C|-|text/x"),
        ("$namespace $ingress_name $service_name $service_port $location_path", "shop web cart 80 /a"),
        (
            "$remote_addr $the_real_ip $connection_requests [$proxy_alternative_upstream_name]",
            "127.0.0.1 127.0.0.1 1 []",
        ),
        ("$proxy_upstream_name $upstream_status $body_bytes_sent", "backend 200 15"),
        ("$proxy_add_x_forwarded_for [$proxy_protocol_addr]", "1.2.3.4, 5.6.7.8, 127.0.0.1 [-]"),
        ("$req_id $request_id", "mine mine"),
        ("no variable, and a $ alone", "no variable, and a $ alone"),
    ],
)
async def test_variables(tmp_path: Path, log_format: str, want: str) -> None:
    octets = request(
        "/a/./b?c=d",
        "Connection: close",
        "User-Agent: me",
        'X-Odd: "o\\',
        "Content-Type: text/x",
        "X-Request-ID: mine",
        "X-Forwarded-For: 1.2.3.4, 5.6.7.8",
    )
    assert await line_for(tmp_path, octets, log_format) == want


async def test_json(tmp_path: Path) -> None:
    names = ("remote_addr", "http_x_odd", "request", "status", "http_missing", "time_iso8601", "msec", "upstream_addr")
    log_format = "{" + ",".join(f'"{name}":"${name}"' for name in names) + "}"
    octets = request("/", 'X-Odd: "q"\t\\ é', "Connection: close")
    line = json.loads(await line_for(tmp_path, octets, log_format, "json"))
    assert line["http_x_odd"] == '"q"\t\\ é'
    assert line["http_missing"] == ""
    assert line["request"] == "GET / HTTP/1.1"
    assert "T" in line["time_iso8601"]
    assert float(line["msec"]) > 1e9


async def test_a_refused_head_is_logged_without_its_content(tmp_path: Path) -> None:
    octets = b"GET /secret HTTP/1.1\r\nX : y\r\n\r\n"
    assert await line_for(tmp_path, octets, "$status $request $http_x $remote_addr $namespace") == "400 - - 127.0.0.1 -"


async def test_the_longest_values_are_cut_not_lost(tmp_path: Path) -> None:
    octets = request("/" + "x" * 20000, "User-Agent: " + '"' * 20000, "Connection: close")
    line = await line_for(tmp_path, octets, "$request $http_user_agent")
    assert line == "GET /" + "x" * (4096 - 5) + " " + "\\x22" * 4096


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"access_log_format": "$nonsense"}, r"unknown variable \$nonsense; known are .*\$remote_addr"),
        ({"access_log_format": "$status" * 60}, "more than"),
        ({"access_log_format": "x" * 9000}, "more than"),
        ({"access_log_escape": "xml"}, "must be default, json or none"),
    ],
)
def test_a_wrong_format_is_told(settings: dict[str, str], match: str) -> None:
    loop = asyncio.new_event_loop()
    with pytest.raises(ValueError, match=match):
        Engine(Settings(**settings), loop)  # type: ignore[arg-type]
    loop.close()
