"""The node agent: wires the sources, the pod network, Services and announcements on one node.

Each part is a task with a reconcile loop of its own. A part that fails is logged and started again; the others go on.
Nothing is global: sockets, locks and files are under the run folder, so several agents run on one machine, each in its
own network namespace.
"""

import asyncio
import contextlib
import fcntl
import ipaddress
import json
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lb.balancer.announce import Announcer
from lb.balancer.heartbeat import PORT as HEARTBEAT_PORT
from lb.cluster.objects import EndpointSlice, Key, Node, Service
from lb.cluster.source import Opened
from lb.cni import install
from lb.cni.attachments import AttachmentStore
from lb.cni.recover import free_ended, interfaces, recover
from lb.cni.server import CniServer
from lb.files import replace_file
from lb.network.netlink import NetlinkError
from lb.network.node import NodeNetwork
from lb.network.pod import Mode
from lb.network.routes import Route
from lb.network.rules import HostPort, host_ports_of
from lb.network.watch import uplink_changes
from lb.reconcile import ApplyFailed, reconcile_forever
from lb.service.dataplane import ServiceDataplane
from lb.service.vips import Network

log = logging.getLogger(__name__)

SOCKET_NAME = "cni.sock"
NETWORK_STATE_NAME = "network.json"
ANNOUNCED_STATE_NAME = "announced.json"
INSTALLED_NAME = "installed.json"
LOCK_NAME = "lock"
ATTACHMENTS_NAME = "attachments"

SOCKET_PATH_BYTES_MAX = 107  # sun_path, unix(7)
KINDS = (Node, Service, EndpointSlice)
"""What an agent reads of the cluster."""

DRIFT_SECONDS = 10.0
"""How often the kernel and the installed files are compared with what they should be."""
NETWORK_SETTLE_SECONDS = 0.05
SERVICE_SETTLE_SECONDS = 0.01
"""A rollout changes several slices at once; a pod that ends must leave its Services at once."""
SERVICE_DRIFT_SECONDS = 60.0

RESTART_SECONDS_FIRST, RESTART_SECONDS_MAX = 1.0, 30.0


class CannotStart(Exception):
    """Something an operator must correct before this agent can run; the text says what."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the flags of `causeway node` say."""

    node: str
    run_dir: Path
    cni_bin_dir: Path
    cni_conf_dir: Path
    mode: Mode = "routed"
    uplink: str = ""
    service_cidrs: tuple[Network, ...] = ()
    heartbeat_port: int = HEARTBEAT_PORT
    drift_seconds: float = DRIFT_SECONDS
    cni_plugin: Path | None = None
    """An executable to put onto the node; None: scripts run by this interpreter."""


