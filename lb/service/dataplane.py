"""The shell around the plan: store -> wanted VIPs -> nf_tables transactions; full resync after a failure.

`ServiceDataplane.apply` is what `lb.reconcile.reconcile_forever` calls, with `KINDS`. The kernel's tables stay when the
agent stops: traffic goes on as it was, and the next agent changes only what differs.
"""

import asyncio
import errno
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from lb.cluster.objects import EndpointSlice, Key, Node, Object, Service
from lb.cluster.problems import Problem, Problems
from lb.cluster.store import ObjectStore
from lb.nftables.expressions import FAMILIES, IPV4, Family
from lb.nftables.messages import SetFlags, Transaction, range_elements
from lb.nftables.netfilter import NetfilterError, NetfilterSocket
from lb.reconcile import ApplyFailed
from lb.service import layout
from lb.service.conntrack import forget_stale_flows
from lb.service.elements import Elements, protocol_of_key
from lb.service.health import HealthServers
from lb.service.plan import UNUSED_CLASSES_MAX, Operations, Present, TablePlan, facts_ranges, write_removal
from lb.service.vips import PROTOCOLS, Network, NodeFacts, cluster_ips_of, facts_of, problems_of, wanted_vips

log = logging.getLogger(__name__)

_INLINE_CHANGES_MAX = 500
"""Up to here (some milliseconds) a transaction is sent on the loop; larger ones go into a thread."""

_SERVICES_PER_TURN = 100
"""How many Services are planned before the loop gets its turn."""


