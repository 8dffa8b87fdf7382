"""The agent's end of the plugin's socket: one call in, one answer out.

Calls for one attachment run one after the other, those of different ones side by side. Whatever a call has begun it
ends or undoes, also when the runtime has stopped waiting for it.
"""

import asyncio
import contextlib
import ipaddress
import logging
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from lb.cni import spec
from lb.cni.attachments import AttachmentStore, PortRecord, Record
from lb.cni.spec import Attachment, Call, CniError
from lb.ipam import PoolExhausted, allocate
from lb.network import attach
from lb.network.conntrack import forget_udp
from lb.network.netlink import NetlinkError, NoSuchNamespace, is_own_namespace
from lb.network.nft import NftFailed
from lb.network.node import NodeNetwork
from lb.network.pod import DEFAULT_ROUTE, Mode, PodLink, host_interface, plan_link
from lb.network.sysctl import SysctlRefused

log = logging.getLogger(__name__)

CALL_BYTES_MAX = 16 << 20  # GC lists every attachment of the node
READ_SECONDS = 10.0


@dataclass(slots=True)
class _Turn:
    """Whose turn it is for one attachment, and how many want it."""

    lock: asyncio.Lock
    wanted: int = 0


class CniServer:
    """Answers the plugin, on one unix socket."""

    def __init__(self, network: NodeNetwork, records: AttachmentStore) -> None:
        self.network = network
        self.records = records
        self._turns: dict[Attachment, _Turn] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, path: Path) -> None:
        """Listen. A socket left by a killed agent is replaced: the caller holds the run folder's lock."""
        _unlink(path)
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, path, limit=CALL_BYTES_MAX, backlog=512)
        finally:
            os.umask(before)

    async def stop(self, path: Path) -> None:
        """Take no more calls, end those that have begun."""
        _unlink(path)
        if self._server is not None:
            self._server.close()
        if self._calls:
            await asyncio.wait(self._calls)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._calls.add(task)
        try:
            async with asyncio.timeout(READ_SECONDS):
                variables, stdin = _read_call(await _read_all(reader))
            status, answer = await self.answer(variables, stdin)
            writer.write(f"{status}{answer}\n".encode())
            await writer.drain()
        except (OSError, ValueError, TimeoutError) as error:
            log.warning("a call on the plugin's socket is not one: %s: %s", type(error).__name__, error)
        finally:
            self._calls.discard(task)
            writer.close()

    async def answer(self, variables: dict[str, str], stdin: str) -> tuple[int, str]:
        """(exit status, what to print) for one call."""
        version = spec.version_for_errors(stdin)
        try:
            call = spec.parse_call(variables, stdin)
            version = call.version
            return 0, await self._run(call)
        except CniError as error:
            asked = f"{variables.get('CNI_COMMAND')} {variables.get('CNI_CONTAINERID', '')[:12]}"
            log.warning("%s: code %d: %s %s", asked, error.code, error.message, error.details)
            return 1, error.body(version)
        except Exception as error:
            log.exception("CNI %s failed", variables.get("CNI_COMMAND"))
            return 1, CniError(spec.INTERNAL, f"{type(error).__name__}: {error}", "see the agent's log").body(version)

    async def _run(self, call: Call) -> str:
        match call.command:
            case "ADD":
                async with self._turn(call.attachment):
                    return await self._add(call)
            case "CHECK":
                async with self._turn(call.attachment):
                    await self._check(call)
            case "DEL":
                async with self._turn(call.attachment):
                    await self._delete(call.attachment)
            case "GC":
                await self._collect(call.valid)
            case "STATUS":
                if not self.network.ready.is_set():
                    raise CniError(spec.NOT_AVAILABLE, "the pod network is not ready", self._why_not_ready())
        return ""

    @contextlib.asynccontextmanager
    async def _turn(self, attachment: Attachment) -> AsyncIterator[None]:
        turn = self._turns.setdefault(attachment, _Turn(asyncio.Lock()))
        turn.wanted += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.wanted -= 1
            if not turn.wanted:
                del self._turns[attachment]

    def _why_not_ready(self) -> str:
        return (
            str(self.network.state()["waitingFor"])
            or "the agent has just started, or cannot set up the node: see its log"
        )

    # -- commands

    async def _add(self, call: Call) -> str:
        network = self.network
        if not network.ready.is_set() or network.uplink is None:
            raise CniError(spec.TRY_LATER, "the pod network is not ready", self._why_not_ready())
        if (already := self.records.get(call.attachment)) is not None:
            said = f"{call.attachment} is attached already, with {', '.join(already.addresses)}"
            raise CniError(spec.ALREADY_ATTACHED, said, "DEL it first")
        _require_namespace(call.netns)
        try:
            addresses = allocate(network.pools, self.records.in_use, self.records.last)
        except PoolExhausted as error:
            raise CniError(spec.POOL_EXHAUSTED, str(error), "end pods, or give the Node a larger podCIDR") from None
        attached = (call.attachment.container, call.attachment.ifname)
        link = plan_link(
            attached,
            call.netns,
            mode=network.mode,
            addresses=addresses,
            pools=network.pools,
            mtu=network.pod_mtu,
            host_ports=bool(call.port_mappings),
        )
        record = self._remember(call, link)
        try:
            await asyncio.to_thread(attach.attach, link)
            try:
                await self._apply_host_ports(record)
            except BaseException:
                await asyncio.to_thread(attach.detach, link.host_interface)
                raise
        except BaseException as error:
            self.records.remove(call.attachment)
            raise _as_cni_error(error) from error
        log.info("ADD %s %s: %s", call.attachment.container[:12], call.pod, ", ".join(map(str, addresses)))
        return _result(link).body(call.version)

    def _remember(self, call: Call, link: PodLink) -> Record:
        record = Record(
            container=call.attachment.container,
            ifname=call.attachment.ifname,
            netns=call.netns,
            addresses=tuple(str(each.address) for each in link.addresses),
            mode=link.mode,
            host_interface=link.host_interface,
            pod=call.pod,
            ports=tuple(
                PortRecord(each.host_port, each.container_port, each.protocol, each.host_ip)
                for each in call.port_mappings
            ),
        )
        try:
            self.records.put(record)
        except OSError as error:
            said = f"the allocation cannot be written to {self.records.folder}: {error.strerror}"
            raise CniError(spec.INPUT_OUTPUT, said, "free some space there") from None
        return record

    async def _apply_host_ports(self, record: Record) -> None:
        """After the record has come or gone. Raises NftFailed."""
        if record.ports:
            await self.network.apply_host_ports()
        for each in record.ports:
            if each.protocol == "udp":
                await forget_udp(each.host_port)

    async def _check(self, call: Call) -> None:
        record = self.records.get(call.attachment)
        if record is None:
            raise CniError(spec.UNKNOWN_CONTAINER, f"{call.attachment} is not attached")
        assert call.previous is not None  # parse_call has seen to it
        _require_namespace(call.netns)
        told = {each.address.partition("/")[0] for each in call.previous.ips}
        wrong = [f"prevResult does not have {each}" for each in record.addresses if each not in told]
        try:
            wrong += await asyncio.to_thread(attach.missing, self._link_of(record, call.netns))
        except (NetlinkError, NoSuchNamespace) as error:
            raise _as_cni_error(error) from error
        if wrong:
            raise CniError(spec.CHECK_FAILED, "; ".join(wrong), "delete the pod: its successor is attached anew")

    async def _delete(self, attachment: Attachment) -> None:
        """Also when nothing is left of it: the interface's name follows from the attachment's, record or not."""
        name = host_interface((attachment.container, attachment.ifname))
        try:
            await asyncio.to_thread(attach.detach, name)
        except NetlinkError as error:
            raise _as_cni_error(error) from error
        record = self.records.get(attachment)
        # What is in the kernel has its record; host ports are repaired by the next full pass.
        self.records.remove(attachment)
        if record is not None:
            log.info("DEL %s %s", attachment.container[:12], record.pod)
            with contextlib.suppress(NftFailed):
                await self._apply_host_ports(record)

    async def _collect(self, valid: frozenset[Attachment]) -> None:
        failed = []
        for record in self.records:
            attachment = record.attachment
            # An ADD that is under way may be newer than the runtime's list.
            if attachment in valid or attachment in self._turns:
                continue
            log.info("GC: %s %s is not among the runtime's attachments", record.container[:12], record.pod)
            async with self._turn(attachment):
                try:
                    await self._delete(attachment)
                except CniError as error:
                    failed.append(f"{attachment}: {error.message}")
        if failed:
            raise CniError(spec.NETWORK_FAILED, "; ".join(failed))

    def _link_of(self, record: Record, netns: str) -> PodLink:
        mode: Mode = "bridge" if record.mode == "bridge" else "routed"
        addresses = [ipaddress.ip_address(each) for each in record.addresses]
        attached = (record.container, record.ifname)
        return plan_link(attached, netns, mode=mode, addresses=addresses, pools=self.network.pools, mtu=0)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    said = await reader.read(-1)
    if len(said) > CALL_BYTES_MAX:
        raise ValueError(f"longer than {CALL_BYTES_MAX} bytes")
    return said


