"""A running proxy with annotated Ingresses, for black-box tests of what annotations do.

A module of tests has one site, with a host for each case: `site = fixture_of(annotated(...), ...)`.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest_asyncio

from lb.cluster.objects import ConfigMap, Ingress, Metadata, Object
from tests.ingress.peers import Answer, Endpoint, ask, endpoints
from tests.ingress.serving import Folder, Served, serving
from tests.ingress.state import endpoint_slice, ingress, service

NGINX = "nginx.ingress.kubernetes.io/"
ECHO = "echo"
CONTROLLER = "ops/controller"
CONFIGURED = ("--configmap", CONTROLLER)

T = TypeVar("T")

ANYBODY = ssl.create_default_context()
ANYBODY.check_hostname = False
ANYBODY.verify_mode = ssl.CERT_NONE


def annotated(
    host: str,
    annotations: Mapping[str, str] | None = None,
    *paths: tuple[str, str] | tuple[str, str, str],
    name: str = "",
    **spec: Any,
) -> Ingress:
    """An Ingress of one host. annotations: by plain name; without any, ingress-nginx is followed all the same.

    paths: path, pathType and, unless it is "echo", Service; without any, Prefix "/".
    """
    rules = {host: [(path[0], path[1], path[2] if len(path) == 3 else ECHO) for path in paths or (("/", "Prefix"),)]}
    written = {NGINX + key: value for key, value in (annotations or {"use-regex": "false"}).items()}
    return ingress(name or host.replace("*", "any"), rules, annotations=written, **spec)


def config_map(namespace: str, name: str, data: dict[str, str]) -> ConfigMap:
    return ConfigMap(metadata=Metadata(name=name, namespace=namespace), data=data)


@dataclass
class Site:
    served: Served
    folder: Folder
    endpoints: dict[str, Endpoint]

    async def get(self, host: str, path: str = "/", *, secure: bool = False, **how: Any) -> Answer:
        """One request on a connection of its own; how: as for peers.Client.ask."""
        if secure:
            return await ask(self.served.https, host, path, tls=ANYBODY, name=host.partition(":")[0], **how)
        return await ask(self.served.http, host, path, **how)

    async def location(self, host: str, path: str = "/", **how: Any) -> tuple[int, str]:
        """Status and Location."""
        answer = await self.get(host, path, **how)
        return answer.status, answer.fields.get("location", "")

    def configure(self, data: Mapping[str, str]) -> None:
        """Set the controller's ConfigMap; the site needs CONFIGURED among its flags."""
        self.folder.write("controller", [config_map(*CONTROLLER.split("/"), dict(data))])

    async def becomes(self, asked: Callable[[], Awaitable[T]], wanted: T, seconds: float = 15.0) -> None:
        """Ask until that comes of it: the proxy follows its folder in its own time."""
        deadline = time.monotonic() + seconds
        while (found := await asked()) != wanted:
            assert time.monotonic() < deadline, f"still {found}, not {wanted}; the log:\n{self.served.log}"
            await asyncio.sleep(0.01)

    async def until(self, true: Callable[[], Awaitable[object]], seconds: float = 15.0) -> None:
        async def is_so() -> bool:
            return bool(await true())

        await self.becomes(is_so, True, seconds)

    async def sent(self, host: str, path: str = "/", **how: Any) -> str:
        """The target that the endpoint was asked for."""
        answer = await self.get(host, path, **how)
        assert answer.status == 200, answer
        return str(answer.echo["path"])


def fixture_of(
    *objects: Object,
    flags: Sequence[str] = (),
    https: bool = False,
    sizes: Mapping[str, int] | None = None,
) -> Callable[..., Any]:
    """A fixture of the module: these objects served, with an endpoint for each Service that their rules name.

    sizes: Services with another number of endpoints, which are called "NAME-0" and so on.
    """

    @pytest_asyncio.fixture(scope="module", loop_scope="module")
    async def site(tmp_path_factory: Any) -> AsyncIterator[Site]:
        async with site_of(tmp_path_factory.mktemp("site"), *objects, flags=flags, https=https, sizes=sizes) as made:
            yield made

    return site


@asynccontextmanager
async def site_of(
    path: Path,
    *objects: Object,
    flags: Sequence[str] = (),
    https: bool = False,
    sizes: Mapping[str, int] | None = None,
) -> AsyncIterator[Site]:
    """These objects served from a folder; see fixture_of."""
    members = {name: [name] for each in objects if isinstance(each, Ingress) for name in _services(each)}
    members |= {name: [f"{name}-{n}" for n in range(size)] for name, size in (sizes or {}).items()}
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(endpoints(*(each for group in members.values() for each in group)))
        found = {each.name: each for each in there}
        folder = Folder(path)
        folder.write("objects", [each for each in objects if not _configures(each)])
        folder.write("controller", [each for each in objects if _configures(each)])  # the file of Site.configure
        for name, group in members.items():
            folder.write(f"service-{name}", several(name, *(found[each].address for each in group)))
        argv = ["-f", str(path), "--workers", "1", *flags, *(["--https", "127.0.0.1:0"] if https else [])]
        served = await stack.enter_async_context(serving(*argv))
        yield Site(served, folder, found)


def several(name: str, *addresses: str) -> list[Object]:
    """A Service whose endpoints have ports of their own: a slice for each."""
    slices = [endpoint_slice(name, each, slice_name=f"{name}-{number}") for number, each in enumerate(addresses)]
    return [*service(name), *slices]


def _configures(found: Object) -> bool:
    return isinstance(found, ConfigMap) and f"{found.metadata.namespace}/{found.metadata.name}" == CONTROLLER


def _services(found: Ingress) -> list[str]:
    paths = [path for rule in found.spec.rules if rule.http for path in rule.http.paths]
    return [path.backend.service.name for path in paths if path.backend.service]
