"""From flags to a running proxy: opens everything that can fail to open, then runs until the orderly end."""

import asyncio
import logging
import os
import sys
from dataclasses import dataclass

import click

from ingress.default_certificate import make_default_certificate
from ingress.listeners import Address, CannotListen, open_admin, open_listeners
from ingress.publish import StatusPublisher
from ingress.routes.classes import Selection
from ingress.run import Plan, Proxy
from ingress.supervisor import WorkersFail
from lb.cluster.manifests import FolderUnreadable
from lb.cluster.problems import Problems
from lb.cluster.source import Source
from lb.cluster.store import ObjectStore

WORKERS_MAX = 16
"""By default no more workers than this, however many cores: one moves tens of thousands of requests a second."""


@dataclass(kw_only=True)
class Listening:
    """The flags that both forms of the proxy have."""

    http: tuple[Address, ...]
    https: tuple[Address, ...]
    admin: Address | None
    workers: int | None
    drain: float
    verbose: bool
    drain_delay: float = 0.0
    from_: tuple[Address, ...] = ()

    @property
    def wanted(self) -> list[tuple[str, bool, Address]]:
        """(flag, tls, address) of every listener."""
        plain = [("--from", False, each) for each in self.from_] + [("--http", False, each) for each in self.http]
        return plain + [("--https", True, each) for each in self.https]


class FlagSource:
    """The source of `serve` without -f: everything is in the store already."""

    def __init__(self) -> None:
        self.synced = asyncio.Event()
        self.synced.set()
        self.problems = Problems()

    async def run(self) -> None:
        await asyncio.Event().wait()


def start(
    store: ObjectStore,
    source: Source,
    selection: Selection,
    listening: Listening,
    publisher: StatusPublisher | None = None,
) -> None:
    """Run the proxy. Ends with exit code 0 after an orderly stop, 1 if a second signal cut it short.

    Raises click.ClickException (one line, exit code 1) for what cannot be opened.
    """
    _log_to_stderr(listening.verbose)
    workers = listening.workers or min(len(os.sched_getaffinity(0)), WORKERS_MAX)
    try:
        listeners = open_listeners(listening.wanted, workers)
        admin = open_admin("--admin", listening.admin) if listening.admin else None
    except CannotListen as error:
        raise click.ClickException(str(error)) from None
    plan = Plan(
        store=store,
        source=source,
        selection=selection,
        listeners=listeners,
        workers=workers,
        admin=admin,
        publisher=publisher,
        default_certificate=make_default_certificate() if listening.https else None,
        drain_delay_seconds=listening.drain_delay,
        drain_seconds=listening.drain,
    )
    try:
        finished = asyncio.run(_run(plan))
    except (WorkersFail, FolderUnreadable) as error:
        raise click.ClickException(str(error)) from None
    sys.exit(0 if finished else 1)


async def _run(plan: Plan) -> bool:
    return await Proxy(plan).run()


def _log_to_stderr(verbose: bool) -> None:
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    for noisy in ("watchfiles", "aiohttp.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
