"""A connection to the API server: credentials and requests. JSON is left to the caller.

Credentials, TLS and HTTP are `kubernetes.aio`'s; its generated models are not used (they cost most of the memory and
time of a client). Imported only by processes that talk to an API server, never by proxy workers.
"""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import yaml
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import kube_config
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import (
    SERVICE_CERT_FILENAME,
    SERVICE_TOKEN_FILENAME,
    InClusterConfigLoader,
)
from kubernetes.aio.config.kube_config import KubeConfigLoader

from lb.cluster.objects import Object

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
REOPEN_SECONDS = 5.0
"""Credentials that are refused are read again at most this often."""

JSON = "application/json"
NAMES = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{JSON}"
NAMES_OF_ALL = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,{JSON}"
"""What to accept: objects; or of each its metadata alone, in a watch and in a list."""

Load = Callable[[], Awaitable[Configuration]]
"""Reads credentials anew. Raises BadCredentials."""


class BadCredentials(Exception):
    """A kubeconfig or service account cannot be used; the text says why."""


class ApiFailed(Exception):
    """The API server refused, or could not be reached (`status` 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}" if status else message)
        self.status = status
        self.message = message


# --- credentials -------------------------------------------------------------------------------------------------


def from_kubeconfig(file: Path) -> Load:
    """Credentials from a kubeconfig: certificates, tokens, exec plugins. Raises BadCredentials if it is no good."""
    _kubeconfig(file)

    async def load() -> Configuration:
        configuration = Configuration()
        loader = _kubeconfig(file)
        try:
            await loader.load_and_set(configuration)
        except (ConfigException, ValueError, OSError) as error:
            raise BadCredentials(f"{file}: {error}") from None
        if "exec" in (loader._user or ()):  # no public name tells what the loader found
            if not configuration.api_key and not configuration.cert_file:
                raise BadCredentials(f"{file}: the exec plugin gave neither a token nor a certificate")
            if hasattr(loader, "exec_plugin_expiry"):
                configuration.refresh_api_key_hook = _renewal(loader)
        return configuration

    return load


def _kubeconfig(file: Path) -> KubeConfigLoader:
    try:
        content = yaml.safe_load(file.read_text())
    except OSError as error:
        raise BadCredentials(f"{file} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadCredentials(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or "clusters" not in content:
        raise BadCredentials(f"{file} is not a kubeconfig: it has no clusters")
    try:
        return KubeConfigLoader(content, config_base_path=str(file.resolve().parent))
    except (ConfigException, TypeError, KeyError) as error:
        raise BadCredentials(f"{file} is not a usable kubeconfig: {error}") from None


def _renewal(loader: KubeConfigLoader) -> Callable[[Configuration], Awaitable[None]]:
    async def renew(configuration: Configuration) -> None:
        await loader.load_from_exec_plugin()  # runs the plugin only if what it gave has expired
        configuration.api_key["BearerToken"] = loader.token

    return renew


def in_cluster(
    token: str = SERVICE_TOKEN_FILENAME,
    certificate: str = SERVICE_CERT_FILENAME,
    environ: Mapping[str, str] = os.environ,
) -> Load:
    """Credentials of the pod's service account; a rotated token is read again. Raises BadCredentials outside a pod."""

    def configure() -> Configuration:
        configuration = Configuration()
        try:
            InClusterConfigLoader(token, certificate, environ=environ).load_and_set(configuration)
        except (ConfigException, OSError) as error:
            raise BadCredentials(f"not in a cluster: {error}".rstrip(".")) from None
        return configuration

    configure()

    async def load() -> Configuration:
        return configure()

    return load


# --- requests ----------------------------------------------------------------------------------------------------


def path_of(cls: type[Object], namespace: str = "") -> str:
    """The URL path of a kind's collection: in one namespace, or "" for all of them."""
    root = f"/apis/{cls.API_VERSION}" if "/" in cls.API_VERSION else f"/api/{cls.API_VERSION}"
    kind = cls.KIND.lower()
    plural = kind + ("es" if kind.endswith("s") else "s")
    return f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"


class _Refusal(msgspec.Struct):
    """The part of a `Status` that we read."""

    message: str = ""


