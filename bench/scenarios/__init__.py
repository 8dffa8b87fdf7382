"""What happens around a proxy and below it, and what it costs: changes under load, failures, idle and slow clients, the
Service data plane, pods coming and going. Everything is driven from outside: by manifests, sockets and signals.

    stage.py       a proxy of ours on loopback with endpoints and manifests that can be changed
    documents.py   manifests                                                       pure
    clients.py     clients that idle or read slowly
    proxying.py    the scenarios of the proxy
    attacks.py     clients that mean harm, a program of its own
    hostile.py     what these cost others, beside nginx
    latency.py     a fixed rate, far below what can be carried, beside nginx
    controller.py  many Ingresses: start, and the latency of a change
    scale.py       the same at a real API server: apiserver.py, its objects and their changes in crowd.py
    relay.py       tells when an event of the API server arrives at the controller
    network.py     the node agent in a network namespace: Services, pods (root)
    failover.py    two nodes, and the one with the address dies (root)
    catalogue.py   all of them by name
    *.yaml         loads for `causeway bench load --scenario`
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class Skipped(Exception):
    """The scenario cannot run here; the text says why."""


class ScenarioFailed(Exception):
    """What should have happened has not; the text says what."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a scenario has found: figures by name, and what the load saw over time."""

    figures: dict[str, Any]
    timeline: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Measured:
    """A scenario: `run(full)` gives its finding; `full` asks for the large size."""

    name: str
    about: str
    run: Callable[[bool], Finding]
    quick: bool = True
