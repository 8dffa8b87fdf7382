"""What a Service must do with a packet, case by case, numbered: the cases in which kube-proxy's own tests say so.

The same table is checked twice: by the pure code (test_expectations.py here) and by the kernel with real connections
(tests/netns/test_services.py). Sources: P pod of this node, N the node itself, X outside; B outside and in no source
range; V the node with the load-balancer address as its source; H the endpoint L itself;
Q a pod of another node, which counts as outside.
Outcomes: endpoints by letter, then "u" (the endpoint sees the client's address) or "m" (masqueraded); or REJECT, DROP;
"-" means that the address is none of a Service's.
"""

from dataclasses import dataclass, field
from typing import Any

NODE, SECOND_NODE_IP, NODE6, SECOND_NODE_IP6 = "192.168.50.11", "192.168.50.99", "fd50::11", "fd50::99"
CIP, CIP2, CIP6, FREE_CIP = "10.96.0.10", "10.96.0.11", "fd96::10", "10.96.0.77"
EXTERNAL, LB1, LB2, LB6 = "198.51.100.20", "198.51.100.7", "198.51.100.8", "fd98::7"

ENDPOINTS = {
    "L": "10.244.1.11", "M": "10.244.1.13", "K": "10.244.1.14",
    "I": NODE,
    "R": "10.244.2.21", "S": "10.244.2.22",
    "l": "fd44:0:0:1::11", "r": "fd44:0:0:2::21",
}  # fmt: skip
"""Letters: L M K l run on this node, I is the node itself ("one"), R S r on another ("two"). Lower case: IPv6."""

SOURCES = {
    "P": "10.244.1.12",
    "N": NODE,
    "X": "203.0.113.9",
    "B": "203.0.113.200",
    "V": LB1,
    "H": ENDPOINTS["L"],
    "Q": ENDPOINTS["S"],
}
SOURCES6 = {"P": "fd44:0:0:1::12", "N": NODE6, "X": "fd99::9", "H": ENDPOINTS["l"]}


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    status = spec.pop("status", None)
    spec = {"clusterIP": CIP, "ports": [{"port": 80, "nodePort": 30080}], **spec}
    document = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    }  # fmt: skip
    if status:
        document["status"] = {"loadBalancer": {"ingress": status}}
    return document


def balanced(name: str = "web", **spec: Any) -> dict[str, Any]:
    """With every kind of address."""
    return service(name, type="LoadBalancer", externalIPs=[EXTERNAL], status=[{"ip": LB1}], **spec)


def slices(letters: str, service_name: str = "web", *, family: str = "IPv4", **port: Any) -> dict[str, Any]:
    """ "L" is ready, "-L" not ready, "~L" terminating and serving, "!L" terminating and not serving."""
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": f"{service_name}-{family.lower()}", "namespace": "default",
            "labels": {"kubernetes.io/service-name": service_name},
        },
        "addressType": family,
        "endpoints": [endpoint(each) for each in letters.split()],
        "ports": [{"port": 8080, **port}],
    }  # fmt: skip


def endpoint(letter: str) -> dict[str, Any]:
    how, which = letter[:-1], letter[-1]
    return {
        "addresses": [ENDPOINTS[which]],
        "nodeName": "one" if which in "LMKIl" else "two",
        "conditions": {"ready": how == "", "serving": how in ("", "~"), "terminating": how in ("~", "!")},
    }


def node_document(*, pods_known: bool = True) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "one"},
        "spec": {"podCIDRs": ["10.244.1.0/24", "fd44:0:0:1::/64"] if pods_known else []},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": NODE},
                {"type": "InternalIP", "address": NODE6},
                {"type": "ExternalIP", "address": SECOND_NODE_IP},
                {"type": "ExternalIP", "address": SECOND_NODE_IP6},
            ]
        },
    }


@dataclass(frozen=True)
class Scene:
    """Objects, and what must come of packets while they are there: (number, source, address, port, outcome)."""

    name: str
    objects: list[dict[str, Any]]
    checks: list[tuple[int, str, str, int, str]]
    options: dict[str, Any] = field(default_factory=dict)
    """Of the dataplane; "pods_known": False stands for a Node without pod ranges."""
    protocol: str = "TCP"


CIDRS = {"service_cidrs": ["10.96.0.0/16", "fd96::/112"]}
RANGES = {"loadBalancerSourceRanges": ["192.168.50.0/24", " 203.0.113.0/25 "]}  # blanks: expectation 30
DNS = [{"name": "dns", "port": 53, "protocol": "UDP"}]

