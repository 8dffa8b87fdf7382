"""What the control plane and the kubelets would do, as small as is honest.

Reads Deployments and Services from the folder everybody reads, starts and stops pods, and writes Pods and
EndpointSlices into it. A pod that is to go is first written as terminating; it stops only after its `preStop` sleep.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import watchfiles
import yaml

from causeway.demo import cni, netns, processes
from causeway.demo.layout import Layout
from causeway.demo.sandbox import NotReady, Sandbox
from causeway.demo.slices import slices
from causeway.demo.topology import NodePlace
from causeway.demo.workloads import Deployment, Placement, PodName, decode_deployment, plan
from lb.cluster.objects import BadObject, Object, Service, decode
from lb.files import replace_file

DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
RESTART_PAUSE_S = 0.5
EXPECTED = (cni.AttachFailed, NotReady, processes.Died, BadObject, netns.CommandFailed, OSError, TimeoutError)
"""What may go wrong with one pod without harm to the others."""


class Wanted:
    """What the manifests ask for. A file that cannot be read keeps its last good content."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.say = say
        self.read_files: dict[Path, tuple[str, list[Any]]] = {}
        self.deployments: list[Deployment] = []
        self.services: list[Service] = []

    def read(self) -> None:
        # Not below: generated/ is our own writing, and what begins with a dot is somebody's half-written file.
        paths = sorted(path for path in self.folder.glob("*.y*ml") if not path.name.startswith("."))
        for path in paths:
            with contextlib.suppress(OSError):  # removed between listing and reading
                self.read_file(path, path.read_text(errors="replace"))
        self.read_files = {path: kept for path, kept in self.read_files.items() if path in paths}
        documents = [document for _, found in self.read_files.values() for document in found]
        self.deployments = [each for each in documents if isinstance(each, Deployment)]
        self.services = [each for each in documents if isinstance(each, Service)]

    def read_file(self, path: Path, text: str) -> None:
        known = self.read_files.get(path)
        if known is not None and known[0] == text:
            return
        try:
            documents = [each for each in yaml.load_all(text, LOADER) if isinstance(each, dict)]
            found = [made for each in documents if (made := understand(each)) is not None]
        except (yaml.YAMLError, BadObject) as error:
            self.say(f"{path.name}: {' '.join(str(error).split())}; what it said before still holds")
            self.read_files[path] = (text, known[1] if known else [])
            return
        self.read_files[path] = (text, found)


def understand(document: dict[str, Any]) -> Deployment | Object | None:
    """The Deployments and Services among the documents. Raises BadObject."""
    if document.get("kind") == "Deployment":
        return decode_deployment(document)
    return decode(document) if document.get("kind") == "Service" else None


