"""Keeps one node's pod network equal to the store: settings, routes to the other nodes' pods, rules.

Level-triggered (lb/reconcile.py). A full pass reads the kernel and repairs whatever differs, an earlier agent's stale
routes and a route that somebody deleted alike; a change of one Node touches that Node's routes and set elements only.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from lb.cluster.objects import Key, Node
from lb.cluster.problems import Problem, Problems
from lb.cluster.store import ObjectStore
from lb.ipam import IPAddress, Pool, pools_of
from lb.network import kernel_routes, nft, rules, sysctl, vxlan
from lb.network.bridge import ensure_bridge, remove_unused_bridge
from lb.network.netlink import IPRoute, NetlinkError, on_thread
from lb.network.pod import Mode
from lb.network.routes import Grants, Paths, Peer, Route, Uplink, addresses_of, difference, paths_to
from lb.network.uplink import NoUplink, find_uplink
from lb.reconcile import ApplyFailed

log = logging.getLogger(__name__)

CLOSE_WAIT = "netfilter/nf_conntrack_tcp_timeout_close_wait"
CLOSE_WAIT_SECONDS = 3600
"""As kube-proxy has it. The setting appears when connections are tracked: the second pass finds it at the latest."""

NO_SETS = rules.Sets()
HOST_PORTS = ""
"""Stands beside the Nodes' names: no Node has this one."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What is decided for one node of the cluster, and from which of its fields."""

    claims: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    routes: tuple[Route, ...] = ()
    peer: Peer | None = None
    sets: rules.Sets = NO_SETS


