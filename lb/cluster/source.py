"""Where objects come from, as flags say it: `-f DIR`, `--kubeconfig FILE`, or the pod's service account.

@click.command()
@source_options
def node(manifests: Path | None, kubeconfig: Path | None) -> None:
    opened = open_source(manifests, kubeconfig, kinds=(Service, EndpointSlice))
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from lb.cluster.manifests import FolderUnreadable, ManifestFolder
from lb.cluster.objects import KINDS, Object
from lb.cluster.problems import Problems
from lb.cluster.status import FolderStatus, StatusWriter
from lb.cluster.store import ObjectStore

if TYPE_CHECKING:
    from lb.cluster.connection import Connection

F = TypeVar("F", bound=Callable[..., Any])


class Source(Protocol):
    """Keeps a store equal to what it reads from."""

    synced: asyncio.Event
    """Set once everything has been read for the first time; an empty store means nothing before."""
    problems: Problems
    """What is wrong now with the objects read, or with the source itself."""

    async def run(self) -> None:
        """Read and follow until cancelled."""

    async def read_wanted(self) -> None:
        """Wait, not for ever, until what the store's consumers want has been read (see `ObjectStore.wanted`)."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A source that is not running yet, the store it will fill, and where statuses go."""

    store: ObjectStore
    source: Source
    status: StatusWriter
    connection: "Connection | None" = None
    """To the API server, if that is the source."""


def source_options(command: F) -> F:
    """Give a click command `-f/--manifests DIR` and `--kubeconfig FILE`: parameters `manifests` and `kubeconfig`."""
    path = click.Path(path_type=Path)
    command = click.option(
        "--kubeconfig",
        type=path,
        metavar="FILE",
        help="Read objects from the API server this file names. Without -f and --kubeconfig: in-cluster.",
    )(command)
    return click.option(
        "-f", "--manifests", type=path, metavar="DIR", help="Read objects from the YAML files in this folder, watched."
    )(command)


def open_source(
    manifests: Path | None,
    kubeconfig: Path | None,
    *,
    kinds: Sequence[type[Object]] = tuple(KINDS.values()),
    pods_of_node: str | None = None,
    only_node: str = "",
    namespaces: Sequence[str] = (),
    dispensable: Sequence[type[Object]] = (),
) -> Opened:
    """Open what the flags name; nothing is read or connected to before `source.run()`.

    kinds: what to list and watch at an API server; a folder gives whatever is in it.
    pods_of_node: with an API server, only Pods on this node.
    only_node: with an API server, only this Node.
    namespaces: with an API server, only what is in these; () for all.
    dispensable: with an API server, kinds that nobody waits for if we must not read them.
    Raises click.UsageError (exit 2) for wrong flags, click.ClickException (exit 1) for what cannot be read.
    """
    if manifests is not None and kubeconfig is not None:
        raise click.UsageError("-f and --kubeconfig exclude each other: objects come from one place")
    store = ObjectStore()
    if manifests is not None:
        folder = ManifestFolder(manifests, store)
        try:
            folder.require()
        except FolderUnreadable as error:
            raise click.UsageError(f"-f {error}") from None
        return Opened(store, folder, FolderStatus(manifests))
    how = {"pods_of_node": pods_of_node, "only_node": only_node, "namespaces": namespaces, "dispensable": dispensable}
    return _open_api(store, kubeconfig, kinds, how)


def _open_api(
    store: ObjectStore, kubeconfig: Path | None, kinds: Sequence[type[Object]], how: dict[str, Any]
) -> Opened:
    """how: further arguments of ApiServer."""
    # Importing the Kubernetes client takes 0.4 s: only who uses it pays.
    from lb.cluster.api import ApiServer
    from lb.cluster.connection import BadCredentials, Connection, from_kubeconfig, in_cluster
    from lb.cluster.status import ApiStatus

    try:
        connection = Connection(from_kubeconfig(kubeconfig) if kubeconfig is not None else in_cluster())
    except BadCredentials as error:
        if kubeconfig is not None:
            raise click.UsageError(f"--kubeconfig {error}") from None
        raise click.UsageError(
            f"no source of objects: {error}. Give -f DIR (a folder of manifests) or --kubeconfig FILE, "
            "or run in a pod with a service account"
        ) from None
    source = ApiServer(connection, store, kinds, **how)
    return Opened(store, source, ApiStatus(connection), connection)
