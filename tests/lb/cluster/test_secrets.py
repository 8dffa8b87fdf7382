"""Secrets that somebody wants: against the real API server, and a scripted one for what that cannot be told to do."""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from lb.cluster.api import ApiServer, ApiTiming
from lb.cluster.connection import NAMES, NAMES_OF_ALL, Connection
from lb.cluster.objects import Key, Metadata, Secret, Service, UnreadSecret
from lb.cluster.secrets import NAMED_MAX, TRIES
from lb.cluster.store import ObjectStore
from tests.lb.cluster.conftest import RealApi
from tests.lb.cluster.following import QUICK, allowed, followed, namespace
from tests.lb.cluster.waiting import running, until

real = pytest.mark.timeout(180)


def key_of(name: str, space: str = "shop") -> Key:
    return Key("Secret", space, name)


def content(store: ObjectStore, key: Key, name: str = "a") -> str | None:
    """What a Secret has there; "unread", or None if it does not exist."""
    found = store.get(Secret, key.namespace, key.name)
    if found is None or isinstance(found, UnreadSecret):
        return None if found is None else "unread"
    return base64.b64decode((found.data or {})[name]).decode()


def why(store: ObjectStore, key: Key) -> str | None:
    """Why a Secret could not be read."""
    found = store.find(key)
    return found.why if isinstance(found, UnreadSecret) else None


# --- the real one ------------------------------------------------------------------------------------------------


async def create(api: RealApi, space: str, name: str, **more: Any) -> None:
    made = {"metadata": {"name": name, "annotations": more.pop("annotations", {})}, "stringData": {"a": name}, **more}
    await api.request("POST", f"/api/v1/namespaces/{space}/secrets", made)


async def change(api: RealApi, key: Key, text: str) -> None:
    path = f"/api/v1/namespaces/{key.namespace}/secrets/{key.name}"
    found = await api.request("GET", path)
    found["data"] = {"a": base64.b64encode(text.encode()).decode()}
    await api.request("PUT", path, found)


async def delete(api: RealApi, key: Key) -> None:
    await api.request("DELETE", f"/api/v1/namespaces/{key.namespace}/secrets/{key.name}")


@real
async def test_real_secret_is_read_while_it_is_wanted(real_api: RealApi) -> None:
    space = await namespace(real_api, "wanted-a")
    one, other = key_of("one", space), key_of("other", space)
    for key in (one, other):
        await create(real_api, space, key.name, annotations={"last-applied": "what is in it"})
    async with followed(real_api, Secret) as (store, _):
        await until(lambda: content(store, other) == "unread")
        assert store.find(one) == UnreadSecret(metadata=Metadata(name="one", namespace=space))
        store.wanted.want(one)
        assert store.wanted.coming == {one}
        await until(lambda: content(store, one) == "one")
        assert not store.wanted.coming
        subscription = store.subscribe([Secret])
        subscription.take()
        await change(real_api, one, "changed")
        await until(lambda: content(store, one) == "changed")
        assert subscription.take() == [one]  # and it never was away
        await delete(real_api, one)
        await until(lambda: store.find(one) is None)
        await create(real_api, space, "one")
        await until(lambda: content(store, one) == "one")
        store.wanted.release(one)
        assert content(store, one) == content(store, other) == "unread"
        await change(real_api, one, "again")
        store.wanted.want(one)
        await until(lambda: content(store, one) == "again")


@real
async def test_real_secrets_wanted_before_they_are_there_or_listed(real_api: RealApi) -> None:
    space = await namespace(real_api, "wanted-b")
    await create(real_api, space, "there")
    there, later, token = (key_of(name, space) for name in ("there", "later", "token"))
    annotations = {"kubernetes.io/service-account.name": "default"}
    await create(real_api, space, "token", type="kubernetes.io/service-account-token", annotations=annotations)
    async with followed(real_api, Secret, namespaces=(space,)) as (store, source):
        for key in (there, later, token, key_of("one", "elsewhere")):
            store.wanted.want(key)
        await source.read_wanted()
        assert content(store, there) == "there"
        assert (content(store, later), content(store, token), store.wanted.coming) == (None, None, set())
        await create(real_api, space, "later")
        await until(lambda: content(store, later) == "later")


