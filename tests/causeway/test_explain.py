"""`causeway explain` as a user calls it, on a folder: the whole path, and every way in which it can end."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from causeway.cli import main

NODES = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: node-a}, spec: {podCIDR: 10.244.1.0/24},
   status: {addresses: [{type: InternalIP, address: 192.0.2.11}]}}
- {apiVersion: v1, kind: Node, metadata: {name: node-b}, spec: {podCIDR: 10.244.2.0/24},
   status: {addresses: [{type: InternalIP, address: 192.0.2.12}]}}
- {apiVersion: v1, kind: Node,
   metadata: {name: node-c, labels: {node.kubernetes.io/exclude-from-external-load-balancers: ""}},
   spec: {podCIDR: 10.244.3.0/24}, status: {addresses: [{type: InternalIP, address: 192.0.2.13}]}}
"""


def pod(name: str, node: str, ip: str) -> str:
    return f"""---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop}}
spec: {{nodeName: {node}, containers: [{{name: c}}]}}
status: {{podIP: {ip}}}
"""


def service(name: str, spec: str, endpoints: str, port: int = 8080, status: str = "") -> str:
    return f"""---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{{spec}}}
{status}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: shop, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: {port}}}]
endpoints: [{endpoints}]
"""


WEB = (
    "{addresses: [10.244.1.5], nodeName: node-a}, "
    "{addresses: [10.244.2.5], nodeName: node-b, conditions: {ready: false}}"
)
PROXY = "{addresses: [10.244.2.9], nodeName: node-b}"
BALANCED = "status: {loadBalancer: {ingress: [{ip: 203.0.113.80}]}}"

MANIFESTS = (
    NODES
    + pod("web-1", "node-a", "10.244.1.5")
    + pod("web-2", "node-b", "10.244.2.5")
    + pod("proxy-1", "node-b", "10.244.2.9")
    + service("web", "type: NodePort, clusterIP: 10.96.0.20, ports: [{name: http, port: 80, nodePort: 30123}]", WEB)
    + service("empty", "clusterIP: 10.96.0.30, ports: [{name: http, port: 80}]", "")
    + service("bare", 'clusterIP: "None", ports: [{name: http, port: 80}]', WEB)
    + service(
        "proxy", "type: LoadBalancer, clusterIP: 10.96.0.40, ports: [{name: http, port: 80}]", PROXY, 80, BALANCED
    )
    + """---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop}
spec:
  rules:
  - host: shop.example.com
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
      - {path: /empty, pathType: Prefix, backend: {service: {name: empty, port: {number: 80}}}}
status: {loadBalancer: {ingress: [{ip: 203.0.113.80}]}}
"""
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "all.yaml").write_text(MANIFESTS)
    return tmp_path


def ask(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["explain", *words, "-f", str(folder)], catch_exceptions=False)


def test_the_whole_path_of_a_url(folder: Path) -> None:
    told = ask(folder, "http://shop.example.com/cart")
    assert told.exit_code == 0
    steps = [line.split()[1] for line in told.output.splitlines() if line.startswith("✓")]
    assert steps == ["name", "announce", "service", "route", "host", "path", "backend", "endpoints", "route"]
    assert "shop.example.com -> 203.0.113.80" in told.output
    assert "not node-c: has the label node.kubernetes.io/exclude-from-external-load-balancers" in told.output
    assert "Service shop/proxy port http" in told.output
    assert "map vips { 203.0.113.80 . tcp . 80" in told.output
    assert 'Prefix "/" of Ingress shop/web (spec.rules[0].http.paths[0])' in told.output
    assert "1 of 2 endpoints ready" in told.output
    assert "10.244.1.0/24 via 192.0.2.11 (node-a)" in told.output  # from the proxy on node-b to the pod on node-a
    assert "the endpoint sees node-" in told.output  # masqueraded on the way in


