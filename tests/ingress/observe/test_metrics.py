"""Counts by Ingress and Service, over workers that come and go."""

import os
import signal
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.ingress.peers import ask, endpoints
from tests.ingress.serving import Folder, Served, serving
from tests.ingress.state import ingress, service


async def metrics(running: Served) -> dict[tuple[str, str], float]:
    """(name, what tells it apart) -> value; for requests that is "namespace/ingress service status"."""
    found = {}
    for family in text_string_to_metric_families((await running.ask_admin("/metrics")).body.decode()):
        for sample in family.samples:
            labels = sample.labels
            place = labels.get("event") or labels.get("table") or labels.get("process") or ""
            if "ingress" in labels:
                place = f"{labels['namespace']}/{labels['ingress']} {labels['service']}"
                place += " " + labels["status"] if "status" in labels else ""
                place += " " + labels["le"] if "le" in labels else ""
            found[sample.name, place] = sample.value
    return found


async def test_requests_are_counted_by_ingress_and_survive_a_killed_worker(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    async with endpoints("web") as (web,):
        rules: dict[str, list[tuple[str, str | None, str]]] = {
            "a.example": [("/", "Prefix", "web"), ("/none", "Prefix", "none")]
        }
        folder.write("web", [ingress("web", rules), *service("web", web.address), *service("none")])
        async with serving("-f", str(tmp_path), "--workers", "2") as running:
            for path in ("/", "/x", "/none"):
                await ask(running.http, "a.example", path)
            await ask(running.http, "unknown.example")
            seen = await metrics(running)
            assert seen["causeway_requests_total", "shop/web web 200"] == 2
            assert seen["causeway_requests_total", "shop/web none 503"] == 1
            assert seen["causeway_requests_total", "/  404"] == 1
            assert seen["causeway_request_duration_seconds_bucket", "shop/web web +Inf"] == 2
            assert seen["causeway_response_bytes_total", "shop/web web"] > 200
            assert seen["causeway_table_entries", "hosts"] == 1
            assert seen["causeway_table_entries", "routes"] == 2
            assert seen["causeway_backends_without_endpoints", ""] == 1
            assert seen["causeway_workers", ""] == 2
            assert seen["causeway_ready", ""] == 1
            assert seen["causeway_process_resident_memory_bytes", "worker-0"] > 1 << 20

            for victim in running.workers():
                os.kill(victim, signal.SIGKILL)
                await running.until_replaced(victim, 2)
            await running.until_answer("a.example", "/", lambda answer: answer.status == 200)
            seen = await metrics(running)
            assert seen["causeway_requests_total", "shop/web web 200"] == 3
            assert seen["causeway_workers_replaced_total", ""] == 2

            folder.write("web", [*service("web", web.address)])
            await running.until_answer("a.example", "/", lambda answer: answer.status == 404)
            seen = await metrics(running)
            assert ("causeway_requests_total", "shop/web web 200") not in seen
            assert seen["causeway_requests_total", "/  404"] >= 2
