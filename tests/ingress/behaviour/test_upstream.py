"""How endpoints are chosen, asked and asked again, by the numbers in the inventory of behaviours."""

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lb.cluster.objects import Metadata, Secret
from tests.ingress.peers import Endpoint
from tests.ingress.proxy.tls_peers import Authority
from tests.ingress.site import CONFIGURED, Site, annotated, config_map, fixture_of, several, site_of
from tests.ingress.state import endpoint_slice, service

pytestmark = pytest.mark.asyncio(loop_scope="module")

MISSING = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: missing, namespace: shop}
spec:
  rules:
    - host: missing.example
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: nobody, port: {number: 80}}}}]}
"""
DEAD = "127.0.0.1:1"
"""Nobody listens there."""
OURS, OTHERS = Authority(), Authority("Others")
SHOWN = OURS.issue("inside.example")
OWN = OURS.issue("proxy.example")


def secret(name: str, **data: bytes) -> Secret:
    found = {key.replace("_", "."): value.decode() for key, value in data.items()}
    return Secret(metadata=Metadata(name=name, namespace="shop"), string_data=found)


def verified(name: str, **more: str) -> dict[str, str]:
    return {
        "backend-protocol": "HTTPS",
        "proxy-ssl-secret": f"shop/{name}",
        "proxy-ssl-verify": "on",
        "proxy-ssl-name": "inside.example",
        **more,
    }


TLS = ("/", "Prefix", "tls")
SIX = ("/", "Prefix", "six")
SUBSET = {"upstream-hash-by": "$uri", "upstream-hash-by-subset": "true"}
RETRIES = {"proxy-next-upstream": "error http_503"}

site = fixture_of(
    annotated("default.example"),
    annotated("large.example", {"proxy-body-size": "3m"}),
    annotated("any.example", {"proxy-body-size": "0"}),
    annotated("bad.example", {"proxy-body-size": "15r", "proxy-connect-timeout": "50k"}),
    annotated("slow.example", {"proxy-read-timeout": "1", "proxy-next-upstream-tries": "2"}),
    annotated("dead.example", None, ("/", "Prefix", "dead")),
    annotated("mixed.example", None, ("/", "Prefix", "mixed")),
    annotated("once.example", {"proxy-next-upstream-tries": "1"}, ("/", "Prefix", "mixed")),
    annotated("twice.example", RETRIES | {"proxy-next-upstream-tries": "2"}),
    annotated("retries.example", RETRIES),
    annotated("non-idempotent.example", {"proxy-next-upstream": "http_503 non_idempotent"}),
    annotated("off.example", {"proxy-next-upstream": "off"}),
    annotated("whole.example", None, ("/", "Prefix", "whole")),
    annotated("pieces.example", {"proxy-request-buffering": "off"}, ("/", "Prefix", "pieces")),
    annotated("https.example", {"backend-protocol": "https"}, TLS),
    annotated("plain-to-tls.example", None, TLS),
    annotated("grpc.example", {"backend-protocol": "GRPC"}),
    annotated("fcgi.example", {"backend-protocol": "FCGI"}),
    annotated("verified.example", verified("ours"), TLS),
    annotated("named.example", verified("ours", **{"proxy-ssl-server-name": "on"}), TLS),
    annotated("wrong-authority.example", verified("others"), TLS),
    annotated("wrong-name.example", verified("ours", **{"proxy-ssl-name": "outside.example"}), TLS),
    annotated("no-secret.example", verified("missing"), TLS),
    annotated("turns.example", {"load-balance": "round_robin"}, ("/", "Prefix", "three")),
    annotated("ewma.example", {"load-balance": "ewma"}, SIX),
    annotated("ten.example", None, ("/", "Prefix", "ten")),
    annotated("hash.example", {"upstream-hash-by": "$request_uri"}, SIX),
    annotated("client.example", {"upstream-hash-by": "$binary_remote_addr"}, SIX),
    annotated("header.example", {"upstream-hash-by": "$http_x_user"}, SIX),
    annotated("text.example", {"upstream-hash-by": "${arg_user}-$host"}, SIX),
    annotated("subset.example", SUBSET, SIX),
    annotated("pair.example", SUBSET | {"upstream-hash-by-subset-size": "2"}, SIX),
    annotated("none.example", None, ("/", "Prefix", "none")),
    secret("ours", ca_crt=OURS.pem, tls_crt=OWN.pem, tls_key=OWN.key),
    secret("others", ca_crt=OTHERS.pem),
    sizes={"dead": 0, "mixed": 1, "tls": 0, "six": 6, "three": 3, "ten": 10, "none": 0, "cluster": 1, "mirror": 1},
)  # fmt: skip


@asynccontextmanager
async def exchange(site: Site, octets: bytes) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.served.http)
    try:
        writer.write(octets)
        yield reader, writer
    finally:
        writer.close()


async def announced(site: Site, host: str, octets: int) -> int:
    """The status for a body of so many octets, of which none is sent; 0 if the proxy waits for them."""
    head = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {octets}\r\nExpect: 100-continue\r\n\r\n"
    async with exchange(site, head.encode()) as (reader, _):
        return int((await reader.readline()).split()[1])


@pytest.mark.parametrize(
    ("host", "octets", "status"),
    [
        pytest.param("default.example", 1 << 20, 100, id="176-default"),
        pytest.param("default.example", (1 << 20) + 1, 413, id="176-default-over"),
        pytest.param("large.example", 3 << 20, 100, id="176"),
        pytest.param("large.example", (3 << 20) + 1, 413, id="176-over"),
        pytest.param("any.example", 1 << 40, 100, id="176-0"),
        pytest.param("bad.example", (1 << 20) + 1, 413, id="177"),
    ],
)
async def test_176_how_large_a_body_may_be(site: Site, host: str, octets: int, status: int) -> None:
    before = site.endpoints["echo"].requests
    assert await announced(site, host, octets) == status
    assert site.endpoints["echo"].requests == before


async def test_178_bad_values_are_reported_and_the_rest_works(site: Site) -> None:
    assert (await site.get("bad.example")).status == 200
    assert '"15r" is not a size' in site.served.log
    assert '"50k" is not a whole number' in site.served.log


async def test_179_an_endpoint_that_does_not_answer(site: Site) -> None:
    assert (await site.get("slow.example", "/slow")).status == 504


async def test_180_nobody_takes_the_connection(site: Site) -> None:
    site.folder.write("service-dead", several("dead", DEAD))

    async def refused() -> bool:
        return (await site.get("dead.example")).status == 502

    await site.becomes(refused, True)


async def test_181_another_endpoint_is_tried(site: Site) -> None:
    live = site.endpoints["mixed-0"].address
    site.folder.write("service-mixed", several("mixed", live, DEAD, "127.0.0.1:2"))

    async def fails_at_times() -> bool:
        return (await site.get("once.example")).status == 502

    await site.becomes(fails_at_times, True)
    for _ in range(12):
        assert (await site.get("mixed.example")).status == 200


@pytest.mark.parametrize(
    ("host", "method", "asked"),
    [
        pytest.param("default.example", "GET", 1, id="182-not-listed"),
        pytest.param("retries.example", "GET", 3, id="182-listed"),
        pytest.param("twice.example", "GET", 2, id="181-tries"),
        *(pytest.param("retries.example", method, 1, id=f"183-{method}") for method in ("POST", "LOCK", "PATCH")),
        pytest.param("non-idempotent.example", "POST", 3, id="183-asked-for"),
        pytest.param("off.example", "GET", 1, id="184"),
    ],
)
async def test_182_how_often_it_is_asked(site: Site, host: str, method: str, asked: int) -> None:
    before = site.endpoints["echo"].requests
    assert (await site.get(host, method=method, fields=[("tell-status", "503")])).status == 503
    assert site.endpoints["echo"].requests == before + asked


async def test_186_a_request_goes_on_when_it_is_whole_or_at_once(site: Site) -> None:
    def part(host: str) -> bytes:
        return f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 8\r\nConnection: close\r\n\r\nhalf".encode()

    async def contacted() -> bool:
        return site.endpoints["pieces"].connections == 1

    async with exchange(site, part("whole.example")) as (whole, to_whole):
        async with exchange(site, part("pieces.example")) as (pieces, to_pieces):
            await site.becomes(contacted, True)
            to_pieces.write(b"more")
            assert b" 200 " in await pieces.readline()
        assert site.endpoints["whole"].connections == 0
        to_whole.write(b"more")
        assert b" 200 " in await whole.readline()


@pytest.fixture(scope="module")
def tls_endpoint(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder: Path = tmp_path_factory.mktemp("tls")
    (folder / "chain").write_bytes(SHOWN.pem)
    (folder / "key").write_bytes(SHOWN.key)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "chain", folder / "key")
    return made


@pytest.mark.parametrize(
    ("host", "status"),
    [
        pytest.param("https.example", 200, id="190"),
        pytest.param("plain-to-tls.example", 502, id="190-plain"),
        pytest.param("verified.example", 200, id="192"),
        pytest.param("named.example", 200, id="192-server-name"),
        pytest.param("wrong-authority.example", 502, id="192-wrong-authority"),
        pytest.param("wrong-name.example", 502, id="192-wrong-name"),
        pytest.param("no-secret.example", 503, id="192-no-secret"),
    ],
)
async def test_190_tls_to_endpoints(site: Site, tls_endpoint: ssl.SSLContext, host: str, status: int) -> None:
    names: list[str] = []
    tls_endpoint.sni_callback = lambda ssl_object, name, context: names.append(name)  # type: ignore[assignment]
    endpoint = Endpoint("tls")
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0, ssl=tls_endpoint)
    endpoint.port = server.sockets[0].getsockname()[1]
    async with server:
        site.folder.write("service-tls", several("tls", endpoint.address))

        async def answers() -> bool:
            known = host != "named.example" or "inside.example" in names
            return (await site.get(host)).status == status and known

        await site.becomes(answers, True)


async def test_190_the_scheme_of_the_client(tmp_path: Path, tls_endpoint: ssl.SSLContext) -> None:
    """One port that takes both: by the first octet, which begins a handshake or a method."""
    auto = {"backend-protocol": "auto_http", "proxy-read-timeout": "30"}
    rule = annotated("auto.example", auto, ("/", "Prefix", "both"))
    plain, secure = Endpoint("plain"), Endpoint("secure")
    async with (
        await asyncio.start_server(plain.serve, "127.0.0.1", 0) as by_http,
        await asyncio.start_server(secure.serve, "127.0.0.1", 0, ssl=tls_endpoint) as by_tls,
        site_of(tmp_path, rule, https=True, sizes={"both": 0}) as site,
    ):
        ports = [each.sockets[0].getsockname()[1] for each in (by_http, by_tls)]

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while octets := await source.read(65536):
                    sink.write(octets)
            sink.close()

        async def either(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            first = await reader.read(1)
            there, away = await asyncio.open_connection("127.0.0.1", ports[first == b"\x16"])
            away.write(first)
            await asyncio.gather(pump(reader, away), pump(there, writer))

        async with await asyncio.start_server(either, "127.0.0.1", 0) as both:
            site.folder.write("service-both", several("both", f"127.0.0.1:{both.sockets[0].getsockname()[1]}"))

            async def status() -> int:
                return (await site.get("auto.example")).status

            await site.becomes(status, 200)
            for _ in range(2):
                assert (await site.get("auto.example")).service == "plain"
                assert (await site.get("auto.example", secure=True)).service == "secure"


async def test_190_what_is_not_spoken(site: Site) -> None:
    assert (await site.get("grpc.example")).status == 200
    assert (await site.get("fcgi.example")).status == 503
    assert "HTTP/2 is not spoken here" in site.served.log
    assert "FastCGI is not spoken here" in site.served.log


async def spread(site: Site, host: str, times: int, path: str = "/", *fields: tuple[str, str]) -> Counter[str]:
    return Counter([(await site.get(host, path, fields=fields)).service for _ in range(times)])


async def test_195_in_turn(site: Site) -> None:
    assert sorted((await spread(site, "turns.example", 60)).values()) == [20, 20, 20]


async def test_196_by_latency_everybody_serves(site: Site) -> None:
    assert len(await spread(site, "ewma.example", 120)) == 6


async def test_197_ten_endpoints(site: Site) -> None:
    assert len(await spread(site, "ten.example", 100)) == 10


@pytest.mark.parametrize(
    ("host", "path", "fields"),
    [
        ("hash.example", "/a?b=c", []),
        ("client.example", "/", []),
        ("header.example", "/", [("x-user", "ada")]),
        ("text.example", "/?user=ada", []),
    ],
)
async def test_198_the_same_goes_to_the_same(site: Site, host: str, path: str, fields: list[tuple[str, str]]) -> None:
    assert len(await spread(site, host, 50, path, *fields)) == 1


async def test_198_others_go_elsewhere(site: Site) -> None:
    assert len({(await site.get("hash.example", f"/{number}")).service for number in range(150)}) == 6
    assert len({(await site.get("text.example", f"/?user={number}")).service for number in range(150)}) == 6
    users = [[("x-user", f"user-{number}")] for number in range(150)]
    assert len({(await site.get("header.example", fields=each)).service for each in users}) == 6
    clients = {(await site.get("client.example", f"/{number}")).service for number in range(10)}
    assert len(clients) == 1


@pytest.mark.parametrize(("host", "size"), [("subset.example", 3), ("pair.example", 2)])
async def test_199_a_few_of_them(site: Site, host: str, size: int) -> None:
    assert len(await spread(site, host, 40)) == size
    assert len({(await site.get(host, f"/{number}")).service for number in range(80)}) == 6


async def test_201_nobody_is_there(site: Site) -> None:
    assert (await site.get("none.example")).status == 503
    site.folder.write_text("missing", MISSING)

    async def refused() -> bool:
        return (await site.get("missing.example")).status == 503

    await site.becomes(refused, True)


async def test_202_up_and_down(site: Site) -> None:
    async def answers(status: int) -> bool:
        return (await site.get("none.example")).status == status

    site.folder.write("service-none", several("none", site.endpoints["three-0"].address))
    await site.becomes(lambda: answers(200), True)
    site.folder.write("service-none", several("none"))
    await site.becomes(lambda: answers(503), True)


THROUGH = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: through, namespace: shop, annotations: {{nginx.ingress.kubernetes.io/service-upstream: "{asked}"}}}}
spec:
  rules:
    - host: through.example
      http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: cluster, port: {{name: web}}}}}}}}]}}
"""


