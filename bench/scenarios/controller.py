"""Many Ingresses: how long until the first right answer, and how long a change takes then."""

import tempfile
import time
from pathlib import Path
from typing import Any

from bench import usage
from bench.scenarios import Finding, documents
from bench.scenarios.stage import HOST, await_true, running, two_endpoints, write

TIMES = 5
PER_FILE = 100


def ingresses(full: bool) -> Finding:
    """A start with so many Ingresses; then an endpoint, a route and a new Ingress change."""
    count = 10_000 if full else 2_000
    with two_endpoints() as (one, two), tempfile.TemporaryDirectory(prefix="causeway-bench-") as scratch:
        folder = Path(scratch)
        (folder / "manifests").mkdir()
        _write_all(folder / "manifests", count)
        write(folder / "manifests", "endpoints.yaml", [documents.endpoints("web", one[0])])
        began = time.perf_counter()
        with running(folder) as made:
            last = f"h{count - 1}.example.com"
            made.await_answer(last, 300)
            start = time.perf_counter() - began
            made.await_answer(HOST)
            endpoint, route = [], []
            for number in range(TIMES):
                port = (two[0], one[0])[number % 2]
                made.write("endpoints.yaml", documents.endpoints("web", port))
                endpoint.append(await_true(made.answers(last, port), 30, "the change of an endpoint", 0.001))
                host = f"new{number}.example.com"
                made.write("new.yaml", documents.ingress("new", [host]))
                route.append(await_true(made.answers(host), 30, "a new host", 0.001))
            figures: dict[str, Any] = {
                "Ingresses": count,
                "start to first right answer, s": round(start, 2),
                "changed endpoint to answer, ms": _median_ms(endpoint),
                "new Ingress to answer, ms": _median_ms(route),
                "memory, MiB": round(usage.memory_bytes(made.process.pid) / (1 << 20), 1),
            }
    return Finding(figures)


def _write_all(folder: Path, count: int) -> None:
    write(folder, "web.yaml", [documents.service("web"), documents.ingress("shop", [HOST])])
    for first in range(0, count, PER_FILE):
        some = [documents.ingress(f"i{n}", [f"h{n}.example.com"]) for n in range(first, min(first + PER_FILE, count))]
        write(folder, f"ingresses-{first}.yaml", some)


def _median_ms(seconds: list[float]) -> float:
    return round(sorted(seconds)[len(seconds) // 2] * 1000, 1)