def _read_call(said: bytes) -> tuple[dict[str, str], str]:
    """Variables and configuration, as lb/cni/plugin.py sends them. Raises ValueError."""
    head, end, stdin = said.partition(b"\0\0")
    pairs = [each.partition("=") for each in head.decode("utf-8", "replace").split("\0")]
    if not end or not all(equals for _, equals, _ in pairs):
        raise ValueError("it does not begin with variables")
    return {name: value for name, _, value in pairs}, stdin.decode("utf-8", "replace")


def _require_namespace(netns: str) -> None:
    try:
        if is_own_namespace(netns):
            raise CniError(spec.BAD_NETNS, f"{netns} is the node's own network namespace, not a container's")
    except NoSuchNamespace as error:
        raise CniError(spec.BAD_NETNS, str(error)) from None


def _as_cni_error(error: BaseException) -> BaseException:
    match error:
        case attach.AlreadyAttached():
            return CniError(spec.ALREADY_ATTACHED, str(error), "DEL it first")
        case NoSuchNamespace():
            return CniError(spec.BAD_NETNS, str(error))
        case NetlinkError() | SysctlRefused() | NftFailed() | OSError():
            return CniError(spec.NETWORK_FAILED, f"the kernel refused: {error}", "see the agent's log")
    return error


def _result(link: PodLink) -> spec.Result:
    return spec.Result(
        interfaces=(
            spec.Interface(link.host_interface, link.host_mac, mtu=link.mtu),
            spec.Interface(link.ifname, link.pod_mac, link.netns, link.mtu),
        ),
        ips=tuple(spec.Address(str(each), str(each.gateway), 1) for each in link.addresses),
        routes=tuple(spec.Route(DEFAULT_ROUTE[each.version], str(each.gateway)) for each in link.addresses),
    )