class Connection:
    """Requests with the credentials `load` reads. Opens at the first request; open it again by using it."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._client: ApiClient | None = None
        self._opened_at = 0.0
        self._opening = asyncio.Lock()

    async def get(self, path: str, query: Mapping[str, str] | None = None, *, accept: str = JSON) -> bytes:
        """Return the body of an answer. Raises ApiFailed."""
        timeout = _timeout(ANSWER_SECONDS)
        async with self._request("GET", path, query, timeout, accept=accept) as response, _as_api_failed():
            return await response.read()

    async def patch(self, path: str, content: Any) -> None:
        """Send a merge patch (RFC 7396), or what comes of it where the right is to update alone. Raises ApiFailed."""
        timeout = _timeout(ANSWER_SECONDS)
        try:
            async with self._request("PATCH", path, None, timeout, content):
                return
        except ApiFailed as error:
            if error.status != 403:
                raise
            refused = error
        # As the roles are that were made for ingress-nginx. What is read has its version: nobody is overwritten.
        try:
            whole = msgspec.json.decode(await self.get(path.removesuffix("/status")))
            async with self._request("PUT", path, None, timeout, _patched(whole, content)):
                pass
        except ApiFailed as error:
            raise (refused if error.status == 403 else error) from None

    async def post(self, path: str, content: Any) -> bytes:
        """Create an object; the body of the answer. Raises ApiFailed."""
        timeout = _timeout(ANSWER_SECONDS)
        async with self._request("POST", path, None, timeout, content) as response, _as_api_failed():
            return await response.read()

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], idle_seconds: float, *, accept: str = JSON
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a watch: yields its bytes as they arrive. Raises ApiFailed, also after idle_seconds without any."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=idle_seconds)
        async with self._request("GET", path, query, timeout, accept=accept) as response:
            _notice_a_dead_peer(response)
            yield _pieces(response)

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        timeout: aiohttp.ClientTimeout,
        content: Any = None,
        accept: str = JSON,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        async with _as_api_failed():
            client = await self._open()
            headers = {"Accept": accept, "User-Agent": "causeway"}
            if content is not None:
                headers["Content-Type"] = f"application/{'merge-patch+' if method == 'PATCH' else ''}json"
            _, url, headers, body, _ = await client.param_serialize(
                method, path, query_params=list((query or {}).items()), header_params=headers, body=content,
                auth_settings=["BearerToken"],
            )  # fmt: skip
            answer = await client.rest_client.request(method, url, headers=headers, body=body, _request_timeout=timeout)
        response: aiohttp.ClientResponse = answer.response
        try:
            if response.status >= 400:
                async with _as_api_failed():
                    text = await response.read()
                if response.status == 401:
                    await self._refused(client)
                raise ApiFailed(response.status, _message(response, text))
            yield response
        finally:
            # A watch is left in its middle: what is still to come must not be read by the next request.
            response.close()

    async def _open(self) -> ApiClient:
        async with self._opening:
            if self._client is None:
                configuration = await self._load()
                try:
                    self._client = ApiClient(configuration)
                except OSError as error:  # ssl.SSLError is one, too
                    raise BadCredentials(f"the certificates cannot be used: {error}") from None
                finally:
                    # Keys given inline were made into files, as OpenSSL reads only those. No public name removes
                    # them before the process ends, and a process that is killed would leave them behind.
                    kube_config._cleanup_temp_files()
                self._opened_at = time.monotonic()
            return self._client

    async def _refused(self, client: ApiClient) -> None:
        """The credentials are no longer good: a token or certificate may have been replaced on disk."""
        if self._client is client and time.monotonic() - self._opened_at > REOPEN_SECONDS:
            log.info("the API server refuses our credentials; reading them again")
            await self.close()


def _patched(whole: Any, patch: Any) -> Any:
    """RFC 7396, 2."""
    if not isinstance(patch, dict):
        return patch
    made = dict(whole) if isinstance(whole, dict) else {}
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = _patched(made.get(name), value)
    return made


def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)


def _message(response: aiohttp.ClientResponse, text: bytes) -> str:
    try:
        return msgspec.json.decode(text, type=_Refusal).message or str(response.reason)
    except msgspec.MsgspecError:
        return text[:200].decode(errors="replace").strip() or str(response.reason)


async def _pieces(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async with _as_api_failed():
        async for piece in response.content.iter_any():
            yield piece


@contextlib.asynccontextmanager
async def _as_api_failed() -> AsyncIterator[None]:
    try:
        yield
    except TimeoutError:
        raise ApiFailed(0, "no answer in time") from None
    except (aiohttp.ClientError, OSError) as error:
        raise ApiFailed(0, str(error) or type(error).__name__) from None
    except BadCredentials as error:
        raise ApiFailed(0, str(error)) from None


def _notice_a_dead_peer(response: aiohttp.ClientResponse) -> None:
    # A watch only reads. When the server's machine is gone no packet ever tells; the kernel asks after 20 s of silence
    # and gives up after three more questions, 5 s apart.
    transport = response.connection.transport if response.connection else None
    found = transport.get_extra_info("socket") if transport else None
    if found is None or found.family not in (socket.AF_INET, socket.AF_INET6):
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 20), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
        found.setsockopt(socket.IPPROTO_TCP, option, value)
