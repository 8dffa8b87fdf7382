"""A real folder on a real file system, watched."""

import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lb.cluster import manifests
from lb.cluster.manifests import FolderUnreadable, ManifestFolder
from lb.cluster.objects import EndpointSlice, Service
from lb.cluster.store import ObjectStore
from tests.lb.cluster.waiting import running, until


def service(name: str = "web", port: object = 80) -> str:
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n"
        f"spec:\n  ports:\n  - port: {port}\n"
    )


class Watched:
    """A ManifestFolder that runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = ObjectStore()
        self.source = ManifestFolder(folder, self.store)

    def port(self, name: str = "web") -> int | None:
        found = self.store.get(Service, "shop", name)
        return found.spec.ports[0].port if found else None

    @property
    def problems(self) -> list[str]:
        return [str(problem).replace(str(self.folder), "DIR") for problem in self.source.problems]


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "web.yaml").write_text(service())
    found = Watched(folder)
    async with running(found.source.run()):
        async with asyncio.timeout(10):
            await found.source.synced.wait()
        yield found


def test_load_reads_once(tmp_path: Path) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "a.yaml").write_text(service("a") + "---\n" + service("b", "x"))
    (tmp_path / "sub" / "deep" / "c.yml").write_text(service("c"))
    content = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "d", "namespace": "shop"}}
    (tmp_path / "d.json").write_text(json.dumps({**content, "spec": {"ports": [{"port": 80}]}}, indent="\t"))
    found = Watched(tmp_path)
    found.source.load()
    assert sorted(key.name for key in found.store.keys("Service")) == ["a", "c", "d"]
    assert found.problems == [
        "DIR/a.yaml:13: Service shop/b: spec.ports[0].port: must be a whole number, not text "
        "(see: kubectl explain service)"
    ]


@pytest.mark.parametrize(
    "name",
    [".hidden.yaml", "web.yaml~", ".web.yaml.swp", "#web.yaml#", ".#web.yaml", "4913", "web.txt", "web.yaml.bak"],
)
def test_files_of_editors_are_ignored(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(service())
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.yaml").write_text("[")
    (tmp_path / "kustomization.yaml").write_text("resources: [a.yaml]\n")
    found = Watched(tmp_path)
    found.source.load()
    assert found.store.count(Service) == 0
    assert found.problems == []


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FolderUnreadable, match=r"nowhere does not exist; create it, or name another with -f"):
        await ManifestFolder(tmp_path / "nowhere", ObjectStore()).run()
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderUnreadable, match="file is not a folder"):
        ManifestFolder(tmp_path / "file", ObjectStore()).load()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service())
    (tmp_path / "a.yaml").chmod(0)
    found = Watched(tmp_path)
    found.source.load()
    assert found.problems == ["DIR/a.yaml: DIR/a.yaml: cannot be read: Permission denied (check its permissions)"]
    tmp_path.chmod(0)
    try:
        with pytest.raises(FolderUnreadable, match="cannot be read"):
            ManifestFolder(tmp_path, ObjectStore()).load()
    finally:
        tmp_path.chmod(0o755)


async def test_a_change_is_seen(watched: Watched) -> None:
    (watched.folder / "web.yaml").write_text(service(port=81))
    await until(lambda: watched.port() == 81)
    (watched.folder / "new.yaml").write_text(service("new"))
    await until(lambda: watched.port("new") == 80)
    (watched.folder / "new.yaml").unlink()
    await until(lambda: watched.port("new") is None)
    assert watched.port() == 81


async def test_a_file_replaced_by_rename(watched: Watched) -> None:
    for port in (81, 82, 83):
        (watched.folder / ".new").write_text(service(port=port))
        os.replace(watched.folder / ".new", watched.folder / "web.yaml")
        await until(lambda port=port: watched.port() == port)


async def test_a_renamed_file_keeps_its_objects(watched: Watched) -> None:
    subscription = watched.store.subscribe([Service])
    subscription.take()
    os.rename(watched.folder / "web.yaml", watched.folder / "other.yaml")
    await until(lambda: watched.source._state.paths == ["other.yaml"])
    assert watched.port() == 80


async def test_a_document_that_turns_bad_keeps_what_was_good(watched: Watched) -> None:
    (watched.folder / "web.yaml").write_text(service(port="x") + "---\n" + service("b"))
    await until(lambda: watched.port("b"))
    assert watched.port() == 80
    assert len(watched.problems) == 1
    assert "; the last good version stays in use" in watched.problems[0]
    (watched.folder / "web.yaml").write_text(service(port=82))
    await until(lambda: watched.port() == 82)
    await until(lambda: watched.port("b") is None)
    assert watched.problems == []


async def test_a_file_that_is_not_utf8_keeps_its_objects(watched: Watched) -> None:
    (watched.folder / "web.yaml").write_bytes(b"\xff\xfe")
    await until(lambda: watched.problems)
    assert watched.problems == ["DIR/web.yaml: DIR/web.yaml: is not UTF-8 text: byte 0 (save it as UTF-8)"]
    assert watched.port() == 80


async def test_a_file_written_piece_by_piece_does_no_harm(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "FRESH_SECONDS", 5.0)  # however slow this machine is now
    text = "---\n".join(service(name) for name in ("web", "b", "c"))
    (watched.folder / "web.yaml").write_text(text)
    await until(lambda: watched.port("c"))
    subscription = watched.store.subscribe([Service])
    subscription.take()
    seen = set()
    with (watched.folder / "web.yaml").open("w") as file:  # truncates
        for start in range(0, len(text), 20):
            file.write(text[start : start + 20])
            file.flush()
            await asyncio.sleep(0.004)
            seen |= {watched.port(name) for name in ("web", "b", "c")}
    await until(lambda: watched.problems == [] and not watched.source._recheck)
    assert seen <= {80, 8}  # a number cut in its middle cannot be told from another; an object that is gone can
    assert {watched.port(name) for name in ("web", "b", "c")} == {80}


async def test_a_file_that_is_emptied_takes_its_objects_away(watched: Watched) -> None:
    (watched.folder / "web.yaml").write_text("")
    await until(lambda: watched.port() is None)


async def test_sub_folders_come_and_go(watched: Watched) -> None:
    (watched.folder / "sub" / "deep").mkdir(parents=True)
    (watched.folder / "sub" / "deep" / "a.yaml").write_text(service("a"))
    await until(lambda: watched.port("a"))
    shutil.rmtree(watched.folder / "sub")
    await until(lambda: watched.port("a") is None)
    outside = watched.folder.parent / "outside"
    outside.mkdir()
    (outside / "b.yaml").write_text(service("b"))
    os.rename(outside, watched.folder / "moved")
    await until(lambda: watched.port("b"))
    os.rename(watched.folder / "moved", outside)
    await until(lambda: watched.port("b") is None)


async def test_a_configmap_volume_is_swapped(tmp_path: Path) -> None:
    # As the kubelet lays it out: web.yaml -> ..data/web.yaml, ..data -> ..2026_01; the second link is replaced.
    folder = tmp_path / "volume"
    for name, port in (("..2026_01", 80), ("..2026_02", 81)):
        (folder / name).mkdir(parents=True)
        (folder / name / "web.yaml").write_text(service(port=port))
    (folder / "..data").symlink_to("..2026_01")
    (folder / "web.yaml").symlink_to("..data/web.yaml")
    found = Watched(folder)
    async with running(found.source.run()):
        await until(lambda: found.port() == 80)
        (folder / "..data_tmp").symlink_to("..2026_02")
        os.rename(folder / "..data_tmp", folder / "..data")
        shutil.rmtree(folder / "..2026_01")
        await until(lambda: found.port() == 81)
        assert found.problems == []


async def test_the_folder_is_taken_away_and_comes_back(watched: Watched) -> None:
    away = watched.folder.with_name("away")
    os.rename(watched.folder, away)
    await until(lambda: watched.problems)
    assert watched.problems == ["DIR: the folder is gone; what was in it stays in use (put it back)"]
    assert watched.port() == 80
    watched.folder.mkdir()
    (watched.folder / "new.yaml").write_text(service("new"))
    await until(lambda: watched.port("new") == 80 and watched.port() is None)
    assert watched.problems == []
    (watched.folder / "new.yaml").write_text(service("new", 81))
    await until(lambda: watched.port("new") == 81)


async def test_a_link_to_a_parent_does_not_go_round(watched: Watched) -> None:
    (watched.folder / "loop").symlink_to(".")
    (watched.folder / "web.yaml").write_text(service(port=81))
    await until(lambda: watched.port() == 81)


async def test_a_burst_is_read_in_a_few_passes(watched: Watched) -> None:
    subscription = watched.store.subscribe([Service])
    subscription.take()
    for number in range(300):
        (watched.folder / f"s{number}.yaml").write_text(service(f"s{number}"))
    began = time.monotonic()
    await until(lambda: watched.store.count(Service) == 301)
    assert time.monotonic() - began < 5
    assert len(set(subscription.take())) == 300


async def test_statuses_are_laid_over(watched: Watched) -> None:
    folder = watched.folder / ".status"
    folder.mkdir()
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n"
    (folder / "Service.shop.web.yaml").write_text(text + "status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}\n")

    def ip() -> str:
        found = watched.store.get(Service, "shop", "web")
        return "".join(each.ip for each in found.status.load_balancer.ingress) if found else "gone"

    await until(lambda: ip() == "192.0.2.1")
    (watched.folder / "web.yaml").write_text(service(port=81))
    await until(lambda: watched.port() == 81)
    assert ip() == "192.0.2.1"
    (watched.folder / "web.yaml").unlink()
    await until(lambda: ip() == "gone")
    (watched.folder / "web.yaml").write_text(service())
    await until(lambda: ip() == "192.0.2.1")
    (folder / "Service.shop.web.yaml").write_text(text + "status: {loadBalancer: {ingress: [{ip: nonsense}]}}\n")
    await until(lambda: watched.problems)
    assert "status.loadBalancer.ingress[0].ip: 'nonsense' is not an IP address" in watched.problems[0]
    assert ip() == "192.0.2.1"
    (folder / "Service.shop.web.yaml").unlink()
    await until(lambda: ip() == "")
    assert watched.problems == []


def test_endpoints_on_loopback_are_as_good_as_any(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}\naddressType: IPv4\n"
        "endpoints: [{addresses: [127.0.0.1]}]\nports: [{port: 8080}]\n"
    )
    found = Watched(tmp_path)
    found.source.load()
    assert found.problems == []
    assert found.store.count(EndpointSlice) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_sub_folder_that_is_closed_keeps_what_was_in_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.yaml").write_text(service())
    found = Watched(tmp_path)
    found.source.load()
    (tmp_path / "sub").chmod(0)
    try:
        found.source.load()
    finally:
        (tmp_path / "sub").chmod(0o755)
    assert found.port() == 80
    assert "DIR/sub/: the folder cannot be read: Permission denied" in found.problems[0]
