"""Where the status of Services and Ingresses is written: the API server, or a state folder beside the manifests.

In file mode one file per object, `DIR/.status/KIND.NAMESPACE.NAME.yaml`, holds apiVersion, kind, metadata and status;
`ManifestFolder` lays its status over the object's. Every object has its own file and each is replaced as a whole, so
several writers do not disturb each other.
"""

import asyncio
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import yaml

from lb.cluster.folder import STATUS_FOLDER
from lb.cluster.objects import KINDS, Ingress, IngressStatus, Key, Service, ServiceStatus
from lb.reconcile import ApplyFailed

if TYPE_CHECKING:
    from lb.cluster.connection import Connection

log = logging.getLogger(__name__)

CONFLICT_TRIES = 5


class StatusFailed(ApplyFailed):
    """A status could not be written now; the text says why and what to do. The reconcile loop tries again."""


class StatusWriter(Protocol):
    """Writing the same status again is harmless; one for an object that is gone is dropped by the API server."""

    async def write_service(self, key: Key, status: ServiceStatus) -> None:
        """Make this the Service's status. Raises StatusFailed."""

    async def write_ingress(self, key: Key, status: IngressStatus) -> None:
        """Make this the Ingress's status. Raises StatusFailed."""

    async def forget(self, key: Key) -> None:
        """The object is gone: remove what was written for it. Raises StatusFailed."""


class FolderStatus:
    """Statuses as files below `folder`/.status/."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / STATUS_FOLDER

    async def write_service(self, key: Key, status: ServiceStatus) -> None:
        await asyncio.to_thread(self._write, key._replace(kind=Service.KIND), status)

    async def write_ingress(self, key: Key, status: IngressStatus) -> None:
        await asyncio.to_thread(self._write, key._replace(kind=Ingress.KIND), status)

    async def forget(self, key: Key) -> None:
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise self._failed(self._path(key), error) from None

    def _path(self, key: Key) -> Path:
        return self.folder / f"{key.kind}.{key.namespace}.{key.name}.yaml"

    def _write(self, key: Key, status: ServiceStatus | IngressStatus) -> None:
        document = {
            "apiVersion": KINDS[key.kind].API_VERSION,
            "kind": key.kind,
            "metadata": {"namespace": key.namespace, "name": key.name},
            "status": msgspec.to_builtins(status),
        }
        text = yaml.safe_dump(document, sort_keys=False)
        path = self._path(key)
        try:
            if path.exists() and path.read_text() == text:
                return
            self.folder.mkdir(exist_ok=True)
            # A hidden name is not read by ManifestFolder; the rename shows the file whole or not at all.
            number, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=self.folder)
            try:
                with open(number, "w") as file:
                    file.write(text)
                    os.fchmod(file.fileno(), 0o644)
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise
        except OSError as error:
            raise self._failed(path, error) from None

    def _failed(self, path: Path, error: OSError) -> StatusFailed:
        return StatusFailed(f"{path} cannot be written: {error.strerror}; make {self.folder.parent} writable")


class ApiStatus:
    """Statuses as patches of the `status` sub-resource."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    async def write_service(self, key: Key, status: ServiceStatus) -> None:
        content = {"loadBalancer": _load_balancer(status)}
        if status.conditions:  # other writers' conditions stay if we have none
            content["conditions"] = msgspec.to_builtins(status.conditions)
        await self._patch(key._replace(kind=Service.KIND), content)

    async def write_ingress(self, key: Key, status: IngressStatus) -> None:
        await self._patch(key._replace(kind=Ingress.KIND), {"loadBalancer": _load_balancer(status)})

    async def forget(self, key: Key) -> None:
        """Nothing to do: the status went with the object."""

    async def _patch(self, key: Key, status: dict[str, Any]) -> None:
        from lb.cluster.connection import ApiFailed, path_of

        path = f"{path_of(KINDS[key.kind], key.namespace)}/{key.name}/status"
        for left in reversed(range(CONFLICT_TRIES)):
            try:
                await self._connection.patch(path, {"status": status})
                return
            except ApiFailed as error:
                if error.status == 404:
                    log.debug("%s is gone; its status is not written", key)
                    return
                if error.status != 409 or not left:
                    raise StatusFailed(f"status of {key} cannot be written: {error}") from error


def _load_balancer(status: ServiceStatus | IngressStatus) -> dict[str, Any]:
    # A merge patch (RFC 7396) leaves alone what it does not name: an empty list has to be said.
    return {"ingress": msgspec.to_builtins(status.load_balancer.ingress) or None}