class NodeNetwork:
    """The network of the node called `name`. `pod_routes` and `host_ports` say what the pods attached here need."""

    def __init__(
        self,
        store: ObjectStore,
        name: str,
        *,
        mode: Mode = "routed",
        uplink: str = "",
        pod_routes: Callable[[], Iterable[Route]] = tuple,
        host_ports: Callable[[], Iterable[rules.HostPort]] = tuple,
    ) -> None:
        self.store = store
        self.name = name
        self.mode: Mode = mode
        self.uplink_wanted = uplink
        self.pod_routes = pod_routes
        self.host_ports = host_ports
        self.versions = (4, 6) if sysctl.has_ipv6() else (4,)
        self.ready = asyncio.Event()
        """Set when the first full pass is done: from then on pods can be attached."""
        self.pools: tuple[Pool, ...] = ()
        self.uplink: Uplink | None = None
        self.problems = Problems()
        self._grants = Grants()
        self._settled: dict[str, Settled] = {}
        self.revision = 0
        """Grows whenever `state` may have changed."""
        self._basis: object = None
        self._troubled: frozenset[str] = frozenset()
        self._loaded: dict[str, rules.Sets] | None = None
        """What the tables hold, by Node (and HOST_PORTS); None: not known."""
        self._changing = asyncio.Lock()
        self._bridge = False
        self._waiting_for = ""

    async def apply(self, keys: Sequence[Key] | None) -> None:
        """Bring these Nodes (None: everything) in line. Raises ApplyFailed; idempotent."""
        async with self._changing:
            try:
                if keys is None or self.uplink is None or self._own_changed(keys):
                    await self._apply_all()
                else:
                    await self._apply_some(keys)
            except (NetlinkError, OSError, NoUplink, sysctl.SysctlRefused, nft.NftFailed) as error:
                self._loaded = None  # not known any more: the next pass loads everything
                raise ApplyFailed(f"pod network: {error}") from error

    async def apply_host_ports(self) -> None:
        """Bring the rules in line with `host_ports` now. Raises NftFailed."""
        async with self._changing:
            if self._loaded is not None:
                await self._change_elements([HOST_PORTS])

    @property
    def pod_mtu(self) -> int:
        """What pods get: the uplink's, less what the tunnel takes if there is one. Known once `ready` is set."""
        assert self.uplink is not None
        tunnel = any(each.peer for each in self._settled.values())
        return self.uplink.tunnel_mtu if tunnel else self.uplink.mtu

    def state(self) -> dict[str, object]:
        """What is known and decided, for people and for `causeway explain`."""
        uplink = self.uplink
        return {
            "node": self.name,
            "mode": self.mode,
            "ready": self.ready.is_set(),
            "waitingFor": self._waiting_for,
            "uplink": uplink.interface if uplink else "",
            "mtu": self.pod_mtu if uplink else 0,
            "podNetworks": [str(pool.network) for pool in self.pools],
            "routes": [str(route) for each in self._settled.values() for route in each.routes],
            "problems": [str(problem) for problem in self.problems],
        }

    # -- everything

    async def _apply_all(self) -> None:
        node = self.store.get(Node, "", self.name)
        pools = self._own_pools(node)
        if node is None or not pools:
            return
        uplink = await on_thread(lambda netlink: self._prepare(netlink, node, pools))
        # The kernel first: what an ADD makes afterwards is then in `pod_routes` and not taken for stale.
        present = await on_thread(lambda netlink: kernel_routes.present(netlink, self.versions))
        self.uplink, self.pools = uplink, pools
        self._settle_all()
        peers = _peers(self._settled.values())
        await on_thread(lambda netlink: vxlan.sync(netlink, self.name, uplink, self._sources(), peers))
        wanted = [route for each in self._settled.values() for route in each.routes]
        remove, put = difference(present, [*wanted, *self.pod_routes()])
        await self._change_routes(remove, put)
        if self._loaded is None or not self._has_tables():
            sets = {name: self._sets_of(name) for name in (*self._settled, HOST_PORTS)}
            await nft.load(rules.ruleset(rules.union(sets.values()), self.versions))
            self._loaded = sets
        else:
            await self._change_elements({*self._settled, *self._loaded, HOST_PORTS})
        if not self.ready.is_set():
            self.revision += 1
            networks = ", ".join(str(pool.network) for pool in pools)
            log.info("pod network ready: %s, %s, uplink %s, mtu %d", self.mode, networks, uplink.interface, uplink.mtu)
        self.ready.set()

    def _own_pools(self, node: Node | None) -> tuple[Pool, ...]:
        """The networks to attach pods from; () and a word in the log while there are none."""
        pools: tuple[Pool, ...] = ()
        waiting = ""
        if node is None:
            waiting = f"waiting for Node {self.name}: there is no object of this name (is --node right?)"
        elif not node.pod_cidrs:
            waiting = (
                f"waiting for spec.podCIDRs of Node {self.name}: give the Node one in its manifest,"
                " or run kube-controller-manager with --allocate-node-cidrs"
            )
        else:
            try:
                pools = pools_of(node.pod_cidrs)
                self._report("own", ())
            except ValueError as error:
                self._report("own", [Problem(str(node.key), "spec.podCIDRs", str(error), "correct it in the Node")])
                waiting = f"waiting for usable spec.podCIDRs of Node {self.name}: {error}"
        # A kernel without IPv6 attaches pods with IPv4 alone.
        pools = tuple(pool for pool in pools if pool.network.version in self.versions)
        if waiting != self._waiting_for:
            self.revision += 1
            self._waiting_for = waiting
            if waiting:
                log.warning("%s", waiting)
        return pools

    def _prepare(self, netlink: IPRoute, node: Node, pools: Sequence[Pool]) -> Uplink:
        """The settings, and the bridge. Blocking."""
        uplink = find_uplink(netlink, node.internal_ips, self.uplink_wanted)
        changed = [name for name, value in self._settings(uplink) if sysctl.ensure(name, value)]
        if changed:
            log.info("set %s", ", ".join("net." + name.replace("/", ".") for name in changed))
        if self.mode == "bridge":
            ensure_bridge(netlink, self.name, pools, uplink.mtu)
            self._bridge = True
        else:
            self._bridge = remove_unused_bridge(netlink)
        return uplink

    def _settings(self, uplink: Uplink) -> list[tuple[str, str]]:
        settings = [("ipv4/ip_forward", "1")]
        if 6 in self.versions:
            # A forwarding node ignores router advertisements unless told 2 (ip-sysctl.rst): keep its default route.
            accept_ra = f"ipv6/conf/{uplink.interface}/accept_ra"
            if sysctl.read(accept_ra) == "1":
                settings.append((accept_ra, "2"))
            settings.append(("ipv6/conf/all/forwarding", "1"))
        # A client that has said all and waits: after the kernel's 60 s its answer would find no translation.
        if 0 < int(sysctl.read(CLOSE_WAIT) or 0) < CLOSE_WAIT_SECONDS:
            settings.append((CLOSE_WAIT, str(CLOSE_WAIT_SECONDS)))
        return settings

    def _has_tables(self) -> bool:
        for version in self.versions:
            if not rules.chains(version) <= (nft.chains_of(version, rules.TABLE) or set()):
                log.warning("table %s %s was not complete; loading it again", rules.FAMILIES[version], rules.TABLE)
                return False
        return True

    # -- one Node

    def _own_changed(self, keys: Sequence[Key]) -> bool:
        return any(key.name == self.name and self._claims_changed(key.name) for key in keys)

    def _claims_changed(self, name: str) -> bool:
        # A Node's status changes with every heartbeat; only these two fields matter here.
        node = self.store.get(Node, "", name)
        return (_claims(node) if node else None) != (self._settled[name].claims if name in self._settled else None)

    async def _apply_some(self, keys: Sequence[Key]) -> None:
        names = {key.name for key in keys if key.kind == Node.KIND and self._claims_changed(key.name)}
        if not names:
            return
        self._basis = None
        self.revision += 1
        before = {name: self._settled.pop(name, Settled()) for name in names}
        for name in names:
            self._grants.remove(name)
            self._report(name, ())
        for name in sorted(names):
            if (node := self.store.get(Node, "", name)) is not None:
                problems = self._grants.replace(node)
                self._settled[name] = self._settle(node, problems)
        now = [self._settled[name] for name in names if name in self._settled]
        await self._change_peers(_peers(before.values()), _peers(now))
        old = [route for each in before.values() for route in each.routes]
        new = [route for each in now for route in each.routes]
        await self._change_routes(*difference(old, new))
        if self._loaded is not None:
            await self._change_elements(names)

    def _settle_all(self) -> None:
        """Decide about all Nodes, unless nothing that counts has changed since the last time."""
        nodes = list(self.store.all(Node))
        basis = (self.uplink, self.pools, self._bridge, {each.metadata.name: _claims(each) for each in nodes})
        if basis == self._basis:
            return
        self.revision += 1
        self._report("overlap", self._grants.rebuild(nodes))
        before = self._settled
        self._settled = {each.metadata.name: self._settle(each) for each in nodes}
        for gone in before.keys() - self._settled.keys():
            self._report(gone, ())
        self._basis = basis

    def _settle(self, node: Node, problems: Iterable[Problem] = ()) -> Settled:
        assert self.uplink is not None
        name = node.metadata.name
        networks = [each for each in self._grants.of(name) if each.version in self.versions]
        own = name == self.name
        if own:
            # Nobody has these addresses but pods attached here, whose routes are longer: say so instead of sending a
            # dead pod's packets to the default gateway. On the bridge the kernel's own route does it.
            paths = Paths(() if self._bridge else tuple(Route(each) for each in networks))
        else:
            paths = paths_to(node, networks, self.uplink, self._sources())
        self._report(name, [*problems, *paths.problems])
        local = networks if own else ()
        # Between here and a node behind the tunnel there are routers that know no pod.
        near = () if paths.peer else addresses_of(node)
        sets = rules.Sets(frozenset(local), frozenset(networks), frozenset(near))
        return Settled(_claims(node), paths.routes, paths.peer, sets)

    def _sets_of(self, name: str) -> rules.Sets:
        if name == HOST_PORTS:
            return rules.Sets(ports=tuple(self.host_ports()))
        return self._settled[name].sets if name in self._settled else NO_SETS

    async def _change_elements(self, names: Iterable[str]) -> None:
        """Bring what these Nodes have in the tables in line. Raises NftFailed."""
        assert self._loaded is not None
        wanted = {name: sets for name in names if (sets := self._sets_of(name)) != self._loaded.get(name, NO_SETS)}
        before = rules.union(self._loaded.get(name, NO_SETS) for name in wanted)
        after = rules.union(wanted.values())
        # Pod networks are granted to one Node each, but two may (by mistake) have one address: it stays for the other.
        gone = before.nodes - after.nodes
        shared = {each for settled in self._settled.values() for each in settled.sets.nodes & gone} if gone else ()
        after = dataclasses.replace(after, nodes=after.nodes | frozenset(shared))
        await nft.load(rules.changes(before, after, self.versions))
        self._loaded = {name: sets for name, sets in (self._loaded | wanted).items() if sets != NO_SETS}

    def _sources(self) -> dict[int, IPAddress]:
        return {pool.network.version: pool.gateway for pool in self.pools}

    async def _change_peers(self, before: Sequence[Peer], after: Sequence[Peer]) -> None:
        if not before and not after:
            return
        peers, uplink = _peers(self._settled.values()), self.uplink
        assert uplink is not None
        if before or len(peers) > len(after):
            await on_thread(lambda netlink: vxlan.change(netlink, before, after))
        else:  # the first node behind the tunnel makes it
            await on_thread(lambda netlink: vxlan.sync(netlink, self.name, uplink, self._sources(), peers))

    async def _change_routes(self, remove: Sequence[Route], put: Sequence[Route]) -> None:
        if not remove and not put:
            self._report("kernel", ())
            return
        for verb, routes in (("removing", remove), ("adding", put)):
            if routes:
                log.info(
                    "%s %d routes: %s%s", verb, len(routes), ", ".join(map(str, routes[:5])), " ..." * (len(routes) > 5)
                )
        refused = await on_thread(lambda netlink: kernel_routes.change(netlink, remove, put))
        # One route that the kernel does not want must not keep the rest from working; the next full pass tries again.
        self._report(
            "kernel", [Problem(f"route {each}", "", why, "is the uplink up?") for each, why in refused.items()]
        )

    def _report(self, origin: str, found: Iterable[Problem]) -> None:
        found = tuple(found)
        if found or origin in self._troubled:
            self.revision += 1
            self._troubled = self._troubled | {origin} if found else self._troubled - {origin}
        for problem in self.problems.replace(origin, found):
            log.warning("%s", problem)


def _claims(node: Node) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return node.pod_cidrs, node.internal_ips


def _peers(settled: Iterable[Settled]) -> list[Peer]:
    return [each.peer for each in settled if each.peer is not None]
