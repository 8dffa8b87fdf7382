"""ingress-nginx's arguments, as Deployments have them."""

import pytest

from ingress.compat_flags import translate
from tests.ingress.peers import ask
from tests.ingress.serving import started
from tests.ingress.site import ANYBODY
from tests.lb.cluster.conftest import RealApi

PORTS = ["--http=:80", "--https=:443", "--access-log=-", "--admin=:10254", "--health-check-path=/healthz"]


def test_the_arguments_of_its_helm_chart() -> None:
    found = translate(
        [
            "/nginx-ingress-controller",
            "--publish-service=$(POD_NAMESPACE)/ingress-nginx-controller",
            "--election-id=ingress-nginx-leader",
            "--controller-class=k8s.io/ingress-nginx",
            "--ingress-class=nginx",
            "--configmap=$(POD_NAMESPACE)/ingress-nginx-controller",
            "--validating-webhook=:8443",
            "--validating-webhook-certificate=/usr/local/certificates/cert",
            "--enable-metrics=false",
            "--watch-ingress-without-class=true",
            "--tcp-services-configmap=$(POD_NAMESPACE)/tcp",
            "--udp-services-configmap=$(POD_NAMESPACE)/udp",
            "--v=2",
        ]
    )
    assert found.arguments == [
        "--publish-service=$(POD_NAMESPACE)/ingress-nginx-controller",
        "--election-id=ingress-nginx-leader",
        "--controller-class=k8s.io/ingress-nginx",
        "--ingress-class=nginx",
        "--configmap=$(POD_NAMESPACE)/ingress-nginx-controller",
        "--validating-webhook=:8443",
        "--validating-webhook-certificate=/usr/local/certificates/cert",
        "--watch-ingress-without-class",
        "--tcp-services-configmap=$(POD_NAMESPACE)/tcp",
        "--udp-services-configmap=$(POD_NAMESPACE)/udp",
        "--verbose",
        *PORTS,
    ]
    assert found.notes == []


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (["--http-port=8080", "--https-port", "8443", "--healthz-port=1", "--healthz-host=127.0.0.1"], None),
        (["-watch-ingress-without-class"], ["--watch-ingress-without-class"]),
        (["--watch-ingress-without-class=false"], []),
        (["--metrics-per-host=false", "--update-status-on-shutdown"], None),
        (
            ["--update-status=false", "--publish-status-address", "10.0.0.1", "--publish-service=a/b"],
            ["--update-status=false", "--publish-status-address=10.0.0.1", "--publish-service=a/b"],
        ),
        (
            ["--report-node-internal-ip-address=true", "--update-status"],
            ["--report-node-internal-ip-address", "--update-status=true"],
        ),
        (["--shutdown-grace-period=7"], ["--drain-delay=7"]),
        (["--logtostderr", "--enable-metrics", "--sync-rate-limit", "0.3", "--v=1"], []),
        (["--watch-namespace", "shop"], ["--watch-namespace", "shop"]),
        (["--time-buckets=1,2", "--size-buckets", "10"], ["--time-buckets=1,2", "--size-buckets", "10"]),
        (["--exclude-socket-metrics=a,b"], ["--exclude-socket-metrics=a,b"]),
    ],
)
def test_flags(given: list[str], made: list[str] | None) -> None:
    expected = {
        "--http-port=8080": [
            "--http=:8080",
            "--https=:8443",
            "--access-log=-",
            "--admin=127.0.0.1:1",
            "--health-check-path=/healthz",
        ],
        "--metrics-per-host=false": ["--metrics-per-host=false", "--update-status-on-shutdown=true", *PORTS],
    }
    assert translate(given).arguments == (expected[given[0]] if made is None else [*made, *PORTS])


def test_who_says_what_to_listen_on_has_no_other_ports() -> None:
    given = ["--http", ":8080", "--drain", "3", "-v"]
    assert translate(given).arguments == given


def test_what_has_no_effect_is_told() -> None:
    found = translate(["--disable-leader-election", "--sync-period=1m", "--enable-metrics", "--profiling"])
    assert found.arguments == PORTS
    assert [each.split()[0] for each in found.notes] == ["--disable-leader-election", "--sync-period", "--profiling"]


async def test_a_deployments_arguments_against_an_api_server(real_api: RealApi) -> None:
    """One namespace is watched; the ConfigMap is in another."""
    made: list[str] = []

    async def create(path: str, content: dict[str, object]) -> None:
        await real_api.request("POST", path, content)
        metadata = content["metadata"]
        assert isinstance(metadata, dict)
        made.append(f"{path}/{metadata['name']}")

    ingresses = "/apis/networking.k8s.io/v1/namespaces/{}/ingresses"
    backend = {"service": {"name": "x", "port": {"number": 80}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    try:
        for name in ("watched", "unwatched", "ops"):
            await create("/api/v1/namespaces", {"metadata": {"name": name}})
        for name in ("watched", "unwatched"):
            metadata = {"name": "one", "annotations": {"kubernetes.io/ingress.class": "nginx"}}
            spec = {"rules": [{"host": f"{name}.example", "http": {"paths": paths}}]}
            await create(ingresses.format(name), {"metadata": metadata, "spec": spec})
        port = {"causeway.dev/permanent-redirect": "/new", "causeway.dev/use-port-in-redirects": "true"}
        metadata = {"name": "two", "annotations": {"kubernetes.io/ingress.class": "nginx", **port}}
        spec = {"rules": [{"host": "port.example", "http": {"paths": paths}}]}
        await create(ingresses.format("watched"), {"metadata": metadata, "spec": spec})
        config = {"metadata": {"name": "controller"}, "data": {"keep-alvie": "7", "hsts": "false"}}
        await create("/api/v1/namespaces/ops/configmaps", config)
        flags = ["/nginx-ingress-controller", f"--kubeconfig={real_api.kubeconfig({'token': real_api.admin})}"]
        flags += ["--http-port=0", "--https-port=0", "--healthz-port=0", "--healthz-host=127.0.0.1", "--v=2"]
        flags += ["--watch-namespace=watched", "--configmap=ops/controller", "--enable-metrics=true", "--workers=1"]
        flags += ["--sync-rate-limit=0.3", "--shutdown-grace-period=0", "--election-id=compat"]
        async with started("ingress", *flags) as running:
            await running.until(lambda: "admin" in running.ports)
            await running.until_status("/healthz", 200)
            assert (await ask(running.http, "watched.example")).status == 503
            assert (await ask(running.http, "unwatched.example")).status == 404
            # 219: with --http-port the port of a request is this one, with TLS it is 443 whatever --https-port says.
            found = await ask(running.http, "port.example")
            assert found.fields["location"] == f"http://port.example:{running.http}/new"
            found = await ask(running.https, "port.example", tls=ANYBODY, name="port.example")
            assert found.fields["location"] == "https://port.example/new"
            assert "ConfigMap ops/controller: data[keep-alvie]: it is not known here" in running.log
            assert "--sync-rate-limit has no effect" in running.log
            assert await running.end() == 0
    finally:
        for path in reversed(made):
            await real_api.request("DELETE", path)
