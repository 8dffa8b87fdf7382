"""What deploy/ has, installed as its README says: the chart by helm, the node agent by kustomize; rolled under load."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import yaml

from tests.e2e import deployed, shop
from tests.e2e.cluster import layout
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.processes import in_netns, run
from tests.e2e.load import Loads
from tests.e2e.shop import NAMESPACE

HOST, WEB, RELEASE = "chart.example", "behind-chart", "front"
CLASS, CONTROLLER = "front", "example.com/front"  # the controller beside the cluster serves the others
LEFT_BY_A_RELEASE = (
    "all,ingressclass,clusterrole,clusterrolebinding,role,rolebinding,serviceaccount,lease,configmap,secret,pdb,netpol,"
    "validatingwebhookconfiguration"
)
VALUES = {
    "controller": {
        "image": {"repository": deployed.REPOSITORY, "tag": deployed.TAGS[0]},
        "replicaCount": 2,
        "terminationGracePeriodSeconds": 40,
        "drainDelaySeconds": 5,
        "ingressClass": CLASS,
        "ingressClassResource": {"name": CLASS, "controllerValue": CONTROLLER},
        "ownIngressClass": {"enabled": False},
        "metrics": {"enabled": True},
        "config": {"keep-alive": 60},
        "addHeaders": {"X-Chart": "yes"},
        "networkPolicy": {"enabled": True},
    }
}


@pytest.fixture(scope="module", autouse=True)
def image(cluster: Cluster) -> None:
    deployed.load_image(cluster)


@pytest.fixture(scope="module")
def web(cluster: Cluster) -> Iterator[str]:
    """Two pods with a Service of every kind; its name.

    While they end they serve for longer than a node's agent is away.
    """
    kubectl = cluster.kubectl
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    web = shop.deployment(WEB, 2, drain_s=8), shop.service(WEB, {"app": WEB}, "LoadBalancer"), _ingress(WEB)
    kubectl.apply(*web)
    kubectl.rolled_out(WEB, NAMESPACE)
    yield WEB
    kubectl("-n", NAMESPACE, "delete", f"deploy/{WEB}", f"service/{WEB}", f"ingress/{WEB}", "--wait=false")


@pytest.fixture(scope="module")
def chart(cluster: Cluster, web: str) -> Iterator[str]:
    """The chart, installed; the address of its load balancer."""
    # The API server asks the admission webhook by its Service; a machine of a control plane usually has an agent.
    run(["ip", "-n", layout.CONTROL, "route", "replace", layout.SERVICE_NETWORK, "via", cluster.nodes[0].address])
    flags = ("--create-namespace", "--wait", "--timeout=90s", "--values=-")
    _helm(cluster, "install", RELEASE, str(deployed.CHART), *flags, stdin=yaml.safe_dump(VALUES))
    yield f"{cluster.load_balancer_address(RELEASE, f'{RELEASE}-causeway-controller')}:80"
    run(_helm_argv(cluster, "uninstall", RELEASE), check=False)
    cluster.kubectl("delete", "namespace", RELEASE, "--wait=false")


def test_an_ingress_answers_behind_the_chart(cluster: Cluster, chart: str) -> None:
    cluster.wait("the chart's proxy answers", lambda: _curl(cluster, chart))
    assert "X-Chart: yes" in _curl(cluster, chart, "--include")

    def status() -> bool:
        given = cluster.kubectl.get("ingress", WEB, NAMESPACE)["status"]["loadBalancer"].get("ingress", [])
        return [each["ip"] for each in given] == [chart.partition(":")[0]]

    cluster.wait("the Ingress has the Service's address", status)


def test_an_ingress_that_asks_for_what_another_has_is_refused(cluster: Cluster, chart: str) -> None:
    with pytest.raises(RuntimeError, match=f"admission webhook.* denied the request.*{NAMESPACE}/{WEB}"):
        cluster.kubectl.apply(_ingress("twin"))


def test_its_metrics_have_their_service(cluster: Cluster, chart: str) -> None:
    address = cluster.kubectl.get("service", f"{RELEASE}-causeway-controller-metrics", RELEASE)["spec"]["clusterIP"]
    told = cluster.on_node(cluster.nodes[0], "curl", "--silent", "--max-time", "5", f"http://{address}:10254/metrics")
    assert f'controller_namespace="{RELEASE}"' in told
    assert f'controller_class="{CONTROLLER}"' in told


def test_a_new_version_loses_no_request(cluster: Cluster, chart: str) -> None:
    old = _pods(cluster)
    with ExitStack() as stack:
        loads = Loads(stack, {"Ingress": chart, "Ingress, keep-alive": chart}, HOST)
        flags = ("--reuse-values", "--wait", "--timeout=120s", f"--set-string=controller.image.tag={deployed.TAGS[1]}")
        _helm(cluster, "upgrade", RELEASE, str(deployed.CHART), *flags)
        cluster.wait("the old pods have ended", lambda: not old & _pods(cluster), 60)
        loads.check()
    assert len(_pods(cluster)) == len(old)


def test_nothing_is_left_of_the_chart(cluster: Cluster, chart: str) -> None:
    """Not even the statuses it has written, though the rights to write go before the pods do."""
    _helm(cluster, "uninstall", RELEASE, "--wait")
    cluster.wait("the pods have ended", lambda: not _pods(cluster), 60)
    assert not cluster.kubectl.get("ingress", WEB, NAMESPACE)["status"]["loadBalancer"].get("ingress")
    left = cluster.kubectl(
        "get", LEFT_BY_A_RELEASE, "-A", "-o=name", f"--selector=app.kubernetes.io/instance={RELEASE}"
    )
    assert left == ""
    assert cluster.kubectl("-n", RELEASE, "get", "lease,job", "-o=name") == ""


def test_our_image_in_an_installation_of_ingress_nginx(cluster: Cluster, web: str) -> None:
    """Its Deployment's arguments, environment, probes and rights; only the image is another."""
    kubectl, space, moved = cluster.kubectl, "ingress-nginx", _ingress("moved")
    moved["spec"]["ingressClassName"] = "moved"
    moved["spec"]["rules"][0]["host"] = "moved.example"
    objects = list(yaml.safe_load_all((deployed.TOP / "tests/e2e/nginx_installation.yaml").read_text()))
    pair = [f"--from-file={name}={cluster.programs}/localhost.{end}" for name, end in (("cert", "crt"), ("key", "key"))]
    try:
        kubectl.apply(*objects)
        kubectl("-n", space, "create", "secret", "generic", "ingress-nginx-admission", *pair)
        kubectl.apply(moved)
        kubectl.rolled_out("ingress-nginx-controller", space)
        address = cluster.load_balancer_address(space, "ingress-nginx-controller")
        cluster.wait("it answers", lambda: cluster.client(*shop.CURL, "-H", "Host: moved.example", f"http://{address}"))

        def status() -> bool:
            given = kubectl.get("ingress", "moved", NAMESPACE)["status"]["loadBalancer"].get("ingress", [])
            return [each["ip"] for each in given] == [address]

        cluster.wait("the Ingress has the Service's address", status)
    finally:
        kubectl("-n", NAMESPACE, "delete", "ingress", "moved", "--ignore-not-found")
        kubectl("delete", "--wait=false", "--ignore-not-found", "-f", "-", stdin=yaml.safe_dump_all(objects))


