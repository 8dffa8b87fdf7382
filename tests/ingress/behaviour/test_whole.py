"""The proxy as a whole: its end, what smugglers get, its memory, what it counts; by the numbers of the inventory."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.ingress.certificates import tls_secret
from tests.ingress.peers import ask
from tests.ingress.site import CONFIGURED, Site, annotated, site_of

WEB = annotated("web.example")


# -- 255


async def test_255_requests_under_way_finish_and_the_health_check_says_it_first(tmp_path: Path) -> None:
    flags = (*CONFIGURED, "--drain", "0.1", "--drain-delay", "2", "--health-check-path", "/healthz")
    async with site_of(tmp_path, WEB, flags=flags) as site:
        site.configure({"worker-shutdown-timeout": "60s", "server-tokens": "true"})

        async def server() -> str:
            return (await site.get("web.example")).fields.get("server", "")

        await site.becomes(server, "causeway")
        assert (await site.served.ask_admin("/healthz")).status == 200
        before = site.endpoints["echo"].requests
        slow = [asyncio.create_task(site.get("web.example", f"/slow/{number}")) for number in range(3)]
        await site.served.until(lambda: site.endpoints["echo"].requests == before + 3)
        site.served.process.send_signal(signal.SIGTERM)
        await site.served.until_status("/healthz", 500)
        assert (await site.get("web.example")).status == 200  # load balancers may not have noticed yet
        await site.served.until(lambda: not _listens(site.served.http))
        assert not any(each.done() for each in slow)
        site.endpoints["echo"].hold.set()
        assert [(await each).status for each in slow] == [200, 200, 200]
        assert await site.served.ended() == 0


def _listens(port: int) -> bool:
    """Whether anybody does on this port of 127.0.0.1: a line of the kernel's, in state 0A."""
    local = f"0100007F:{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any((words := line.split())[1] == local and words[3] == "0A" for line in lines)


async def test_255_an_idle_one_ends_at_once(tmp_path: Path) -> None:
    flags = ("--drain", "60", "--drain-delay", "0")
    async with site_of(tmp_path, WEB, flags=flags) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.served.http)
        writer.write(b"GET / HTTP/1.1\r\nHost: web.example\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")  # and stays
        began = time.monotonic()
        assert await site.served.end() == 0
        assert time.monotonic() - began < 30
        writer.close()


# -- 257


SMUGGLED = b"GET /secret HTTP/1.1\r\nHost: inside.example\r\nX: "
CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)


def post(*lines: str) -> bytes:
    return "\r\n".join(["POST /open HTTP/1.1", "Host: web.example", *lines, "", ""]).encode()


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(post(f"Content-Length: {len(SMUGGLED)}") + SMUGGLED, id="257"),
        pytest.param(post("Transfer-Encoding: chunked") + CHUNK, id="257-chunked"),
        pytest.param(post("Content-Length: 4", "Transfer-Encoding: chunked") + CHUNK, id="257-both"),
        pytest.param(post("Transfer-Encoding: chunked", "Transfer-Encoding: x") + CHUNK, id="257-two-codings"),
        pytest.param(post("Transfer-Encoding : chunked", "Content-Length: 4") + CHUNK, id="257-blank-before-colon"),
        pytest.param(post("Content-Length: 0", f"Content-Length: {len(SMUGGLED)}") + SMUGGLED, id="257-two-lengths"),
        pytest.param(post(f"Content-Length: +{len(SMUGGLED)}") + SMUGGLED, id="257-sign"),
        pytest.param(post(f"Content-Length:\r\n {len(SMUGGLED)}") + SMUGGLED, id="257-folded"),
        pytest.param(post(f"Content-Length: {len(SMUGGLED)}", "Expect: x") + SMUGGLED, id="257-expect"),
        pytest.param(post(f"X: y\nContent-Length: {len(SMUGGLED)}") + SMUGGLED, id="257-bare-line-end"),
    ],
)
async def test_257_what_is_in_a_body_is_no_request(smuggling: Site, octets: bytes) -> None:
    """No host is asked for it; what cannot be told apart for sure is refused."""
    inside = smuggling.endpoints["inside"]
    reader, writer = await asyncio.open_connection("127.0.0.1", smuggling.served.http)
    writer.write(octets)
    writer.write_eof()
    answers = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    assert answers.startswith((b"HTTP/1.1 200", b"HTTP/1.1 4"))
    assert answers.count(b"HTTP/1.1 2") <= 1
    assert inside.requests == 0


@pytest.fixture
async def smuggling(tmp_path: Path) -> AsyncIterator[Site]:
    inner = annotated("inside.example", None, ("/", "Prefix", "inside"))
    async with site_of(tmp_path, WEB, inner) as site:
        yield site


# -- 258


def memory_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


async def test_258_what_is_gone_takes_no_memory(tmp_path: Path) -> None:
    """Hosts with certificates come and go, again and again."""
    secret = tls_secret("many", "*.many.example")
    many = [
        annotated(f"h{number}.many.example", {}, tls=[{"hosts": [f"h{number}.many.example"], "secretName": "many"}])
        for number in range(250)
    ]
    async with site_of(tmp_path, WEB, secret, https=True) as site:
        pids = [site.served.process.pid, *site.served.workers()]

        async def status() -> int:
            return (await site.get("h249.many.example", secure=True)).status

        after = []
        for _ in range(7):
            site.folder.write("many", many)
            await site.becomes(status, 200)
            site.folder.remove("many")
            await site.becomes(status, 404)
            after.append(sum(map(memory_kib, pids)))
        assert after[-1] - after[2] < 8 << 10, after


# -- 260


async def test_260_what_is_left_out_and_hosts_that_nobody_has(tmp_path: Path) -> None:
    flags = ("--exclude-socket-metrics", "response_size,nginx_ingress_controller_bytes_sent")
    async with site_of(tmp_path, WEB, flags=flags) as site:
        assert (await site.get("web.example")).status == 200
        for number in range(3):
            assert (await ask(site.served.http, f"made-up-{number}.example")).status == 404
        text = (await site.served.ask_admin("/metrics")).body.decode()
        assert "nginx_ingress_controller_request_size_bucket" in text
        assert "nginx_ingress_controller_response_size_bucket" not in text
        assert "nginx_ingress_controller_bytes_sent" not in text
        assert 'host="web.example"' in text
        assert "made-up" not in text  # a client could make up any number of them
