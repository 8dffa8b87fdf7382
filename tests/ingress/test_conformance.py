"""The scenarios of the Ingress conformance suite (kubernetes-sigs/ingress-controller-conformance), over real sockets.

Two rows are elsewhere: a class that nobody serves gets no status (test_publish.py), and certificates (test_tls.py).
"""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lb.cluster.objects import Object
from tests.ingress.peers import Client, Endpoint, ask, endpoints
from tests.ingress.serving import Folder, Served, flat, serving
from tests.ingress.state import endpoint_slice, ingress, service

PATHS: dict[str, list[tuple[str, str | None, str]]] = {
    "exact-foo.example": [("/foo", "Exact", "foo-exact")],
    "prefix-foo.example": [("/foo", "Prefix", "foo-prefix")],
    "aaa.example": [("/aaa/bbb", "Prefix", "aaa-bbb"), ("/aaa", "Prefix", "aaa")],
    "mixed.example": [("/foo", "Prefix", "foo-prefix"), ("/foo", "Exact", "foo-exact")],
    "slash.example": [("/aaa/bbb/", "Prefix", "aaa-slash"), ("/foo/", "Exact", "foo-slash-exact")],
    "all.example": [("/", "Prefix", "root"), ("/aaa", "Prefix", "aaa"), ("/aaa/bbb", "Prefix", "aaa-bbb")],
    "only-aaa.example": [("/aaa", "Prefix", "aaa")],
    "both-slashes.example": [("/foo", "Prefix", "foo-prefix"), ("/foo/", "Prefix", "foo-slash")],
    "exact-root.example": [("/", "Exact", "root"), ("/", "Prefix", "aaa")],
    "typeless.example": [("/foo", "ImplementationSpecific", "foo-prefix")],
    "bbbxyz.example": [("/aaa/bb", "Prefix", "aaa"), ("/ccc/ddd", "Prefix", "aaa-bbb")],
    "foo.bar.com": [("/", "Prefix", "foo-bar-com")],
    "*.foo.com": [("/", "Prefix", "wildcard-foo-com")],
    "exact.foo.com": [("/only", "Prefix", "root")],
}
SERVICES = sorted({name for paths in PATHS.values() for _, _, name in paths})


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with endpoints(*SERVICES) as there:
        backends = flat(*(service(each.name, each.address) for each in there))
        Folder(tmp_path).write("paths", [*backends, ingress("paths", PATHS)])
        async with serving("-f", str(tmp_path), "--workers", "1") as running:
            yield running


ROWS = [
    # host                  path              service or status
    ("exact-foo.example", "/foo", "foo-exact"),
    ("exact-foo.example", "/foo/", 404),
    ("exact-foo.example", "/FOO", 404),
    ("exact-foo.example", "/bar", 404),
    ("prefix-foo.example", "/foo", "foo-prefix"),
    ("prefix-foo.example", "/foo/", "foo-prefix"),
    ("prefix-foo.example", "/FOO", 404),
    ("prefix-foo.example", "/foo?x=/bar", "foo-prefix"),
    ("aaa.example", "/aaa/bbb", "aaa-bbb"),
    ("aaa.example", "/aaa/bbb/ccc", "aaa-bbb"),
    ("aaa.example", "/aaa/bbb/", "aaa-bbb"),
    ("aaa.example", "/aaa/ccc", "aaa"),
    ("aaa.example", "/aaaccc", 404),
    ("aaa.example", "/aaa/bbbxyz", "aaa"),
    ("mixed.example", "/foo", "foo-exact"),
    ("mixed.example", "/foo/", "foo-prefix"),
    ("slash.example", "/aaa/bbb", "aaa-slash"),
    ("slash.example", "/aaa/bbb/", "aaa-slash"),
    ("slash.example", "/foo", 404),
    ("slash.example", "/foo/", "foo-slash-exact"),
    ("all.example", "/aaa/ccc", "aaa"),
    ("all.example", "/aaa/bbb", "aaa-bbb"),
    ("all.example", "/ccc", "root"),
    ("all.example", "/", "root"),
    ("only-aaa.example", "/ccc", 404),
    ("both-slashes.example", "/foo", "foo-slash"),
    ("both-slashes.example", "/foo/x", "foo-slash"),
    ("both-slashes.example", "/fool", 404),
    ("exact-root.example", "/", "root"),
    ("exact-root.example", "/bar", "aaa"),
    ("typeless.example", "/foo/bar", "foo-prefix"),
    ("bbbxyz.example", "/aaa/bbb", 404),
    ("bbbxyz.example", "/ccc/dddxyz", 404),
    ("foo.bar.com", "/", "foo-bar-com"),
    ("foo.bar.com:8080", "/", "foo-bar-com"),
    ("FOO.bar.com", "/", "foo-bar-com"),
    ("foo.bar.com.", "/", "foo-bar-com"),
    ("subdomain.bar.com", "/", 404),
    ("bar.foo.com", "/", "wildcard-foo-com"),
    ("baz.bar.foo.com", "/", 404),
    ("foo.com", "/", 404),
    ("exact.foo.com", "/only", "root"),
    ("exact.foo.com", "/else", 404),  # the host is chosen before the path
    ("127.0.0.1", "/", 404),
    # What a path is compared as.
    ("aaa.example", "//aaa///bbb", "aaa-bbb"),
    ("aaa.example", "/x/../aaa/./bbb", "aaa-bbb"),
    ("aaa.example", "/%61aa/bbb", "aaa-bbb"),
]


