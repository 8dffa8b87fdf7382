"""The records of attachments: whole or not at all, whatever happens to their folder."""

import ipaddress
from pathlib import Path

from lb.cni.attachments import AttachmentStore, PortRecord, Record
from lb.cni.spec import Attachment


def record(number: int) -> Record:
    return Record(
        container=f"c{number}",
        ifname="eth0",
        netns=f"/run/netns/{number}",
        addresses=(f"10.1.0.{number}", f"fd00::{number}"),
        mode="routed",
        host_interface=f"cw{number}",
        pod="shop/cart",
        ports=(PortRecord(host_port=8080, container_port=80),),
    )


def loaded(folder: Path) -> AttachmentStore:
    store = AttachmentStore(folder)
    store.load()
    return store


def test_it_survives_a_restart(tmp_path: Path) -> None:
    store = loaded(tmp_path / "a")
    for number in (5, 6, 7):
        store.put(record(number))
    store.remove(Attachment("c6", "eth0"))
    again = loaded(tmp_path / "a")
    assert {each.container for each in again} == {"c5", "c7"}
    assert again.get(Attachment("c5", "eth0")) == record(5)
    assert again.in_use[ipaddress.ip_address("fd00::7")] == Attachment("c7", "eth0")
    assert ipaddress.ip_address("10.1.0.6") not in again.in_use
    assert again.last == (ipaddress.ip_address("10.1.0.7"), ipaddress.ip_address("fd00::7"))


def test_removing_twice(tmp_path: Path) -> None:
    store = loaded(tmp_path)
    store.put(record(5))
    for _ in range(2):
        store.remove(Attachment("c5", "eth0"))
    assert (len(store), store.in_use) == (0, {})


def test_torn_files_are_set_aside_at_every_byte(tmp_path: Path) -> None:
    whole = loaded(tmp_path)
    whole.put(record(5))
    path = tmp_path / "c5@eth0.json"
    content = path.read_bytes()
    for end in range(len(content)):
        path.write_bytes(content[:end])
        assert len(loaded(tmp_path)) == 0
        assert not path.exists()
        assert path.with_suffix(".unreadable").read_bytes() == content[:end]


def test_half_written_files_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".c5@eth0.json.77.new").write_text("{")
    (tmp_path / "last").write_text("nonsense")
    store = loaded(tmp_path)
    assert (len(store), store.last) == (0, ())
    assert [each.name for each in tmp_path.iterdir()] == ["last"]
