"""The commands as a user types them: wrong flags, ports in use, folders that are not there, `check`."""

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from causeway.cli import main
from tests.ingress.peers import ask, endpoints
from tests.ingress.serving import Folder, serving
from tests.ingress.state import ingress, service


def run(*argv: str) -> Result:
    return CliRunner().invoke(main, argv)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["serve"], ["nothing to serve", "-f DIR", "--to ADDRESS:PORT"]),
        (["serve", "--to", "nowhere"], ["'--to'", "has no port"]),
        (["serve", "--to", "http://127.0.0.1:80"], ["'--to'", "leave out http://"]),
        (["serve", "--to", ":80", "--http", "::1:80"], ["'--http'", "brackets"]),
        (["serve", "--to", ":80", "--workers", "0"], ["'--workers'"]),
        (["serve", "--to", ":80", "--drain", "-1"], ["'--drain'"]),
        (["serve", "--to", ":80", "--trusted-proxies", "10.0.0.1/8"], ["'--trusted-proxies'", "host bits"]),
        (["serve", "--to", ":80", "--trusted-proxies", "lb"], ["'--trusted-proxies'", "10.0.0.0/8"]),
        (["serve", "--to", ":80", "--passthrough", "a.example=:9"], ["--passthrough", "--https"]),
        (["serve", "--to", ":80", "--passthrough", "=:9"], ["'--passthrough'", "NAME=ADDRESS:PORT"]),
        (["serve", "--to", ":80", "--passthrough", "a b=:9"], ["'--passthrough'", "not a host name"]),
        (["serve", "--to", ":80", "--proxy-protocol"], ["--proxy-protocol believes nobody", "--trusted-proxies"]),
        (["ingress", "--enable-real-ip"], ["--enable-real-ip believes nobody", "--trusted-proxies"]),
        (["serve", "--from", ":80"], ["nothing to serve"]),
        (["serve", "--route", "a.example"], ["'--route'", 'no "="']),
        (["serve", "--route", "A B=:80"], ["'--route'", "not a host name"]),
        (["serve", "-f", "/nonexistent"], ["-f", "/nonexistent", "does not exist"]),
        (["serve", "-f", "/etc/hostname"], ["-f", "is not a folder"]),
        (["serve", "--nonsense"], ["--nonsense"]),
        (["ingress"], ["no API server to read from", "--kubeconfig FILE"]),
        (["/nginx-ingress-controller", "--ingress-class=nginx"], ["no API server to read from"]),
        (["ingress", "--watch-namespace-selector=a in b"], ["not a label selector"]),
        (["ingress", "--watch-namespace=a", "--watch-namespace-selector=b"], ["exclude each other"]),
        (["ingress", "--http", ":0"], ["no API server to read from", "--kubeconfig FILE"]),
        (["ingress", "--http", ":0", "--kubeconfig", "/nonexistent"], ["--kubeconfig", "/nonexistent"]),
        (["ingress", "--http", ":0", "--publish-status-address", "10.0.0.1,http://x"], ["address", "http://x"]),
        (["check"], ["'-f'"]),
        (["check", "-f", "/nonexistent"], ["-f", "does not exist"]),
    ],
)
def test_wrong_flags(argv: list[str], words: list[str]) -> None:
    done = run(*argv)
    assert done.exit_code == 2, done.output
    for each in words:
        assert each in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize("flag", ["--http", "--https", "--admin", "--from"])
