"""Ours: an Ingress, its Service and one EndpointSlice."""

from bench.peers.configs import Place
from bench.peers.work import Work


def manifests(work: Work, place: Place, certificate_pem: str, key_pem: str) -> str:
    """Ours: an Ingress, its Service and one EndpointSlice."""
    rules = "".join(
        f"  - host: {host}\n    http:\n      paths:\n"
        + "".join(
            f"      - {{path: {prefix}, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}\n"
            for prefix in work.prefixes
        )
        for host in work.host_names()
    )
    tls = "  tls: [{secretName: tls, hosts: [" + ", ".join(work.host_names()) + "]}]\n" if work.tls else ""

    def block(text: str) -> str:
        return "".join(f"    {line}\n" for line in text.strip().splitlines())

    return f"""
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: bench}}
spec: {{clusterIP: 10.96.0.1, ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, namespace: bench, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: "", port: {place.endpoint_port}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
---
apiVersion: v1
kind: Secret
metadata: {{name: tls, namespace: bench}}
type: kubernetes.io/tls
stringData:
  tls.crt: |
{block(certificate_pem)}  tls.key: |
{block(key_pem)}---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: web, namespace: bench}}
spec:
{tls}  rules:
{rules}"""
