"""Every number the L7 half exports, on one page. Base units; labels are bounded by what the Ingresses say."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from ingress.routes.compile import RoutingTable, split_key

if TYPE_CHECKING:
    from ingress.run import Proxy
    from ingress.supervisor import Worker


class Totals:
    """Sums over workers, which come and go."""

    def __init__(self, table: RoutingTable) -> None:
        self.table = table

    def take(self, worker: "Worker") -> None:
        """Add what a worker has counted since it was last taken."""


def exposition(proxy: "Proxy") -> bytes:
    return b""