async def test_hosts_and_paths(served: Served) -> None:
    client = await Client.connect(served.http)
    for host, path, want in ROWS:
        answer = await client.ask(host, path)
        got = answer.status if answer.status != 200 else answer.service
        assert got == want, f"{host}{path}"
        if answer.status == 200:
            assert answer.echo["path"] == path, "the endpoint gets the target as it was sent"
    client.close()


DEFAULT_ROWS = [
    ("GET", "my-host", "/"),
    ("GET", "my-host", "/sub-path"),
    ("POST", "some-host", "/"),
    ("PUT", "127.0.0.1", "/resource"),
    ("DELETE", "some-host", "/resource"),
    ("PATCH", "my-host", "/resource"),
]


async def test_default_backend(tmp_path: Path) -> None:
    async with endpoints("echo") as (echo,):
        Folder(tmp_path).write("all", [*service("echo", echo.address), ingress("all", default="echo")])
        async with serving("-f", str(tmp_path), "--workers", "1") as running:
            for method, host, path in DEFAULT_ROWS:
                body = b"x" if method in ("POST", "PUT", "PATCH") else b""
                answer = await ask(running.http, host, path, method=method, body=body)
                assert answer.status == 200
                assert {"content-length", "content-type", "date", "server"} <= set(answer.fields)
                asked = answer.echo
                assert (asked["method"], asked["path"], asked["protocol"]) == (method, path, "HTTP/1.1")
                assert (asked["headers"]["host"], asked["headers"]["user-agent"]) == (host, "tests")
                assert asked["body_octets"] == len(body)


async def test_scaling_up_reaches_every_endpoint(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    async with endpoints(*(f"pod-{number}" for number in range(10))) as pods:
        folder.write("web", [*service("web"), ingress("web", default="web")])
        folder.write("slices", slices(pods[:1]))
        async with serving("-f", str(tmp_path), "--workers", "2") as running:
            await running.until_answer("any", "/", lambda answer: answer.status == 200)
            folder.write("slices", slices(pods))
            await running.until_answer("any", "/", lambda answer: answer.service == "pod-9")
            answers = [await ask(running.http, "any") for _ in range(100)]
    assert {answer.status for answer in answers} == {200}
    counts = Counter(answer.service for answer in answers)
    assert len(counts) == 10
    assert max(counts.values()) < 30


def slices(pods: list[Endpoint]) -> list[Object]:
    """A slice for each endpoint: the endpoints of one slice share their port."""
    return [endpoint_slice("web", pod.address, slice_name=pod.name) for pod in pods]
