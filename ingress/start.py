"""From flags to a running proxy: opens everything that can fail to open, then runs until the orderly end."""

import asyncio
import logging
import os
import resource
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from ingress import systemd
from ingress.default_certificate import make_default_certificate
from ingress.handover import Predecessor, only_probed
from ingress.listeners import Address, CannotListen, Listener, open_admin, open_listeners
from ingress.names import AGAIN_SECONDS
from ingress.observe.requests import Shape
from ingress.publish import StatusPublisher
from ingress.routes.classes import Selection
from ingress.routes.model import Defaults, Endpoint
from ingress.run import Duty, Plan, Proxy
from ingress.supervisor import WorkersFail
from ingress.tuning import Tuning
from lb.cluster.manifests import FolderUnreadable
from lb.cluster.objects import Object
from lb.cluster.problems import Problems
from lb.cluster.source import Source
from lb.cluster.store import ObjectStore

log = logging.getLogger(__name__)

WORKERS_MAX = 16
"""By default no more workers than this, however many cores: one moves tens of thousands of requests a second."""


JSON_FORMAT = (
    '{"time":"$time_iso8601","remote_addr":"$remote_addr","x_forwarded_for":"$http_x_forwarded_for",'
    '"request_id":"$req_id","remote_user":"$remote_user","bytes_sent":"$bytes_sent","request_time":"$request_time",'
    '"status":"$status","vhost":"$host","request_proto":"$server_protocol","path":"$uri","request_query":"$args",'
    '"request_length":"$request_length","method":"$request_method","http_referrer":"$http_referer",'
    '"http_user_agent":"$http_user_agent","namespace":"$namespace","ingress":"$ingress_name",'
    '"service":"$service_name","upstream_addr":"$upstream_addr","upstream_status":"$upstream_status",'
    '"upstream_response_time":"$upstream_response_time"}'
)
"""The keys of ingress-nginx's documented example, then whose request it was and who answered."""


_TOLD = (
    "trusted_proxies",
    "use_forwarded_headers",
    "compute_full_forwarded_for",
    "enable_real_ip",
    "forwarded",
)
"""Flags that engines have as settings."""


@dataclass(kw_only=True)
class Listening:
    """The flags that both forms of the proxy have."""

    http: tuple[Address, ...]
    https: tuple[Address, ...]
    admin: Address | None
    workers: int | None
    drain: float
    drain_delay: float
    verbose: bool
    access_log: Path | None = None
    access_log_format: str = ""
    access_log_escape: str | None = None
    worker_timeout: float = 0.0
    resolve_every: float = AGAIN_SECONDS
    control: Path | None = None
    metrics_per_host: bool = True
    report_status_classes: bool = False
    time_buckets: tuple[float, ...] | None = None
    length_buckets: tuple[float, ...] | None = None
    size_buckets: tuple[float, ...] | None = None
    exclude_socket_metrics: frozenset[str] = frozenset()
    from_: tuple[Address, ...] = ()
    tuning: Tuning = field(default_factory=Tuning)
    proxy_protocol: bool = False
    https_told: int = 0
    """The port that clients of TLS listeners have asked for; 0: the listener's own."""
    passthrough: tuple[tuple[str, tuple[Endpoint, ...]], ...] = ()
    defaults: Defaults = field(default_factory=Defaults)
    health_check_path: str = ""
    notes: tuple[str, ...] = ()
    """To be told at the start."""
    trusted_proxies: tuple[str, ...] = ()
    use_forwarded_headers: bool = False
    compute_full_forwarded_for: bool = False
    enable_real_ip: bool = False
    forwarded: bool = False

    @property
    def engine_settings(self) -> dict[str, Any]:
        """What the engines are told, by the names of ingress/proxy/settings.py."""
        text = JSON_FORMAT if self.access_log_format == "json" else self.access_log_format
        escape = self.access_log_escape or ("json" if text.startswith("{") else "default")
        told = {name: getattr(self, name) for name in _TOLD if getattr(self, name)} | self.buckets
        return told | {"access_log_format": text, "access_log_escape": escape} if text else told

    @property
    def buckets(self) -> dict[str, tuple[float, ...]]:
        """Bounds of histograms that are others than the defaults."""
        given = {name: getattr(self, name) for name in ("time_buckets", "length_buckets", "size_buckets")}
        return {name: bounds for name, bounds in given.items() if bounds is not None}

    @property
    def shape(self) -> Shape:
        return Shape(
            self.metrics_per_host, self.report_status_classes, excluded=self.exclude_socket_metrics, **self.buckets
        )

    @property
    def wanted(self) -> list[tuple[str, bool, Address]]:
        """(flag, tls, address) of every listener."""
        every = [("--from", False, self.from_), ("--http", False, self.http), ("--https", True, self.https)]
        return [(flag, tls, address) for flag, tls, addresses in every for address in addresses]


