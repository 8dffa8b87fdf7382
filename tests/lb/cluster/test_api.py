"""List and watch: against the real API server, and a scripted peer for what the real one cannot be told to do."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from lb.cluster.api import ApiServer, ApiTiming
from lb.cluster.connection import Connection
from lb.cluster.objects import ConfigMap, EndpointSlice, Key, Namespace, Pod, Secret, Service
from lb.cluster.store import ObjectStore
from tests.lb.cluster.conftest import RealApi
from tests.lb.cluster.following import QUICK, followed, namespace
from tests.lb.cluster.waiting import running, until

SERVICES = "/api/v1/namespaces/shop/services"


# --- a scripted peer ---------------------------------------------------------------------------------------------


def service(name: str, version: int, port: object = 80) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "shop", "resourceVersion": str(version)},
        "spec": {"ports": [{"port": port}]},
    }


def event(kind: str, content: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": content}).encode() + b"\n"


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def listing(version: int, *items: dict[str, Any], more: str = "") -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        metadata = {"resourceVersion": str(version), **({"continue": more} if more else {})}
        return web.json_response({"kind": "ServiceList", "metadata": metadata, "items": list(items)})

    return answer


def refusal(status: int, message: str) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"kind": "Status", "code": status, "message": message}, status=status)

    return answer


def watching(*pieces: bytes, then: str = "end") -> Answer:
    """Send these bytes piece by piece; `then` end the answer, cut the connection, or stay silent."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        if then == "cut":
            assert request.transport is not None
            request.transport.abort()
        elif then == "silence":
            await asyncio.sleep(60)
        return response

    return answer


class Peer:
    """Answers lists and watches of Services in turn; the last answer of each is repeated."""

    def __init__(self) -> None:
        self.lists: list[Answer] = [listing(1)]
        self.watches: list[Answer] = [watching(then="silence")]
        self.asked: list[dict[str, str]] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        assert request.path == "/api/v1/services"
        self.asked.append(dict(request.query))
        script = self.watches if "watch" in request.query else self.lists
        answer = script.pop(0) if len(script) > 1 else script[0]
        return await answer(request)

    @property
    def versions_watched(self) -> list[str]:
        return [query["resourceVersion"] for query in self.asked if "watch" in query]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        application = web.Application()
        application.router.add_get("/{path:.*}", self.answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", self.port)
            await site.start()
            self.port = runner.addresses[0][1]
            yield
        finally:
            await runner.cleanup()

    def source(self, timing: ApiTiming = QUICK) -> tuple[ObjectStore, ApiServer]:
        async def load() -> Configuration:
            return Configuration(host=f"http://127.0.0.1:{self.port}")

        store = ObjectStore()
        return store, ApiServer(Connection(load), store, [Service], timing=timing)


def ports(store: ObjectStore) -> dict[str, int]:
    return {each.metadata.name: each.spec.ports[0].port for each in store.all(Service)}


async def test_a_list_in_parts_and_events_cut_anywhere() -> None:
    peer = Peer()
    peer.lists = [listing(5, service("a", 1), more="next"), listing(5, service("b", 2))]
    stream = (
        event("ADDED", service("c", 6)) + event("MODIFIED", service("a", 7, 81)) + event("DELETED", service("b", 8))
    )
    peer.watches = [
        watching(*(stream[at : at + 7] for at in range(0, len(stream), 7)), then="silence"),
    ]
    async with peer.listening():
        store, source = peer.source()
        async with running(source.run()):
            await until(lambda: ports(store) == {"a": 81, "c": 80})
            assert source.synced.is_set()
    assert peer.asked[0] == {"limit": "2"}
    assert peer.asked[1] == {"limit": "2", "continue": "next"}
    assert peer.asked[2]["resourceVersion"] == "5"
    assert peer.asked[2]["allowWatchBookmarks"] == "true"


async def test_a_watch_that_ends_goes_on_where_it_ended() -> None:
    peer = Peer()
    bookmark = {"kind": "Service", "metadata": {"resourceVersion": "20"}}
    peer.watches = [
        watching(event("ADDED", service("a", 10))),
        watching(event("BOOKMARK", bookmark)),
        watching(event("ADDED", service("b", 30)), event("ADDED", service("c", 31))[:-9], then="cut"),
        watching(then="cut"),
        watching(then="silence"),
    ]
    async with peer.listening():
        store, source = peer.source()
        async with running(source.run()):
            await until(lambda: len(peer.versions_watched) == 5)
            assert peer.versions_watched == ["1", "10", "20", "30", "30"]
            assert ports(store) == {"a": 80, "b": 80}
            assert len(source.problems) == 0
    assert sum("watch" not in query for query in peer.asked) == 1


@pytest.mark.parametrize(
    "gone",
    [
        watching(event("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"})),
        refusal(410, "too old resource version"),
    ],
    ids=["in the stream", "as status"],
)
async def test_410_lists_again_and_only_differences_are_marked(gone: Answer) -> None:
    peer = Peer()
    peer.lists = [listing(1, service("a", 1), service("b", 1)), listing(9, service("b", 1), service("c", 9))]
    peer.watches = [gone, watching(then="silence")]
    async with peer.listening():
        store, source = peer.source()
        subscription = store.subscribe([Service])
        async with running(source.run()):
            await until(lambda: ports(store) == {"b": 80, "c": 80})
            await until(lambda: peer.versions_watched == ["1", "9"])
            assert [key.name for key in subscription.take()] == ["a", "b", "c"]
            assert len(source.problems) == 0