async def test_200_the_service_itself(site: Site) -> None:
    """Its own address leads to an endpoint, and its slices lead nowhere."""
    port = int(site.endpoints["cluster-0"].address.rpartition(":")[2])
    (cluster,) = service("cluster", ports=[{"name": "web", "port": port}], clusterIP="127.0.0.1")
    site.folder.write("service-cluster", [cluster, endpoint_slice("cluster", DEAD, port_name="web")])

    async def answers(asked: str, status: int) -> bool:
        site.folder.write_text("through", THROUGH.format(asked=asked))
        return (await site.get("through.example")).status == status

    await site.becomes(lambda: answers("true", 200), True)
    await site.becomes(lambda: answers("false", 502), True)


async def test_208_copies_of_heads(site: Site) -> None:
    mirror = site.endpoints["mirror-0"]

    async def copied(annotations: dict[str, str], host: str) -> bool:
        target = {"mirror-target": f"http://{mirror.address}$request_uri"}
        site.folder.write("mirrored", [annotated("mirrored.example", target | annotations)])
        answer = await site.get("mirrored.example", "/a?b=c", fields=[("x-role", "buyer")])
        assert answer.status in (200, 404)
        return mirror.last is not None and (mirror.last["headers"]["host"], mirror.last["path"]) == (host, "/a?b=c")

    await site.becomes(lambda: copied({}, mirror.address), True)
    await site.becomes(lambda: copied({"mirror-host": "other.example"}, "other.example"), True)
    await site.becomes(lambda: copied({"mirror-request-body": "off"}, mirror.address), True)
    assert mirror.last is not None
    assert (mirror.last["method"], mirror.last["headers"]["x-role"]) == ("GET", "buyer")


