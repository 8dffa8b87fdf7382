"""Which container has which addresses: one small file per attachment, so that `kill -9` at any moment loses nothing.

A file appears and disappears by rename and unlink, whole or not at all. It is written before the first change to the
kernel and removed after the last one: whatever exists in the kernel has its file. No fsync: a crash of the machine
takes the pods' namespaces with it, and a file that is then empty or torn is set aside at the next start.
"""

import ipaddress
import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec

from lb.cni.spec import Attachment
from lb.files import replace_file
from lb.ipam import IPAddress

log = logging.getLogger(__name__)


class PortRecord(msgspec.Struct, frozen=True, rename="camel"):
    """A port of the node that leads to a port of the pod."""

    host_port: int
    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""


class Record(msgspec.Struct, frozen=True, rename="camel"):
    """One attachment. `mode` is "routed" or "bridge"; `host_interface` is the node's end of the pod's veth pair."""

    container: str
    ifname: str
    netns: str
    addresses: tuple[str, ...]
    mode: str
    host_interface: str
    pod: str = ""
    """ "namespace/name", "" if the runtime did not tell."""
    ports: tuple[PortRecord, ...] = ()

    @property
    def attachment(self) -> Attachment:
        return Attachment(self.container, self.ifname)


class AttachmentStore:
    """The records of one node, in memory and as files of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._records: dict[Attachment, Record] = {}
        self._in_use: dict[IPAddress, Attachment] = {}
        self.last: tuple[IPAddress, ...] = ()

    def load(self) -> None:
        """Read what an earlier agent left. A file that cannot be read is renamed to *.unreadable and logged."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            if path.suffix == ".new":
                path.unlink(missing_ok=True)
            elif path.suffix == ".json":
                self._load_one(path)
        try:
            said = (self.folder / "last").read_text().split()
            self.last = tuple(ipaddress.ip_address(each) for each in said)
        except (OSError, ValueError):
            self.last = ()

    def get(self, attachment: Attachment) -> Record | None:
        return self._records.get(attachment)

    def __iter__(self) -> Iterator[Record]:
        return iter(list(self._records.values()))

    def __len__(self) -> int:
        return len(self._records)

    @property
    def in_use(self) -> dict[IPAddress, Attachment]:
        """Who has which address; not to be changed by the reader."""
        return self._in_use

    def put(self, record: Record) -> None:
        """Remember it, on disk first. Raises OSError when the disk refuses; nothing is remembered then."""
        replace_file(self._path(record.attachment), msgspec.json.encode(record))
        self._remember(record)
        self.last = tuple(ipaddress.ip_address(each) for each in record.addresses)
        replace_file(self.folder / "last", " ".join(record.addresses).encode())

    def remove(self, attachment: Attachment) -> None:
        """Forget it; its addresses are free again. It need not be there."""
        self._path(attachment).unlink(missing_ok=True)
        record = self._records.pop(attachment, None)
        for each in record.addresses if record else ():
            self._in_use.pop(ipaddress.ip_address(each), None)

    def _path(self, attachment: Attachment) -> Path:
        # A container's id contains no "@" and neither part a slash: no two attachments share a name.
        return self.folder / f"{attachment.container}@{attachment.ifname}.json"

    def _load_one(self, path: Path) -> None:
        try:
            record = msgspec.json.decode(path.read_bytes(), type=Record)
            self._remember(record)
        except (msgspec.DecodeError, ValueError) as error:
            log.error("%s cannot be read and is set aside: %s", path, error)
            path.rename(path.with_suffix(".unreadable"))

    def _remember(self, record: Record) -> None:
        addresses = [ipaddress.ip_address(each) for each in record.addresses]
        self._records[record.attachment] = record
        for each in addresses:
            self._in_use[each] = record.attachment
