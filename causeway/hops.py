"""The way of one request, hop by hop, worked out from the objects alone. Pure.

Each hop says what happens, which object decided it, what it became in the kernel, and what the choice was; or why the
way ends there. `Walk` asks the same functions that the agents and the proxy act on, so it cannot tell another story.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ingress.routes.compile import RoutingTable
from ingress.routes.explain import explain as explain_route
from lb.balancer.elect import Claim, addresses_of, endpoints_of, judge, node_refusal, refusal
from lb.cluster.objects import Ingress, Node, Pod, Service
from lb.cluster.store import ObjectStore
from lb.endpoints import Endpoint, port_endpoints
from lb.service.classes import Source
from lb.service.explain import explain as explain_service
from lb.service.layout import TABLE
from lb.service.vips import Address, NodeFacts, Vip, cluster_ips_of, facts_of

INTERNET = "internet"
SHOWN_MAX = 6
"""More endpoints than this are counted, not listed."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One step. `what` is a single word; `details` are further lines: who decided, the element, the choice."""

    what: str
    said: str
    details: tuple[str, ...] = ()
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """Where the request comes from. `node` "" for the internet; `pod` "" unless a pod asks."""

    source: Source
    node: str = ""
    pod: str = ""
    address: str = ""


class BadQuestion(ValueError):
    """The question cannot be asked like this; the text says how."""


def start_of(store: ObjectStore, text: str) -> Start:
    """Read `--from`: "internet", "node" (any of them), a node's name, or NAMESPACE/POD. Raises BadQuestion."""
    if text == INTERNET:
        return Start(Source.OUTSIDE)
    nodes = sorted(node.metadata.name for node in store.all(Node))
    if text == "node" and nodes:
        return Start(Source.NODE, nodes[0])
    if text in nodes:
        return Start(Source.NODE, text)
    namespace, slash, name = text.partition("/")
    pod = store.get(Pod, namespace, name) if slash else None
    if pod is not None and pod.spec.host_network:
        return Start(Source.NODE, pod.spec.node_name)
    if pod is not None and pod.ips:
        return Start(Source.POD, pod.spec.node_name, text, pod.ips[0])
    if pod is not None:
        raise BadQuestion(f"Pod {text} has no address yet; look at: kubectl -n {namespace} describe pod {name}")
    known = f"; nodes: {', '.join(nodes)}" if nodes else ""
    raise BadQuestion(f"--from {text}: neither internet, node, a node's name nor NAMESPACE/POD of a Pod here{known}")


