"""All scenarios by name, and running them."""

from collections.abc import Callable, Sequence
from typing import Any

from bench.machine import machine
from bench.native import Unavailable
from bench.peers.process import PeerFailed
from bench.scenarios import (
    Measured,
    ScenarioFailed,
    Skipped,
    churn,
    controller,
    failover,
    hostile,
    latency,
    network,
    proxying,
    scale,
)

SCENARIOS = (
    Measured("idle-connections", "5,000 idle connections: bytes each", proxying.idle_connections),
    Measured("latency", "10,000 requests a second, on schedule, ours and nginx in turn", latency.latency),
    Measured("endpoint-churn", "EndpointSlices change 20 times a second under load", proxying.endpoint_churn),
    Measured("route-churn", "an Ingress changes 20 times a second under load", proxying.route_churn),
    Measured("churn", "endpoints, routes, certificates and workers change all the time", churn.churn),
    Measured("slow-clients", "slow readers of 1 MiB beside fast clients", proxying.slow_clients),
    Measured(
        "hostile", "others' p99 under slow, tiny, long and many messages, ours and nginx in turn", hostile.hostile
    ),
    Measured("worker-kill", "one of two workers is killed under load", proxying.worker_kill),
    Measured("upstream-failure", "one of two endpoints dies under load", proxying.upstream_failure),
    Measured("ingresses", "start and change with 2,000 Ingresses (10,000 in full)", controller.ingresses),
    Measured("scale", "1,000 Ingresses at an API server (10,000 in full, 100,000 endpoints); root", scale.scale),
    Measured("services", "Services in the kernel: 1,000 (10,000 in full); root", network.service_dataplane),
    Measured("pods", "CNI ADD and DEL; root", network.pods),
    Measured("fail-over", "the node with a load-balancer address dies; root", failover.fail_over),
)


def run_all(chosen: Sequence[Measured], full: bool, told: Callable[[str], None]) -> dict[str, Any]:
    """Run scenarios one after the other; one that fails or cannot run is told as such and hinders none."""
    found: dict[str, Any] = {}
    for each in chosen:
        told(f"{each.name} ...")
        entry: dict[str, Any] = {"about": each.about}
        try:
            finding = each.run(full)
            entry |= {"figures": finding.figures, "timeline": finding.timeline}
        except (Skipped, Unavailable) as why:
            entry["skipped"] = str(why)
        except (ScenarioFailed, PeerFailed) as why:
            entry["error"] = str(why)
        found[each.name] = entry
        told(f"{each.name}: {entry.get('skipped') or entry.get('error') or entry['figures']}")
    return {"kind": "scenarios", "full": full, "machine": machine(), "scenarios": found}