class ServiceDataplane:
    """The Services of one node in the kernel. Opens its socket in the network namespace of the calling thread."""

    KINDS: ClassVar[tuple[type[Object], ...]] = (Service, EndpointSlice, Node)

    def __init__(
        self,
        store: ObjectStore,
        node_name: str,
        *,
        node_port_addresses: Sequence[Network] = (),
        service_cidrs: Sequence[Network] = (),
        masquerade_all: bool = False,
        problems: Problems | None = None,
    ) -> None:
        """node_port_addresses: ranges of node addresses that serve NodePorts; without, the Node's InternalIPs do.

        service_cidrs: where ClusterIPs come from; an unallocated one is dropped instead of routed.
        Raises PermissionError without CAP_NET_ADMIN.
        """
        self.plans: dict[Family, TablePlan] = {family: TablePlan(family) for family in FAMILIES}
        self.facts = facts_of(None, node_name)
        self._store = store
        self._node_name = node_name
        self._node_port_addresses = tuple(node_port_addresses)
        self._service_cidrs = tuple(service_cidrs)
        self._masquerade_all = masquerade_all
        self._problems = problems if problems is not None else Problems()
        self._socket = NetfilterSocket()
        self._health = HealthServers()
        self._in_step = False
        self._told = False

    async def close(self) -> None:
        """Stop serving health checks. The kernel's tables stay as they are."""
        await self._health.close()
        self._socket.close()

    def delete_tables(self) -> None:
        """Take everything of ours out of the kernel: when the node is no longer to serve Services."""
        for family in FAMILIES:
            if self._socket.table(family, layout.TABLE) is not None:
                transaction = Transaction(family, layout.TABLE)
                transaction.delete_table()
                self._socket.commit([transaction])
        self._in_step = False

    async def apply(self, keys: Sequence[Key] | None) -> None:
        """Bring these Services, or with None all of them, in line with the store. Raises ApplyFailed."""
        facts = self._facts_now()
        # Until this is done the plan and the kernel may differ, also if we are cancelled half-way.
        in_step, self._in_step = self._in_step, False
        try:
            if keys is None or not in_step or facts != self.facts:
                self.facts = facts
                await self._apply_all()
            else:
                await self._apply_some([key for key in keys if key.kind == Service.KIND])
        except OSError as error:
            raise ApplyFailed(f"Services could not be written to the kernel: {error}") from error
        self._in_step = True
        self._tell_losers()
        await self._health.serve(self._store, self.facts, keys)

    def _facts_now(self) -> NodeFacts:
        node = self._store.get(Node, "", self._node_name)
        if node is None and self.facts.addresses:
            return self.facts  # its Node has been deleted; the pods that are still here go on being served
        return facts_of(
            node, self._node_name,
            node_port_addresses=self._node_port_addresses, service_cidrs=self._service_cidrs,
            masquerade_all=self._masquerade_all,
        )  # fmt: skip

    # -- a few Services

    async def _apply_some(self, keys: Iterable[Key]) -> None:
        for key in keys:
            self._plan_service(key)
        taken = {family: plan.take() for family, plan in self.plans.items()}
        operations = {family: found for family, (found, _) in taken.items()}
        if sum(map(len, operations.values())) <= _INLINE_CHANGES_MAX:
            self._commit(operations)
        else:
            await asyncio.to_thread(self._commit, operations)
        await self._after_commit(set().union(*(moved for _, moved in taken.values())))

    def _plan_service(self, key: Key) -> None:
        service = self._store.get(Service, key.namespace, key.name)
        wanted = []
        cluster_ips = []
        problems: list[Problem] = []
        if service is not None:
            slices = self._store.slices_of(key.namespace, key.name)
            wanted = list(wanted_vips(service, slices, self.facts))
            cluster_ips = list(cluster_ips_of(service))
            problems = list(problems_of(service))
        for family, plan in self.plans.items():
            version = 4 if family is IPV4 else 6
            plan.update(
                key,
                [each for each in wanted if each.vip.address.version == version],
                [each for each in cluster_ips if each.version == version],
            )
        self._tell(key, problems)

    def _tell(self, origin: object, problems: Iterable[Problem]) -> None:
        for problem in self._problems.replace(("services", origin), problems):
            log.warning("%s", problem)

    def _tell_about_node(self) -> None:
        problems = []
        if not self.facts.addresses and any(
            port.node_port for each in self._store.all(Service) for port in each.spec.ports
        ):
            problems.append(
                Problem(
                    f"Node {self._node_name}", "status.addresses", "no InternalIP, so NodePorts are not served",
                    "is the Node registered under this name? The kubelet writes its addresses; in a folder, you do",
                )
            )  # fmt: skip
        self._tell("node", problems)

    def _tell_losers(self) -> None:
        self._tell(
            "contested",
            (
                Problem(
                    str(loser.service), loser.role.value, f"{loser.vip} belongs to the older {winner.service}",
                    "give one of them another address or port",
                )
                for plan in self.plans.values()
                for loser, winner in plan.losers()
            ),
        )  # fmt: skip

    def _commit(self, operations: dict[Family, Operations]) -> None:
        steps: tuple[Callable[[Operations, Transaction], None], ...] = (
            lambda found, transaction: found.prepare(transaction, self.facts.detection),
            Operations.switch,
            Operations.clear,
        )
        for step in steps:
            transactions = []
            for family, found in operations.items():
                transaction = Transaction(family, layout.TABLE)
                step(found, transaction)
                transactions.append(transaction)
            self._socket.commit(transactions)

    # -- all of them

    async def _apply_all(self) -> None:
        present = await asyncio.to_thread(self._read_present)
        for family, plan in self.plans.items():
            plan.adopt(present.get(family, Present()))
        for count, key in enumerate(self._store.keys(Service.KIND)):
            self._plan_service(key)
            if count % _SERVICES_PER_TURN == 0:
                await asyncio.sleep(0)
        moved, changed = await asyncio.to_thread(self._commit_all, present)
        await self._after_commit(moved)
        self._tell_about_node()
        if changed or not self._told:
            vips = sum(len(plan.placed) for plan in self.plans.values())
            log.info("Services are in the kernel: %d VIPs, %d elements differed", vips, changed)
        self._told = True

    def _commit_all(self, present: dict[Family, Present]) -> tuple[set[bytes], int]:
        """The VIPs that may have changed, and how many elements did."""
        self._socket.commit([self._base(family, family in present) for family in self.plans])
        taken = {family: plan.take() for family, plan in self.plans.items()}
        self._commit({family: operations for family, (operations, _) in taken.items()})
        for family, plan in self.plans.items():
            wanted = layout.BASE_CHAINS | plan.chains()
            self._remove_chains(family, self._socket.chains(family, layout.TABLE) - wanted)
        moved = set().union(*(moved for _, moved in taken.values()))
        return moved, sum(operations.elements for operations, _ in taken.values())

    def _base(self, family: Family, present: bool) -> Transaction:
        transaction = Transaction(family, layout.TABLE)
        if not present:
            # Of another layout, or not there at all; to delete what is not there would be an error.
            transaction.add_table()
            transaction.delete_table()
        layout.add_base(transaction)
        for name, ranges in facts_ranges(family, self.facts.pods, self.facts.service_cidrs).items():
            has = self._elements_of(family, name) if present else []
            if sorted(has) != sorted(range_elements(ranges)):
                transaction.flush_elements(name)
                transaction.add_ranges(name, ranges)
        return transaction

    def _read_present(self) -> dict[Family, Present]:
        """What the kernel holds, of the families whose table is one that we would write now."""
        found = {}
        for family in FAMILIES:
            if self._socket.table(family, layout.TABLE) == layout.COMMENT:
                found[family] = self._read_table(family)
        return found

    def _read_table(self, family: Family) -> Present:
        elements: Elements = {}
        classes: dict[int, str] = {}
        for shape in layout.shapes(family):
            if shape.flags & SetFlags.DYNAMIC or shape.flags == SetFlags.INTERVAL:
                continue
            for key, data, last in self._elements_of(family, shape.name):
                if shape.name == "classes":
                    classes[int.from_bytes(key, "little")] = data.decode()
                else:
                    elements[shape.name, key] = last or data
        return Present(elements, classes)

    def _elements_of(self, family: Family, name: str) -> list[tuple[bytes, bytes, bytes]]:
        try:
            return self._socket.elements(family, layout.TABLE, name)
        except NetfilterError as error:
            if error.errno != errno.ENOENT:
                raise
            return []  # someone has deleted the set; it will be made again

    # -- after it

    async def _after_commit(self, moved: set[bytes]) -> None:
        for family, plan in self.plans.items():
            if len(plan.unused()) > UNUSED_CLASSES_MAX:
                keys, chains = plan.forget_unused()
                transaction = Transaction(family, layout.TABLE)
                transaction.delete_elements("classes", keys)
                self._socket.commit([transaction])
                self._remove_chains(family, chains)
        udp = [key for key in moved if protocol_of_key(key) == PROTOCOLS["UDP"]]
        if udp:
            await asyncio.to_thread(forget_stale_flows, self._socket, self.plans.values(), udp)

    def _remove_chains(self, family: Family, chains: Iterable[str]) -> None:
        transaction = Transaction(family, layout.TABLE)
        write_removal(transaction, chains)
        try:
            self._socket.commit([transaction])
        except NetfilterError as error:
            # Kernels before 6.2 count a map's references to a chain a little longer; the next full pass removes them.
            if error.errno != errno.EBUSY:
                raise
