"""What the tests run in the cluster: plain objects as a sane user would write them, and a town all tests share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.image import IMAGE

NAMESPACE = "shop"
PORT, TARGET_PORT = 80, 8080
INGRESS_CONTROLLER = "causeway.dev/ingress-controller"
Object = dict[str, Any]


def container(name: str = "echo", port: int = TARGET_PORT, *, drain_s: int = 0) -> Object:
    """agnhost's HTTP server: /hostname, /clientip, /echo?msg=, /healthz, and the same port for UDP.

    It serves on for `drain_s` seconds after its pod was told to end.
    """
    made: Object = {
        "name": name,
        "image": IMAGE,
        "command": ["/agnhost", "netexec", f"--http-port={port}", f"--udp-port={port}"],
        "ports": [{"name": "http", "containerPort": port}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": port}, "periodSeconds": 1},
    }
    if drain_s:
        made["lifecycle"] = {"preStop": {"sleep": {"seconds": drain_s}}}
    return made


def pod(name: str, node: str, labels: dict[str, str], *containers: Object) -> Object:
    """A pod nailed to a node; its label `name` is its name."""
    spec = {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": list(containers or [container()])}
    meta = {"name": name, "namespace": NAMESPACE, "labels": labels | {"name": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def deployment(name: str, replicas: int, *, drain_s: int = 3) -> Object:
    """Pods spread over the nodes; while one ends it serves on until everybody has heard of it."""
    labels = {"app": name}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    template = {
        "metadata": {"labels": labels},
        "spec": {
            "terminationGracePeriodSeconds": drain_s + 5,
            "topologySpreadConstraints": [spread],
            "containers": [container(drain_s=drain_s)],
        },
    }
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 2}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, "strategy": strategy}
    meta = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def service(name: str, selector: dict[str, str], kind: str = "ClusterIP", **spec: Any) -> Object:
    """Port 80 to the container port called http."""
    ports = [{"name": "http", "port": PORT, "targetPort": "http"}]
    meta = {"name": name, "namespace": NAMESPACE}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {"type": kind, "selector": selector, "ports": ports, **spec},
    }


def ingress(name: str, host: str, paths: dict[str, str], tls_secret: str = "") -> Object:
    """Prefix path -> Service name, for one host."""

    def backend(to: str) -> Object:
        return {"service": {"name": to, "port": {"number": PORT}}}

    rules = [{"path": path, "pathType": "Prefix", "backend": backend(to)} for path, to in paths.items()]
    spec: Object = {"ingressClassName": "causeway", "rules": [{"host": host, "http": {"paths": rules}}]}
    if tls_secret:
        spec["tls"] = [{"hosts": [host], "secretName": tls_secret}]
    meta = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": spec}


def ingress_class() -> Object:
    """The class `ingress` names."""
    spec = {"controller": INGRESS_CONTROLLER}
    meta = {"name": "causeway"}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": meta, "spec": spec}


@dataclass(frozen=True)
class Town:
    """Pods and Services, named in `open_town`."""

    cluster: Cluster

    @property
    def addresses(self) -> dict[str, str]:
        """Pod name -> address, now."""
        return {name: address for name, address in pod_addresses(self.cluster).items() if name in TOWN}

    def curl(self, pod: str, url: str, *flags: str) -> str:
        """What curl in a pod gets. Raises RuntimeError with curl's words."""
        return self.cluster.kubectl.exec(NAMESPACE, pod, *CURL, *flags, url)

    def curl_outside(self, url: str, *flags: str) -> str:
        """What curl at the client outside gets. Raises RuntimeError with curl's words."""
        return self.cluster.client(*CURL, *flags, url)

    def service(self, name: str) -> Object:
        return self.cluster.kubectl.get("service", name, NAMESPACE)

    def cluster_ip(self, name: str) -> str:
        return str(self.service(name)["spec"]["clusterIP"])

    def node_port(self, name: str) -> int:
        return int(self.service(name)["spec"]["ports"][0]["nodePort"])


CURL = ("curl", "--silent", "--show-error", "--fail", "--max-time", "5", "--noproxy", "*")
TOWN = NEAR, BESIDE, FAR, LONELY = "near", "beside", "far", "lonely"


def open_town(cluster: Cluster) -> Town:
    """near and beside on the first node, far on the second; `all` serves from all three, `lonely` from one pod only.

    near has two containers; the second listens on port 9090.
    """
    first, second = (node.name for node in cluster.nodes[:2])
    kubectl = cluster.kubectl
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    cluster.wait("the namespace has its account", lambda: kubectl.get("serviceaccount", "default", NAMESPACE))
    town = {"town": "yes"}
    kubectl.apply(
        pod(NEAR, first, town, container(), container("second", 9090) | {"ports": []}),
        pod(BESIDE, first, town),
        pod(FAR, second, town),
        pod(LONELY, second, {}),
        service("all", town),
        service("lonely", {"name": LONELY}),
    )
    kubectl("-n", NAMESPACE, "wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s", timeout=65)
    return Town(cluster)


def pod_addresses(cluster: Cluster, selector: str = "") -> dict[str, str]:
    """Pod name -> address, of pods that have one."""
    pods = cluster.kubectl.all("pods", NAMESPACE, selector)
    return {p["metadata"]["name"]: p["status"]["podIP"] for p in pods if p["status"].get("podIP")}


def ready_endpoints(cluster: Cluster, service_name: str) -> set[str]:
    """Addresses the EndpointSlices call ready."""
    slices = cluster.kubectl.all("endpointslices", NAMESPACE, f"kubernetes.io/service-name={service_name}")
    found = [endpoint for s in slices for endpoint in s.get("endpoints") or []]
    return {endpoint["addresses"][0] for endpoint in found if endpoint["conditions"].get("ready")}


def source_seen(answer: str) -> str:
    """The client's address out of what /clientip says (ADDRESS:PORT)."""
    return answer.strip().rsplit(":", 1)[0]


def as_json(text: str) -> Object:
    parsed: Object = json.loads(text)
    return parsed