class Counting(Connection):
    """Counts the lists that are asked for, by path and kind of answer."""

    asked: ClassVar[Counter[tuple[str, str]]] = Counter()

    async def get(self, path: str, query: Mapping[str, str] | None = None, **options: Any) -> bytes:
        named = "metadata.name" in (query or {}).get("fieldSelector", "")
        self.asked[path, "names" if options else "one" if named else "all"] += 1
        return await super().get(path, query, **options)


@real
async def test_real_secrets_by_the_hundred_are_read_in_parts(
    real_api: RealApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.lb.cluster.following.Connection", Counting)
    spaces = [await namespace(real_api, f"wanted-c{number}") for number in range(2)]
    names = [f"s{number}" for number in range(40)]
    await asyncio.gather(*(create(real_api, space, name) for space in spaces for name in names))
    wanted = [key_of(name, space) for space in spaces for name in names[:30]]
    Counting.asked.clear()
    async with followed(real_api, Secret) as (store, source):
        for key in wanted:
            store.wanted.want(key)
        await source.read_wanted()
        assert [content(store, key) for key in wanted] == [key.name for key in wanted]
        assert [content(store, key_of(names[-1], space)) for space in spaces] == ["unread", "unread"]
    assert {key for key in Counting.asked if key[1] != "names"} == {("/api/v1/secrets", "all")}


@real
async def test_real_rights_to_secrets_are_given_later(real_api: RealApi) -> None:
    space = await namespace(real_api, "wanted-d")
    await create(real_api, space, "one")
    one = key_of("one", space)
    services = [{"apiGroups": [""], "resources": ["services"], "verbs": ["list", "watch"]}]
    secrets = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]}]
    async with (
        allowed(real_api, "services-alone", services),
        followed(real_api, Service, Secret, token=real_api.nobody) as (store, source),
    ):
        await until(source.synced.is_set)  # without Secrets there is still much to serve
        store.wanted.want(one)
        await source.read_wanted()
        assert 'User "nobody" cannot list resource "secrets"' in str(why(store, one))
        (problem,) = source.problems
        assert problem.advice == "bind our account to a ClusterRole that may list and watch secrets"
        async with allowed(real_api, "secrets-too", secrets):
            await until(lambda: content(store, one) == "one")
            await until(lambda: len(source.problems) == 0)


@real
async def test_real_rights_to_some_secrets_by_name(real_api: RealApi) -> None:
    """Least of all: neither the names nor anything of others can be read; changes are asked for again and again."""
    space = await namespace(real_api, "wanted-e")
    one, other = key_of("one", space), key_of("other", space)
    for key in (one, other):
        await create(real_api, space, key.name)
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"], "resourceNames": ["one", "late"]}]
    async with (
        allowed(real_api, "one-secret", rules),
        followed(real_api, Secret, token=real_api.nobody) as (store, source),
    ):
        for key in (one, other, key_of("late", space)):
            store.wanted.want(key)
        await source.read_wanted()
        assert content(store, one) == "one"
        assert content(store, other) == "unread"
        await change(real_api, one, "changed")
        await create(real_api, space, "late")
        await until(lambda: content(store, one) == "changed")
        await until(lambda: content(store, key_of("late", space)) == "late")
        await delete(real_api, one)
        await until(lambda: store.find(one) is None)