SIX = {"clusterIP": CIP6, "type": "LoadBalancer", "status": [{"ip": LB6}]}
INTERNAL = {"internalTrafficPolicy": "Local"}

SCENES = [
    Scene("one endpoint", [service(), slices("L")], [(1, "P", CIP, 80, "L u"), (2, "H", CIP, 80, "L m")]),
    Scene("several endpoints", [service(), slices("L R")], [(3, "P", CIP, 80, "LR u")]),
    Scene("another port", [service(ports=[{"port": 443}]), slices("L")], [(4, "P", CIP, 443, "L u")]),
    Scene("port 53", [service(ports=[{"port": 53, "targetPort": 8080}]), slices("L")], [(5, "P", CIP, 53, "L u")]),
    Scene(
        "udp",
        [service(ports=DNS), slices("L", protocol="UDP", name="dns")],
        [(6, "P", CIP, 53, "L u"), (8, "P", CIP, 80, "REJECT")],
        protocol="UDP",
    ),
    Scene(
        "sctp",
        [service(ports=[{"port": 53, "protocol": "SCTP"}]), slices("L", protocol="SCTP")],
        [(7, "P", CIP, 53, "L u")],
        protocol="SCTP",
    ),
    Scene(
        "wrong port, unallocated address",
        [service(), slices("L"), service("other", clusterIP=CIP2, ports=[{"port": 81}]), slices("L", "other")],
        [(8, "P", CIP, 53, "REJECT"), (9, "P", CIP, 81, "REJECT"), (10, "P", FREE_CIP, 80, "DROP")],
        CIDRS,
    ),
    Scene(
        "no endpoints",
        [balanced()],
        [
            (11, "P", CIP, 80, "REJECT"), (12, "X", EXTERNAL, 80, "REJECT"), (13, "P", NODE, 30080, "REJECT"),
            (14, "X", NODE, 30080, "REJECT"), (15, "P", LB1, 80, "REJECT"), (16, "X", LB1, 80, "REJECT"),
            (11, "N", CIP, 80, "REJECT"), (13, "N", NODE, 30080, "REJECT"), (15, "N", LB1, 80, "REJECT"),
        ],
    ),
    Scene(
        "source ranges",
        [service(type="LoadBalancer", status=[{"ip": LB1}, {"ip": LB2}], **RANGES), slices("L")],
        [
            (17, "P", CIP, 80, "L u"), (18, "X", NODE, 30080, "L m"), (19, "B", NODE, 30080, "L m"),
            (20, "X", LB1, 80, "L m"), (21, "X", LB2, 80, "L m"), (22, "B", LB1, 80, "DROP"),
            (23, "B", LB2, 80, "DROP"), (24, "P", LB1, 80, "DROP"), (25, "P", LB2, 80, "DROP"),
            (26, "N", LB1, 80, "L m"), (27, "N", LB2, 80, "L m"), (28, "V", LB1, 80, "L m"),
        ],
    ),
    Scene(
        "node port addresses",
        [service(type="NodePort"), slices("L")],
        [(31, "P", CIP, 80, "L u"), (32, "X", NODE, 30080, "L m"), (33, "N", NODE, 30080, "L m"),
         (34, "X", SECOND_NODE_IP, 30080, "-")],
    ),
    Scene(
        "node port addresses chosen",
        [service(type="NodePort"), slices("L")],
        [(35, "X", SECOND_NODE_IP, 30080, "L m")],
        {"node_port_addresses": ["192.168.50.96/28"]},
    ),
    Scene(
        "node port addresses v6",
        [service(type="NodePort", clusterIP=CIP6), slices("l", family="IPv6")],
        [(36, "P", CIP6, 80, "l u"), (37, "X", NODE6, 30080, "l m"), (38, "N", NODE6, 30080, "l m"),
         (39, "X", SECOND_NODE_IP6, 30080, "-")],
    ),
    Scene(
        "node port addresses chosen v6",
        [service(type="NodePort", clusterIP=CIP6), slices("l", family="IPv6")],
        [(40, "X", SECOND_NODE_IP6, 30080, "l m")],
        {"node_port_addresses": ["fd50::90/124"]},
    ),
    Scene(
        "external Local",
        [balanced(externalTrafficPolicy="Local"), slices("L R")],
        [
            (41, "P", CIP, 80, "LR u"), (42, "P", EXTERNAL, 80, "LR u"), (43, "X", EXTERNAL, 80, "L u"),
            (44, "P", LB1, 80, "LR u"), (45, "X", LB1, 80, "L u"), (46, "P", NODE, 30080, "LR u"),
            (47, "X", NODE, 30080, "L u"), (47, "Q", NODE, 30080, "L u"), (59, "N", CIP, 80, "LR m"),
            (60, "N", LB1, 80, "LR m"),
            (61, "X", CIP, 80, "LR m"),
        ],
    ),
    Scene(
        "external Local v6",
        [service(**SIX, externalTrafficPolicy="Local"), slices("l r", family="IPv6")],
        [
            (41, "P", CIP6, 80, "lr u"), (44, "P", LB6, 80, "lr u"), (45, "X", LB6, 80, "l u"),
            (46, "P", NODE6, 30080, "lr u"), (47, "X", NODE6, 30080, "l u"), (59, "N", CIP6, 80, "lr m"),
            (60, "N", LB6, 80, "lr m"), (61, "X", CIP6, 80, "lr m"),
        ],
    ),
    Scene(
        "external Cluster v6",
        [service(**SIX, loadBalancerSourceRanges=["fd99::/64"]), slices("l", family="IPv6")],
        [
            (2, "H", CIP6, 80, "l m"), (48, "P", CIP6, 80, "l u"), (22, "P", LB6, 80, "DROP"),
            (52, "X", LB6, 80, "l m"), (53, "P", NODE6, 30080, "l m"), (58, "X", CIP6, 80, "l m"),
            (9, "P", CIP6, 81, "REJECT"), (10, "P", "fd96::77", 80, "DROP"),
        ],
        CIDRS,
    ),
    Scene("no endpoints v6", [service(**SIX)], [(11, "P", CIP6, 80, "REJECT"), (16, "X", LB6, 80, "REJECT")]),
    # What arrives from outside for the node itself does not pass postrouting, so nothing can masquerade it.
    Scene(
        "the node itself is the endpoint",
        [service(ports=[{"port": 80}]), slices("I")],
        [(1, "P", CIP, 80, "I u"), (55, "N", CIP, 80, "I m")],
    ),
    Scene(
        "external Cluster",
        [balanced(), slices("L R")],
        [
            (48, "P", CIP, 80, "LR u"), (49, "P", EXTERNAL, 80, "LR m"), (50, "X", EXTERNAL, 80, "LR m"),
            (51, "P", LB1, 80, "LR m"), (52, "X", LB1, 80, "LR m"), (53, "P", NODE, 30080, "LR m"),
            (54, "X", NODE, 30080, "LR m"), (54, "Q", NODE, 30080, "LR m"),
            (55, "N", CIP, 80, "LR m"), (56, "N", NODE, 30080, "LR m"),
            (57, "N", LB1, 80, "LR m"), (58, "X", CIP, 80, "LR m"),
        ],
    ),
    Scene(
        "internal Local",
        [balanced(internalTrafficPolicy="Local"), slices("L R")],
        [
            (62, "P", CIP, 80, "L u"), (63, "N", CIP, 80, "L m"), (64, "X", CIP, 80, "L m"),
            (65, "P", NODE, 30080, "LR m"), (66, "P", LB1, 80, "LR m"), (67, "N", NODE, 30080, "LR m"),
            (67, "N", LB1, 80, "LR m"), (68, "X", NODE, 30080, "LR m"), (68, "X", LB1, 80, "LR m"),
        ],
    ),
    Scene("internal Local, several", [service(**INTERNAL), slices("L M R")], [(69, "P", CIP, 80, "LM u")]),
    Scene("internal Local, none here", [service(**INTERNAL), slices("R")], [(70, "P", CIP, 80, "DROP")]),
    Scene("internal Local, none at all", [service(**INTERNAL)], [(71, "P", CIP, 80, "REJECT")]),
    Scene(
        "pods unknown",
        [balanced(externalTrafficPolicy="Local"), slices("L R")],
        [(72, "N", CIP, 80, "LR u"), (73, "P", NODE, 30080, "L u"), (73, "P", LB1, 80, "L u")],
        {"pods_known": False},
    ),
    # With an endpoint elsewhere too, its answers would not come back this way: what "pods unknown" costs.
    Scene("pods unknown, from outside", [service(), slices("L")], [(72, "X", CIP, 80, "L u")], {"pods_known": False}),
    Scene(
        "masquerade all",
        [balanced(externalTrafficPolicy="Local"), slices("L R")],
        [(74, "P", CIP, 80, "LR m"), (74, "X", LB1, 80, "L u")],
        {"masquerade_all": True},
    ),
    Scene(
        "masquerade all, internal Local",
        [service(internalTrafficPolicy="Local"), slices("L R")],
        [(74, "P", CIP, 80, "L m")],
        {"masquerade_all": True},
    ),
    Scene(
        "masquerade all, pods unknown",
        [balanced(externalTrafficPolicy="Local"), slices("L R")],
        [(75, "P", CIP, 80, "LR m"), (75, "P", LB1, 80, "L u")],
        {"masquerade_all": True, "pods_known": False},
    ),
    Scene(
        "terminating, Local, ready ones exist",
        [balanced(externalTrafficPolicy="Local"), slices("L ~M !K R ~S")],
        [(76, "P", CIP, 80, "LR u"), (76, "X", LB1, 80, "L u")],
    ),
    Scene(
        "terminating, Local, only terminating here",
        [balanced(externalTrafficPolicy="Local"), slices("~L !M -K R")],
        [(77, "P", CIP, 80, "R u"), (77, "X", LB1, 80, "L u")],
    ),
    Scene(
        "terminating, Local, only terminating elsewhere",
        [balanced(externalTrafficPolicy="Local"), slices("~R")],
        [(78, "P", CIP, 80, "R u"), (78, "X", LB1, 80, "DROP")],
    ),
    Scene(
        "terminating, Local, nothing usable",
        [balanced(externalTrafficPolicy="Local"), slices("!L -M !R")],
        [(79, "P", CIP, 80, "REJECT"), (79, "X", LB1, 80, "REJECT")],
    ),
    Scene(
        "terminating, Local, all gone",
        [balanced(externalTrafficPolicy="Local"), slices("")],
        [(80, "P", CIP, 80, "REJECT"), (80, "X", LB1, 80, "REJECT")],
    ),
    Scene(
        "terminating, Cluster, ready ones exist",
        [balanced(), slices("L ~M !K R ~S")],
        [(81, "P", CIP, 80, "LR u"), (81, "X", LB1, 80, "LR m")],
    ),
    Scene(
        "terminating, Cluster, only terminating",
        [balanced(), slices("~L !M -K ~R")],
        [(82, "P", CIP, 80, "LR u"), (82, "X", LB1, 80, "LR m")],
    ),
    Scene(
        "terminating, Cluster, only one elsewhere",
        [balanced(), slices("~R")],
        [(83, "P", CIP, 80, "R u"), (83, "X", LB1, 80, "R m")],
    ),
    Scene(
        "terminating, Cluster, none serves",
        [balanced(), slices("!L !R")],
        [(84, "P", CIP, 80, "REJECT"), (84, "X", LB1, 80, "REJECT")],
    ),
    Scene(
        "ipMode",
        [
            service(type="LoadBalancer", status=[{"ip": LB1, "ipMode": "Proxy"}, {"ip": LB2, "ipMode": "VIP"}]),
            slices("L"),
        ],
        [(85, "P", LB1, 80, "-"), (86, "P", LB2, 80, "L m")],
    ),
    Scene(
        "odd spellings",
        [
            service(clusterIP="010.096.0.010", externalIPs=["198.051.100.020"], type="LoadBalancer",
                    loadBalancerSourceRanges=["203.000.113.000/24"], status=[{"ip": "::ffff:198.51.100.7"}]),
            slices("L"),
        ],
        [
            (88, "P", CIP, 80, "L u"), (88, "X", EXTERNAL, 80, "L m"), (88, "X", LB1, 80, "L m"),
            (88, "P", LB1, 80, "DROP"),
        ],
    ),
    Scene(
        "headless",
        [service("headless", clusterIP="None", externalIPs=[EXTERNAL]), slices("L", "headless")],
        [(89, "P", EXTERNAL, 80, "-")],
    ),
    Scene(
        "ExternalName",
        [service("alias", clusterIP=CIP, type="ExternalName", externalName="example.org"), slices("L", "alias")],
        [(90, "P", CIP, 80, "-")],
    ),
]  # fmt: skip
