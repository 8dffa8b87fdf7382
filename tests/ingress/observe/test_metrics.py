"""Counts by rule, over workers that come and go, under ingress-nginx's names."""

import os
import signal
import time
from importlib.metadata import version
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from ingress.observe.metrics import PREFIX
from tests.ingress.certificates import tls_secret
from tests.ingress.peers import ask, endpoints
from tests.ingress.serving import Folder, Served, serving
from tests.ingress.state import ingress, service

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
CONSTANT = {"controller_namespace", "controller_class", "controller_pod"}


async def samples(running: Served) -> Samples:
    """(name without ingress-nginx's prefix, labels that say something) -> value."""
    found = {}
    for family in text_string_to_metric_families((await running.ask_admin("/metrics")).body.decode()):
        for sample in family.samples:
            if sample.name.startswith(PREFIX):
                assert set(sample.labels) >= CONSTANT, sample
            labels = {name: value for name, value in sample.labels.items() if value and name not in CONSTANT}
            found[sample.name.removeprefix(PREFIX), frozenset(labels.items())] = sample.value
    return found


def of(found: Samples, name: str, **labels: str) -> float | None:
    """The value of the one sample with these labels, whatever else it has. The parser gives counters a "_total"."""
    names = (name, f"{name}_total")
    wanted = [value for (each, have), value in found.items() if each in names and have >= set(labels.items())]
    assert len(wanted) < 2, f"{name} {labels}: {len(wanted)} samples"
    return wanted[0] if wanted else None


WEB = {"namespace": "shop", "ingress": "web", "host": "a.example"}
RULES: dict[str, list[tuple[str, str | None, str]]] = {
    "a.example": [("/", "Prefix", "web"), ("/none", "Prefix", "none"), ("/gone", "Prefix", "gone")]
}


