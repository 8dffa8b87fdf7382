"""What clients that mean harm cost others: ours and nginx, in turn, under each attack of attacks.py."""

import asyncio
import contextlib
import signal
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from bench.load.arrivals import parse_profile
from bench.load.run import Plan, run
from bench.native import Unavailable
from bench.peers.compare import make_certificate, start_all
from bench.peers.process import Peer, python_env, start_endpoint
from bench.peers.rounds import without_checks
from bench.peers.work import work_named
from bench.scenarios import Finding, ScenarioFailed, clients, documents
from bench.scenarios.attacks import ATTACKS
from bench.scenarios.stage import ask, await_true, write

PEERS = ("causeway", "nginx")
RATE = 1000
ATTACKED = "attacked.example.com"
"""A host with an endpoint of its own, so that what is measured is the proxy and not the endpoint behind it."""


def hostile(full: bool) -> Finding:
    """The p99 of 1,000 requests a second of others, from before an attack begins until it ends."""
    clients.allow_files(max(each.count for each in ATTACKS.values()))
    rounds = 5 if full else 1
    figures: dict[str, Any] = {"requests a second of others": RATE, "rounds": rounds}
    with both() as peers:
        for name in ("", *ATTACKS):
            samples = [[p99_ms(peer, name) for peer in peers] for _ in range(rounds)]
            figures |= told(name or "no attack", samples)
    return Finding(figures)


def told(name: str, samples: list[list[float]]) -> dict[str, Any]:
    """Medians over rounds, and of the ratios within them. samples: ours and nginx's, in each round."""
    middles = (statistics.median(column) for column in zip(*samples, strict=True))
    figures: dict[str, Any] = {
        f"{name}, {peer}, p99, ms": round(middle, 3) for peer, middle in zip(PEERS, middles, strict=True)
    }
    figures[f"{name}, ours to nginx's"] = round(statistics.median(ours / theirs for ours, theirs in samples), 2)
    return figures


@contextlib.contextmanager
def both() -> Iterator[list[Peer]]:
    """Ours and nginx on the second core, with the attacked host beside the usual one."""
    with tempfile.TemporaryDirectory(prefix="causeway-bench-", dir="/dev/shm") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        make_certificate(folder)
        endpoint, attacked = start_endpoint(folder / "endpoint", 0), start_endpoint(folder / "attacked", 0)
        left_out: dict[str, str] = {}
        peers, errors = start_all(work_named("keep-alive"), PEERS, folder, endpoint.port, left_out=left_out)
        try:
            if left_out:
                raise Unavailable("; ".join(left_out.values()))
            if errors:
                raise ScenarioFailed("; ".join(errors.values()))
            for peer in peers:
                add_attacked(peer, attacked.port)
            yield peers
        finally:
            for each in (*peers, endpoint, attacked):
                each.stop()


def add_attacked(peer: Peer, endpoint_port: int) -> None:
    """The attacked host, for a proxy that runs already."""
    if peer.name == "nginx":
        conf = peer.folder / "conf"
        upstream = f"upstream attacked {{ server 127.0.0.1:{endpoint_port}; keepalive 320; }}"
        server = (
            f"server {{ listen 127.0.0.1:{peer.port}; server_name {ATTACKED};"
            " location / { proxy_pass http://attacked; } }"
        )
        conf.write_text(conf.read_text().rstrip().removesuffix("}") + f"{upstream}\n{server}\n}}\n")
        peer.process.send_signal(signal.SIGHUP)
    else:
        objects = (
            documents.service("attacked"),
            documents.endpoints("attacked", endpoint_port),
            documents.ingress("attacked", [ATTACKED], "attacked"),
        )
        write(peer.folder / "manifests", "attacked.yaml", objects)
    await_true(lambda: ask(peer.port, ATTACKED) == (200, endpoint_port), 10, f"{peer.name}'s second host")


def p99_ms(peer: Peer, attack: str) -> float:
    """Of others, while it is attacked; without a name it is not."""
    return float(asyncio.run(_measured(peer, attack, seconds=3.0))["latency_ms"]["p99"])


@contextlib.asynccontextmanager
async def attacking(attack: str, port: int, seconds: float) -> AsyncIterator[Callable[[], None]]:
    """What lets it begin, on the first core, as all but the proxy. Raises ScenarioFailed if the attack did not last."""
    argv = [sys.executable, "-m", "bench.scenarios.attacks", attack, str(port), ATTACKED, str(seconds)]
    attacker = await asyncio.create_subprocess_exec(
        "taskset", "-c", "0", *argv, env=python_env(), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert attacker.stdin is not None
        assert attacker.stdout is not None
        await attacker.stdout.readline()
        yield partial(attacker.stdin.write, b"\n")
        if attacker.returncode is not None:
            raise ScenarioFailed(f"the attack {attack} ended with status {attacker.returncode}")
    finally:
        if attacker.returncode is None:
            attacker.kill()
        await attacker.wait()


def _nothing() -> None:
    """Where nobody attacks."""


async def _measured(peer: Peer, attack: str, seconds: float) -> dict[str, Any]:
    plan = Plan(
        duration_seconds=seconds, connections=32, pieces=parse_profile(str(RATE), seconds), timeout_seconds=5, cpus=(0,)
    )
    async with attacking(attack, peer.port, seconds) if attack else contextlib.nullcontext(_nothing) as begin:
        load = asyncio.ensure_future(run(without_checks(peer.work.scenario(peer.port)), plan))
        await asyncio.sleep(0.5)
        begin()
        result = await load
    peer.require_alive()
    if result["errors"]:
        raise ScenarioFailed(f"{peer.name} under {attack or 'no attack'}: errors {result['errors']}")
    return result