@pytest.mark.parametrize(
    ("question", "source", "said"),
    [
        ("192.0.2.11:30123", "internet", "10.244.1.5:8080"),
        ("192.0.2.12:30123", "internet", "the endpoint sees node-b's address"),
        ("10.96.0.20:80", "shop/web-2", "the endpoint sees the sender's own address"),
        ("10.96.0.20:80", "node", "the endpoint sees node-a's address"),
        ("http://web.shop.svc.cluster.local/", "shop/proxy-1", "by the cluster's DNS"),
        ("http://web/", "shop/proxy-1", "web -> 10.96.0.20"),
        ("http://bare:8080/", "shop/proxy-1", "is headless: DNS names pods"),
        ("10.244.2.5:8080", "shop/web-1", "10.244.2.0/24 via 192.0.2.12 (node-b)"),
        ("10.244.1.5:8080", "node-a", "on node-a, through its veth"),
        ("http://203.0.113.80:80/", "node-c", "203.0.113.80:80/tcp on node-c"),
    ],
)
def test_ways_that_lead_to_a_pod(folder: Path, question: str, source: str, said: str) -> None:
    told = ask(folder, question, "--from", source)
    assert said in told.output
    if question != "http://203.0.113.80:80/":  # the proxy is reached there, and knows no host of that name
        assert told.exit_code == 0, told.output


@pytest.mark.parametrize(
    ("question", "source", "said"),
    [
        ("http://nobody.example.com/", "internet", "no Ingress serves nobody.example.com"),
        ("http://shop.example.com/empty/x", "internet", "503"),
        ("http://shop.example.com:81/", "internet", "no Service has this"),
        ("10.96.0.20:80", "internet", "ClusterIP, which only the cluster's nodes know"),
        ("10.96.0.20:81", "node", "it has 80/TCP"),
        ("10.96.0.30:80", "node", "the Service has no endpoint for this port"),
        ("10.244.1.5:8080", "internet", "a pod's address, which only the cluster's nodes route to"),
        ("192.0.2.11:30999", "internet", "nodePorts there are: 30123"),
        ("198.51.100.1:80", "internet", "belongs to nothing that is known here"),
        ("http://web.shop/", "internet", "only the cluster's DNS knows"),
    ],
)
def test_ways_that_end_say_why(folder: Path, question: str, source: str, said: str) -> None:
    told = ask(folder, question, "--from", source)
    assert told.exit_code == 1
    assert said in told.output
    assert any(line.startswith("✗") for line in told.output.splitlines())


def test_a_proxy_on_a_nodes_own_address(folder: Path) -> None:
    """As `causeway ingress --publish-status-address` with a node's address: no Service is on the way."""
    text = (folder / "all.yaml").read_text().replace("status: {loadBalancer: {ingress: [{ip: 203.0.113.80}]}}", "")
    published = "\nstatus: {loadBalancer: {ingress: [{ip: 192.0.2.12}]}}\n"
    (folder / "all.yaml").write_text(text.rstrip() + published)
    told = ask(folder, "http://shop.example.com/")
    assert told.exit_code == 0, told.output
    assert "192.0.2.12 is an address of node-b, and no Service's" in told.output


def test_an_ingress_of_another_class_is_named(folder: Path) -> None:
    (folder / "class.yaml").write_text(
        "{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: other}, spec: {controller: x.dev/y}}"
    )
    text = (folder / "all.yaml").read_text().replace("spec:\n  rules:", "spec:\n  ingressClassName: other\n  rules:")
    (folder / "all.yaml").write_text(text)
    told = ask(folder, "http://shop.example.com/")
    assert told.exit_code == 1
    assert "Ingress shop/web would serve it, but" in told.output
    assert "x.dev/y" in told.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ftp://x/"], "write http://"),
        (["10.96.0.20"], "ADDRESS:PORT"),
        (["10.96.0.20:0"], "ADDRESS:PORT"),
        (["http://x:99999/"], "between 1 and 65535"),
        (["http://x/", "--from", "shop/nobody"], "nodes: node-a, node-b, node-c"),
    ],
)
def test_wrong_questions_are_usage_errors(folder: Path, words: list[str], said: str) -> None:
    told = CliRunner().invoke(main, ["explain", *words, "-f", str(folder)])
    assert told.exit_code == 2
    assert said in told.output


def test_bad_manifests_are_told_and_do_no_harm(folder: Path) -> None:
    (folder / "bad.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: no}]}\n"
    )
    told = ask(folder, "http://shop.example.com/")
    assert told.exit_code == 0
    assert "bad.yaml:4" in told.stderr
