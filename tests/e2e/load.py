"""Loads of HTTP requests from the client outside, by `load_client.py`."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.cluster import layout
from tests.e2e.cluster.processes import in_netns
from tests.e2e.load_client import TIMEOUT_S, Result

CLIENT_PROGRAM = Path(__file__).with_name("load_client.py")


class Load:
    """A running load; `running` is the way to have one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def stop(self) -> Result:
        """Ends it and returns what came of it. Raises AssertionError if the load itself broke."""
        self._process.send_signal(signal.SIGTERM)
        told, complaint = self._process.communicate(timeout=TIMEOUT_S * 2 + 5)
        assert self._process.returncode == 0, f"the load client failed: {complaint}"
        parsed = json.loads(told)
        return Result(**parsed | {"answers": Counter(parsed["answers"])})


@contextlib.contextmanager
def running(address: str, path: str = "/hostname", **flags: str | int) -> Iterator[Load]:
    """A load on ADDRESS:PORT from the client outside; flags: host, clients, rate, seconds, keep_alive=1."""
    host, port = address.rsplit(":", 1)
    given: dict[str, str | int] = {"host": host, "clients": 4, "rate": 40, "seconds": 120}
    given.update(flags)
    options = [f"--{name}={given[name]}" for name in ("clients", "rate", "seconds")]
    options += ["--keep-alive"] if given.get("keep_alive") else []
    argv = [sys.executable, str(CLIENT_PROGRAM), host, port, str(given["host"]), path, *options]
    process = subprocess.Popen(in_netns(layout.CLIENT, argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield Load(process)
    finally:
        process.kill()
        process.wait()


class Loads:
    """A load from the client outside on every way in at once; ways: what it is called -> ADDRESS:PORT."""

    def __init__(self, stack: contextlib.ExitStack, ways: dict[str, str], host: str) -> None:
        self._running = {
            way: stack.enter_context(running(address, host=host, clients=2, rate=25, keep_alive=int("keep" in way)))
            for way, address in ways.items()
        }

    def check(self, broken: int = 0) -> dict[str, Result]:
        """Ends them. Raises AssertionError if more requests than `broken` were not answered on a way."""
        results = {way: load.stop() for way, load in self._running.items()}
        for way, result in results.items():
            assert len(result.failures) <= broken, (
                f"{way}: {len(result.failures)} of {result.requests}: {result.failures[:10]}"
            )
            assert result.requests > 100, f"{way}: a load of {result.requests} requests tells nothing"
        return results
