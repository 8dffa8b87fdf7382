"""The Ingress controller on real Kubernetes: hosts and paths from the API server, status, TLS."""

import base64
import json
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e import shop
from tests.e2e.cluster import pki
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.shop import BESIDE, FAR, LONELY, NAMESPACE, NEAR, Town

HOST, SECURE_HOST = "shop.example", "secure.example"


@pytest.fixture(scope="module")
def front(cluster: Cluster, town: Town) -> Iterator[str]:
    """The address of the proxy; HOST leads to `all`."""
    if not cluster.parts.ingress:
        pytest.skip("no Ingress controller in the baseline")
    cluster.kubectl.apply(shop.ingress_class(), shop.ingress("shop", HOST, {"/": "all"}))
    address = cluster.nodes[0].address
    cluster.wait(f"{HOST} answers", lambda: _ask(town, address, HOST, "/hostname"))
    yield address
    cluster.kubectl("-n", NAMESPACE, "delete", "ingress", "shop")


def test_host_leads_to_every_pod(town: Town, front: str) -> None:
    answers = Counter(_ask(town, front, HOST, "/hostname") for _ in range(40))
    assert set(answers) == {NEAR, BESIDE, FAR}, answers


def test_unknown_host_is_not_found(town: Town, front: str) -> None:
    with pytest.raises(RuntimeError, match="404"):
        _ask(town, front, "nobody.example", "/hostname")


def test_status_has_the_published_address(cluster: Cluster, front: str) -> None:
    def published() -> bool:
        status = cluster.kubectl.get("ingress", "shop", NAMESPACE)["status"]["loadBalancer"]
        return bool(status.get("ingress") == [{"ip": front}])

    cluster.wait("the Ingress' status has the address", published)


def test_path_leads_to_its_own_service(cluster: Cluster, town: Town, front: str) -> None:
    host = "paths.example"
    cluster.kubectl.apply(shop.ingress("paths", host, {"/": "all", "/hostname": "lonely"}))
    try:
        cluster.wait("it answers", lambda: _ask(town, front, host, "/healthz") or True)
        assert {_ask(town, front, host, "/hostname") for _ in range(10)} == {LONELY}
        assert {_ask(town, front, host, "/hostName") for _ in range(10)} <= {NEAR, BESIDE, FAR}
    finally:
        cluster.kubectl("-n", NAMESPACE, "delete", "ingress", "paths")


def test_changed_backend_takes_effect(cluster: Cluster, town: Town, front: str) -> None:
    host = "moving.example"
    cluster.kubectl.apply(shop.ingress("moving", host, {"/": "all"}))
    try:
        cluster.wait("it answers", lambda: _ask(town, front, host, "/hostname"))
        cluster.kubectl.apply(shop.ingress("moving", host, {"/": "lonely"}))
        cluster.wait("the other Service answers", lambda: _ask(town, front, host, "/hostname") == LONELY)
        assert {_ask(town, front, host, "/hostname") for _ in range(10)} == {LONELY}
    finally:
        cluster.kubectl("-n", NAMESPACE, "delete", "ingress", "moving")


def test_deleted_ingress_is_not_found(cluster: Cluster, town: Town, front: str) -> None:
    host = "brief.example"
    cluster.kubectl.apply(shop.ingress("brief", host, {"/": "all"}))
    cluster.wait("it answers", lambda: _ask(town, front, host, "/hostname"))
    cluster.kubectl("-n", NAMESPACE, "delete", "ingress", "brief")

    def gone() -> bool:
        try:
            return not _ask(town, front, host, "/hostname")
        except RuntimeError as error:
            return "404" in str(error)

    cluster.wait("it is not found", gone)


def test_tls_by_secret(cluster: Cluster, town: Town, front: str) -> None:
    keys = cluster.state / "pki"
    pki.self_signed(keys, SECURE_HOST)
    data = {
        name: base64.b64encode((keys / f"{SECURE_HOST}.{end}").read_bytes()).decode()
        for name, end in (("tls.crt", "crt"), ("tls.key", "key"))
    }
    meta = {"name": "secure", "namespace": NAMESPACE}
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": meta, "data": data}
    cluster.kubectl.apply(secret, shop.ingress("secure", SECURE_HOST, {"/": "all"}, tls_secret="secure"))
    url = f"https://{SECURE_HOST}/hostname"
    flags = ("--cacert", str(keys / f"{SECURE_HOST}.crt"), "--resolve", f"{SECURE_HOST}:443:{front}")
    try:
        cluster.wait("it answers by TLS", lambda: town.curl_outside(url, *flags) in (NEAR, BESIDE, FAR))
    finally:
        cluster.kubectl("-n", NAMESPACE, "delete", "ingress/secure", "secret/secure")


def test_big_upload_passes_whole(cluster: Cluster, town: Town, front: str) -> None:
    """Up from a client outside through the proxy into a pod; the pod counts and tells."""
    size = 30_000_000
    file = cluster.state / "upload"
    file.write_bytes(b"x" * size)
    host = "upload.example"
    cluster.kubectl.apply(shop.ingress("upload", host, {"/": "lonely"}))
    try:
        cluster.wait("it answers", lambda: _ask(town, front, host, "/hostname"))
        told = town.curl_outside(
            f"http://{front}/upload", "-H", f"Host: {host}", "-F", f"file=@{file}", "--max-time", "40"
        )
        stored = json.loads(told)["output"]
        counted = cluster.kubectl.exec(NAMESPACE, LONELY, "wc", "-c", stored)
        assert counted.split()[0] == str(size)
        cluster.kubectl.exec(NAMESPACE, LONELY, "rm", stored)
    finally:
        cluster.kubectl("-n", NAMESPACE, "delete", "ingress", "upload")


def test_ingress_of_another_class_is_left_alone(cluster: Cluster, town: Town, front: str) -> None:
    foreign = shop.ingress("foreign", "foreign.example", {"/": "all"})
    foreign["spec"]["ingressClassName"] = "somebody-else"
    ours = shop.ingress("ours", "ours.example", {"/": "all"})
    cluster.kubectl.apply(foreign, ours)
    try:
        cluster.wait("ours answers", lambda: _ask(town, front, "ours.example", "/hostname"))
        with pytest.raises(RuntimeError, match="404"):
            _ask(town, front, "foreign.example", "/hostname")
        assert not cluster.kubectl.get("ingress", "foreign", NAMESPACE)["status"]["loadBalancer"].get("ingress")
    finally:
        cluster.kubectl("-n", NAMESPACE, "delete", "ingress", "foreign", "ours")


def _ask(town: Town, address: str, host: str, path: str) -> str:
    return town.curl_outside(f"http://{address}{path}", "-H", f"Host: {host}")