async def test_requests_are_counted_by_rule_and_survive_a_killed_worker(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    async with endpoints("web") as (web,):
        folder.write("web", [ingress("web", RULES), *service("web", web.address), *service("none")])
        async with serving("-f", str(tmp_path), "--workers", "2") as running:
            for path in ("/", "/x", "/none"):
                await ask(running.http, "a.example", path)
            await ask(running.http, "unknown.example")
            seen = await samples(running)
            ok = {**WEB, "service": "web", "path": "/", "status": "200"}
            assert of(seen, "requests", **ok) == 2
            assert of(seen, "requests", service="none", path="/none", status="503") == 1
            assert of(seen, "requests", host="_", status="404") == 1
            assert of(seen, "request_duration_seconds_bucket", le="+Inf", **ok) == 2
            assert of(seen, "request_duration_seconds_count", **ok) == 2
            assert (of(seen, "response_size_sum", **ok) or 0) > 200
            assert of(seen, "response_size_count", **ok) == 2
            assert of(seen, "nginx_process_requests_total") == 4
            assert of(seen, "nginx_process_connections_total", state="accepted") == 4
            assert of(seen, "nginx_process_num_procs") == 3
            assert of(seen, "nginx_process_read_bytes_total") is not None
            assert of(seen, "nginx_process_write_bytes_total") is not None
            assert of(seen, "orphan_ingress", ingress="web", type="no-service") == 1
            assert of(seen, "orphan_ingress", ingress="web", type="no-endpoint") == 1
            assert of(seen, "config_last_reload_successful") == 1
            assert abs(time.time() - (of(seen, "config_last_reload_successful_timestamp_seconds") or 0)) < 60
            assert of(seen, "causeway_table_entries", table="hosts") == 1
            assert of(seen, "causeway_table_entries", table="routes") == 3
            assert of(seen, "causeway_backends_without_endpoints") == 2
            assert of(seen, "causeway_workers") == 2
            assert of(seen, "causeway_ready") == 1
            assert (of(seen, "causeway_process_resident_memory_bytes", process="worker-0") or 0) > 1 << 20

            spent = of(seen, "nginx_process_cpu_seconds_total") or 0
            for victim in running.workers():
                os.kill(victim, signal.SIGKILL)
                await running.until_replaced(victim, 2)
            await running.until_answer("a.example", "/", lambda answer: answer.status == 200)
            seen = await samples(running)
            assert of(seen, "requests", **ok) == 3
            assert of(seen, "causeway_workers_replaced_total", reason="killed") == 2
            assert (of(seen, "nginx_process_cpu_seconds_total") or 0) >= spent

            folder.write("web", [*service("web", web.address)])
            await running.until_answer("a.example", "/", lambda answer: answer.status == 404)
            seen = await samples(running)
            assert of(seen, "requests", **ok) is None
            assert (of(seen, "requests", host="_", status="404") or 0) >= 2


async def test_labels_may_be_fewer(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    rules = {host: [("/", "Prefix", "none")] for host in ("a.example", "b.example")}
    folder.write("web", [ingress("web", rules), *service("none")])
    flags = ("--metrics-per-host=false", "--report-status-classes")
    async with serving("-f", str(tmp_path), "--workers", "1", *flags) as running:
        for host in rules:
            await ask(running.http, host)
        assert of(await samples(running), "requests", status="5xx", ingress="web", path="/") == 2


async def test_methods_durations_and_sizes(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    flags = ("--time-buckets", "5,50", "--exclude-socket-metrics", "bytes_sent,nginx_ingress_controller_response_size")
    async with endpoints("web") as (web,):
        folder.write("web", [ingress("web", RULES), *service("web", web.address), *service("none")])
        async with serving("-f", str(tmp_path), "--workers", "1", *flags) as running:
            await ask(running.http, "a.example", "/")
            await ask(running.http, "a.example", "/none")
            seen = await samples(running)
            get = {"method": "GET", "path": "/", "status": "200"}
            for name in ("request", "response", "header", "connect"):
                assert of(seen, f"{name}_duration_seconds_bucket", le="5", **get) == 1
                assert of(seen, f"{name}_duration_seconds_count", **get) == 1
                assert 0 <= (of(seen, f"{name}_duration_seconds_sum", **get) or 0) < 5
            assert of(seen, "request_duration_seconds_bucket", le="0.005", **get) is None
            assert of(seen, "request_size_bucket", le="10", **get) == 0
            assert of(seen, "request_size_bucket", le="+Inf", **get) == 1
            assert of(seen, "request_duration_seconds_count", path="/none", method="GET", status="503") == 1
            assert of(seen, "connect_duration_seconds_count", path="/none") is None
            assert not any(name.startswith(("bytes_sent", "response_size")) for name, _ in seen)
            assert of(seen, "nginx_process_connections", state="reading") == 0


async def test_counts_of_routes_that_change_and_of_a_worker_that_drains(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    async with endpoints("web") as (web,):
        parts = [*service("web", web.address), *service("none")]
        folder.write("web", [ingress("web", RULES), *parts])
        async with serving("-f", str(tmp_path), "--workers", "2") as running:
            for i in range(5):
                await ask(running.http, "a.example", "/")
                rules = {**RULES, "b.example": [(f"/{i}", "Prefix", "web")]}
                folder.write("web", [ingress("web", rules), *parts])
                await running.until_answer("b.example", f"/{i}", lambda answer: answer.status == 200)
            seen = await samples(running)
            assert of(seen, "requests", host="a.example", path="/", status="200") == 5


async def test_certificates_and_headers_of_counters(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    secure = ingress("web", {"a.example": []}, tls=[{"secretName": "cert", "hosts": ["a.example"]}])
    folder.write("web", [secure, tls_secret("cert", "a.example")])
    async with serving("-f", str(tmp_path), "--workers", "1", "--https", "127.0.0.1:0") as running:
        seen = await samples(running)
        place = {"namespace": "shop", "secret_name": "cert", "host": "a.example"}
        assert (of(seen, "ssl_expire_time_seconds", **place) or 0) > time.time()
        assert of(seen, "ssl_certificate_info", public_key_algorithm="ECDSA", **place) == 1
        assert of(seen, "build_info", release=version("causeway")) == 1
        await ask(running.http, "unknown.example")
        page = (await running.ask_admin("/metrics")).body.decode()
        assert f"\n{PREFIX}requests{{" in page
        assert f"# TYPE {PREFIX}requests counter\n" in page
        assert f"# TYPE {PREFIX}nginx_process_requests_total counter\n" in page
