"""The running command under load: worker killed, folder changed, drained, supervisor killed."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ingress.run import ECHO_SECONDS
from lb.cluster.objects import Object
from tests.ingress.peers import Answer, Client, Endpoint, ask, endpoints
from tests.ingress.serving import Folder, Served, alive, children, serving, started
from tests.ingress.state import endpoint_slice, ingress, service
from tests.lb.cluster.waiting import until


class Load:
    """Clients that ask as fast as they get answers, each on one keep-alive connection until it breaks."""

    def __init__(self, port: int, *, clients: int = 8) -> None:
        self.port = port
        self.answers = 0
        self.wrong: list[Answer] = []
        self.broken = 0
        self.refused = 0
        self.clients = clients

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        stop = asyncio.Event()
        tasks = [asyncio.create_task(self._client(stop)) for _ in range(self.clients)]
        try:
            yield self
        finally:
            stop.set()
            async with asyncio.timeout(20):
                await asyncio.gather(*tasks)

    async def _client(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                client = await Client.connect(self.port)
            except ConnectionRefusedError:
                self.refused += 1
                await asyncio.sleep(0.01)
                continue
            try:
                while client.open and not stop.is_set():
                    answer = await client.ask("web.example", "/")
                    self.answers += 1
                    if answer.status != 200:
                        self.wrong.append(answer)
            except ConnectionError:
                self.broken += 1
            finally:
                client.close()

    async def more(self, count: int) -> None:
        """Wait for so many answers more."""
        wanted = self.answers + count
        await until(lambda: self.answers >= wanted, f"{count} answers more")


def web(*found: Endpoint, **rules: str) -> list[Object]:
    """Ingress, Service and a slice for each endpoint."""
    slices = [endpoint_slice("web", each.address, slice_name=each.name) for each in found]
    return [*service("web"), *slices, ingress("web", {"web.example": [("/", "Prefix", "web")]})]


async def test_a_killed_worker_loses_only_what_it_was_doing(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    async with endpoints("one") as there:
        folder.write("web", web(*there))
        async with serving("-f", str(tmp_path), "--workers", "2") as running:
            before = running.workers()
            assert len(before) == 2
            async with Load(running.http).running() as load:
                for _ in range(3):
                    await load.more(200)
                    victim = running.workers()[0]
                    os.kill(victim, signal.SIGKILL)
                    await running.until_replaced(victim, 2)
                    await load.more(200)
            # Each kill breaks the connections that worker had, and no new one is refused.
            assert load.refused == 0
            assert load.wrong == []
            assert load.broken <= 3 * load.clients
            assert running.log.count("SIGKILL") == 3
            assert await running.end() == 0


async def test_changes_lose_no_request_and_close_no_connection(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    async with endpoints("one", "two", "three") as there:
        folder.write("web", web(*there[:1]))
        async with serving("-f", str(tmp_path), "--workers", "2") as running:
            async with Load(running.http).running() as load:
                for wanted in (there, there[1:2], there[2:], there[:2]):
                    await load.more(50)
                    folder.write("web", web(*wanted))
                    await until_endpoints(running, len(wanted))
                await load.more(50)
                folder.write("other", [ingress("other", {"other.example": [("/", "Prefix", "web")]})])
                await running.until_answer("other.example", "/", lambda answer: answer.status == 200)
                folder.write("other", [ingress("other", {"other.example": [("/x", "Prefix", "web")]})])
                await running.until_answer("other.example", "/", lambda answer: answer.status == 404)
                folder.write_text("broken", "kind: Ingress\napiVersion: [")
                await running.until(lambda: "broken.yaml" in running.log)
                folder.remove("other")
                await running.until_answer("other.example", "/x", lambda answer: answer.status == 404)
                await load.more(50)
            assert (load.wrong, load.broken, load.refused) == ([], 0, 0)
            assert await running.end() == 0


async def until_endpoints(running: Served, count: int) -> None:
    async with asyncio.timeout(15):
        while True:
            routes = (await running.ask_admin("/routes")).echo["routes"]
            if [len(route["endpoints"]) for route in routes if route["host"] == "web.example"] == [count]:
                return
            await asyncio.sleep(0.01)


async def test_drain_finishes_what_is_under_way(tmp_path: Path) -> None:
    async with endpoints("one") as (one,), serving("--to", one.address, "--workers", "2") as running:
        idle = await Client.connect(running.http)
        assert (await idle.ask("any", "/")).status == 200
        slow = asyncio.create_task(ask(running.http, "any", "/slow"))
        await running.until(lambda: one.requests == 2)
        running.process.send_signal(signal.SIGTERM)
        await running.until(lambda: "draining" in running.log)
        assert (await running.ask_admin("/readyz")).status == 503
        assert (await running.ask_admin("/healthz")).status == 200
        async with asyncio.timeout(5):
            assert await idle.reader.read() == b"", "an idle connection is closed"
        await until_refused(running.http)
        assert not slow.done()
        one.hold.set()
        answer = await slow
        assert (answer.status, answer.service) == (200, "one")
        assert await running.ended() == 0


async def test_load_balancers_get_time_to_notice() -> None:
    async with endpoints("one") as (one,), serving("--to", one.address, "--drain-delay", "1") as running:
        running.process.send_signal(signal.SIGTERM)
        await running.until_status("/readyz", 503)
        assert (await ask(running.http, "any")).status == 200
        await until_refused(running.http)
        assert await running.ended() == 0


async def until_refused(port: int) -> None:
    async with asyncio.timeout(5):
        while True:
            try:
                (await Client.connect(port)).close()
            except ConnectionResetError:
                pass  # the listener was closed between our SYN and its answer
            except ConnectionRefusedError:
                return
            await asyncio.sleep(0.01)


async def test_the_drain_has_a_limit(tmp_path: Path) -> None:
    async with endpoints("one") as (one,), serving("--to", one.address, "--drain", "0.3") as running:
        slow = asyncio.create_task(ask(running.http, "any", "/slow"))
        await running.until(lambda: one.requests == 1)
        assert await running.end() == 0
        assert "cut off: not finished within 0.3 s (--drain)" in running.log
        assert isinstance((await asyncio.gather(slow, return_exceptions=True))[0], ConnectionError)
        one.hold.set()


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    async with endpoints("one") as (one,), serving("--to", one.address) as running:
        slow = asyncio.create_task(ask(running.http, "any", "/slow"))
        await running.until(lambda: one.requests == 1)
        running.process.send_signal(signal.SIGINT)
        await running.until(lambda: "draining" in running.log)
        running.process.send_signal(signal.SIGINT)  # an echo of the first, as timeout(1) makes one
        await asyncio.sleep(ECHO_SECONDS)
        assert running.process.returncode is None
        running.process.send_signal(signal.SIGINT)
        assert await running.ended() == 1
        await asyncio.gather(slow, return_exceptions=True)
        one.hold.set()


async def test_nothing_is_left_when_the_supervisor_is_killed() -> None:
    async with endpoints("one") as (one,), serving("--to", one.address, "--workers", "2") as running:
        workers = children(running.process.pid)
        assert len(workers) == 2
        running.process.kill()
        await running.ended()
        await until(lambda: not any(map(alive, workers)), "no worker is left")
        await until_refused(running.http)


async def test_clients_that_pause_lose_nothing_to_a_drain() -> None:
    """As in a rolling update: who asks again before long is answered, and told to close."""
    async with endpoints("one") as (one,), serving("--to", one.address, "--workers", "2") as running:
        last: list[Answer] = []

        async def ask_until_told() -> None:
            client = await Client.connect(running.http)
            while client.open:
                answer = await client.ask("web.example", "/")
                await asyncio.sleep(0.05)
            last.append(answer)
            client.close()

        async with asyncio.timeout(20):
            asking = [asyncio.create_task(ask_until_told()) for _ in range(16)]
            await running.until(lambda: one.requests > 32)
            running.process.send_signal(signal.SIGTERM)
            await asyncio.gather(*asking)
        assert [answer.status for answer in last] == [200] * 16
        assert {answer.fields.get("connection", "").lower() for answer in last} == {"close"}
        assert await running.ended() == 0


async def test_the_log_says_whose_request_it_was(tmp_path: Path) -> None:
    folder, log = Folder(tmp_path / "manifests"), tmp_path / "access.log"
    async with endpoints("one") as there:
        folder.write("web", web(*there))
        flags = ("-f", str(folder.path), "--workers", "1", "--access-log", str(log))
        async with serving(*flags, "--access-log-format", "json") as running:
            await ask(running.http, "web.example", '/x?a="b"')
            await running.until(lambda: log.exists() and log.read_text().endswith("\n"))
            line = json.loads(log.read_text())
            assert (line["namespace"], line["ingress"], line["service"]) == ("shop", "web", "web")
            assert (line["vhost"], line["path"], line["request_query"]) == ("web.example", "/x", 'a="b"')
            assert (line["status"], line["upstream_addr"]) == ("200", there[0].address)
        text = "$namespace/$ingress_name $service_name:$service_port $location_path $status"
        log.unlink()
        async with serving(*flags, "--access-log-format", text) as running:
            await ask(running.http, "web.example", "/y")
            await running.until(lambda: log.exists() and log.read_text() == "shop/web web:80 / 200\n")


async def test_a_format_that_cannot_be_is_a_usage_error() -> None:
    async with started("serve", "--to", "127.0.0.1:9", "--access-log-format", "$nonsense") as running:
        assert await running.ended() == 2
        assert "unknown variable $nonsense" in running.log


async def test_the_limit_of_open_files_is_raised() -> None:
    launcher = ("sh", "-c", 'ulimit -S -n 256 && exec "$@"', "sh")
    flags = ("serve", "--to", "127.0.0.1:9", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "1")
    async with started(*flags, launcher=launcher) as running:
        await running.ready()
        for pid in (running.process.pid, *running.workers()):
            soft, hard = open_files_limits(pid)
            assert soft == hard != "256"


def open_files_limits(pid: int) -> list[str]:
    limits = Path(f"/proc/{pid}/limits").read_text()
    return next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3:5]


async def test_connections_that_wait_are_answered_before_the_end() -> None:
    """They are in the kernel's queue when the end is asked for: their clients know nothing of it."""
    async with endpoints("one") as (one,), serving("--to", one.address, "--workers", "1") as running:
        (worker,) = running.workers()
        os.kill(worker, signal.SIGSTOP)
        asking = [asyncio.create_task(ask(running.http, "any")) for _ in range(100)]
        await until(lambda: waiting_at(running.http) == 100, "all are in the queue")
        running.process.send_signal(signal.SIGTERM)
        await running.until(lambda: "draining" in running.log)
        await until(lambda: not listened_at_by(running.process.pid, running.http), "the supervisor has closed its own")
        os.kill(worker, signal.SIGCONT)
        assert [answer.status for answer in await asyncio.gather(*asking)] == [200] * 100
        assert await running.ended() == 0


def sockets_at(port: int) -> list[list[str]]:
    """The listening sockets of a port: lines of /proc/net/tcp (proc(5))."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [line for line in lines if line[1].endswith(f":{port:04X}") and line[3] == "0A"]


def waiting_at(port: int) -> int:
    """Connections that nobody has accepted yet: the receive queue of a listening socket."""
    return sum(int(line[4].split(":")[1], 16) for line in sockets_at(port))


def listened_at_by(pid: int, port: int) -> bool:
    inodes = {f"socket:[{line[9]}]" for line in sockets_at(port)}
    return any(os.readlink(each) in inodes for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink())
