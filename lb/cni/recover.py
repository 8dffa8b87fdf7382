"""Do the records say what the kernel has? At the agent's start, and with every full pass for what has ended. Blocking.

The node's end of a veth pair lives exactly as long as the pod's end, so an interface that is there is an attachment
that is in use, whatever else is lost.

* A record without its interface is removed only if the container's namespace is gone as well. While the namespace is
  there the container may be running, though cut off: the runtime will DEL it, and its address stays its own till then.
  When both are gone DEL may never come: containerd drops a sandbox whose start failed if another plugin's DEL fails.
  (A namespace that only we cannot see, from a container without the host's /run/netns, would still have its interface.)
* An interface without a record (the run folder was deleted) becomes a record again from its label: otherwise its
  address would be given to a second pod.
"""

import logging
import os
from collections.abc import Container

from lb.cni.attachments import AttachmentStore, Record
from lb.network.netlink import IPRoute
from lb.network.pod import HOST_INTERFACE_PREFIX, host_interface, parse_alias

log = logging.getLogger(__name__)


def recover(records: AttachmentStore) -> None:
    """Bring the records in line with the interfaces of the calling thread's namespace."""
    with IPRoute() as netlink:
        links = {each.get_attr("IFLA_IFNAME"): each for each in netlink.get_links()}
    free_ended(records, links)
    known = {record.host_interface for record in records}
    for name, link in links.items():
        found = parse_alias(link.get_attr("IFLA_IFALIAS") or "")
        if not name.startswith(HOST_INTERFACE_PREFIX) or name in known or found is None:
            continue
        (container, ifname), addresses = found
        if name != host_interface((container, ifname)):
            continue
        log.warning("%s has no record, which is written anew: %s", name, ", ".join(map(str, addresses)))
        mode = "bridge" if link.get_attr("IFLA_MASTER") else "routed"
        texts = tuple(map(str, addresses))
        records.put(
            Record(container=container, ifname=ifname, netns="", addresses=texts, mode=mode, host_interface=name)
        )


def interfaces() -> frozenset[str]:
    """Names of the interfaces of the calling thread's namespace."""
    with IPRoute() as netlink:
        return frozenset(each.get_attr("IFLA_IFNAME") for each in netlink.get_links())


def free_ended(records: AttachmentStore, present: Container[str]) -> None:
    """Remove the records whose interface and namespace are both gone.

    present: interfaces, listed before: an ADD that has begun since has its container's namespace.
    """
    for record in records:
        if record.host_interface not in present and not os.path.exists(record.netns):
            free = ", ".join(record.addresses)
            log.info("%s %s is gone with its namespace: %s free", record.container[:12], record.pod, free)
            records.remove(record.attachment)
