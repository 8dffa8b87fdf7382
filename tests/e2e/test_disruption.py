"""Parts end, by kill -9 or with their node, and come back: what goes on meanwhile, and what works afterwards."""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from tests.e2e import load, shop
from tests.e2e.cluster import layout, leftovers, network
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.load import Loads
from tests.e2e.shop import FAR, LONELY, NAMESPACE, NEAR, TARGET_PORT, TOWN, Town

pytestmark = pytest.mark.disruptive
HOST, WEB = "steady.example", "steady"
MOVED_WITHIN_S = 10.0


@pytest.fixture(scope="module")
def ways(cluster: Cluster, town: Town) -> Iterator[dict[str, str]]:
    """Ways from outside to the pods near, beside and far that need no load-balancer address."""
    cluster.kubectl.apply(shop.service(WEB, {"town": "yes"}, "NodePort"))
    found = {f"port of {node.name}": f"{node.address}:{town.node_port(WEB)}" for node in cluster.nodes}
    if cluster.parts.ingress:
        cluster.kubectl.apply(shop.ingress_class(), shop.ingress(WEB, HOST, {"/": WEB}))
        found["Ingress"] = f"{cluster.nodes[0].address}:80"
    found |= {f"{way}, keep-alive": address for way, address in found.items()}
    for way, address in found.items():
        cluster.wait(f"{way} answers", partial(_ask, town, address))
    yield found
    cluster.kubectl("-n", NAMESPACE, "delete", "service", WEB)
    if cluster.parts.ingress:
        cluster.kubectl("-n", NAMESPACE, "delete", "ingress", WEB)


@pytest.fixture
def moving(cluster: Cluster, town: Town) -> Iterator[str]:
    """The load-balancer address of the Service `moving`."""
    if cluster.baseline:
        pytest.skip("the baseline's addresses do not move")
    cluster.kubectl.apply(shop.service("moving", {"town": "yes"}, "LoadBalancer"))
    address = cluster.load_balancer_address(NAMESPACE, "moving")
    cluster.wait(f"{address} answers", partial(_ask, town, address))
    yield address
    cluster.kubectl("-n", NAMESPACE, "delete", "service", "moving")
    for agent in cluster.parts.agents.values():
        if not agent.alive:
            agent.start()
    for node in cluster.nodes:
        network.set_cable(node.netns, plugged=True)
    cluster.wait("all nodes are Ready", cluster.nodes_ready, 60)


def test_killed_agents_harm_no_traffic(cluster: Cluster, town: Town, ways: dict[str, str]) -> None:
    """All agents are killed and started again under load; pods born meanwhile come up."""
    with ExitStack() as stack:
        loads = Loads(stack, ways, HOST)
        for agent in cluster.parts.agents.values():
            agent.end()
        for source, target in ((NEAR, FAR), (FAR, NEAR)):
            assert town.curl(source, f"http://{town.addresses[target]}:{TARGET_PORT}/hostname") == target
            assert town.curl(source, f"http://{town.cluster_ip('all')}/hostname")
        cluster.kubectl.apply(*(shop.pod(f"born-{n.name}", n.name, {"born": "yes"}) for n in cluster.nodes))
        for agent in cluster.parts.agents.values():
            agent.start()
        wait = ["wait", "pod", "-l", "born=yes", "--for=condition=Ready", "--timeout=60s"]
        cluster.kubectl("-n", NAMESPACE, *wait, timeout=65)
        loads.check()
    born = shop.pod_addresses(cluster, "born=yes")
    assert len(set(born.values()) | set(town.addresses.values())) == len(born) + len(town.addresses)
    for name, address in born.items():
        for source in (NEAR, FAR):
            assert town.curl(source, f"http://{address}:{TARGET_PORT}/hostname") == name
    cluster.kubectl("-n", NAMESPACE, "delete", "pod", "-l", "born=yes", "--timeout=60s", timeout=65)


def test_changes_made_while_agents_were_away_take_effect(cluster: Cluster, town: Town) -> None:
    cluster.kubectl.apply(shop.service("changing", {"name": NEAR}))
    url = f"http://{town.cluster_ip('changing')}/hostname"
    cluster.wait("it leads to the one", lambda: town.curl(FAR, url) == NEAR)
    for agent in cluster.parts.agents.values():
        agent.end()
    cluster.kubectl.apply(shop.service("changing", {"name": FAR}), shop.service("late", {"name": FAR}))
    for agent in cluster.parts.agents.values():
        agent.start()
    cluster.wait("it leads to the other", lambda: town.curl(NEAR, url) == FAR)
    late = f"http://{town.cluster_ip('late')}/hostname"
    cluster.wait("the new Service answers", lambda: town.curl(NEAR, late) == FAR)
    cluster.kubectl("-n", NAMESPACE, "delete", "service", "changing", "late")