class Control:
    """Pods, from manifests to processes."""

    def __init__(self, layout: Layout, nodes: Sequence[NodePlace], say: Callable[[str], None]) -> None:
        self.layout = layout
        self.nodes = {node.name: node for node in nodes}
        self.node_ready = dict.fromkeys(self.nodes, True)
        self.say = say
        self.wanted = Wanted(layout.manifests, say)
        self.pods: dict[PodName, Sandbox] = {}
        self.lives: dict[PodName, asyncio.Task[None]] = {}
        self.changed = asyncio.Condition()
        self.written: dict[str, str] = {}
        self.failures: list[str] = []
        self.has_read = False

    async def run(self) -> None:
        """Follow the manifests until cancelled."""
        await self.reconcile()
        stop = asyncio.Event()
        try:
            async for _ in watchfiles.awatch(
                self.layout.manifests, recursive=False, stop_event=stop, debounce=100, step=20, rust_timeout=1000
            ):
                await self.reconcile()
        finally:
            stop.set()
            for task in self.lives.values():
                task.cancel()
            await asyncio.gather(*self.lives.values(), return_exceptions=True)

    async def reconcile(self) -> None:
        self.wanted.read()
        self.has_read = True
        present = [each.placement for each in self.pods.values() if not each.terminating]
        leaving_names = {each.placement.pod for each in self.pods.values() if each.terminating}
        nodes = [name for name, ready in self.node_ready.items() if ready]
        change = plan(self.wanted.deployments, present, nodes, leaving_names)
        deployments = {(each.namespace, each.metadata.name): each for each in self.wanted.deployments}
        for placement in change.start:
            deployment = deployments[placement.pod.namespace, placement.deployment]
            host_ip = self.nodes[placement.node].ip
            sandbox = Sandbox(self.layout, placement, deployment, host_ip)
            self.pods[placement.pod] = sandbox
            self.live(placement, self.bring_up(sandbox))
        for placement in change.stop:
            leaving = self.pods[placement.pod]
            leaving.terminating_since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            self.live(placement, self.bring_down(leaving))
        await self.tell()

    def live(self, placement: Placement, life: Any) -> None:
        """One task for each pod at a time: what a pod was doing ends when it is to do something else."""
        before = self.lives.get(placement.pod)

        async def take_over() -> None:
            if before is not None:
                before.cancel()
                await asyncio.gather(before, return_exceptions=True)
            await life

        self.lives[placement.pod] = asyncio.create_task(take_over(), name=f"pod {placement.pod}")

    async def bring_up(self, sandbox: Sandbox) -> None:
        """Start a pod, and start again what ends in it, as the kubelet does."""
        try:
            await sandbox.start()
            await self.tell()
            while True:
                died = await sandbox.until_died()
                sandbox.ready = False
                self.say(f"pod {sandbox.placement.pod}: {died.name} ended; starting it again")
                await self.tell()
                await asyncio.sleep(RESTART_PAUSE_S)
                await sandbox.restart(died)
                await self.tell()
        except EXPECTED as error:
            self.failures.append(f"pod {sandbox.placement.pod}: {error}")
            self.say(self.failures[-1])
            await self.tell()

    async def bring_down(self, sandbox: Sandbox) -> None:
        try:
            await sandbox.stop()
        except EXPECTED as error:
            self.say(f"pod {sandbox.placement.pod}: {error}")
        del self.pods[sandbox.placement.pod], self.lives[sandbox.placement.pod]
        await self.tell()

    async def set_node(self, node: str, ready: bool) -> None:
        """A node answers, or it does not: then none of its pods counts as ready."""
        if self.node_ready[node] != ready:
            self.node_ready[node] = ready
            await self.tell()

    async def tell(self) -> None:
        """Write Pods and EndpointSlices, and wake who waits for them."""
        running = [each.running(self.node_ready[each.placement.node]) for each in self.pods.values()]
        found = [document for service in self.wanted.services for document in slices(service, running)]
        self.write("endpointslices.yaml", found)
        self.write("pods.yaml", [self.document(each) for each in self.pods.values()])
        async with self.changed:
            self.changed.notify_all()

    def write(self, name: str, documents: Sequence[Mapping[str, Any]]) -> None:
        text = yaml.dump_all(documents, Dumper=DUMPER, sort_keys=False)
        if self.written.get(name) != text:
            replace_file(self.layout.generated / name, text.encode(), 0o644)
            self.written[name] = text

    def document(self, sandbox: Sandbox) -> dict[str, Any]:
        """The Pod as the API server would show it."""
        pod, deployment, node = sandbox.placement
        metadata = {
            "name": pod.name,
            "namespace": pod.namespace,
            "labels": dict(sandbox.labels),
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment, "controller": True}
            ],
        }
        if sandbox.terminating:
            metadata["deletionTimestamp"] = sandbox.terminating_since
        ready = sandbox.ready and self.node_ready[node]
        status: dict[str, Any] = {
            "phase": "Running" if sandbox.ip else "Pending",
            "hostIP": sandbox.host_ip,
            "conditions": [{"type": "Ready", "status": str(ready)}],
        }
        if sandbox.ip:
            status |= {"podIP": sandbox.ip, "podIPs": [{"ip": sandbox.ip}]}
        spec = {**sandbox.deployment.raw_template["spec"], "nodeName": node}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}

    async def until_settled(self, limit_s: float) -> None:
        """Until exactly the wanted pods are there and ready. Raises TimeoutError, or NotReady when one has failed."""
        async with asyncio.timeout(limit_s), self.changed:
            await self.changed.wait_for(lambda: self.settled() or self.failures)
        if self.failures:
            raise NotReady("; ".join(self.failures))

    def settled(self) -> bool:
        wanted = {(each.namespace, each.metadata.name): each.spec.replicas for each in self.wanted.deployments}
        ready = [each for each in self.pods.values() if each.ready and not each.terminating]
        return self.has_read and len(ready) == len(self.pods) == sum(wanted.values())

    async def until_replicas(self, namespace: str, deployment: str, replicas: int, limit_s: float) -> None:
        """Until a Deployment has exactly so many pods, all ready, none leaving. Raises TimeoutError."""

        def reached() -> bool:
            mine = [
                each
                for each in self.pods.values()
                if (each.placement.pod.namespace, each.placement.deployment) == (namespace, deployment)
            ]
            return len(mine) == replicas and all(each.ready and not each.terminating for each in mine)

        async with asyncio.timeout(limit_s), self.changed:
            await self.changed.wait_for(reached)

    def programs(self) -> list[processes.Program]:
        return [program for sandbox in self.pods.values() for program in sandbox.programs]

    def of(self, namespace: str, deployment: str) -> list[Sandbox]:
        """The ready pods of one Deployment, by name."""
        found = [
            each
            for each in self.pods.values()
            if (each.placement.pod.namespace, each.placement.deployment) == (namespace, deployment)
        ]
        return sorted((each for each in found if each.ready), key=lambda each: each.placement.pod)
