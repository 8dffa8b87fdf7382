"""One pod: a network namespace, its attachment, the containers in it, and whether they are ready.

A container of the demo is a process without a file system of its own; all of a pod share its network namespace, which
is the part of a pod that this project is about.
"""

import asyncio
import contextlib
import sys
import uuid
from collections.abc import Mapping

from causeway.demo import cni, echo, netns, processes
from causeway.demo.layout import Layout
from causeway.demo.slices import RunningPod
from causeway.demo.topology import Batch
from causeway.demo.workloads import (
    ContainerTemplate,
    Deployment,
    HttpGet,
    Placement,
    environment,
    expand,
    port_number,
)
from lb.cluster.objects import BadObject

ENTRYPOINTS: dict[str, tuple[str, ...]] = {
    # -S -E: no site-packages; the echo program needs none, and a pod is there in 20 ms.
    "causeway/echo": (sys.executable, "-S", "-E", echo.__file__),
    "causeway/causeway": (sys.executable, "-m", "causeway"),
}
"""What an image would hold: image without tag -> the program it runs."""

PROBE_PERIOD_S = 0.1
PROBE_TIMEOUT_S = 1.0
STARTUP_LIMIT_S = 25.0
STOP_LIMIT_S = 10.0


class NotReady(Exception):
    """A pod did not become ready in time."""


class Sandbox:
    """A pod on its node, from before its namespace exists until after it is gone."""

    def __init__(self, layout: Layout, placement: Placement, deployment: Deployment, host_ip: str) -> None:
        self.layout = layout
        self.placement = placement
        self.deployment = deployment
        self.host_ip = host_ip
        self.ip = ""
        self.ready = False
        self.terminating_since = ""
        """When it was told to go, RFC 3339; "" while it may stay."""
        self.programs: list[processes.Program] = []
        self.netns = layout.pod_netns(*placement.pod)
        self.attachment = cni.Attachment(
            layout.netns(placement.node),
            uuid.uuid4().hex * 2,  # runtimes use 64 hexadecimal digits
            layout.netns_path(self.netns),
            *placement.pod,
        )
        self.runtime = cni.Runtime(layout.cni_bin(placement.node), layout.cni_conf(placement.node))

    @property
    def labels(self) -> Mapping[str, str]:
        return self.deployment.spec.template.metadata.labels or {}

    def running(self, node_ready: bool) -> RunningPod:
        """What EndpointSlices say about it: on a node that is not ready, nothing is."""
        containers = self.deployment.spec.template.spec.containers
        return RunningPod(
            *self.placement.pod,
            node=self.placement.node,
            ip=self.ip,
            labels=self.labels,
            ports=tuple(port for container in containers for port in container.ports),
            ready=self.ready and node_ready,
            terminating=self.terminating,
        )

    @property
    def terminating(self) -> bool:
        return bool(self.terminating_since)

    async def start(self) -> None:
        """Until it is ready. Raises AttachFailed, NotReady, Died, BadObject, CommandFailed."""
        await netns.apply(Batch(None, (f"netns add {self.netns}",)))
        await netns.apply(Batch(self.netns, ("link set lo up",)))
        self.ip = await self.runtime.add(self.attachment)
        for container in self.deployment.spec.template.spec.containers:
            self.programs.append(await self.start_container(container))
        try:
            async with asyncio.timeout(STARTUP_LIMIT_S):
                for container in self.deployment.spec.template.spec.containers:
                    await self.until_ready(container)
        except TimeoutError:
            raise NotReady(
                f"pod {self.placement.pod} on {self.placement.node} was not ready within {STARTUP_LIMIT_S:g} s; "
                f"its programs say: {' '.join(str(each.log) for each in self.programs)}"
            ) from None
        self.ready = True

    async def start_container(self, container: ContainerTemplate) -> processes.Program:
        image = container.image.rpartition(":")[0] or container.image
        if image not in ENTRYPOINTS:
            raise BadObject(
                f"spec.template.spec.containers[{container.name}].image",
                f"{container.image!r} is not an image the demo can run",
                f"use one of: {', '.join(ENTRYPOINTS)}",
            )
        facts = {
            "metadata.name": self.placement.pod.name,
            "metadata.namespace": self.placement.pod.namespace,
            "spec.nodeName": self.placement.node,
            "status.podIP": self.ip,
            "status.hostIP": self.host_ip,
        }
        variables = environment(container, facts)
        variables |= {"CAUSEWAY_MANIFESTS": str(self.layout.manifests), "CONTAINER_NAME": container.name}
        argv = [*ENTRYPOINTS[image], *expand(container.args, variables)]
        name = f"{self.placement.pod.namespace}-{self.placement.pod.name}-{container.name}"
        return await processes.start(self.layout, name, self.netns, argv, env=variables)

    async def until_ready(self, container: ContainerTemplate) -> None:
        probe = container.readiness_probe.http_get if container.readiness_probe else None
        if probe is None:
            return
        port = port_number(container, probe.port)
        while not await self.probe(probe, port):
            for program in self.programs:
                program.check()
            await asyncio.sleep(PROBE_PERIOD_S)

    async def probe(self, probe: HttpGet, port: int) -> bool:
        """Ask as the kubelet does: from the node, at the pod's address; 200 to 399 is well."""
        ask = f"GET {probe.path} HTTP/1.1\r\nHost: {self.ip}:{port}\r\nConnection: close\r\n\r\n".encode()
        loop = asyncio.get_running_loop()
        connection = netns.open_socket(self.attachment.node_netns, netns.STREAM)
        with contextlib.closing(connection), contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await loop.sock_connect(connection, (self.ip, port))
                await loop.sock_sendall(connection, ask)
                return (await loop.sock_recv(connection, 64))[9:10] in (b"2", b"3")
        return False

    async def until_died(self) -> processes.Program:
        """The first of its programs that ends; a pod that is up waits here for as long as all goes well."""
        waiting = {asyncio.create_task(each.process.wait()): each for each in self.programs}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        return waiting[done.pop()]

    async def restart(self, died: processes.Program) -> None:
        """Start a container again whose program has ended, until the pod is ready once more."""
        containers = self.deployment.spec.template.spec.containers
        index = self.programs.index(died)
        self.programs[index] = await self.start_container(containers[index])
        async with asyncio.timeout(STARTUP_LIMIT_S):
            await self.until_ready(containers[index])
        self.ready = True

    async def stop(self) -> None:
        """End the containers as the kubelet does, then detach and forget the namespace."""
        sleeps = [
            container.lifecycle.pre_stop.sleep.seconds
            for container in self.deployment.spec.template.spec.containers
            if container.lifecycle and container.lifecycle.pre_stop and container.lifecycle.pre_stop.sleep
        ]
        # Time for everybody to read that this endpoint is terminating, before it stops answering.
        await asyncio.sleep(max(sleeps, default=0))
        patience = min(self.deployment.spec.template.spec.termination_grace_period_seconds, STOP_LIMIT_S)
        await asyncio.gather(*(program.stop(patience) for program in self.programs))
        await self.runtime.delete(self.attachment)
        netns.delete([self.netns])