async def test_208_copies(site: Site) -> None:
    mirror, echo = site.endpoints["mirror-0"], site.endpoints["echo"]

    async def copied(annotations: dict[str, str], length: int, host: str) -> bool:
        target = {"mirror-target": f"http://{mirror.address}$request_uri"}
        site.folder.write("mirrored", [annotated("mirrored.example", target | annotations)])
        before = echo.requests
        answer = await site.get("mirrored.example", "/a?b=c", method="POST", body=b"four", fields=[("x-role", "buyer")])
        assert answer.status in (200, 404)
        if answer.status == 200:
            assert (answer.service, answer.echo["body_octets"], echo.requests) == ("echo", 4, before + 1)
        last = mirror.last
        return last is not None and (last["body_octets"], last["headers"]["host"], last["path"]) == (
            length,
            host,
            "/a?b=c",
        )

    await site.becomes(lambda: copied({}, 4, mirror.address), True)
    await site.becomes(lambda: copied({"mirror-host": "other.example"}, 4, "other.example"), True)
    await site.becomes(lambda: copied({"mirror-request-body": "off"}, 0, mirror.address), True)
    assert mirror.last is not None
    assert (mirror.last["method"], mirror.last["headers"]["x-role"]) == ("POST", "buyer")


configured = fixture_of(
    annotated("plain.example"),
    annotated("own.example", {"proxy-body-size": "4k", "proxy-next-upstream": "off"}),
    config_map(
        "ops",
        "controller",
        {"proxy-body-size": "2k", "proxy-next-upstream": "http_503", "retry-non-idempotent": "true"},
    ),
    flags=CONFIGURED,
)


async def test_176_the_config_map_counts_behind_annotations(configured: Site) -> None:
    assert await announced(configured, "plain.example", 2049) == 413
    assert await announced(configured, "plain.example", 2048) == 100
    assert await announced(configured, "own.example", 2049) == 100


async def test_183_the_config_map_may_repeat_everything(configured: Site) -> None:
    echo = configured.endpoints["echo"]
    before = echo.requests
    assert (await configured.get("plain.example", method="POST", fields=[("tell-status", "503")])).status == 503
    assert echo.requests == before + 3
    assert (await configured.get("own.example", method="POST", fields=[("tell-status", "503")])).status == 503
    assert echo.requests == before + 4