async def test_a_token_for_the_next_part_that_has_expired() -> None:
    peer = Peer()
    peer.lists = [
        listing(5, service("a", 1), more="next"),
        refusal(410, "the provided continue parameter is too old"),
        listing(7, service("b", 7)),
    ]
    async with peer.listening():
        store, source = peer.source()
        async with running(source.run()):
            await until(lambda: ports(store) == {"b": 80})


async def test_a_server_that_is_away_clears_nothing() -> None:
    peer = Peer()
    peer.lists = [listing(1, service("a", 1))]
    async with peer.listening():
        store, source = peer.source()
        task = asyncio.ensure_future(source.run())
        await until(lambda: ports(store) == {"a": 80})
    try:
        await until(lambda: len(source.problems))
        (problem,) = source.problems
        assert (problem.object, problem.field) == ("API server", "")
        assert problem.reason.startswith("does not answer")
        assert ports(store) == {"a": 80}
        peer.watches = [watching(event("MODIFIED", service("a", 2, 81)), then="silence")]
        async with peer.listening():
            await until(lambda: ports(store) == {"a": 81})
            assert len(source.problems) == 0
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    finally:
        task.cancel()


async def test_a_watch_that_falls_silent_is_opened_again() -> None:
    peer = Peer()
    peer.watches = [watching(then="silence"), watching(event("ADDED", service("a", 2)), then="silence")]
    async with peer.listening():
        store, source = peer.source(ApiTiming(idle_seconds=0.2, retry_seconds=0.02))
        async with running(source.run()):
            await until(lambda: ports(store) == {"a": 80})
            assert peer.versions_watched[:2] == ["1", "1"]


async def test_a_kind_we_may_not_read_is_a_problem_until_we_may() -> None:
    peer = Peer()
    forbidden = refusal(403, 'services is forbidden: User "x" cannot list resource "services"')
    peer.lists = [forbidden, forbidden, forbidden, listing(1, service("a", 1))]
    seen = []
    async with peer.listening():
        store, source = peer.source()
        async with running(source.run()):
            await until(lambda: len(source.problems))
            seen = [str(problem) for problem in source.problems]
            assert not source.synced.is_set()
            await until(source.synced.is_set)
            await until(lambda: len(source.problems) == 0)
            assert ports(store) == {"a": 80}
    assert seen == [
        'API server: services: 403 services is forbidden: User "x" cannot list resource "services" '
        "(bind our account to a ClusterRole that may list and watch services)"
    ]


