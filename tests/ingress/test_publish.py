"""Where we can be reached, in the status of the Ingresses we serve."""

import asyncio
from pathlib import Path

import pytest

from ingress.publish import StatusPublisher, status_of
from ingress.routes.classes import Selection
from ingress.routes.compile import RoutingTable
from lb.cluster.manifests import ManifestFolder
from lb.cluster.objects import Ingress, IngressStatus, Key
from lb.cluster.status import FolderStatus, StatusFailed
from lb.cluster.store import ObjectStore
from tests.ingress.serving import Folder
from tests.ingress.state import ingress
from tests.lb.cluster.waiting import running, until


@pytest.mark.parametrize(
    ("addresses", "want"),
    [
        ([], []),
        (["10.0.0.1"], [("10.0.0.1", "")]),
        (["lb.example", "10.0.0.2", "10.0.0.1", "10.0.0.2"], [("10.0.0.1", ""), ("10.0.0.2", ""), ("", "lb.example")]),
        (["fd00::1"], [("fd00::1", "")]),
    ],
)
def test_status(addresses: list[str], want: list[tuple[str, str]]) -> None:
    assert [(each.ip, each.hostname) for each in status_of(addresses).load_balancer.ingress] == want


class Counting(FolderStatus):
    """Writes for real, and counts."""

    def __init__(self, folder: Path, fail: int = 0) -> None:
        super().__init__(folder)
        self.written: list[str] = []
        self.fail = fail

    async def write_ingress(self, key: Key, status: IngressStatus) -> None:
        self.written.append(key.name)
        if self.fail:
            self.fail -= 1
            raise StatusFailed("not now")
        await super().write_ingress(key, status)


async def test_only_ours_and_only_when_different(tmp_path: Path) -> None:
    folder, store = Folder(tmp_path), ObjectStore()
    nginx = {"kubernetes.io/ingress.class": "nginx"}
    ours, other = ingress("ours", default="x", annotations=nginx), ingress("other", default="x")
    folder.write("all", [ours, other])
    source, writer = ManifestFolder(tmp_path, store), Counting(tmp_path)
    table = RoutingTable(store, Selection())

    def addresses(name: str) -> list[str]:
        found = store.get(Ingress, "shop", name)
        return [each.ip for each in found.status.load_balancer.ingress] if found else []

    async with running(source.run()), running(StatusPublisher(writer, ["10.0.0.1"]).run(table, source.synced)):
        await until(lambda: addresses("ours") == ["10.0.0.1"], "our Ingress has a status")
        # The status that came back is a change of the Ingress, and nothing to write.
        folder.write("all", [ingress("ours", default="y", annotations=nginx), other])
        await until(lambda: "y" in str(store.get(Ingress, "shop", "ours")), "the change is read")
        folder.write("more", [ingress("new", default="x", annotations=nginx)])
        await until(lambda: addresses("new") == ["10.0.0.1"], "a new Ingress has a status")
        assert addresses("other") == []
        assert writer.written == ["ours", "new"]


async def test_a_write_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingress.publish.RETRY_SECONDS", 0.01)
    folder, store = Folder(tmp_path), ObjectStore()
    folder.write("all", [ingress("ours", default="x", annotations={"kubernetes.io/ingress.class": "nginx"})])
    source, writer = ManifestFolder(tmp_path, store), Counting(tmp_path, fail=2)
    table, synced = RoutingTable(store, Selection()), asyncio.Event()
    synced.set()
    source.load()
    async with running(StatusPublisher(writer, ["10.0.0.1"]).run(table, synced)):
        await until(lambda: list((tmp_path / ".status").glob("*.yaml")), "it is written")
    assert writer.written == ["ours"] * 3
