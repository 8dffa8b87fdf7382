"""The questions the demo asks its cluster, each a command anybody can type.  Pure: facts in, questions out.

In every path `->` is one hop; what an address became on the way is written where it became so.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from causeway.demo import expect
from causeway.demo.expect import Answer, Judge
from causeway.demo.layout import CLIENT_IP, INTERNET, SERVER_IP, SERVER_PORT
from causeway.demo.topology import NodePlace

NODE_PORT = 30123
SHOP_HOST = "shop.example.com"
DESK_HOST = "desk.example.com"
WEB_IP, CART_IP, ATTIC_IP = "10.96.0.20", "10.96.0.30", "10.96.0.99"
HAIRPIN_TRIES = 60
"""With two endpoints, the chance that the choice never falls on the asking pod is 2^-60."""


@dataclass(frozen=True)
class PodFact:
    """A ready pod."""

    namespace: str
    name: str
    deployment: str
    node: str
    ip: str

    @property
    def place(self) -> str:
        """The end of its namespace's name."""
        return f"{self.namespace}-{self.name}"

    def __str__(self) -> str:
        return f"pod {self.name} {self.ip}"


@dataclass(frozen=True)
class Facts:
    """The cluster as it is now. `balancer_node` answers ARP for `balancer_ip`, "" if nobody does."""

    pods: tuple[PodFact, ...]
    nodes: tuple[NodePlace, ...]
    balancer_ip: str
    balancer_node: str
    ca: str

    def of(self, deployment: str) -> tuple[PodFact, ...]:
        return tuple(pod for pod in self.pods if pod.deployment == deployment)

    def named(self, deployment: str) -> tuple[str, ...]:
        return tuple(pod.name for pod in self.of(deployment))

    def pod(self, name: str) -> PodFact:
        return next(pod for pod in self.pods if pod.name == name)

    def by_ip(self, ip: str) -> str:
        """What has this address, in words."""
        owners = [str(pod) for pod in self.pods if pod.ip == ip] + [f"{n.name} {ip}" for n in self.nodes if n.ip == ip]
        return next(iter(owners), ip)

    def node(self, name: str) -> NodePlace:
        return next(node for node in self.nodes if node.name == name)


@dataclass(frozen=True)
class Question:
    """One command, and what its answer must be."""

    title: str
    asker: str
    """Where it is typed: the end of a namespace's name."""
    argv: tuple[str, ...]
    judge: Judge
    path: Callable[[Answer], str]
    tries: int = 1
    """It may be asked so often until the answer is right."""


def curl(url: str, *flags: str) -> tuple[str, ...]:
    return ("curl", *flags, url)


def questions(facts: Facts) -> list[Question]:
    """Everything there is to ask, in the order of the way from a pod's neighbour to the internet."""
    return [*pod_questions(facts), *service_questions(facts), *internet_questions(facts), *ingress_questions(facts)]


def pod_questions(facts: Facts) -> Iterator[Question]:
    one, other = same_node_pair(facts.pods)
    yield pod_to_pod("pod to pod on one node: addresses unchanged", one, other)
    one, other = two_node_pair(facts.pods)
    yield pod_to_pod(f"pod to pod across nodes, {one.node} to {other.node}: addresses unchanged", one, other)
    desk = facts.of("desk")[0]
    yield Question(
        "two containers of one pod, over localhost",
        one.place,
        curl(f"http://{desk.ip}:8080/notes"),
        expect.all_of(
            expect.code(200), expect.by_pod([desk.name], "notes"), expect.seen_as(["127.0.0.1"], "the other container")
        ),
        lambda answer: (
            f"{one} -> pod {desk.name} {answer.remote}, container front -> {answer.said['local']}, container notes"
        ),
    )


def pod_to_pod(title: str, one: PodFact, other: PodFact) -> Question:
    return Question(
        title,
        one.place,
        curl(f"http://{other.ip}:8080/"),
        expect.all_of(expect.code(200), expect.by_pod([other.name]), expect.same_ends),
        lambda answer: f"pod {one.name} {answer.said['peer']} -> pod {other.name} {answer.said['local']}",
    )


def service_questions(facts: Facts) -> Iterator[Question]:
    web, cart, desk = facts.of("web")[0], facts.of("cart")[0], facts.of("desk")[0]
    carts = facts.named("cart")
    yield Question(
        "pod to ClusterIP: the source is unchanged",
        web.place,
        curl(f"http://{CART_IP}/"),
        expect.all_of(expect.code(200), expect.by_pod(carts), expect.same_source),
        lambda answer: f"{web} -> {CART_IP}:80 -> {served(answer)}",
    )
    yield Question(
        "pod to ClusterIP, UDP",
        desk.place,
        ("bash", "-c", f"exec 3<>/dev/udp/{CART_IP}/9000; echo hello >&3; timeout 2 head -n 1 <&3"),
        expect.all_of(expect.by_pod(carts), expect.seen_as([desk.ip], "the pod's address")),
        lambda answer: f"{desk} -> {CART_IP}:9000/udp -> {facts.pod(answer.said['pod'])}:9000",
    )
    yield Question(
        "pod to its own Service, until the choice falls on itself",
        cart.place,
        curl(f"http://{CART_IP}/"),
        expect.all_of(expect.code(200), expect.by_pod([cart.name])),
        lambda answer: f"{cart} -> {CART_IP}:80 -> {served(answer)} (the same), which saw {answer.peer_ip}",
        tries=HAIRPIN_TRIES,
    )
    yield Question(
        "a Service without endpoints refuses",
        web.place,
        curl(f"http://{ATTIC_IP}/"),
        expect.refused,
        lambda answer: f"{web} -> {ATTIC_IP}:80 -> connection refused",
    )