async def test_an_object_that_cannot_be_decoded_keeps_its_last_good_version() -> None:
    peer = Peer()
    peer.lists = [
        listing(1, service("a", 1), service("b", 1, "x")),
        listing(9, service("a", 9, "x"), service("c", 9)),
    ]
    peer.watches = [
        watching(event("MODIFIED", service("a", 2, "x")), event("MODIFIED", service("b", 3, 83)), then="silence"),
    ]
    async with peer.listening():
        store, source = peer.source()
        async with running(source.run()):
            await until(lambda: ports(store) == {"a": 80, "b": 83})
            assert [(problem.object, problem.field) for problem in source.problems] == [
                ("Service shop/a", "spec.ports[0].port")
            ]
            assert "last good version" in next(iter(source.problems)).reason
    # After a relist: the bad one keeps its version, the other is gone, and so is its Problem.
    peer.watches = [refusal(410, "gone"), watching(then="silence")]
    peer.lists = [listing(1, service("a", 1)), listing(9, service("a", 9, "x"), service("c", 9))]
    async with peer.listening():
        store, source = peer.source()
        async with running(source.run()):
            await until(lambda: ports(store) == {"a": 80, "c": 80})
            assert len(source.problems) == 1


async def test_a_deleted_object_takes_its_problem_with_it() -> None:
    peer = Peer()
    peer.lists = [listing(1, service("a", 1, "x"))]
    peer.watches = [watching(then="end"), watching(event("DELETED", service("a", 2, "x")), then="silence")]
    async with peer.listening():
        _, source = peer.source()
        async with running(source.run()):
            await until(lambda: len(peer.versions_watched) == 2 and len(source.problems) == 0)


async def test_a_server_that_ends_each_watch_at_once_is_not_asked_in_a_tight_loop() -> None:
    peer = Peer()
    peer.watches = [watching()]
    async with peer.listening():
        _, source = peer.source(ApiTiming(retry_seconds=0.2, retry_seconds_max=0.2))
        async with running(source.run()):
            await until(lambda: len(peer.versions_watched) >= 4)
            began = asyncio.get_running_loop().time()
            await until(lambda: len(peer.versions_watched) >= 8)
            assert asyncio.get_running_loop().time() - began > 0.15  # 4 pauses of 0.05 s at least


