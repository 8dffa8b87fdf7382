"""A small load of HTTP requests, a program of its own: `load.py` beside runs it at the client outside.

    python load_client.py ADDRESS PORT HOST PATH --clients 4 --rate 50 --seconds 120 [--keep-alive]

Each client asks one request after the other, `rate` times a second at most. Ends on SIGTERM or after `seconds`, and
prints one JSON object: {"requests": N, "answers": {BODY: N}, "failures": [TEXT, ...], "longest_gap_s": SECONDS}.
The longest gap is the longest time without any good answer.
"""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

ENOUGH_FAILURES = 50
TIMEOUT_S = 5.0


@dataclass
class Result:
    """What came of a load."""

    requests: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    longest_gap_s: float = 0.0


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
