"""The access log: ingress-nginx's `upstreaminfo` format, field by field."""

import asyncio
import base64
import os
import re
from pathlib import Path

from ingress.proxy import Settings
from tests.ingress.proxy.rig import Request, echo, request, rig, until

LINE = re.compile(
    r"(?P<remote_addr>\S+) - (?P<remote_user>\S+) \[(?P<time_local>\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
    r'"(?P<request>[^"]*)" (?P<status>\d+) (?P<body_bytes_sent>\d+) "(?P<referer>[^"]*)" "(?P<agent>[^"]*)" '
    r"(?P<request_length>\d+) (?P<request_time>\d+\.\d{3}) \[(?P<upstream_name>[^]]*)\] \[\] (?P<upstream_addr>.+?) "
    r"(?P<response_length>\d+(?:, \d+)*|-) (?P<response_time>\d+\.\d{3}(?:, \d+\.\d{3})*|-) "
    r"(?P<upstream_status>(?:\d+|-)(?:, (?:\d+|-))*) (?P<request_id>\S+)"
)


async def slam(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def lines_of(path: Path, count: int) -> list[dict[str, str]]:
    await until(lambda: path.exists() and path.read_bytes().count(b"\n") >= count)
    return parsed(path)


def parsed(path: Path) -> list[dict[str, str]]:
    found = [LINE.fullmatch(line) for line in path.read_text().splitlines()]
    assert all(found), path.read_text()
    return [match.groupdict() for match in found if match]


def open_log(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


async def test_every_field(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    fd = open_log(log)
    async with rig(settings=Settings(access_log_fd=fd)) as r:
        os.close(fd)
        octets = request(
            "/a?b",
            "Connection: close",
            'Referer: http://x/"quoted"\\',
            "User-Agent: agent\xe4",
            "X-Request-ID: mine",
            "Authorization: Basic " + base64.b64encode(b"some:secret").decode(),
            method="POST",
            body=b"12345",
        )
        await r.ask(octets)
        (line,) = await lines_of(log, 1)
    assert line["remote_addr"] == "127.0.0.1"
    assert line["remote_user"] == "some"
    assert line["request"] == "POST /a?b HTTP/1.1"
    assert line["status"] == line["upstream_status"] == "200"
    assert line["body_bytes_sent"] == line["response_length"] == str(len(b"POST /a?b|12345"))
    assert line["referer"] == "http://x/\\x22quoted\\x22\\x5C"
    assert line["agent"] == "agent\\xC3\\xA4"
    assert line["request_length"] == str(len(octets))
    assert line["upstream_name"] == "backend"
    assert line["upstream_addr"] == f"127.0.0.1:{r.endpoint.address[1]}"
    assert line["request_id"] == "mine"


async def test_no_octet_of_a_client_can_forge_a_line(tmp_path: Path) -> None:
    fd = open_log(tmp_path / "log")
    async with rig(settings=Settings(access_log_fd=fd)) as r:
        await r.ask(b'GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: \x80\xff"\\\t\r\nConnection: close\r\n\r\n')
        await r.ask(b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n")
        first, second = await lines_of(tmp_path / "log", 2)
    os.close(fd)
    assert first["agent"] == "\\x80\\xFF\\x22\\x5C"
    assert (second["request"], second["status"]) == ("-", "400")


async def test_every_attempt_is_listed(tmp_path: Path) -> None:
    fd = open_log(tmp_path / "log")
    async with rig(slam, slam, echo, settings=Settings(access_log_fd=fd)) as r:
        for _ in range(6):
            await r.get()
        lines = await lines_of(tmp_path / "log", 6)
    os.close(fd)
    assert {line["status"] for line in lines} == {"200"}
    assert {line["upstream_status"] for line in lines} >= {"200", "502, 200", "502, 502, 200"}
    for line in lines:
        count = line["upstream_status"].count(", ")
        assert line["upstream_addr"].count(", ") == line["response_time"].count(", ") == count
        assert re.fullmatch("[0-9a-f]{32}", line["request_id"])


async def test_what_reached_no_endpoint_and_what_was_left(tmp_path: Path) -> None:
    async def hang(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    fd = open_log(tmp_path / "log")
    async with rig(hang, settings=Settings(access_log_fd=fd, half_close_probe_seconds=0.2)) as r:
        _, writer = await r.connect()
        writer.write(request("/left"))
        await until(lambda: len(r.endpoint.requests) == 1)
        writer.close()
        await r.empty()
        r.engine.remove_host("")
        await r.get("/nowhere")
        left, nowhere = await lines_of(tmp_path / "log", 2)
    os.close(fd)
    assert (left["status"], left["upstream_status"]) == ("499", "-")
    assert (nowhere["status"], nowhere["upstream_addr"], nowhere["upstream_status"]) == ("404", "-", "-")


async def test_rotation_and_close_lose_no_line(tmp_path: Path) -> None:
    async with rig() as r:
        for name in ("one", "two"):
            fd = open_log(tmp_path / name)
            r.engine.set_access_log(fd)
            os.close(fd)
            await asyncio.gather(*(r.get(f"/{name}") for _ in range(20)))
        await r.empty()
        r.engine.set_access_log(-1)
        await r.get("/unlogged")
        for name in ("one", "two"):
            assert {line["request"] for line in await lines_of(tmp_path / name, 20)} == {f"GET /{name} HTTP/1.1"}
    async with rig(settings=Settings(access_log_fd=open_log(tmp_path / "three"))) as r:
        await r.get()
        await r.empty()
    assert len(await lines_of(tmp_path / "three", 1)) == 1


async def test_a_stuck_reader_holds_nobody_up() -> None:
    reading, writing = os.pipe()
    async with rig(settings=Settings(access_log_fd=writing)) as r:
        os.close(writing)
        reader, writer = await r.connect()
        for i in range(2000):
            writer.write(request(f"/{i}", "User-Agent: " + "x" * 200))
        left = 2000
        while left:
            left -= (await reader.read(1 << 20)).count(b"HTTP/1.1 200 OK")
        writer.close()
        await r.empty()
        lines = 0
        while lines < 2000:  # now it is read: every line is there
            lines += (await asyncio.to_thread(os.read, reading, 65536)).count(b"\n")
    os.close(reading)
