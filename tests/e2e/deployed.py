"""What deploy/ has, made fit for a cluster whose nodes share one file system, and the image it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from deploy.image import from_scratch
from tests.e2e.cluster import layout
from tests.e2e.cluster.cluster import Cluster

TOP = Path(__file__).parent.parent.parent
CHART = TOP / "deploy/helm/causeway"
NODE = TOP / "deploy/kustomize/node"
REPOSITORY = "causeway.test/causeway"
TAGS = "1", "2"
"""The same image by two names: the second is the new version."""
Object = dict[str, Any]


def load_image(cluster: Cluster) -> None:
    """Build the image from this machine's files and give it to every node."""
    built = cluster.programs.parent / "image"
    built.mkdir(exist_ok=True)
    archive = built / "causeway.tar"
    from_scratch.build(archive, [f"{REPOSITORY}:{tag}" for tag in TAGS], built)
    for node in cluster.nodes:
        cluster.load_image(node, archive)


def node_objects(cluster: Cluster, tag: str) -> list[Object]:
    """deploy/kustomize/node with this cluster's settings."""
    objects = list(yaml.safe_load_all(cluster.kubectl("kustomize", str(NODE))))
    for each in objects:
        if each["kind"] == "ConfigMap":
            each["data"] = {
                "KUBERNETES_SERVICE_HOST": layout.CONTROL_ADDRESS,
                "KUBERNETES_SERVICE_PORT": "6443",
                "POOL": f"lan={layout.POOL_FIRST}-{layout.POOL_LAST}",
            }
        if each["kind"] in ("DaemonSet", "Deployment"):
            each["spec"]["template"]["spec"]["containers"][0]["image"] = f"{REPOSITORY}:{tag}"
        if each["kind"] == "DaemonSet":
            _give_each_node_its_folders(each["spec"]["template"]["spec"], cluster.state)
    return objects


def _give_each_node_its_folders(pod: Object, state: Path) -> None:
    """On real machines /run/causeway and the others are other folders on each node; here their names have to differ."""
    own = {
        "/run/causeway": f"{layout.SOCKETS}/$(NODE_NAME)/causeway",
        "/opt/cni/bin": f"{state}/$(NODE_NAME)/cni/bin",
        "/etc/cni/net.d": f"{state}/$(NODE_NAME)/cni/net.d",
    }
    agent = pod["containers"][0]
    agent["args"] = [_replaced(each, own) for each in agent["args"]] + [f"--service-cidr={layout.SERVICE_NETWORK}"]
    agent["volumeMounts"] = [
        {"name": "sockets", "mountPath": str(layout.SOCKETS), "mountPropagation": "HostToContainer"},
        # where the readiness probe asks, whose command is the same on all nodes
        {"name": "sockets", "mountPath": "/run/causeway", "subPathExpr": "$(NODE_NAME)/causeway"},
        {"name": "state", "mountPath": str(state)},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    pod["volumes"] = [
        {"name": "sockets", "hostPath": {"path": str(layout.SOCKETS)}},
        {"name": "state", "hostPath": {"path": str(state)}},
        {"name": "tmp", "emptyDir": {}},
    ]


def _replaced(argument: str, folders: dict[str, str]) -> str:
    for before, after in folders.items():
        argument = argument.replace(f"={before}", f"={after}")
    return argument