async def test_somebody_else_answers() -> None:
    async def page(request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>it works</html>")

    peer = Peer()
    peer.lists = [page]
    async with peer.listening():
        _, source = peer.source()
        async with running(source.run()):
            await until(lambda: len(source.problems))
            assert "not a list of Service" in next(iter(source.problems)).reason


async def test_a_line_of_megabytes() -> None:
    peer = Peer()
    large = service("a", 2)
    large["metadata"]["annotations"] = {"a": "x" * 8_000_000}
    peer.watches = [watching(event("ADDED", large), then="silence")]
    async with peer.listening():
        store, source = peer.source()
        async with running(source.run()):
            await until(lambda: ports(store) == {"a": 80})


# --- the real one ------------------------------------------------------------------------------------------------

real = pytest.mark.timeout(180)


@real
async def test_real_objects_come_change_and_go(real_api: RealApi) -> None:
    shop = await namespace(real_api, "shop-a")
    path = f"/api/v1/namespaces/{shop}/services"
    async with followed(real_api, Service, EndpointSlice) as (store, source):
        await until(source.synced.is_set)
        content = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
        await real_api.request("POST", path, content)
        await until(lambda: store.get(Service, shop, "web"))
        found = await real_api.request("GET", f"{path}/web")
        found["spec"]["ports"][0]["port"] = 81
        await real_api.request("PUT", f"{path}/web", found)
        await until(
            lambda: (
                [
                    port.port
                    for each in store.all(Service)
                    for port in each.spec.ports
                    if each.metadata.namespace == shop
                ]
                == [81]
            )
        )
        # Go says null for lists that were never made.
        slice_path = f"/apis/discovery.k8s.io/v1/namespaces/{shop}/endpointslices"
        labels = {"kubernetes.io/service-name": "web"}
        content = {"metadata": {"name": "web-1", "labels": labels}, "addressType": "IPv4", "endpoints": []}
        await real_api.request("POST", slice_path, content)
        await until(lambda: store.slices_of(shop, "web"))
        await real_api.request("DELETE", f"{path}/web")
        await until(lambda: store.get(Service, shop, "web") is None)
        assert len(source.problems) == 0


@real
async def test_real_lists_come_in_parts(real_api: RealApi) -> None:
    shop = await namespace(real_api, "shop-b")
    for number in range(9):
        content = {"metadata": {"name": f"c{number}"}, "data": {"a": "b"}}
        await real_api.request("POST", f"/api/v1/namespaces/{shop}/configmaps", content)
    async with followed(real_api, ConfigMap) as (store, source):
        await until(source.synced.is_set)
        assert sum(key.namespace == shop for key in store.keys("ConfigMap")) == 9


@real
async def test_real_pods_of_one_node(real_api: RealApi) -> None:
    shop = await namespace(real_api, "shop-c")
    async with followed(real_api, Pod, pods_of_node="node1") as (store, source):
        await until(source.synced.is_set)
        for name, node in (("elsewhere", "node2"), ("here", "node1")):
            spec = {"nodeName": node, "containers": [{"name": "a", "image": "x"}]}
            content = {"metadata": {"name": name}, "spec": spec}
            await real_api.request("POST", f"/api/v1/namespaces/{shop}/pods", content)
        await until(lambda: store.get(Pod, shop, "here"))
        assert store.keys("Pod") == [Key("Pod", shop, "here")]


@real
async def test_real_namespaces_and_secrets_of_interest(real_api: RealApi) -> None:
    shop, cart, other = [await namespace(real_api, name) for name in ("shop-e", "cart-e", "other-e")]
    for place in (shop, cart, other):
        for name, kind in (("tls", "Opaque"), ("release", "helm.sh/release.v1")):
            content = {"metadata": {"name": name}, "type": kind, "stringData": {"a": place}}
            await real_api.request("POST", f"/api/v1/namespaces/{place}/secrets", content)
    async with followed(real_api, Secret, Namespace, namespaces=(shop, cart)) as (store, source):
        await until(source.synced.is_set)
        assert sorted(store.keys("Secret")) == [Key("Secret", cart, "tls"), Key("Secret", shop, "tls")]
        assert Key("Namespace", "", other) in store.keys("Namespace")
        await real_api.request("DELETE", f"/api/v1/namespaces/{shop}/secrets/tls")
        await until(lambda: store.keys("Secret") == [Key("Secret", cart, "tls")])


@real
async def test_real_rights_are_given_later(real_api: RealApi) -> None:
    async with followed(real_api, Service, token=real_api.nobody) as (_, source):
        await until(lambda: len(source.problems))
        (problem,) = source.problems
        assert problem.field == "services"
        assert "cannot list resource" in problem.reason
        root = "/apis/rbac.authorization.k8s.io/v1"
        rules = [{"apiGroups": [""], "resources": ["services"], "verbs": ["list", "watch"]}]
        await real_api.request("POST", f"{root}/clusterroles", {"metadata": {"name": "reader"}, "rules": rules})
        subject = {"kind": "User", "name": "nobody", "apiGroup": "rbac.authorization.k8s.io"}
        role = {"kind": "ClusterRole", "name": "reader", "apiGroup": "rbac.authorization.k8s.io"}
        content = {"metadata": {"name": "reader"}, "subjects": [subject], "roleRef": role}
        await real_api.request("POST", f"{root}/clusterrolebindings", content)
        await until(source.synced.is_set)
        await until(lambda: len(source.problems) == 0)


@real
async def test_real_server_is_killed_and_comes_back(real_api: RealApi) -> None:
    shop = await namespace(real_api, "shop-d")
    path = f"/api/v1/namespaces/{shop}/services"
    for name in ("stays", "goes"):
        await real_api.request("POST", path, {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}})
    async with followed(real_api, Service) as (store, source):
        await until(source.synced.is_set)
        count = store.count(Service)
        real_api.kill_api()
        await until(lambda: len(source.problems))
        assert store.count(Service) == count
        await asyncio.to_thread(real_api.start_api)
        await real_api.request("DELETE", f"{path}/goes")
        await until(lambda: store.get(Service, shop, "goes") is None, seconds=30)
        assert store.get(Service, shop, "stays") is not None
        await until(lambda: len(source.problems) == 0)
