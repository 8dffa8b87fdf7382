"""Addresses of the nodes that replicas run on: where clients reach us if nothing in front of the pods is named.

Source: ingress-nginx, without --publish-service and --publish-status-address. Asked again and again, as there: who runs
where is known to nobody else here, and to watch pods would be a right more.
"""

import asyncio
import logging

import msgspec

from lb.cluster.connection import ApiFailed, Connection, path_of
from lb.cluster.objects import Node, Pod

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
NODE_SECONDS = 300.0
"""So long the addresses of a node are believed."""
_OF_ONE_VERSION = frozenset({"pod-template-hash", "controller-revision-hash", "pod-template-generation"})
"""Labels that replicas of an older or newer version do not share."""


class _Pods(msgspec.Struct, frozen=True):
    items: tuple[Pod, ...] = ()


def address_of(node: Node) -> str:
    """The external address if there is one, else the internal one; "" if it has neither."""
    found = {each.type: each.address for each in reversed(node.status.addresses)}  # the first of a kind counts
    return found.get("ExternalIP") or found.get("InternalIP", "")


def is_ready(pod: Pod) -> bool:
    told = {each.type: each.status for each in pod.status.conditions}
    return pod.status.phase == "Running" and told.get("Ready") == "True"


class ReplicaNodes:
    """Follows the pods that have the labels of one of them, `namespace`/`pod`."""

    def __init__(self, connection: Connection, namespace: str, pod: str, *, internal: bool) -> None:
        self.connection = connection
        self.namespace, self.pod = namespace, pod
        self.internal = internal
        self._selector = ""
        self._nodes: dict[str, tuple[float, str]] = {}
        self._complaint = ""

    async def other_than(self, addresses: tuple[str, ...]) -> tuple[str, ...]:
        """Waits until they are others, and at least one."""
        while True:
            try:
                found = await self.ask()
                if found and found != addresses:
                    return found
                self._complaint = ""
            except (ApiFailed, msgspec.MsgspecError) as error:
                if str(error) != self._complaint:
                    self._complaint = str(error)
                    log.warning(
                        "the nodes of the replicas are not known, so the status of Ingresses stays: %s; give "
                        "--publish-service or --publish-status-address, or the right to read pods and nodes",
                        error,
                    )
            await asyncio.sleep(LOOK_SECONDS)

    async def ask(self) -> tuple[str, ...]:
        """Addresses of the nodes with a ready pod of ours, sorted. Raises ApiFailed, msgspec.MsgspecError."""
        folder = path_of(Pod, self.namespace)
        if not self._selector:
            own = msgspec.json.decode(await self.connection.get(f"{folder}/{self.pod}"), type=Pod)
            shared = {name: value for name, value in own.labels.items() if name not in _OF_ONE_VERSION}
            self._selector = ",".join(f"{name}={value}" for name, value in sorted(shared.items()))
        told = await self.connection.get(folder, {"labelSelector": self._selector})
        pods = [each for each in msgspec.json.decode(told, type=_Pods).items if is_ready(each)]
        return tuple(sorted({address for each in pods if (address := await self._address(each))}))

    async def _address(self, pod: Pod) -> str:
        if self.internal:
            return pod.status.host_ip
        now, name = asyncio.get_running_loop().time(), pod.spec.node_name
        asked, address = self._nodes.get(name, (-NODE_SECONDS, ""))
        if now - asked >= NODE_SECONDS:
            node = msgspec.json.decode(await self.connection.get(f"{path_of(Node)}/{name}"), type=Node)
            address = address_of(node)
            self._nodes[name] = now, address
        return address