def test_pods_that_end_while_agents_are_away_are_cleaned_up(cluster: Cluster, town: Town) -> None:
    """The plugin says "try again later", and what it was asked for happens when the agent is there."""
    node = cluster.nodes[0]
    before = cluster.pod_links(node)
    names = [f"leaving-{i}" for i in range(3)]
    cluster.kubectl.apply(*(shop.pod(name, node.name, {"leaving": "yes"}) for name in names))
    wait = ["wait", "pod", "-l", "leaving=yes", "--for=condition=Ready", "--timeout=60s"]
    cluster.kubectl("-n", NAMESPACE, *wait, timeout=65)
    agent = cluster.parts.agents[node.name]
    agent.end()
    cluster.kubectl("-n", NAMESPACE, "delete", "pod", "-l", "leaving=yes", "--wait=false")
    kubelet = cluster.machines[node.name][1]
    if not cluster.baseline:
        cluster.wait("the kubelet is told to try later", lambda: "KillPodSandboxError" in kubelet.log_end(20_000), 60)
    agent.start()
    cluster.wait("the pods are gone", lambda: not cluster.kubectl.all("pods", NAMESPACE, "leaving=yes"), 60)
    cluster.wait("their links are gone", lambda: cluster.pod_links(node) == before)
    assert town.curl(FAR, f"http://{town.addresses[NEAR]}:{TARGET_PORT}/hostname") == NEAR


def test_agents_end_when_told(cluster: Cluster, town: Town) -> None:
    """SIGTERM is obeyed in seconds, with exit code 0."""
    for agent in cluster.parts.agents.values():
        code = agent.end(signal.SIGTERM)
        agent.start()
        assert code == 0 or cluster.baseline, agent.log_end()
    cluster.wait("Services answer", lambda: town.curl(NEAR, f"http://{town.cluster_ip('all')}/hostname"))


def test_api_server_restarted_harms_no_traffic(cluster: Cluster, town: Town, ways: dict[str, str]) -> None:
    server = cluster.control["kube-apiserver"]
    with ExitStack() as stack:
        loads = Loads(stack, ways, HOST)
        server.end()
        for _ in range(20):
            assert town.curl_outside(f"http://{ways['port of node2']}/hostname")
        server.start()
        cluster.wait("the API server answers", lambda: cluster.kubectl("get", "--raw", "/readyz"), 60)
        cluster.kubectl.apply(shop.service("after", {"name": FAR}))
        url = f"http://{town.cluster_ip('after')}/hostname"
        cluster.wait("a Service made afterwards answers", lambda: town.curl(NEAR, url) == FAR)
        loads.check()
    cluster.kubectl("-n", NAMESPACE, "delete", "service", "after")


def test_killed_balancer_keeps_its_addresses(cluster: Cluster, moving: str) -> None:
    assert cluster.parts.balancer
    cluster.parts.balancer.end()
    cluster.kubectl.apply(shop.service("waiting", {"name": FAR}, "LoadBalancer"))
    cluster.parts.balancer.start()
    other = cluster.load_balancer_address(NAMESPACE, "waiting")
    assert other != moving
    assert cluster.load_balancer_address(NAMESPACE, "moving") == moving
    cluster.kubectl("-n", NAMESPACE, "delete", "service", "waiting")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "told to end"])
def test_ingress_comes_back(cluster: Cluster, town: Town, ways: dict[str, str], how: signal.Signals) -> None:
    proxy = cluster.parts.ingress
    if not proxy:
        pytest.skip("no Ingress controller in the baseline")
    before = len(leftovers.marked(proxy.name))
    code = proxy.end(how)
    proxy.start()
    assert code == (0 if how == signal.SIGTERM else -how), proxy.log_end()
    cluster.wait("the Ingress answers", partial(_ask, town, ways["Ingress"]))
    cluster.wait("no worker of the one before is left", lambda: len(leftovers.marked(proxy.name)) == before)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["told to end", "killed"])
