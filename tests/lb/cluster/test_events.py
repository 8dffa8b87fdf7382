"""Problems as Events, on a real API server."""

import json
from datetime import UTC, datetime
from pathlib import Path

from lb.cluster.connection import Connection, from_kubeconfig
from lb.cluster.events import BURST, Events, event_of
from lb.cluster.objects import Service, decode
from lb.cluster.problems import Problem
from lb.cluster.store import ObjectStore
from tests.lb.cluster.conftest import RealApi

SERVICES = "/api/v1/namespaces/default/services"
NOW = datetime(2026, 3, 24, 10, 11, 12, tzinfo=UTC)


def service(name: str, uid: str = "u-1") -> Service:
    found = decode({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop", "uid": uid}})
    assert isinstance(found, Service)
    return found


def test_the_same_problem_is_the_same_event() -> None:
    problem = Problem("Service shop/web", "spec.type", "it is wrong", "do this")
    one, two = (event_of(problem, service("web"), "ingress", NOW) for _ in range(2))
    assert one == two
    assert one["message"] == "spec.type: it is wrong (do this)"
    assert one["involvedObject"]["uid"] == "u-1"
    assert one["firstTimestamp"] == "2026-03-24T10:11:12Z"
    again = event_of(problem, service("web", uid="u-2"), "ingress", NOW)
    assert again["metadata"]["name"] != one["metadata"]["name"], "another object of the same name"
    long = event_of(Problem("Service shop/web", "", "ü" * 2000), service("w" * 250), "ingress", NOW)
    assert len(long["message"].encode()) <= 1024
    assert len(long["metadata"]["name"]) <= 253


async def test_each_is_told_once_and_not_too_many(real_api: RealApi, tmp_path: Path) -> None:
    store = ObjectStore()
    made = await real_api.request("POST", SERVICES, {"metadata": {"name": "told"}, "spec": {"ports": [{"port": 80}]}})
    found = decode({"apiVersion": "v1", "kind": "Service", **made})
    assert isinstance(found, Service)
    store.put(found)
    connection = Connection(from_kubeconfig(real_api.kubeconfig({"token": real_api.admin})))
    problems = [Problem("Service default/told", "spec", f"wrong in way {number}") for number in range(BURST + 10)]
    problems.append(Problem("Service default/gone", "spec", "nobody has this object"))
    try:
        one, two = Events(connection, store, "test"), Events(connection, store, "test")
        await one.tell(problems[:3])
        await two.tell(problems[:3])
        await one.tell(problems[:3])
        assert len(await told(real_api)) == 3
        await one.tell(problems)
        assert len(await told(real_api)) == BURST
        assert {each["involvedObject"]["name"] for each in await told(real_api)} == {"told"}
    finally:
        await connection.close()
        await real_api.request("DELETE", f"{SERVICES}/told")


async def told(real_api: RealApi) -> list[dict[str, dict[str, str]]]:
    found = await real_api.request("GET", "/api/v1/namespaces/default/events?fieldSelector=reason=Problem")
    items = found["items"]
    assert isinstance(items, list), json.dumps(found)
    return items


async def test_without_the_right_to_write_nothing_breaks(real_api: RealApi) -> None:
    store = ObjectStore()
    store.put(service("web"))
    connection = Connection(from_kubeconfig(real_api.kubeconfig({"token": real_api.nobody})))
    try:
        await Events(connection, store, "test").tell([Problem("Service shop/web", "", "wrong")])
    finally:
        await connection.close()