@dataclass
class Walk:
    """Follows one request. `hops` grows as it goes; `complete` tells whether it reached an endpoint."""

    store: ObjectStore
    table: RoutingTable
    hops: list[Hop] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return bool(self.hops) and not any(hop.refused for hop in self.hops)

    def refuse(self, what: str, said: str, *details: str) -> None:
        self.hops.append(Hop(what, said, tuple(each for each in details if each), refused=True))

    def add(self, what: str, said: str, *details: str) -> None:
        self.hops.append(Hop(what, said, tuple(each for each in details if each)))

    # -- questions

    def url(self, scheme: str, host: str, port: int, path: str, start: Start) -> None:
        """Follow a request for a URL."""
        literal = _literal(host)
        if literal is not None:
            self._to_address(literal, port, start, (scheme, host, path))
            return
        if self._cluster_name(host, port, start):
            return
        published = self._published(scheme, host, path)
        if not published:
            self.add(
                "name", f"{host}: no address is published for it, so it is asked at the proxy itself",
                "Ingress status.loadBalancer is empty; the proxy fills it if told --publish-service",
            )  # fmt: skip
            self._proxy(scheme, host, path, ())
            return
        address = published[0]
        self.add(
            "name", f"{host} -> {address}", f"Ingress status.loadBalancer.ingress: {', '.join(map(str, published))}"
        )
        self._to_address(address, port, start, (scheme, host, path))

    def address(self, address: Address, port: int, start: Start, protocol: str = "TCP") -> None:
        """Follow a connection to an address and port."""
        self._to_address(address, port, start, None, protocol)

    # -- names

    def _cluster_name(self, host: str, port: int, start: Start) -> bool:
        """Names of Services, as the cluster's DNS has them; only pods (and nodes that use it) can ask for them."""
        parts = host.removesuffix(".").removesuffix(".cluster.local").removesuffix(".svc").split(".")
        own = start.pod.partition("/")[0]
        if len(parts) == 1 and own:
            parts.append(own)
        service = self.store.get(Service, parts[1], parts[0]) if len(parts) == 2 else None
        if service is None:
            return False
        if start.source is Source.OUTSIDE:
            self.refuse(
                "name", f"{host} is a Service's name, which only the cluster's DNS knows", "use --from NAMESPACE/POD"
            )
            return True
        addresses = cluster_ips_of(service)
        if addresses:
            self.add("name", f"{host} -> {addresses[0]}", f"{service.key} spec.clusterIP, by the cluster's DNS")
            self._to_address(addresses[0], port, start, None)
            return True
        if service.spec.type == "ExternalName":
            self.refuse(
                "name", f"{host} -> {service.spec.external_name}, outside of what is known here", str(service.key)
            )
            return True
        self._headless(service, host, port, start)
        return True

    def _headless(self, service: Service, host: str, port: int, start: Start) -> None:
        slices = self.store.slices_of(service.metadata.namespace, service.metadata.name)
        found = [each for one in service.spec.ports for each in port_endpoints(service, one, slices).cluster]
        unique = list({each.address: each for each in found}.values())
        if not unique:
            self.refuse(
                "name", f"{host} has no address: {service.key} is headless and has no ready endpoint", _look(service)
            )
            return
        self.add(
            "name",
            f"{host} -> {_listed(each.address for each in unique)}",
            f"{service.key} is headless: DNS names pods",
        )
        self._deliver([Endpoint(each.address, port, each.node, target=each.target) for each in unique], start.node)

    def _published(self, scheme: str, host: str, path: str) -> list[Address]:
        """The addresses that the Ingress which answers for a host has in its status."""
        found = explain_route(self.table, scheme, host, path)
        names = [found.route.ingress] if found.route else []
        names += [f"{each.metadata.namespace}/{each.metadata.name}" for each in self.table.store.all(Ingress)]
        for name in names:
            ingress = self.store.get(Ingress, *name.split("/", 1))
            if ingress is None or (not found.route and self.table.refusal(ingress)):
                continue
            listed = [_literal(each.ip) for each in ingress.status.load_balancer.ingress]
            if addresses := [each for each in listed if each is not None]:
                return addresses
        return []

    # -- packets

    def _to_address(
        self, address: Address, port: int, start: Start, request: tuple[str, str, str] | None, protocol: str = "TCP"
    ) -> None:
        """Follow a connection; `request` (scheme, host, path) is what a proxy there is asked."""
        vip = Vip(address, protocol, port)
        pod = next(iter(self.store.pods_at(str(address))), None)
        if pod is not None and not pod.spec.host_network:
            self._to_pod(pod, vip, start)
            return
        asked = request if self._is_proxy(address) else None
        if asked is not None and not self._claimed(vip):
            self._to_listener(vip, asked)
            return
        node = start.node or self._entry(vip)
        endpoints = self._service(vip, node, start) if node is not None else None
        if node is None or endpoints is None:
            return
        self._deliver(endpoints, node)
        if asked is not None:
            self._proxy(*asked, tuple({each.node for each in endpoints}))

    def _claimed(self, vip: Vip) -> bool:
        """Whether an address is a Service's; of a node's own address, whether this port is."""
        for each in self.store.all(Service):
            if (
                vip.address in (*addresses_of(each), *cluster_ips_of(each))
                or str(vip.address) in each.spec.external_ips
            ):
                return True
        nodes = [facts_of(node, node.metadata.name) for node in self.store.all(Node)]
        return any(explain_service(self.store, each, vip, Source.NODE).choice is not None for each in nodes)

    def _to_listener(self, vip: Vip, request: tuple[str, str, str]) -> None:
        """Follow a request to a published address that no Service has: the proxy's own listener."""
        node = next((each for each in self.store.all(Node) if str(vip.address) in each.internal_ips), None)
        where = f"an address of {node.metadata.name}" if node else "an address outside of what is known here"
        self.add("address", f"{vip.address} is {where}, and no Service's: the proxy itself is expected to listen there")
        self._proxy(*request, (node.metadata.name,) if node else ())

    def _to_pod(self, pod: Pod, vip: Vip, start: Start) -> None:
        if start.source is Source.OUTSIDE:
            self.refuse("address", f"{vip} is a pod's address, which only the cluster's nodes route to", str(pod.key))
            return
        self._deliver([Endpoint(str(vip.address), vip.port, pod.spec.node_name)], start.node)

    def _entry(self, vip: Vip) -> str | None:
        """The node at which a packet from the internet comes in."""
        for node in self.store.all(Node):
            if str(vip.address) in node.internal_ips or vip.address in facts_of(node, node.metadata.name).addresses:
                self.add("address", f"{vip.address} is {node.metadata.name} itself", f"{node.key} status.addresses")
                return node.metadata.name
        owners = [each for each in self.store.all(Service) if vip.address in addresses_of(each)]
        if owners:
            return self._announced(vip.address, owners)
        for service in self.store.all(Service):
            if vip.address in cluster_ips_of(service):
                self.refuse(
                    "address", f"{vip.address} is a ClusterIP, which only the cluster's nodes know", str(service.key),
                    "ask --from node or --from NAMESPACE/POD, or use a NodePort or LoadBalancer Service",
                )  # fmt: skip
                return None
            if str(vip.address) in service.spec.external_ips:
                first = min((node.metadata.name for node in self.store.all(Node)), default=None)
                if first is not None:
                    self.add(
                        "address",
                        f"{vip.address}: whoever owns it sends it to a node",
                        f"{service.key} spec.externalIPs",
                    )
                return first
        self.refuse("address", f"{vip.address} belongs to nothing that is known here")
        return None

    def _announced(self, address: Address, owners: list[Service]) -> str | None:
        """The node that answers for a load-balancer address: elected among those that could."""
        claims = {}
        for each in owners:
            slices = self.store.slices_of(each.metadata.namespace, each.metadata.name)
            name = f"{each.metadata.namespace}/{each.metadata.name}"
            claims[name] = Claim(each, endpoints_of(each, slices, address.version))
        nodes = {node.metadata.name: node_refusal(node) for node in self.store.all(Node)}
        alive = {node.metadata.name for node in self.store.all(Node) if _may_live(node)}
        verdict = judge(address, claims, nodes, alive)
        owner = " and ".join(f"Service {name}" for name in verdict.services) + " status.loadBalancer"
        if verdict.node is None:
            self.refuse("announce", f"nobody answers for {address}: {verdict.reason}", owner)
            return None
        how = "ARP" if address.version == 4 else "neighbour discovery"
        others = []
        for node in sorted(nodes.keys() - {verdict.node}):
            why = refusal(node, claims, nodes, alive) or f"{verdict.node} drew lower; takes over when that one stops"
            others.append(f"not {node}: {why}")
        self.add("announce", f"{address} is answered by {verdict.node} ({how})", owner, *others)
        return verdict.node

    def _service(self, vip: Vip, node: str, start: Start) -> Sequence[Endpoint] | None:
        """What the node does with the first packet to a VIP: the endpoints it may choose, None if the way ends."""
        facts = facts_of(self.store.get(Node, "", node), node)
        found = explain_service(self.store, facts, vip, start.source, source_address=_literal(start.address))
        if found.choice is None:
            self.refuse("service", f"{vip} on {node}: {found.reason}", self._node_ports(vip, facts))
            return None
        title = f"{found.service}" + (f" port {found.port_name}" if found.port_name else "")
        decided = f"{found.role.value} of {found.service}" if found.role else ""
        if not found.endpoints:
            details = (decided, found.advice, *found.elements)
            self.refuse("service", f"{vip} on {node} -> {title}: {found.choice.value}, {found.reason}", *details)
            return None
        seen = f"{node}'s address (masquerade)" if found.masqueraded else "the sender's own address"
        sticky = f"a client keeps its endpoint for {found.sticky_seconds} s (spec.sessionAffinity: ClientIP)"
        self.add(
            "service", f"{vip} on {node} -> {title}", decided, f"nft table {TABLE}: {found.elements[0]}",
            f"{found.choice.value} ({found.policy}): {_listed(map(_named, found.endpoints))}",
            *(f"not {_named(each)}: {why}" for each, why in found.left_out[:SHOWN_MAX]),
            sticky if found.sticky_seconds else "", f"the endpoint sees {seen}", *found.look[:1],
        )  # fmt: skip
        return found.endpoints

    def _node_ports(self, vip: Vip, facts: NodeFacts) -> str:
        if vip.address not in facts.addresses:
            return ""
        ports = {each.node_port for one in self.store.all(Service) for each in one.spec.ports if each.node_port}
        return f"nodePorts there are: {_listed(sorted(ports))}" if ports else "there is no nodePort at all"

    # -- to the pod

    def _deliver(self, endpoints: Sequence[Endpoint], node: str) -> None:
        """The routes from a node to each of the endpoints it may choose."""
        lines = [f"{_named(each)}: {self._route(each, node)}" for each in endpoints[:SHOWN_MAX]]
        first = _named(endpoints[0]) if len(endpoints) == 1 else f"one of {len(endpoints)} endpoints"
        self.add("route", f"from {node or 'the proxy'} to {first}", *lines)

    def _route(self, endpoint: Endpoint, node: str) -> str:
        address = _literal(endpoint.address)
        for each in self.store.all(Node):
            name = each.metadata.name
            if endpoint.address in each.internal_ips:
                return f"{name} itself (host network)"
            for cidr in each.pod_cidrs:
                if address is not None and address in ipaddress.ip_network(cidr, strict=False):
                    if name == node:
                        return f"on {name}, through its veth"
                    via = next((ip for ip in each.internal_ips if (":" in ip) == (":" in cidr)), "no InternalIP")
                    return f"{cidr} via {via} ({name})"
        return "beyond the cluster's pod networks" if address is None or not address.is_loopback else "on this machine"

    # -- requests

    def _is_proxy(self, address: Address) -> bool:
        """Whether an address is one that Ingresses are published at."""
        published = (each.ip for one in self.store.all(Ingress) for each in one.status.load_balancer.ingress)
        return any(_literal(ip) == address for ip in published)

    def _proxy(self, scheme: str, host: str, path: str, nodes: tuple[str, ...]) -> None:
        found = explain_route(self.table, scheme, host, path)
        last = len(found.steps) - 1
        for index, step in enumerate(found.steps):
            refused = not found.complete and (index == last or step.about == "refused")
            self.hops.append(Hop(step.about, step.said, refused=refused))
        if not found.complete:
            self.refuse("answer", f"the proxy itself answers {found.status}")
            return
        assert found.backend is not None
        endpoints = [Endpoint(ip, port, self._node_of(ip)) for ip, port in found.backend.endpoints]
        self._deliver(endpoints, nodes[0] if len(nodes) == 1 else "")

    def _node_of(self, ip: str) -> str:
        return next((pod.spec.node_name for pod in self.store.pods_at(ip)), "")


def _literal(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _named(endpoint: Endpoint) -> str:
    target = endpoint.target
    pod = (
        f" ({target.name} on {endpoint.node})"
        if target and target.name
        else f" (on {endpoint.node})"
        if endpoint.node
        else ""
    )
    return f"{endpoint}{pod}"


def _listed(items: Iterable[object]) -> str:
    texts = [str(each) for each in items]
    more = f" and {len(texts) - SHOWN_MAX} more" if len(texts) > SHOWN_MAX else ""
    return ", ".join(texts[:SHOWN_MAX]) + more


def _look(service: Service) -> str:
    name, namespace = service.metadata.name, service.metadata.namespace
    return f"look at: kubectl -n {namespace} get endpointslices -l kubernetes.io/service-name={name}"


def _may_live(node: Node) -> bool:
    """Without asking the agents: a node is taken to live unless its own condition says otherwise."""
    ready = [each.status for each in node.status.conditions if each.type == "Ready"]
    return not ready or ready[0] == "True"