def test_address_moves_when_its_agent_ends(cluster: Cluster, town: Town, moving: str, how: signal.Signals) -> None:
    holder = _holder(cluster, moving)
    with load.running(f"{moving}:{shop.PORT}", clients=2, rate=25) as running:
        cluster.parts.agents[holder.name].end(how)
        _wait_for_other_holder(cluster, moving, holder)
        result = running.stop()
    assert result.longest_gap_s < MOVED_WITHIN_S, result
    assert _ask(town, moving)


def test_address_moves_when_its_node_is_cut_off(cluster: Cluster, town: Town, moving: str) -> None:
    """The one pod behind it is on the other node, so that only the address has to move."""
    holder = _holder(cluster, moving)
    other = next(node for node in cluster.nodes if node != holder)
    survivor = next(
        pod["metadata"]["name"]
        for pod in cluster.kubectl.all("pods", NAMESPACE, "town=yes")
        if pod["spec"]["nodeName"] == other.name
    )
    cluster.kubectl.apply(shop.service("moving", {"name": survivor}, "LoadBalancer"))
    cluster.wait("the one pod is left", lambda: {_ask(town, moving) for _ in range(8)} == {survivor})
    holder = _holder(cluster, moving)
    assert holder != other, "the address has moved before anything happened to its node"
    with load.running(f"{moving}:{shop.PORT}", clients=2, rate=25) as running:
        network.set_cable(holder.netns, plugged=False)
        _wait_for_other_holder(cluster, moving, holder)
        cluster.wait("the address answers again", partial(_ask, town, moving))
        result = running.stop()
    assert result.longest_gap_s < MOVED_WITHIN_S, result
    network.set_cable(holder.netns, plugged=True)
    cluster.wait("all nodes are Ready", cluster.nodes_ready, 60)
    cluster.wait("the address answers after the node's return", partial(_ask, town, moving))
    _holder(cluster, moving)


def test_node_comes_back_after_a_power_cut(cluster: Cluster, town: Town) -> None:
    """Its pods start again with addresses nobody else has, and nothing of the old ones is left."""
    node = cluster.nodes[1]
    before = len(cluster.pod_links(node))
    cluster.crash(node)
    cluster.boot(node)

    def restarted() -> bool:
        found = town.addresses
        urls = {name: f"http://{address}:{TARGET_PORT}/hostname" for name, address in found.items()}
        return set(found) == set(TOWN) and all(town.curl(NEAR, url) == name for name, url in urls.items())

    cluster.wait("every pod answers by its address of now", restarted, 60)
    assert len(set(town.addresses.values())) == len(TOWN)
    cluster.wait("as many links as before", lambda: len(cluster.pod_links(node)) == before)
    cluster.wait("all nodes are Ready", cluster.nodes_ready, 60)
    for name in ("all", "lonely"):
        url = f"http://{town.cluster_ip(name)}/hostname"
        cluster.wait(f"{name} answers", partial(town.curl, LONELY, url))
        assert cluster.on_node(node, "curl", "-sf", "--max-time", "5", url)


def _ask(town: Town, address: str) -> str:
    return town.curl_outside(f"http://{address}/hostname", "-H", f"Host: {HOST}", "--max-time", "2")


def _holders(cluster: Cluster, address: str) -> list[layout.Node]:
    """The nodes that answer for an address, asked by ARP from the client outside."""
    told = cluster.client("arping", "-b", "-c", "1", "-w", "1", "-I", "eth0", address, check=False).lower()
    return [node for node in cluster.nodes if f"[{_mac(cluster, node)}]" in told]


def _holder(cluster: Cluster, address: str) -> layout.Node:
    """The one; while nodes come back two may answer, but not for longer than `MOVED_WITHIN_S`."""

    def only() -> list[layout.Node]:
        found = _holders(cluster, address)
        return found if len(found) == 1 else []

    answering: list[layout.Node] = cluster.wait(f"one node alone answers for {address}", only, MOVED_WITHIN_S)
    return answering[0]


def _wait_for_other_holder(cluster: Cluster, address: str, old: layout.Node) -> None:
    def moved() -> bool:
        found = _holders(cluster, address)
        return len(found) == 1 and found[0] != old

    cluster.wait(f"another node than {old.name} answers for {address}", moved, 40)


def _mac(cluster: Cluster, node: layout.Node) -> str:
    return str(json.loads(cluster.on_node(node, "ip", "-j", "link", "show", "eth0"))[0]["address"])
