"""containerd and kubelet of one node. Both are told to keep everything of theirs in the node's folders."""

from __future__ import annotations

import os
from pathlib import Path

from . import layout
from .image import IMAGE
from .processes import Process, run


def processes(programs: Path, state: Path, node: layout.Node) -> tuple[Process, Process]:
    """containerd and kubelet, configured and not started."""
    for folder in (node.cni_bin, node.cni_conf, node.folder / "kubelet", node.sockets):
        folder.mkdir(parents=True, exist_ok=True)
    (node.folder / "containerd.toml").write_text(_containerd(node))
    (node.folder / "kubelet.yaml").write_text(_kubelet(state, node))
    (node.folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    log = state / "log"
    containerd = Process(
        f"containerd-{node.name}",
        node.netns,
        [str(programs / "containerd"), "-c", str(node.folder / "containerd.toml")],
        log / f"containerd-{node.name}.log",
        {"PATH": f"{programs}:{os.environ['PATH']}"},  # it looks for its shim there
    )
    kubelet = Process(
        f"kubelet-{node.name}",
        node.netns,
        [
            str(programs / "kubelet"),
            f"--config={node.folder}/kubelet.yaml",
            f"--kubeconfig={state}/{node.name}.kubeconfig",
            f"--hostname-override={node.name}",
            f"--node-ip={node.address}",
            f"--root-dir={node.folder}/kubelet",
            f"--cert-dir={node.folder}/kubelet/pki",
        ],
        log / f"kubelet-{node.name}.log",
        {},
    )
    return containerd, kubelet


def share_mounts() -> None:
    """Makes what is mounted in the nodes' folders visible to containers that ask for it, as it is on a real machine.

    There systemd makes every mount shared; a node agent in a container needs to see pods' network namespaces.
    """
    run(["mount", "--bind", str(layout.SOCKETS), str(layout.SOCKETS)])
    run(["mount", "--make-shared", str(layout.SOCKETS)])


def _containerd(node: layout.Node) -> str:
    # NRI: its socket has one place on a machine, and we are several nodes
    return f"""version = 3
root = "{node.folder}/containerd"
state = "{node.sockets}/containerd"
[grpc]
  address = "{node.runtime_socket}"
[ttrpc]
  address = "{node.runtime_socket}.ttrpc"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  use_local_image_pull = true
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{IMAGE}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{node.cni_bin}"]
  conf_dir = "{node.cni_conf}"
  use_internal_loopback = true
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  Root = "{node.sockets}/runc"
"""


def _kubelet(state: Path, node: layout.Node) -> str:
    # cgroup v1 machines: no cgroup per QoS class, and the kubelet must not refuse to start
    return f"""apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: {state}/pki/ca.crt}}
authorization: {{mode: Webhook}}
cgroupDriver: cgroupfs
cgroupRoot: /
cgroupsPerQOS: false
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
clusterDNS: [{layout.DNS_ADDRESS}]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://{node.runtime_socket}
imageGCHighThresholdPercent: 100
evictionHard: {{nodefs.available: 1%, imagefs.available: 1%, memory.available: 50Mi}}
podLogsDir: {node.folder}/podlogs
resolvConf: {node.folder}/resolv.conf
serverTLSBootstrap: false
tlsCertFile: {state}/pki/{node.name}.crt
tlsPrivateKeyFile: {state}/pki/{node.name}.key
volumePluginDir: {node.folder}/volumeplugins
maxPods: 200
syncFrequency: 2s
nodeStatusUpdateFrequency: 3s
nodeLeaseDurationSeconds: 8
"""