@pytest.mark.parametrize("folder", ["base", "overlays/daemonset-hostports", "node"])
def test_the_api_server_knows_every_field_of_kustomize(cluster: Cluster, folder: str) -> None:
    rendered = cluster.kubectl("kustomize", str(deployed.TOP / "deploy/kustomize" / folder))
    said = cluster.kubectl("apply", "--dry-run=client", "--validate=strict", "-f", "-", stdin=rendered)
    assert said.count(" (dry run)") == rendered.count("\nkind: ")


@pytest.mark.disruptive
def test_the_node_agent_as_a_daemon_set(cluster: Cluster, web: str) -> None:
    """It takes over from agents beside the cluster, rolls, and hands back; pods keep talking, and new ones start."""
    if cluster.baseline:
        pytest.skip("upstream's parts carry the pods")
    kubectl, node_port = cluster.kubectl, cluster.kubectl.get("service", WEB, NAMESPACE)["spec"]["ports"][0]["nodePort"]
    ways = {node.name: f"{node.address}:{node_port}" for node in cluster.nodes}
    announced = f"{cluster.load_balancer_address(NAMESPACE, WEB)}:80"
    assert cluster.parts.balancer
    beside = [*cluster.parts.agents.values(), cluster.parts.balancer]
    with ExitStack() as stack:
        loads = Loads(stack, ways, HOST)
        for process in beside:
            process.end(signal.SIGTERM)
        objects = deployed.node_objects(cluster, deployed.TAGS[0])
        try:
            kubectl.apply(*objects)
            _node_rolled_out(cluster)
            cluster.wait("the address is announced", lambda: _curl(cluster, announced))
            with ExitStack() as rolling:
                # One agent at a time is away, and the address it announces moves to the other node, and back: up to
                # four times. A connection that is open at that moment meets a node that does not know it.
                through = Loads(rolling, {"load balancer": announced}, HOST)
                kubectl.apply(*deployed.node_objects(cluster, deployed.TAGS[1]))
                kubectl("-n", NAMESPACE, "rollout", "restart", f"deploy/{WEB}")
                _node_rolled_out(cluster)
                _web_rolled_out(cluster)
                through.check(broken=4)
        finally:
            kubectl("delete", "-f", "-", "--wait", stdin=yaml.safe_dump_all(objects))
            for process in beside:
                process.start()
        kubectl("-n", NAMESPACE, "rollout", "restart", f"deploy/{WEB}")
        _web_rolled_out(cluster)
        loads.check()


def _ingress(name: str) -> shop.Object:
    ingress = shop.ingress(name, HOST, {"/": WEB})
    ingress["spec"]["ingressClassName"] = CLASS
    return ingress


def _web_rolled_out(cluster: Cluster) -> None:
    """The old pods have ended, too: nobody would take them out of Services while there is no agent."""
    cluster.kubectl.rolled_out(WEB, NAMESPACE)
    cluster.wait("the old pods have ended", lambda: len(cluster.kubectl.all("pods", NAMESPACE, f"app={WEB}")) == 2, 60)


def _node_rolled_out(cluster: Cluster) -> None:
    for what in ("ds/causeway-node", "deploy/causeway-balancer"):
        cluster.kubectl("-n", "kube-system", "rollout", "status", what, "--timeout=90s", timeout=95)


def _pods(cluster: Cluster) -> set[str]:
    return {each["metadata"]["name"] for each in cluster.kubectl.all("pods", RELEASE)}


def _curl(cluster: Cluster, address: str, *flags: str) -> str:
    return cluster.client(*shop.CURL, *flags, "-H", f"Host: {HOST}", f"http://{address}/hostname")


def _helm_argv(cluster: Cluster, *arguments: str) -> list[str]:
    kubeconfig = f"--kubeconfig={cluster.state}/admin.kubeconfig"
    return in_netns(layout.CONTROL, [str(cluster.programs / "helm"), kubeconfig, "-n", RELEASE, *arguments])


def _helm(cluster: Cluster, *arguments: str, stdin: str = "") -> str:
    return run(_helm_argv(cluster, *arguments), stdin=stdin, timeout=150).stdout
