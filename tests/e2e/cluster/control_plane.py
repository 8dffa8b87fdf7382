"""etcd, API server, controller manager and scheduler: how each is called."""

from __future__ import annotations

from pathlib import Path

from . import layout
from .pki import Authority
from .processes import Process


def make_keys(state: Path, nodes: list[layout.Node]) -> None:
    """Signs a certificate and writes a kubeconfig for everybody: STATE/NAME.kubeconfig."""
    authority = Authority(state / "pki")
    names = "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost"
    addresses = ",".join(f"IP:{a}" for a in (layout.CONTROL_ADDRESS, "127.0.0.1", layout.API_SERVICE_ADDRESS))
    authority.sign("apiserver", "/CN=kube-apiserver", f"{addresses},{names}")
    clients = {
        "admin": "/O=system:masters/CN=admin",
        "controller-manager": "/CN=system:kube-controller-manager",
        "scheduler": "/CN=system:kube-scheduler",
    }
    for name, subject in clients.items():
        authority.sign(name, subject, f"DNS:{name}")
        authority.kubeconfig(name, layout.API_SERVER, state / f"{name}.kubeconfig")
    for node in nodes:
        authority.sign(node.name, f"/O=system:nodes/CN=system:node:{node.name}", f"DNS:{node.name},IP:{node.address}")
        authority.kubeconfig(node.name, layout.API_SERVER, state / f"{node.name}.kubeconfig")


def processes(programs: Path, state: Path) -> dict[str, Process]:
    """Not started yet, in the order to start them; the last two want an API server that answers."""
    commands = {
        "etcd": _etcd(state),
        "kube-apiserver": _api_server(state / "pki"),
        "kube-controller-manager": _controller_manager(state),
        "kube-scheduler": [f"--kubeconfig={state}/scheduler.kubeconfig", "--leader-elect=false"],
    }
    return {
        name: Process(name, layout.CONTROL, [str(programs / name), *flags], state / "log" / f"{name}.log", {})
        for name, flags in commands.items()
    }


def _etcd(state: Path) -> list[str]:
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    return [
        f"--data-dir={state}/etcd",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        "--unsafe-no-fsync",
    ]


def _api_server(pki: Path) -> list[str]:
    return [
        "--etcd-servers=http://127.0.0.1:2379",
        f"--advertise-address={layout.CONTROL_ADDRESS}",
        "--bind-address=0.0.0.0",
        "--secure-port=6443",
        f"--service-cluster-ip-range={layout.SERVICE_NETWORK}",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/admin.crt",
        f"--kubelet-client-key={pki}/admin.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
    ]


def _controller_manager(state: Path) -> list[str]:
    return [
        f"--kubeconfig={state}/controller-manager.kubeconfig",
        f"--service-account-private-key-file={state}/pki/sa.key",
        f"--root-ca-file={state}/pki/ca.crt",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--allocate-node-cidrs",
        f"--cluster-cidr={layout.POD_NETWORK}",
        "--node-cidr-mask-size=24",
        f"--service-cluster-ip-range={layout.SERVICE_NETWORK}",
        # a node that is gone is noticed in seconds: the default of 50 s would eat the tests' time
        "--node-monitor-grace-period=12s",
        "--node-monitor-period=2s",
    ]
