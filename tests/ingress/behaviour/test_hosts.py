"""Further names of hosts, cluster addresses, TLS handed through, what nobody serves: section 3 by its numbers."""

import base64
import ssl

import msgspec
import pytest

from lb.cluster.objects import Ingress
from tests.ingress.certificates import tls_secret
from tests.ingress.site import ECHO, Site, annotated, fixture_of
from tests.ingress.state import service

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = tls_secret("s", "covered.example", "also.example")

site = fixture_of(
    annotated("alias.example", {"server-alias": "other.example, owned.example"}),
    annotated("owned.example", {"use-regex": "false"}, ("/", "Prefix", "owner")),
    annotated(
        "covered.example", {"server-alias": "also.example"}, tls=[{"hosts": ["covered.example"], "secretName": "s"}]
    ),
    annotated("unused.example", {}, ("/", "Prefix", "address")),
    SECRET,
    https=True,
)


async def test_250_an_alias_is_served_as_its_host(site: Site) -> None:
    assert (await site.get("other.example", "/x")).service == ECHO
    assert (await site.get("other.example:8080", "/x")).service == ECHO


async def test_250_an_alias_that_is_a_real_host_is_ignored(site: Site) -> None:
    assert (await site.get("owned.example")).service == "owner"


async def test_250_an_alias_comes_and_goes_live(site: Site) -> None:
    async def status() -> int:
        return (await site.get("late.example")).status

    assert await status() == 404
    site.folder.write("live", [annotated("live.example", {"server-alias": "late.example"})])
    await site.becomes(status, 200)
    site.folder.write("live", [annotated("live.example")])
    await site.becomes(status, 404)


async def test_250_an_alias_shows_the_certificate_of_its_host(site: Site) -> None:
    assert SECRET.data is not None
    chain = base64.b64decode(SECRET.data["tls.crt"]).decode()
    for name in ("covered.example", "also.example"):
        await site.served.until_certificate(name, ssl.create_default_context(cadata=chain))


async def test_200_the_cluster_address_is_asked_and_not_the_endpoints(site: Site) -> None:
    port = int(site.endpoints["address"].address.rpartition(":")[2])
    found = service("address", "127.0.0.9:9", ports=[{"port": port}], clusterIP="127.0.0.1")
    site.folder.write("service-address", found)
    rule = annotated("cluster.example", {"service-upstream": "true"}, ("/", "Prefix", "address"), name="cluster")
    site.folder.write("cluster", [on_port(rule, port)])

    async def status() -> int:
        return (await site.get("cluster.example")).status

    await site.becomes(status, 200)


def on_port(rule: Ingress, port: int) -> Ingress:
    """The same Ingress with another number for its Service's port."""
    text = msgspec.json.encode(rule).replace(b'"number":80', b'"number":%d' % port)
    return msgspec.json.decode(text, type=Ingress)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("path", ["/", "/demo"])
async def test_237_what_nobody_serves_is_not_found(site: Site, method: str, secure: bool, path: str) -> None:
    assert (await site.get("nobody.example", path, secure=secure, method=method)).status == 404
