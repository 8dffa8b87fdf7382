"""ExternalName Services: names looked up beside the loop, again and again."""

import asyncio
import threading
from pathlib import Path

import pytest

from ingress.names import Names
from tests.conftest import needs_root
from tests.ingress.peers import endpoints
from tests.ingress.serving import Folder, started
from tests.ingress.state import ingress, service
from tests.lb.cluster.waiting import running, until


async def test_local_addresses_are_for_those_who_write_their_own_folder() -> None:
    for local in (True, False):
        changed: list[str] = []
        names = Names(lambda: {"localhost"}, changed.append, local=local)
        async with running(names.run()):
            await until(changed.copy, "it is looked up")
            answer = names.answers["localhost"]
            assert ("127.0.0.1" in answer.addresses) is local
            assert ("refused" in answer.error) is not local


async def test_a_name_that_is_not_there_is_told_and_forgotten() -> None:
    wanted = {"nothing.invalid"}
    names = Names(lambda: wanted, lambda _: None, local=False)
    async with running(names.run()):
        await until(lambda: names.answers, "there is an answer")
        assert not names.answers["nothing.invalid"].addresses
        assert "cannot be looked up" in names.answers["nothing.invalid"].error
        wanted.clear()
        names.wake()
        await until(lambda: not names.answers, "it is forgotten")


async def test_the_loop_goes_on_while_names_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hold = threading.Event()
    monkeypatch.setattr("ingress.names._resolve", lambda _: {"192.0.2.1"} if hold.wait(10) else set())
    names = Names(lambda: {"slow.example"}, lambda _: None, local=False)
    async with running(names.run()):
        for _ in range(10):
            await asyncio.sleep(0.01)
        assert not names.answers
        hold.set()
        await until(lambda: names.answers, "there is an answer")
        assert names.answers["slow.example"].addresses == ("192.0.2.1",)


@needs_root
async def test_requests_follow_a_name(tmp_path: Path) -> None:
    """With a hosts file of its own, mounted over the machine's in the process's mount namespace."""
    hosts = tmp_path / "hosts"
    folder = Folder(tmp_path / "manifests")
    async with endpoints("one") as (one,):
        hosts.write_text("127.0.0.2 shop.backend.test\n")
        name, port = one.address.rpartition(":")[::2]
        assert name == "127.0.0.1"
        external = service("web", type="ExternalName", externalName="Shop.backend.test.", ports=[{"port": int(port)}])
        rules: dict[str, list[tuple[str, str | None, str]]] = {"a.example": [("/", "Prefix", "web")]}
        made = ingress("web", rules)
        folder.write("service", external)
        folder.write("bad", service("bad", type="ExternalName", externalName="localhost"))
        folder.write("ingress", [made, ingress("bad", {"b.example": [("/", "Prefix", "bad")]})])
        written = (folder.path / "ingress.yaml").read_text()
        folder.write_text("ingress", written.replace("number: 80", f"number: {port}"))
        command = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
        flags = ["serve", "-f", str(folder.path), "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "1"]
        async with started(*flags, "--resolve-every", "0.2", launcher=command) as served:
            await served.ready()
            await served.until_answer("a.example", "/", lambda answer: answer.status in (502, 504))
            hosts.write_text("127.0.0.1 shop.backend.test\n")
            await served.until_answer("a.example", "/", lambda answer: answer.status == 200)
            hosts.write_text("")
            await served.until(lambda: "the addresses of before are used on" in served.log)
            await served.until_answer("a.example", "/", lambda answer: answer.status == 200)
            assert "Service shop/bad has externalName localhost: this machine is not reached by name" in served.log
            assert (await served.ask_admin("/readyz")).status == 200
