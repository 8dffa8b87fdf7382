"""A small load of HTTP requests: `Load` runs it at the client outside, `main` is what runs there.

    python load.py ADDRESS PORT HOST PATH --clients 4 --rate 50 --seconds 120 [--keep-alive]

Each client asks one request after the other, `rate` times a second at most. Ends on SIGTERM or after `seconds`, and
prints one JSON object: {"requests": N, "answers": {BODY: N}, "failures": [TEXT, ...], "longest_gap_s": SECONDS}.
The longest gap is the longest time without any good answer.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ENOUGH_FAILURES = 50
TIMEOUT_S = 5.0


@dataclass
class Result:
    """What came of a load."""

    requests: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    longest_gap_s: float = 0.0


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
def running(netns: str, address: str, path: str = "/hostname", **flags: str | int) -> Iterator[Load]:
    """A load on ADDRESS:PORT from a network namespace; flags: host, clients, rate, seconds, keep_alive=1."""
    host, port = address.rsplit(":", 1)
    given: dict[str, str | int] = {"host": host, "clients": 4, "rate": 40, "seconds": 120}
    given.update(flags)
    options = [f"--{name}={given[name]}" for name in ("clients", "rate", "seconds")]
    options += ["--keep-alive"] if given.get("keep_alive") else []
    argv = [sys.executable, str(Path(__file__)), host, port, str(given["host"]), path, *options]
    process = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{netns}", "--", *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield Load(process)
    finally:
        process.kill()
        process.wait()


class Loads:
    """A load from the client outside on every way in at once; ways: what it is called -> ADDRESS:PORT."""

    def __init__(self, stack: contextlib.ExitStack, ways: dict[str, str], host: str) -> None:
        self._running = {
            way: stack.enter_context(
                running("cwe-client", address, host=host, clients=2, rate=25, keep_alive=int("keep" in way))
            )
            for way, address in ways.items()
        }

    def check(self) -> dict[str, Result]:
        """Ends them. Raises AssertionError if a request was not answered."""
        results = {way: load.stop() for way, load in self._running.items()}
        for way, result in results.items():
            assert not result.failures, f"{way}: {len(result.failures)} of {result.requests}: {result.failures[:10]}"
            assert result.requests > 100, f"{way}: a load of {result.requests} requests tells nothing"
        return results


class _Clients:
    """The clients and what they have seen."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.until = time.monotonic() + arguments.seconds
        self.stopped = threading.Event()
        self.result = Result()
        self.lock = threading.Lock()
        self.last_good = time.monotonic()

    def run(self) -> Result:
        threads = [threading.Thread(target=self._client) for _ in range(self.arguments.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.result

    def _client(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self.stopped.is_set() and time.monotonic() < self.until:
            begun = time.monotonic()
            connection = self._ask(connection)
            self.stopped.wait(max(0.0, begun + 1 / self.arguments.rate - time.monotonic()))
        if connection:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection | None) -> http.client.HTTPConnection | None:
        """One request, on the connection given or a new one; the connection if it can take another."""
        given = self.arguments
        begun = time.monotonic()
        try:
            connection = connection or http.client.HTTPConnection(given.address, given.port, timeout=TIMEOUT_S)
            headers = {"Host": given.host} | ({} if given.keep_alive else {"Connection": "close"})
            connection.request("GET", given.path, headers=headers)
            response = connection.getresponse()
            body = response.read().decode(errors="replace")
            self._note(body if response.status == 200 else None, f"status {response.status}: {body[:100]}", begun)
        except (OSError, http.client.HTTPException) as error:
            self._note(None, f"{type(error).__name__}: {error}", begun)
            if connection:
                connection.close()
            return None
        if response.will_close or not given.keep_alive:
            connection.close()
            return None
        return connection

    def _note(self, body: str | None, failure: str, begun: float) -> None:
        now = time.monotonic()
        with self.lock:
            self.result.requests += 1
            if body is None:
                if len(self.result.failures) < ENOUGH_FAILURES:
                    self.result.failures.append(f"{time.strftime('%H:%M:%S')} after {now - begun:.3f} s: {failure}")
                return
            self.result.answers[body] += 1
            self.result.longest_gap_s = max(self.result.longest_gap_s, now - self.last_good)
            self.last_good = now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("address", "port", "host", "path"):
        parser.add_argument(name)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--rate", type=float, default=50, help="requests a second of each client")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--keep-alive", action="store_true")
    clients = _Clients(parser.parse_args())
    signal.signal(signal.SIGTERM, lambda *_: clients.stopped.set())
    result = clients.run()
    # the time since the last good answer is a gap too
    result.longest_gap_s = max(result.longest_gap_s, time.monotonic() - clients.last_good)
    print(json.dumps(vars(result)))


if __name__ == "__main__":
    main()
