"""Two small C programs, compiled at their first use into the cache folder.

endpoint.c   answers HTTP with as little work as possible, with faults planted on request; echoes WebSocket messages
forward.c    forwards bytes without looking at them: what any proxy must spend at least
"""

import contextlib
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

CACHE = Path(os.environ.get("CAUSEWAY_BENCH_CACHE", Path.home() / ".cache" / "causeway-bench"))
"""Where everything is kept that is built or downloaded to measure with."""

_FLAGS = ("-O2", "-Wall", "-Wextra")
_LIBRARIES = ("-lcrypto",)


class Unavailable(Exception):
    """A program cannot be had here; the text says why."""


def program(name: str) -> Path:
    """The compiled form of `name`.c. Raises Unavailable without a compiler."""
    source = Path(__file__).parent / f"{name}.c"
    digest = hashlib.sha256(source.read_bytes() + repr(_FLAGS).encode()).hexdigest()[:12]
    built = CACHE / "native" / f"{name}-{digest}"
    if built.exists():
        return built
    built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=built.parent) as scratch:
        made = Path(scratch) / name
        try:
            done = subprocess.run(
                ["cc", *_FLAGS, str(source), "-o", str(made), *_LIBRARIES], capture_output=True, text=True
            )
        except FileNotFoundError:
            raise Unavailable("no C compiler (cc) here: install build-essential") from None
        if done.returncode:
            raise Unavailable(f"cc cannot compile {source.name}: {done.stderr.strip()[:500]}")
        made.replace(built)  # two that compile at once leave one whole program
    return built


@contextlib.contextmanager
def endpoint(*options: str, cpu: int | None = None) -> Iterator[tuple[int, int]]:
    """A running endpoint.c on loopback: its port and pid. Options: see the source, e.g. "every=100", "late_ms=200"."""
    pinned = [] if cpu is None else ["taskset", "-c", str(cpu)]
    process = subprocess.Popen([*pinned, str(program("endpoint")), "0", *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