async def run_agent(options: Options, opened: Opened) -> None:
    """Run until SIGTERM or SIGINT. Pods, routes and rules go on working afterwards: an upgrade cuts nothing.

    Raises CannotStart.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with locked(options.run_dir):
        agent = Agent(options, opened)
        await agent.start()
        tasks = [asyncio.create_task(keep_running(name, part), name=name) for name, part in agent.parts().items()]
        try:
            await stop.wait()
            log.info("stopping; pods, routes and rules stay as they are")
        finally:
            await agent.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class Agent:
    """The parts of one node's agent and what they share."""

    def __init__(self, options: Options, opened: Opened) -> None:
        self.options = options
        self.opened = opened
        self.socket = options.run_dir / SOCKET_NAME
        self.records = AttachmentStore(options.run_dir / ATTACHMENTS_NAME)
        self.network = NodeNetwork(
            opened.store,
            options.node,
            mode=options.mode,
            uplink=options.uplink,
            pod_routes=self.pod_routes,
            host_ports=self.host_ports,
        )
        self.cni = CniServer(self.network, self.records)
        self.services_ready = asyncio.Event()
        """Set when every Service of the store is in the kernel: before, an announced address would lead nowhere."""
        self._state_written = -1

    async def start(self) -> None:
        """Read what an earlier agent left and begin to answer the plugin ("try again later" until all is ready)."""
        if len(os.fsencode(self.socket)) > SOCKET_PATH_BYTES_MAX:
            raise CannotStart(f"--run-dir {self.options.run_dir} is too long for the path of a unix socket")
        self.records.load()
        await asyncio.to_thread(recover, self.records)
        await self.cni.start(self.socket)

    async def stop(self) -> None:
        await self.cni.stop(self.socket)

    def parts(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs side by side, by the name it has in the log."""
        return {
            "source": self.opened.source.run,
            "pod network": self._run_network,
            "uplink": self._watch_uplink,
            "cni": self._run_cni,
            "services": self._run_services,
            "announcements": self._run_announcer,
        }

    def pod_routes(self) -> Iterator[Route]:
        for record in self.records:
            if record.mode == "routed":
                for each in record.addresses:
                    yield Route(ipaddress.ip_network(each), None, record.host_interface)

    def host_ports(self) -> Iterator[HostPort]:
        for record in self.records:
            for each in record.ports:
                yield from host_ports_of(
                    record.addresses, each.host_port, each.container_port, each.protocol, each.host_ip
                )

    async def _run_network(self) -> None:
        async def apply(keys: Sequence[Key] | None) -> None:
            if keys is None:
                with contextlib.suppress(NetlinkError):  # the next full pass looks again
                    free_ended(self.records, await asyncio.to_thread(interfaces))
            try:
                await self.network.apply(keys)
            finally:
                self._write_state()

        await reconcile_forever(
            self.opened.store,
            [Node],
            apply,
            synced=self.opened.source.synced,
            settle_seconds=NETWORK_SETTLE_SECONDS,
            drift_seconds=self.options.drift_seconds,
        )

    async def _watch_uplink(self) -> None:
        async for _ in uplink_changes(lambda: self.network.uplink.interface if self.network.uplink else ""):
            log.info("the uplink has changed: looking at everything")
            try:
                await self.network.apply(None)
            except ApplyFailed as error:
                log.warning("%s", error)  # the regular pass tries again

    async def _run_cni(self) -> None:
        """Put plugin and configuration onto the node once it is ready, and back if somebody removes them."""
        await self.network.ready.wait()
        options = self.options
        while True:
            try:
                wanted = install.files(options.cni_bin_dir, options.cni_conf_dir, self.socket, options.cni_plugin)
                # For --cleanup, which is not told these folders, and removes the configuration first.
                listed = json.dumps([str(each.path) for each in reversed(wanted)]) + "\n"
                _ensure_file(options.run_dir / INSTALLED_NAME, listed.encode(), 0o600)
                for path, content, mode in wanted:
                    if _ensure_file(path, content, mode):
                        log.info("installed %s", path)
            except OSError as error:
                log.error("the CNI plugin cannot be installed: %s (--cni-bin-dir, --cni-conf-dir); trying again", error)
            await asyncio.sleep(options.drift_seconds)

    async def _run_services(self) -> None:
        dataplane = ServiceDataplane(self.opened.store, self.options.node, service_cidrs=self.options.service_cidrs)

        async def apply(keys: Sequence[Key] | None) -> None:
            await dataplane.apply(keys)
            self.services_ready.set()

        try:
            await reconcile_forever(
                self.opened.store,
                ServiceDataplane.KINDS,
                apply,
                synced=self.opened.source.synced,
                settle_seconds=SERVICE_SETTLE_SECONDS,
                drift_seconds=SERVICE_DRIFT_SECONDS,
            )
        finally:
            await dataplane.close()

    async def _run_announcer(self) -> None:
        # What arrives for an announced address goes on to a pod, here or on another node: both parts are needed.
        ready = asyncio.Event()
        announcer = Announcer(
            self.opened.store,
            self.options.node,
            synced=self.opened.source.synced,
            ready=ready,
            port=self.options.heartbeat_port,
            interfaces=[self.options.uplink] if self.options.uplink else [],
            state_file=self.options.run_dir / ANNOUNCED_STATE_NAME,
        )

        async def wait_ready() -> None:
            await self.network.ready.wait()
            await self.services_ready.wait()
            ready.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(wait_ready())
            tasks.create_task(announcer.run())

    def _write_state(self) -> None:
        if self.network.revision != self._state_written:
            text = json.dumps(self.network.state(), indent=1) + "\n"
            try:
                replace_file(self.options.run_dir / NETWORK_STATE_NAME, text.encode(), 0o644)
            except OSError as error:
                log.warning("the state of the pod network cannot be written: %s", error)
            self._state_written = self.network.revision


async def keep_running(name: str, part: Callable[[], Awaitable[None]]) -> None:
    """Run a part for ever; one that fails is logged, and started again after a pause that doubles up to 30 s."""
    pause = RESTART_SECONDS_FIRST
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            await part()
            log.error("%s ended; starting it again in %g s", name, pause)
        except Exception:
            log.exception("%s failed; starting it again in %g s", name, pause)
        if loop.time() - began > RESTART_SECONDS_MAX:
            pause = RESTART_SECONDS_FIRST
        await asyncio.sleep(pause)
        pause = min(2 * pause, RESTART_SECONDS_MAX)


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[IO[str]]:
    """Hold the run folder for this process; the kernel lets go of it however the process ends. Raises CannotStart."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        (run_dir / LOCK_NAME).touch()
    except OSError as error:
        raise CannotStart(f"--run-dir {run_dir} cannot be used: {error.strerror}") from None
    with open(run_dir / LOCK_NAME, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = file.read().strip() or "unknown"
            raise CannotStart(
                f"--run-dir {run_dir} is in use by another agent (process {owner}): stop that one, or give this one"
                " a run folder of its own"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield file


def _ensure_file(path: Path, content: bytes, mode: int) -> bool:
    """Make the file have this content; return whether it had another one."""
    with contextlib.suppress(OSError):
        if path.read_bytes() == content:
            return False
    replace_file(path, content, mode)
    return True