def internet_questions(facts: Facts) -> Iterator[Question]:
    for node in facts.nodes:
        yield node_port(facts, node)
    for node in facts.nodes:
        web = next((pod for pod in facts.pods if pod.node == node.name), None)
        if web is not None:
            yield pod_to_internet(web, node)


def node_port(facts: Facts, node: NodePlace) -> Question:
    def masqueraded(answer: Answer) -> str:
        pod = facts.pod(answer.said["pod"])
        if pod.node == node.name:
            return expect.not_seen_as(CLIENT_IP, "although its answer must go back through the node")(answer)
        return expect.seen_as([node.ip], "the node's address")(answer)

    return Question(
        f"internet to NodePort on {node.name}",
        INTERNET,
        curl(f"http://{node.ip}:{NODE_PORT}/"),
        expect.all_of(expect.code(200), expect.by_pod(facts.named("web")), masqueraded),
        lambda answer: (
            f"client {CLIENT_IP} -> {node.name} {node.ip}:{NODE_PORT} -> {WEB_IP}:80 -> {served(answer)}, "
            f"which saw {facts.by_ip(answer.peer_ip)}"
        ),
    )


def pod_to_internet(pod: PodFact, node: NodePlace) -> Question:
    return Question(
        f"pod on {node.name} to the internet: the source is the node's address",
        pod.place,
        curl(f"http://{SERVER_IP}:{SERVER_PORT}/"),
        expect.all_of(expect.code(200), expect.by_pod(["server"]), expect.seen_as([node.ip], "the node's address")),
        lambda answer: f"{pod} -> {node.name} {answer.peer_ip} -> server {SERVER_IP}:{SERVER_PORT}",
    )


def ingress_questions(facts: Facts) -> Iterator[Question]:
    proxies = [pod.ip for pod in facts.of("proxy")]

    def ask(title: str, argv: tuple[str, ...], pods: Sequence[str], port: int = 80) -> Question:
        return Question(
            title,
            INTERNET,
            argv,
            expect.all_of(expect.code(200), expect.by_pod(pods), expect.seen_as(proxies, "a proxy pod")),
            lambda answer: (
                f"client {CLIENT_IP} -> {facts.balancer_ip}:{port} on {facts.balancer_node} "
                f"-> {facts.by_ip(answer.peer_ip)}:{port} -> {served(answer)}"
            ),
        )

    yield Question(
        "internet to the load-balancer address; a host nobody serves is 404",
        INTERNET,
        curl(f"http://{facts.balancer_ip}/"),
        expect.code(404),
        lambda answer: (
            f"client {CLIENT_IP} -> {answer.remote} on {facts.balancer_node} -> a proxy: {answer.code}, no such host"
        ),
    )
    yield ask(f"Ingress by host: {SHOP_HOST}", curl(f"http://{SHOP_HOST}/"), facts.named("web"))
    yield ask("Ingress by path: /cart", curl(f"http://{SHOP_HOST}/cart/7"), facts.named("cart"))
    yield ask(f"Ingress by host: {DESK_HOST}", curl(f"http://{DESK_HOST}/"), facts.named("desk"))
    yield ask(
        f"Ingress over TLS: {SHOP_HOST}",
        curl(f"https://{SHOP_HOST}/", "--cacert", facts.ca),
        facts.named("web"),
        port=443,
    )


def served(answer: Answer) -> str:
    return f"pod {answer.said.get('pod')} {answer.said.get('local')}"


def echoes(pods: Sequence[PodFact]) -> list[PodFact]:
    return [pod for pod in pods if pod.deployment in ("web", "cart", "desk")]


def same_node_pair(pods: Sequence[PodFact]) -> tuple[PodFact, PodFact]:
    """Two pods on one node. Raises LookupError when there are none."""
    return pair(pods, lambda one, other: one.node == other.node)


def two_node_pair(pods: Sequence[PodFact]) -> tuple[PodFact, PodFact]:
    return pair(pods, lambda one, other: one.node != other.node)


def pair(pods: Sequence[PodFact], fits: Callable[[PodFact, PodFact], bool]) -> tuple[PodFact, PodFact]:
    found = echoes(pods)
    for one in found:
        for other in found:
            if one is not other and fits(one, other):
                return one, other
    raise LookupError("no two such pods: the manifests of the demo were changed too much for its checks")