@real
async def test_real_server_is_killed_and_what_was_read_stays(real_api: RealApi) -> None:
    space = await namespace(real_api, "wanted-f")
    stays, goes, unread = (key_of(name, space) for name in ("stays", "goes", "unread"))
    for key in (stays, goes, unread):
        await create(real_api, space, key.name)
    async with followed(real_api, Secret) as (store, source):
        for key in (stays, goes):
            store.wanted.want(key)
        await source.read_wanted()
        real_api.kill_api()
        await until(lambda: len(source.problems))
        store.wanted.want(unread)
        await source.read_wanted()
        assert (content(store, stays), content(store, goes), content(store, unread)) == ("stays", "goes", "unread")
        assert why(store, unread)
        await asyncio.to_thread(real_api.start_api)
        await delete(real_api, goes)
        await change(real_api, stays, "changed")
        await until(lambda: content(store, stays) == "changed" and store.find(goes) is None, seconds=30)
        await until(lambda: content(store, unread) == "unread" and not len(source.problems))


# --- a scripted one ----------------------------------------------------------------------------------------------


def secret(name: str, version: int, text: str = "", space: str = "shop") -> dict[str, Any]:
    data = {"a": base64.b64encode(text.encode()).decode()}
    return {"metadata": {"name": name, "namespace": space, "resourceVersion": str(version)}, "data": data}


class Peer:
    """Answers with `there`; the test tells of changes, and what is to fail."""

    def __init__(self, *there: dict[str, Any]) -> None:
        self.there = {each["metadata"]["name"]: each for each in there}
        self.version = 1
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.fail = 0
        """The status that reads get."""
        self.held: asyncio.Event | None = None
        """Reads are answered, with what was there then, once it is set."""
        self.reads = 0
        self.port = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            assert request.headers["Accept"] == NAMES
            return await self.watch(request)
        selector = request.query.get("fieldSelector", "")
        name = selector.partition("metadata.name=")[2].partition(",")[0]
        items = [each for each in self.there.values() if name in ("", each["metadata"]["name"])]
        body = {"metadata": {"resourceVersion": str(self.version)}, "items": items}
        if request.headers["Accept"] != NAMES_OF_ALL:
            self.reads += 1
            if self.held is not None:
                text = json.dumps(body)
                await self.held.wait()
                return web.Response(text=text)
            if self.fail:
                return web.json_response({"message": "not now"}, status=self.fail)
        return web.json_response(body)

    async def watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            event = await self.events.get()
            await response.write(json.dumps(event).encode() + b"\n")
            if event["type"] == "ERROR":
                return response

    def put(self, changed: dict[str, Any]) -> None:
        kind = "MODIFIED" if changed["metadata"]["name"] in self.there else "ADDED"
        self.there[changed["metadata"]["name"]] = changed
        self.events.put_nowait({"type": kind, "object": {"metadata": changed["metadata"]}})

    def remove(self, name: str) -> None:
        self.events.put_nowait({"type": "DELETED", "object": {"metadata": self.there.pop(name)["metadata"]}})

    def forget_versions(self) -> None:
        self.version = 100
        self.events.put_nowait({"type": "ERROR", "object": {"code": 410, "message": "too old"}})

    @asynccontextmanager
    async def followed(self, timing: ApiTiming = QUICK) -> AsyncIterator[tuple[ObjectStore, ApiServer]]:
        application = web.Application()
        application.router.add_get("/{path:.*}", self.answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}"

        async def load() -> Configuration:
            return Configuration(host=address)

        store = ObjectStore()
        source = ApiServer(Connection(load), store, [Secret], timing=timing)
        try:
            async with running(source.run()):
                yield store, source
        finally:
            await runner.cleanup()


class Forbidding(Peer):
    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.reads += "metadata.name" in request.query.get("fieldSelector", "")
        return web.json_response({"message": "forbidden"}, status=403)


