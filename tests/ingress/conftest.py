"""The real API server, for what the proxy writes there."""

from tests.lb.cluster.conftest import real_api

__all__ = ["real_api"]