class FlagSource:
    """The source of `serve` without -f: everything is in the store already."""

    def __init__(self) -> None:
        self.synced = asyncio.Event()
        self.synced.set()
        self.problems = Problems()

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def read_wanted(self) -> None:
        pass


def start(
    store: ObjectStore,
    source: Source,
    selection: Selection,
    listening: Listening,
    *,
    publisher: StatusPublisher | None = None,
    duties: Sequence[Duty] = (),
    objects_of_flags: Callable[[], Iterable[Object]] = tuple,
) -> None:
    """Run the proxy. Ends with exit code 0 after an orderly stop, 1 if a second signal cut it short.

    objects_of_flags: what the flags say, read again on reload.
    Raises click.ClickException (one line, exit code 1) for what cannot be opened.
    """
    _log_to_stderr(listening.verbose)
    for note in listening.notes:
        log.warning("%s", note)
    probed = only_probed()
    _check(listening.engine_settings)
    if probed:
        sys.exit(0)
    predecessor = Predecessor.from_environment()
    try:
        finished = _start(
            store,
            source,
            selection,
            listening,
            predecessor=predecessor,
            publisher=publisher,
            duties=duties,
            objects_of_flags=objects_of_flags,
        )
    except click.ClickException as error:
        if predecessor is not None:
            predecessor.say_failed(error.message)
        raise
    sys.exit(0 if finished else 1)


def _start(
    store: ObjectStore,
    source: Source,
    selection: Selection,
    listening: Listening,
    *,
    predecessor: Predecessor | None,
    publisher: StatusPublisher | None,
    duties: Sequence[Duty],
    objects_of_flags: Callable[[], Iterable[Object]],
) -> bool:
    _allow_many_connections()
    workers = listening.workers or min(len(os.sched_getaffinity(0)), WORKERS_MAX)
    try:
        listeners, admin = _open(listening, workers, predecessor)
        for each in listeners:
            each.told = listening.https_told if each.tls else 0
    except CannotListen as error:
        raise click.ClickException(str(error)) from None
    https_port = next((each.port for each in listeners if each.tls), 443)
    plan = Plan(
        store=store,
        source=source,
        selection=selection,
        listeners=listeners,
        workers=workers,
        defaults=replace(listening.defaults, https_port=https_port),
        health_path=listening.health_check_path,
        admin=admin,
        publisher=publisher,
        duties=duties,
        default_certificate=make_default_certificate() if listening.https else None,
        drain_delay_seconds=listening.drain_delay,
        drain_seconds=listening.drain,
        engine_settings=listening.engine_settings,
        hang_seconds=listening.worker_timeout,
        resolve_seconds=listening.resolve_every,
        tuning=listening.tuning,
        proxy_protocol=listening.proxy_protocol,
        passthrough=dict(listening.passthrough),
        access_log=_open_log(listening.access_log) if listening.access_log else None,
        access_log_path=listening.access_log if str(listening.access_log) != "-" else None,
        control=listening.control,
        metrics=listening.shape,
        predecessor=predecessor,
        objects_of_flags=objects_of_flags,
    )
    try:
        return asyncio.run(_run(plan))
    except (WorkersFail, FolderUnreadable) as error:
        raise click.ClickException(str(error)) from None


def _open(
    listening: Listening, workers: int, predecessor: Predecessor | None
) -> tuple[list[Listener], socket.socket | None]:
    """The sockets of the supervisor before us, those of systemd, and whatever has to be bound. Raises CannotListen."""
    passed = systemd.passed_sockets()
    admin = None
    if predecessor is not None and predecessor.admin is not None:
        admin = predecessor.admin
    elif listening.admin is not None:
        admin = open_admin("--admin", listening.admin, passed)
    passed = [(name, each) for name, each in passed if each is not admin]
    handed = predecessor.listeners if predecessor is not None else ()
    return open_listeners(listening.wanted, workers, handed=handed, passed=passed), admin


def _check(settings: dict[str, Any]) -> None:
    """Ask an engine whether it takes them: workers would only fail to start."""
    if not settings:
        return
    from ingress.proxy import Engine, Settings

    loop = asyncio.new_event_loop()
    try:
        with open(os.devnull, "w") as nowhere:
            Engine(Settings(**{"access_log_fd": nowhere.fileno(), **settings}), loop).close()
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    finally:
        loop.close()


def _allow_many_connections() -> None:
    """The soft limit of open files is 1024 on most systems, for programs that use select; each connection takes one.

    Workers inherit it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        log.debug("open files: limit raised from %d to %d", soft, hard)


async def _run(plan: Plan) -> bool:
    return await Proxy(plan).run()


def _open_log(path: Path) -> int:
    """Open for appending: lines of several workers do not mix. "-" is standard output."""
    if str(path) == "-":
        return sys.stdout.fileno()
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise click.ClickException(f"--access-log {path}: {error.strerror}; name a file that may be written") from None


def _log_to_stderr(verbose: bool) -> None:
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    for noisy in ("watchfiles", "aiohttp.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