async def test_410_reads_again_what_is_different() -> None:
    peer = Peer(*(secret(name, 1, f"{name}1") for name in "abc"))
    keys = {name: key_of(name) for name in "abcd"}
    async with peer.followed() as (store, source):
        for key in keys.values():
            store.wanted.want(key)
        await source.read_wanted()
        reads = peer.reads
        peer.there = {"b": secret("b", 1, "b1"), "c": secret("c", 50, "c50"), "d": secret("d", 51, "d51")}
        peer.forget_versions()
        await until(lambda: [content(store, key) for key in keys.values()] == [None, "b1", "c50", "d51"])
        assert peer.reads == reads + 2
        assert not store.wanted.coming
        peer.put(secret("b", 101, "b101"))
        await until(lambda: content(store, keys["b"]) == "b101")


async def test_a_secret_that_cannot_be_read_stays_as_it_was() -> None:
    peer, key = Peer(secret("a", 1, "first")), key_of("a")
    async with peer.followed() as (store, source):
        store.wanted.want(key)
        await source.read_wanted()
        peer.fail = 500
        peer.put(secret("a", 2, "second"))
        await until(lambda: len(source.problems))
        assert [str(each) for each in source.problems] == [
            "Secret shop/a: it cannot be read: 500 not now; the last good version stays in use (it is tried again)"
        ]
        assert content(store, key) == "first"
        peer.fail = 0
        await until(lambda: content(store, key) == "second")
        assert len(source.problems) == 0


async def test_a_secret_that_cannot_be_read_is_waited_for_until_it_was_tried_enough() -> None:
    peer, key = Peer(secret("a", 1, "first")), key_of("a")
    peer.fail = 503
    async with peer.followed() as (store, source):
        store.wanted.want(key)
        await source.read_wanted()
        assert peer.reads >= TRIES
        assert why(store, key) == "503 not now"
        # Whoever waits for it again because it has changed is told again, though nothing is new.
        subscription = store.subscribe([Secret])
        subscription.take()
        peer.put(secret("a", 2))
        await until(lambda: subscription.take() and not store.wanted.coming)
        peer.fail = 0
        peer.there["a"] = secret("a", 3, "at last")
        await until(lambda: content(store, key) == "at last")


async def test_a_secret_is_deleted_changed_or_released_while_it_is_being_read() -> None:
    peer = Peer(*(secret(name, 1, "old") for name in ("deleted", "changed", "released", "recreated")))
    keys = {name: key_of(name) for name in peer.there}
    async with peer.followed() as (store, _):
        await until(lambda: len(store.keys("Secret")) == 4)
        peer.held = held = asyncio.Event()
        for key in keys.values():
            store.wanted.want(key)
        await until(lambda: peer.reads == 4)
        peer.remove("deleted")
        peer.remove("recreated")
        peer.put(secret("recreated", 3, "new"))
        peer.put(secret("changed", 4, "new"))
        store.wanted.release(keys["released"])
        peer.put(secret("last", 5))
        await until(lambda: store.find(key_of("last")))
        peer.held = None
        held.set()
        await until(lambda: content(store, keys["changed"]) == content(store, keys["recreated"]) == "new")
        assert (content(store, keys["deleted"]), content(store, keys["released"])) == (None, "unread")
        assert not store.wanted.coming


async def test_waiting_ends_though_nothing_is_answered() -> None:
    peer, key = Peer(secret("a", 1)), key_of("a")
    async with peer.followed() as (store, source):
        await until(lambda: store.find(key))
        peer.held = asyncio.Event()
        store.wanted.want(key)
        await source.read_wanted(0.05)
        assert not store.wanted.coming
        assert why(store, key) == "the API server has not answered in time"
        peer.held.set()
        await until(lambda: content(store, key) == "")


async def test_who_may_list_nothing_does_not_ask_for_hundreds() -> None:
    peer = Forbidding()
    async with peer.followed() as (store, source):
        for number in range(NAMED_MAX + 1):
            store.wanted.want(key_of(f"s{number}"))
        await source.read_wanted()
        assert {why(store, key) for key in store.keys("Secret")} == {"Secrets may not be listed"}
        assert peer.reads <= NAMED_MAX
        assert len(source.problems) == 1
