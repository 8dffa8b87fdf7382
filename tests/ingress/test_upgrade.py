"""A new supervisor takes the place of the old one under load, by signal and by command; or it does not come up."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.ingress.behaviour.test_streams import becomes, free_port, said, speaker
from tests.ingress.certificates import tls_secret
from tests.ingress.observe.test_metrics import of, samples
from tests.ingress.peers import ask, endpoints
from tests.ingress.serving import Folder, Served, alive, serving, started
from tests.ingress.site import config_map, several
from tests.ingress.state import ingress, service
from tests.ingress.test_run import Load, web
from tests.ingress.test_tls import trusting, visit
from tests.lb.cluster.waiting import until


async def command(*argv: str) -> tuple[int, str]:
    """Run `causeway ARGV`; its exit code and everything it wrote."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "causeway", *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def successor_of(running: Served) -> int:
    await running.until(lambda: re.search(r"process \d+ serves", running.log))
    found = re.search(r"process (\d+) serves", running.log)
    assert found is not None
    return int(found[1])


async def ended(pid: int) -> None:
    """Ask a process that is not our child for an orderly end, unless it has ended already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    await until_process_gone(pid)


async def until_process_gone(pid: int) -> None:
    await until(lambda: not alive(pid), f"process {pid} is gone")


async def test_no_request_is_lost_when_the_supervisor_is_replaced(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    async with endpoints("one") as there:
        folder.write("web", web(*there))
        async with serving("-f", str(tmp_path), "--workers", "2") as running:
            pid = 0
            try:
                async with Load(running.http).running() as load:
                    await load.more(200)
                    running.process.send_signal(signal.SIGUSR2)
                    pid = await successor_of(running)
                    await until_process_gone(running.process.pid)
                    await load.more(200)
                    assert (await ask(running.admin, "admin", "/readyz")).body == b"ok\n"
                    # And the one that took over can give way as well.
                    code, words = await command("upgrade", "--pid", str(pid))
                    assert code == 0, words
                    old, pid = pid, int(re.findall(r"process (\d+) serves", words)[0])
                    await until_process_gone(old)
                    await load.more(200)
                assert (load.refused, load.broken, load.wrong) == (0, 0, [])
                assert alive(pid)
            finally:
                if pid:
                    await ended(pid)


@asynccontextmanager
async def upgrading(running: Served) -> AsyncIterator[int]:
    """The process that comes after; the old one drains, or has ended already. The new one is ended with the block."""
    running.process.send_signal(signal.SIGUSR2)
    pid = await successor_of(running)
    try:
        yield pid
    finally:
        await ended(pid)


async def test_tls_sessions_outlive_the_supervisor(tmp_path: Path) -> None:
    secret = tls_secret("a", "a.example")
    rules = ingress("web", {"a.example": [("/", "Prefix", "web")]}, tls=[{"hosts": ["a.example"], "secretName": "a"}])
    context = trusting(secret)
    async with endpoints("one") as (one,):
        Folder(tmp_path).write("web", [rules, *service("web", one.address), secret])
        async with serving("-f", str(tmp_path), "--https", "127.0.0.1:0", "--workers", "2") as running:
            await running.until_certificate("a.example", context)
            first, _ = await visit(running.https, context, None)
            async with upgrading(running) as pid:
                await until_process_gone(running.process.pid)
                seen = [await visit(running.https, context, first) for _ in range(8)]
                assert [resumed for _, resumed in seen] == [True] * 8
                # What the new one makes can be read after it, too.
                code, words = await command("upgrade", "--pid", str(pid))
                assert code == 0, words
                last = int(re.findall(r"process (\d+) serves", words)[0])
                try:
                    await until_process_gone(pid)
                    for session in (first, seen[-1][0]):
                        assert all([(await visit(running.https, context, session))[1] for _ in range(4)])
                finally:
                    await ended(last)
            assert "sessions begin anew" not in running.log


async def test_ports_of_tcp_services_stay_open(tmp_path: Path) -> None:
    port, folder = free_port(), Folder(tmp_path)
    stop, heard = asyncio.Event(), list[str]()

    async def visitors() -> None:
        while not stop.is_set():
            heard.append(await said(port))

    async with speaker("one") as one:
        folder.write("one", several("one", one))
        folder.write("tcp", [config_map("ops", "tcp", {str(port): "shop/one:80"})])
        async with serving("-f", str(tmp_path), "--workers", "2", "--tcp-services-configmap", "ops/tcp") as running:
            await becomes(running, port, "one")
            visiting = [asyncio.create_task(visitors()) for _ in range(4)]
            try:
                async with upgrading(running):
                    await until_process_gone(running.process.pid)
                    before = len(heard)
                    await until(lambda: len(heard) > before + 20, "some more")
                    stop.set()
                    await asyncio.gather(*visiting)
            finally:
                stop.set()
                await asyncio.gather(*visiting)
    assert set(heard) == {"one"}


async def test_counts_go_on(tmp_path: Path) -> None:
    """Also those of a request that the old worker is about to answer."""
    folder = Folder(tmp_path)
    async with endpoints("one") as (one,):
        folder.write("web", web(one))
        async with serving("-f", str(tmp_path), "--workers", "2") as running:
            for _ in range(7):
                await ask(running.http, "web.example")
            await ask(running.http, "unknown.example")
            slow = asyncio.create_task(ask(running.http, "web.example", "/slow"))
            await running.until(lambda: one.requests == 8)
            before = await samples(running)
            async with upgrading(running) as pid:
                await running.until(lambda: "the supervisor before this one has let go" in running.log)
                after = await samples(running)
                assert of(after, "requests", status="200") == 7
                assert of(after, "requests", status="404") == 1
                assert of(after, "nginx_process_requests_total") == 8
                assert of(after, "request_size_sum", status="200") == of(before, "request_size_sum", status="200")
                assert of(after, "nginx_process_connections_total", state="accepted") == 9
                await ask(running.http, "web.example")
                assert of(await samples(running), "requests", status="200") == 8
                one.hold.set()
                assert (await slow).status == 200
                await until_process_gone(running.process.pid)
                assert alive(pid)
                found = await samples(running)
                deadline = asyncio.get_running_loop().time() + 15
                while of(found, "requests", status="200") != 9:
                    assert asyncio.get_running_loop().time() < deadline, found
                    found = await samples(running)
                assert of(found, "nginx_process_requests_total") == 10
                assert of(found, "request_duration_seconds_count", status="200") == 9
            assert "begin anew" not in running.log


async def test_code_that_does_not_come_up_changes_nothing(tmp_path: Path) -> None:
    """Flags that were right when the old one started are wrong by now: its folder is gone."""
    folder = Folder(tmp_path / "manifests")
    async with endpoints("one") as there:
        folder.write("web", web(*there))
        async with serving("-f", str(folder.path), "--workers", "1") as running:
            os.rename(folder.path, tmp_path / "elsewhere")
            code, words = await command("upgrade", "--pid", str(running.process.pid))
            assert code == 1
            assert "the installed code does not start" in words
            assert "does not exist; create it" in words
            assert f"process {running.process.pid} goes on" in words
            assert (await ask(running.http, "web.example")).status == 200
            assert (await running.ask_admin("/readyz")).status == 200


async def test_a_successor_that_cannot_open_its_files_is_ended(tmp_path: Path) -> None:
    log = tmp_path / "log" / "access"
    log.parent.mkdir()
    async with (
        endpoints("one") as (one,),
        serving("--to", one.address, "--workers", "1", "--access-log", str(log)) as running,
    ):
        log.unlink()
        log.mkdir()
        code, words = await command("upgrade", "--pid", str(running.process.pid))
        assert code == 1
        assert "the new supervisor does not come up: --access-log" in words
        assert (await ask(running.http, "any")).status == 200
        assert await running.end() == 0


async def test_there_is_nothing_to_ask(tmp_path: Path) -> None:
    code, words = await command("reload", "--control", str(tmp_path / "none.sock"))
    assert code == 1
    assert "No such file or directory; does that proxy run" in words


async def test_reload_reads_everything_again(tmp_path: Path) -> None:
    log, control = tmp_path / "access.log", tmp_path / "control.sock"
    folder = Folder(tmp_path / "manifests")
    async with endpoints("one") as there:
        folder.write("web", web(*there))
        flags = ("-f", str(folder.path), "--workers", "2", "--access-log", str(log), "--control", str(control))
        async with serving(*flags, "--to", there[0].address) as running:
            for _ in range(8):
                await ask(running.http, "web.example")
            await running.until(lambda: len(log.read_text().splitlines()) == 8)
            log.rename(tmp_path / "access.log.1")
            code, words = await command("reload", "--control", str(control))
            assert code == 0, words
            assert "access log" in words
            assert "manifests read again: 0 problems" in words
            assert "names in the flags looked up: no changes" in words
            assert "tables compiled anew: 2 hosts, 2 routes, 0 problems" in words
            for _ in range(8):
                await ask(running.http, "web.example")
            await running.until(lambda: len(log.read_text().splitlines()) == 8)
            assert len((tmp_path / "access.log.1").read_text().splitlines()) == 8
            for victim in running.workers():  # a new worker writes to the new file
                os.kill(victim, signal.SIGKILL)
                await running.until_replaced(victim, 2)
            await running.until_answer("web.example", "/", lambda answer: answer.status == 200)
            await running.until(lambda: len(log.read_text().splitlines()) >= 9)
            running.process.send_signal(signal.SIGHUP)
            await running.until(lambda: running.log.count("reload: tables compiled anew") == 2)
            assert await running.end() == 0
            assert not control.exists()


async def test_several_are_told_apart() -> None:
    async with (
        started("serve", "--to", "127.0.0.1:9", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0") as one,
        started("serve", "--to", "127.0.0.1:9", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0") as two,
    ):
        await one.ready()
        await two.ready()
        code, words = await command("reload")
        assert code == 1
        assert "several proxies run here; say which one: --pid PID" in words
        assert str(one.process.pid) in words
        assert (await command("reload", "--pid", str(two.process.pid)))[0] == 0


async def test_the_end_ends_an_upgrade_too() -> None:
    """SIGTERM while the new supervisor comes up, and a request that keeps the old one until it would be ready."""
    async with endpoints("one") as (one,), serving("--to", one.address, "--workers", "1") as running:
        slow = asyncio.create_task(ask(running.http, "any", "/slow"))
        await running.until(lambda: one.requests == 1)
        running.process.send_signal(signal.SIGUSR2)
        await running.until(lambda: running.log.count("listening on") == 2)
        successor = next(pid for pid in running.workers() if b"CAUSEWAY_HANDOVER" in environment(pid))
        running.process.send_signal(signal.SIGTERM)
        await until(lambda: not alive(successor), "the new one is ended")
        one.hold.set()
        assert (await slow).status == 200
        assert await running.ended() == 0


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()
