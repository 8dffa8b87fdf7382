"""What a node does with the first packet to an address, and why: for `causeway explain` and for the tests. Pure.

Computed from the objects alone, by the code that plans the table; no kernel is asked.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lb.cluster.objects import Key, Service
from lb.cluster.store import ObjectStore
from lb.endpoints import Endpoint
from lb.service.classes import Choice, Class, Kind, Source, decide
from lb.service.elements import Places, placed
from lb.service.layout import CLASS_BASE, TABLE
from lb.service.vips import Address, NodeFacts, Role, Vip, WantedVip, address_of, cluster_ips_of, is_ours, wanted_vips


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a packet to `vip` goes where it goes."""

    vip: Vip
    choice: Choice | None
    """None: the address belongs to no Service; the packet goes on as it is."""
    reason: str
    advice: str = ""
    """What to do about a refusal, "" otherwise."""
    service: Key | None = None
    port_name: str = ""
    role: Role | None = None
    policy: str = ""
    """The field that decides among which endpoints: "spec.externalTrafficPolicy: Local"."""
    endpoints: tuple[Endpoint, ...] = ()
    """One of these is drawn at random."""
    left_out: tuple[tuple[Endpoint, str], ...] = ()
    """The other endpoints, each with the reason."""
    masqueraded: bool = False
    """Whether the endpoint sees the node's address instead of the client's."""
    sticky_seconds: int = 0
    elements: tuple[str, ...] = ()
    """What stands for it in the kernel, in the words of `nft`."""
    look: tuple[str, ...] = ()
    """Commands that show it, on the node, as root."""


def explain(
    store: ObjectStore, facts: NodeFacts, vip: Vip, source: Source, *, source_address: Address | None = None
) -> Explanation:
    """What the node of `facts` (see vips.facts_of) does with a new connection from `source` to `vip`.

    source_address: needed only where loadBalancerSourceRanges are; without it they are taken to let it in.
    """
    claims = sorted(_claims(store, facts, vip), key=lambda each: (each.since, each.service))
    if not claims:
        return _unclaimed(store, facts, vip)
    found = claims[0]
    standing = placed(found, lambda _: CLASS_BASE, (Places(), Places()))
    shut_out = found.ranges is not None and source_address is not None
    if shut_out and not any(source_address in network for network in found.ranges or ()):
        shut = f"{source_address} is in no range let in"
        return _answer(found, standing.found_class, Choice.DROP, shut_out=shut)
    choice, masqueraded = decide(standing.found_class, source, facts.detection)
    if source_address is not None and source is Source.POD:
        usable = found.endpoints.local if choice is Choice.LOCAL else found.endpoints.cluster
        # A pod that reaches itself; with other endpoints beside it, it may as well reach one of those.
        masqueraded |= bool(usable) and all(address_of(each.address) == source_address for each in usable)
    return _answer(found, standing.found_class, choice, masqueraded=masqueraded)


def _claims(store: ObjectStore, facts: NodeFacts, vip: Vip) -> Iterator[WantedVip]:
    for service in store.all(Service):
        if is_ours(service):
            slices = store.slices_of(service.metadata.namespace, service.metadata.name)
            yield from (each for each in wanted_vips(service, slices, facts) if each.vip == vip)


def _unclaimed(store: ObjectStore, facts: NodeFacts, vip: Vip) -> Explanation:
    for service in store.all(Service):
        if vip.address in cluster_ips_of(service):
            ports = ", ".join(f"{each.port}/{each.protocol}" for each in service.spec.ports)
            reason = f"{service.key} has no such port; it has {ports}"
            element = f"set cluster-ips {{ {vip.address} }}"
            return Explanation(vip, Choice.REFUSE, reason, "ask one of its ports", service.key, elements=(element,))
    if any(vip.address in network for network in facts.service_cidrs):
        return Explanation(vip, Choice.DROP, "no Service has this address, and it is in the Service range")
    if vip.address in facts.addresses:
        return Explanation(vip, None, "an address of this node, and no Service has this nodePort")
    return Explanation(vip, None, "no Service has this address on this node")


def _answer(
    wanted: WantedVip, found: Class, choice: Choice, *, masqueraded: bool = False, shut_out: str = ""
) -> Explanation:
    endpoints = wanted.endpoints
    chosen: tuple[Endpoint, ...] = ()
    if choice is Choice.LOCAL:
        chosen = endpoints.local
    elif choice is Choice.CLUSTER:
        chosen = endpoints.cluster
    reason, advice = shut_out, "add it to spec.loadBalancerSourceRanges" if shut_out else ""
    if not shut_out:
        reason, advice = _reason(wanted, choice)
    return Explanation(
        vip=wanted.vip, choice=choice, reason=reason, advice=advice, service=wanted.service,
        port_name=wanted.port_name, role=wanted.role, policy=_policy(wanted), endpoints=chosen,
        left_out=tuple((each, _why_not(each, choice)) for each in endpoints.all if each not in chosen),
        masqueraded=masqueraded, sticky_seconds=wanted.sticky_seconds,
        elements=tuple(_elements(wanted, found, chosen)), look=tuple(_look(wanted.vip, found)),
    )  # fmt: skip


def _policy(wanted: WantedVip) -> str:
    internal = wanted.kind in (Kind.INTERNAL, Kind.INTERNAL_LOCAL)
    field = "spec.internalTrafficPolicy" if internal else "spec.externalTrafficPolicy"
    return f"{field}: {'Local' if wanted.local_policy else 'Cluster'}"


def _reason(wanted: WantedVip, choice: Choice) -> tuple[str, str]:
    namespace, name = wanted.service.namespace, wanted.service.name
    see = f"kubectl -n {namespace} get endpointslices -l kubernetes.io/service-name={name}"
    if choice is Choice.REFUSE:
        if not wanted.endpoints.all:
            return "the Service has no endpoint for this port", f"do its selector and port names fit? See: {see}"
        return "none of the Service's endpoints is ready", f"look at its pods, then at: {see}"
    if choice is Choice.DROP:
        return f"no endpoint on this node, and {_policy(wanted)}", "ask a node that has one, or change the policy"
    if choice is Choice.LOCAL:
        return f"an endpoint on this node: {_policy(wanted)}", ""
    if wanted.kind is Kind.EXTERNAL_LOCAL:
        return "any endpoint: the policy Local is for sources outside the node", ""
    return "any endpoint", ""


def _why_not(endpoint: Endpoint, choice: Choice) -> str:
    if not endpoint.ready:
        if not endpoint.serving:
            return "not ready"
        return "not ready, and others are" if endpoint.terminating else "not ready, and not terminating either"
    if choice is Choice.LOCAL and not endpoint.local:
        return f"on node {endpoint.node or '?'}, and the policy is Local"
    if choice is Choice.CLUSTER:
        return "its hints point elsewhere"
    return "not usable under the policy"


def _elements(wanted: WantedVip, found: Class, chosen: Iterable[Endpoint]) -> Iterator[str]:
    key = f"{wanted.vip.address} . {wanted.vip.protocol.lower()} . {wanted.vip.port}"
    yield f"map vips {{ {key} : the number that map classes leads to chain {found.chain} }}"
    for endpoint in chosen:
        yield f"map endpoints {{ {key} . its index : {endpoint.address} . {endpoint.port} }}"


def _look(vip: Vip, found: Class) -> Iterator[str]:
    family = "ip" if vip.address.version == 4 else "ip6"
    yield f"nft get element {family} {TABLE} vips '{{ {vip.address} . {vip.protocol.lower()} . {vip.port} }}'"
    yield f"nft list chain {family} {TABLE} {found.chain}"
