"""The announcing half on one node: from the store and the heartbeats to the addresses this node answers for.

`Announcer` is run by the node agent. It owns the heartbeats and the responder; elect.py decides.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lb.balancer.elect import Claim, Verdict, addresses_of, endpoints_of, internal_ips, judge, node_refusal, refusal
from lb.balancer.heartbeat import PORT, Heartbeats
from lb.balancer.pools import Address
from lb.balancer.responder import Responder
from lb.cluster.objects import EndpointSlice, Key, Node, Service
from lb.cluster.store import ObjectStore
from lb.files import replace_file
from lb.reconcile import reconcile_forever

log = logging.getLogger(__name__)

_STATE_SETTLE_SECONDS = 0.1


class Announcer:
    """Announces load-balancer addresses from this node, those that it is elected for.

    synced: the store holds what there is. ready: the node's data plane can serve what it announces (None: at once).
    interfaces: names of interfaces to answer on (none: those that carry the node's InternalIPs).
    state_file: where `state()` is written as JSON whenever it changes, for `causeway explain`.
    """

    def __init__(
        self,
        store: ObjectStore,
        node_name: str,
        *,
        synced: asyncio.Event,
        ready: asyncio.Event | None = None,
        port: int = PORT,
        interfaces: Collection[str] = (),
        state_file: Path | None = None,
    ) -> None:
        self.store = store
        self.node_name = node_name
        self.verdicts: dict[Address, Verdict] = {}
        self.heartbeats = Heartbeats(node_name, self._alive_changed, port)
        self.responder = Responder(self._own_ips, interfaces, lambda: self._state_changed.set())
        self._synced = synced
        self._ready = ready
        self._state_file = state_file
        self._state_changed = asyncio.Event()
        self._claims: dict[Address, dict[str, Claim]] = {}
        self._addresses: dict[Key, tuple[Address, ...]] = {}
        self._refusals: dict[str, str | None] = {}
        self._node_ips: dict[str, tuple[str, ...]] = {}

    async def run(self) -> None:
        """Until cancelled: then nothing is answered any more, and the others are told to take over."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.heartbeats.run())
            tasks.create_task(self.responder.run())
            tasks.create_task(self._follow())
            tasks.create_task(self._await_ready())
            if self._state_file is not None:
                tasks.create_task(self._write_state(self._state_file))
            try:
                await asyncio.Event().wait()
            finally:
                self.responder.set_addresses(frozenset())
                self.heartbeats.leave()

    def state(self) -> dict[str, Any]:
        """Which addresses this node announces, who announces the others, and why not this node; plain values."""
        return {
            "node": self.node_name,
            "interfaces": [each.name for each in self.responder.uplinks],
            "nodes": {
                name: refused or self.heartbeats.describe(name) for name, refused in sorted(self._refusals.items())
            },
            "conflicts": self.responder.conflicts,
            "addresses": [
                {
                    "address": str(address),
                    "services": verdict.services,
                    "node": verdict.node,
                    "here": verdict.node == self.node_name,
                    "why_not_here": self.why_not(address, self.node_name),
                }
                for address, verdict in self.verdicts.items()
            ],
        }

    def why_not(self, address: Address, node: str) -> str:
        """Why a node does not announce an address; "" if it does."""
        verdict = self.verdicts.get(address)
        if verdict is None:
            return "it is no Service's load-balancer address"
        if verdict.node == node:
            return ""
        refused = refusal(node, self._claims[address], self._refusals, self.heartbeats.ready_nodes)
        return refused or verdict.reason or f"{verdict.node} drew lower for this address"

    # -- what changes

    async def _follow(self) -> None:
        kinds = (Service, EndpointSlice, Node)
        await reconcile_forever(self.store, kinds, self._apply, synced=self._synced)

    async def _await_ready(self) -> None:
        await self._synced.wait()
        if self._ready is not None:
            await self._ready.wait()
        self.heartbeats.allow_ready()

    async def _apply(self, keys: Sequence[Key] | None) -> None:
        if keys is None:
            keys = [*self._addresses, *self.store.keys(Service.KIND), *self.store.keys(Node.KIND)]
        touched: dict[Address, None] = {}
        for key in dict.fromkeys(keys):
            if key.kind == Service.KIND:
                touched |= dict.fromkeys(self._look_at(key))
        if any(key.kind == Node.KIND for key in keys) and self._nodes_changed():
            touched |= dict.fromkeys(self._claims)
        self._judge(touched)

    def _look_at(self, key: Key) -> tuple[Address, ...]:
        """Take a Service and its endpoints in; the addresses concerned, also those it has no more."""
        service = self.store.get(Service, key.namespace, key.name)
        name = f"{key.namespace}/{key.name}"
        before = self._addresses.pop(key, ())
        now = addresses_of(service) if service is not None else ()
        for address in before:
            claims = self._claims[address]
            del claims[name]
            if not claims:
                del self._claims[address]
        if service is not None and now:
            self._addresses[key] = now
            slices = self.store.slices_of(key.namespace, key.name)
            for address in now:
                claims = self._claims.setdefault(address, {})
                claims[name] = Claim(service, endpoints_of(service, slices, address.version))
        return before + now

    def _nodes_changed(self) -> bool:
        nodes = sorted(self.store.all(Node), key=lambda node: node.metadata.name)
        refusals = {node.metadata.name: node_refusal(node) for node in nodes}
        node_ips = {node.metadata.name: internal_ips(node) for node in nodes}
        if node_ips != self._node_ips:
            own_changed = node_ips.get(self.node_name) != self._node_ips.get(self.node_name)
            self._node_ips = node_ips
            self.heartbeats.set_nodes(node_ips)
            if own_changed:
                self.responder.rescan()
        changed = refusals != self._refusals
        self._refusals = refusals
        return changed

    def _alive_changed(self, came: bool) -> None:
        ready = self.heartbeats.ready_nodes
        log.info("nodes ready to announce: %s", ", ".join(sorted(ready)) or "none")
        if came:
            self._judge(self._claims)
            # Whoever came may have announced our addresses while it did not hear us.
            self.responder.reannounce()
        else:
            # Only what those had who are gone moves; it should move fast.
            self._judge([address for address, verdict in self.verdicts.items() if verdict.node not in ready])

    # -- who announces

    def _judge(self, addresses: Iterable[Address]) -> None:
        for address in list(addresses):
            before = self.verdicts.pop(address, None)
            claims = self._claims.get(address)
            if claims:
                verdict = judge(address, claims, self._refusals, self.heartbeats.ready_nodes)
                self.verdicts[address] = verdict
                if before is None or before.node != verdict.node:
                    log.info("%s is announced by %s", address, verdict.node or f"no node: {verdict.reason}")
            elif before is not None:
                log.info("%s is no Service's address any more", address)
        ours = {address for address, verdict in self.verdicts.items() if verdict.node == self.node_name}
        if ours != self.responder.addresses:
            self.responder.set_addresses(ours)
        self._state_changed.set()

    def _own_ips(self) -> tuple[str, ...]:
        return self._node_ips.get(self.node_name, ())

    async def _write_state(self, path: Path) -> None:
        while True:
            await self._state_changed.wait()
            self._state_changed.clear()
            try:
                replace_file(path, msgspec.json.format(msgspec.json.encode(self.state()), indent=2), 0o644)
            except OSError as error:
                log.warning("cannot write %s: %s", path, error.strerror)
            await asyncio.sleep(_STATE_SETTLE_SECONDS)  # a burst of changes is written once
