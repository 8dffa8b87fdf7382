"""A source that follows the real API server, impatient enough for tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from lb.cluster.api import ApiServer, ApiTiming
from lb.cluster.connection import Connection, from_kubeconfig
from lb.cluster.store import ObjectStore
from tests.lb.cluster.conftest import RealApi
from tests.lb.cluster.waiting import running

RBAC = "/apis/rbac.authorization.k8s.io/v1"
QUICK = ApiTiming(idle_seconds=5.0, retry_seconds=0.02, retry_seconds_max=0.1, page_objects=2)


@asynccontextmanager
async def followed(
    api: RealApi, *kinds: Any, token: str = "", **options: Any
) -> AsyncIterator[tuple[ObjectStore, ApiServer]]:
    store = ObjectStore()
    connection = Connection(from_kubeconfig(api.kubeconfig({"token": token or api.admin})))
    source = ApiServer(connection, store, kinds, timing=QUICK, **options)
    async with running(source.run()):
        yield store, source


async def namespace(api: RealApi, name: str) -> str:
    await api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    return name


@asynccontextmanager
async def allowed(api: RealApi, name: str, rules: list[dict[str, Any]]) -> AsyncIterator[None]:
    """Give `nobody` rights for a while."""
    await api.request("POST", f"{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": rules})
    binding = {
        "metadata": {"name": name},
        "subjects": [{"kind": "User", "name": "nobody", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"kind": "ClusterRole", "name": name, "apiGroup": "rbac.authorization.k8s.io"},
    }
    await api.request("POST", f"{RBAC}/clusterrolebindings", binding)
    try:
        yield
    finally:
        for plural in ("clusterrolebindings", "clusterroles"):
            await api.request("DELETE", f"{RBAC}/{plural}/{name}")
