"""A whole comparison: certificates made, endpoint and proxies started, every work measured, results gathered."""

import asyncio
import random
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.machine import machine
from bench.native import Unavailable
from bench.peers.configs import Place
from bench.peers.process import Peer, PeerFailed, free_port, start, start_endpoint, version
from bench.peers.rounds import Bursts, measure
from bench.peers.verify import verify
from bench.peers.work import Work

REFERENCE = "nginx"


def compare(works: Sequence[Work], names: Sequence[str], bursts: Bursts, told: Callable[[str], None]) -> dict[str, Any]:
    """Measure each work with each proxy. A proxy that cannot be had is left out, one that fails at a work has an error
    there, never a number. Ctrl-C ends it; what is measured by then is the result, the rest is told as left out."""
    result: dict[str, Any] = {
        "kind": "peers",
        "machine": machine(),
        "versions": {},
        "bursts": asdict(bursts),
        "works": {},
        "left_out": {},
    }
    with tempfile.TemporaryDirectory(prefix="causeway-bench-", dir="/dev/shm") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        make_certificate(folder)
        endpoint = start_endpoint(folder / "endpoint", 0)
        try:
            for work in works:
                peers, errors = start_all(work, names, folder, endpoint.port, left_out=result["left_out"])
                result["versions"] |= {peer.name: version(peer.name) for peer in peers}
                try:
                    result["works"][work.name] = measured(work, peers, errors, endpoint, bursts=bursts, told=told)
                finally:
                    for peer in peers:
                        peer.stop()
        except KeyboardInterrupt:
            result["left_out"] |= {work.name: "interrupted" for work in works if work.name not in result["works"]}
        finally:
            endpoint.stop()
    return result


def start_all(
    work: Work, names: Sequence[str], folder: Path, endpoint_port: int, *, left_out: dict[str, str]
) -> tuple[list[Peer], dict[str, str]]:
    """Start and verify every proxy; what fails is told by name."""
    peers: list[Peer] = []
    errors: dict[str, str] = {}
    for name in names:
        if name == "floor" and work.tls:
            continue  # what only forwards bytes does no TLS
        place = Place(
            folder=str(folder / f"{work.name}-{name}"), port=free_port(), endpoint_port=endpoint_port,
            certificate=str(folder / "tls.crt"), key=str(folder / "tls.key"),
        )  # fmt: skip
        try:
            peer = start(name, work, place, 1)
        except Unavailable as error:
            left_out[f"{work.name}: {name}"] = str(error)
            continue
        try:
            verify(peer)
        except PeerFailed as error:
            errors[name] = str(error)
            peer.stop()
        else:
            peers.append(peer)
    return peers, errors


def measured(
    work: Work,
    peers: list[Peer],
    errors: dict[str, str],
    endpoint: Peer,
    *,
    bursts: Bursts,
    told: Callable[[str], None],
) -> dict[str, Any]:
    """One work's result: summaries by peer, or the error that made an end of it."""
    entry: dict[str, Any] = {"about": work.about, "errors": errors}
    try:
        found = asyncio.run(measure(work, peers, endpoint, bursts, told=told))
    except PeerFailed as error:
        entry["errors"] = {**errors, "run": str(error)}
        return entry
    entry["errors"] = {**errors, **found.errors}
    left = [peer.name for peer in peers if peer.name not in found.errors]
    if not left:
        return entry
    reference = REFERENCE if REFERENCE in left else left[0]
    return {**entry, "reference": reference, "rejected": found.rejected, "peers": found.summary(reference)}


def make_certificate(folder: Path) -> None:
    """A P-256 certificate for every host, as most sites have one."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "7",
         "-subj", "/CN=bench", "-addext", "subjectAltName=DNS:*.example.com,IP:127.0.0.1",
         "-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")],
        check=True, capture_output=True,
    )  # fmt: skip


def shuffled_seed() -> int:
    return random.SystemRandom().randrange(1 << 30)
