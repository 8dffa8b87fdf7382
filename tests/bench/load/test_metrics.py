import urllib.request

import pytest

from bench.load.metrics import served
from bench.load.result import Counts


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def scraped(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_what_a_scrape_sees() -> None:
    port = free_port()
    with served(f"127.0.0.1:{port}") as gauges:
        assert scraped(port)["causeway_bench_requests_sent_total"] == 0
        gauges.counts = Counts(
            sends=12, answers=10, statuses={200: 9, 503: 1}, errors={"timeout": 2}, latency_sum_us=50_000.0,
            histogram={99: 6, 2000: 4}, answered_by={"pod-1": 10},
        )  # fmt: skip
        seen = scraped(port)
    assert seen['causeway_bench_answers_total{status="503"}'] == 1
    assert seen['causeway_bench_errors_total{kind="timeout"}'] == 2
    assert seen['causeway_bench_answered_by_total{endpoint="pod-1"}'] == 10
    assert seen['causeway_bench_latency_seconds_bucket{le="0.0001"}'] == 6
    assert seen['causeway_bench_latency_seconds_bucket{le="+Inf"}'] == 10
    assert seen["causeway_bench_latency_seconds_sum"] == 0.05


@pytest.mark.parametrize("address", ["9100", "127.0.0.1:", ":70000", "a:b"])
def test_a_bad_address_is_told(address: str) -> None:
    with pytest.raises(ValueError, match="--metrics"), served(address):
        pass


def test_nowhere_is_fine() -> None:
    with served(None) as gauges:
        gauges.counts = Counts(answers=1)
