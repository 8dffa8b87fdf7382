"""`causeway node --cleanup`: remove all that agents with this run folder have made, the configuration first."""

import asyncio
import json
import shutil
from pathlib import Path

from lb.agent import ATTACHMENTS_NAME, INSTALLED_NAME, locked
from lb.cluster.store import ObjectStore
from lb.cni.attachments import AttachmentStore
from lb.cni.recover import recover
from lb.network import kernel_routes, nft, rules, sysctl, vxlan
from lb.network.attach import detach_with
from lb.network.netlink import IPRoute, index_of, on_thread
from lb.network.pod import BRIDGE
from lb.network.routes import TUNNEL
from lb.service.dataplane import ServiceDataplane
from lb.service.layout import TABLE as SERVICES_TABLE


async def clean_up(run_dir: Path) -> list[str]:
    """Return what was removed, in words. Raises CannotStart while an agent is running with this run folder."""
    with locked(run_dir):
        # Without its configuration the runtime starts no pod that would be attached half-way.
        removed = await asyncio.to_thread(_remove_installed, run_dir / INSTALLED_NAME)
        records = AttachmentStore(run_dir / ATTACHMENTS_NAME)
        await asyncio.to_thread(records.load)
        await asyncio.to_thread(recover, records)
        removed += await on_thread(lambda netlink: _remove_from_kernel(netlink, records))
        for version in _versions():
            family = rules.FAMILIES[version]
            if nft.chains_of(version, rules.TABLE) is not None:
                await nft.load(rules.removal([version]))
                removed.append(f"nftables table {family} {rules.TABLE}")
            if nft.chains_of(version, SERVICES_TABLE) is not None:
                ServiceDataplane(ObjectStore(), "").delete_tables()
                removed.append(f"nftables table {family} {SERVICES_TABLE}")
        await asyncio.to_thread(shutil.rmtree, run_dir)
        return [*removed, str(run_dir)]


def _remove_installed(listed: Path) -> list[str]:
    try:
        paths = [Path(each) for each in json.loads(listed.read_text())]
    except (OSError, ValueError):
        return []
    removed = []
    for path in paths:
        if path.exists():
            path.unlink(missing_ok=True)
            removed.append(str(path))
    return removed


def _remove_from_kernel(netlink: IPRoute, records: AttachmentStore) -> list[str]:
    removed = []
    for record in records:
        if detach_with(netlink, record.host_interface):
            removed.append(f"interface {record.host_interface} of {record.pod or record.container}")
        records.remove(record.attachment)
    routes = kernel_routes.present(netlink, _versions())
    kernel_routes.change(netlink, remove=routes, put=())
    removed += [f"route {route}" for route in routes]
    if vxlan.remove(netlink):
        removed.append(f"interface {TUNNEL}")
    index = index_of(netlink, BRIDGE)
    if index is not None:
        netlink.link("del", index=index)
        removed.append(f"interface {BRIDGE}")
    return removed


def _versions() -> tuple[int, ...]:
    return (4, 6) if sysctl.has_ipv6() else (4,)