def test_a_port_in_use(flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", "--to", ":9", "--http", "127.0.0.1:0", flag, f"127.0.0.1:{port}")
    assert done.exit_code == 1
    line = done.output.strip().splitlines()[-1]
    assert line.startswith(f"Error: {flag} 127.0.0.1:{port}: another program listens there")


def test_a_log_that_cannot_be_written() -> None:
    done = run("serve", "--to", ":9", "--http", "127.0.0.1:0", "--access-log", "/nonexistent/log")
    assert done.exit_code == 1
    assert "--access-log /nonexistent/log: No such file or directory" in done.output


def test_check_a_good_folder(tmp_path: Path) -> None:
    Folder(tmp_path).write("web", [ingress("web", default="web"), *service("web", "10.0.0.1:80")])
    done = run("check", "-f", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert "3 objects, 1 hosts, 0 problems" in done.output


def test_check_prints_every_problem(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write(
        "web", [ingress("web", {"*": [("/", "Prefix", "web")]}, default="web"), ingress("all", default="gone")]
    )
    folder.write_text("bad", "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: many}]}\n")
    done = run("check", "-f", str(tmp_path))
    assert done.exit_code == 1
    assert "Ingress shop/web: spec.rules[0].host:" in done.output
    assert "Ingress shop/all: spec.defaultBackend.service: Service shop/gone does not exist" in done.output
    assert "bad.yaml:" in done.output
    assert "spec.ports[0].port" in done.output


async def test_from_and_to_spread_over_the_endpoints() -> None:
    async with endpoints("one", "two") as (one, two):
        argv = ["--from", "127.0.0.1:0", "--to", one.address, "--to", two.address, "--workers", "1"]
        async with serving(*argv, http=False) as running:
            answers = [await ask(running.http, "any") for _ in range(10)]
            assert {answer.service for answer in answers} == {"one", "two"}


async def test_routes_from_flags() -> None:
    async with endpoints("api", "shop", "rest") as (api, shop, rest):
        argv = ["--route", f"a.example/api={api.address}", "--route", f"*.shop={shop.address}", "--to", rest.address]
        async with serving(*argv, "--workers", "1") as running:
            asked = [("a.example", "/api/x"), ("a.example", "/"), ("x.shop", "/"), ("x.y.shop", "/api")]
            got = [(await ask(running.http, host, path)).service for host, path in asked]
            assert got == ["api", "rest", "shop", "rest"]


async def test_flags_beside_a_folder(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    async with endpoints("folder", "flag", "rest") as (one, flag, rest):
        rules: dict[str, list[tuple[str, str | None, str]]] = {"a.example": [("/", "Prefix", "web")]}
        folder.write("web", [ingress("web", rules), *service("web", one.address)])
        argv = ["-f", str(tmp_path), "--route", f"a.example/flag={flag.address}", "--to", rest.address]
        async with serving(*argv, "--workers", "1") as running:
            asked = [("a.example", "/x"), ("a.example", "/flag"), ("b.example", "/")]
            got = [(await ask(running.http, host, path)).service for host, path in asked]
            assert got == ["folder", "flag", "rest"]
            folder.remove("web")
            await running.until_answer("a.example", "/x", lambda answer: answer.service == "rest")
            assert (await ask(running.http, "a.example", "/flag")).service == "flag"


async def test_an_endpoint_that_is_not_there_is_502() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with serving("--to", f"127.0.0.1:{port}", "--workers", "1") as running:
        answer = await ask(running.http, "any")
        assert answer.status == 502
        assert b"502" in answer.body


async def test_the_access_log_has_a_line_for_each_request(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    flags = ["--workers", "2", "--access-log", str(log)]
    async with endpoints("one") as (one,), serving("--to", one.address, *flags) as running:
        for number in range(10):
            await ask(running.http, "any", f"/{number}")
        assert await running.end() == 0
    lines = log.read_text().splitlines()
    assert sorted(line.split('"')[1] for line in lines) == [f"GET /{number} HTTP/1.1" for number in range(10)]
    assert all("[command-line-to-80]" in line for line in lines)


async def test_a_folder_with_nothing_in_it_serves_404_until_there_is_something(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    async with endpoints("web") as (web,), serving("-f", str(tmp_path), "--workers", "2") as running:
        assert (await ask(running.http, "any")).status == 404
        folder.write("web", [ingress("web", default="web"), *service("web")])
        await running.until_answer("any", "/", lambda answer: answer.status == 503)
        await running.until(lambda: "requests for it get 503" in running.log)
        folder.write("web", [ingress("web", default="web"), *service("web", web.address)])
        await running.until_answer("any", "/", lambda answer: answer.status == 200)


def test_check_in_a_pod_asks_its_own_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    found = run("check")
    assert found.exit_code == 2
    assert "service account" in found.output, "it has none here"
