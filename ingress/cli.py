"""`causeway serve`, `causeway ingress` and `causeway check`: what the flags are called and what they mean."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from ingress import control
from ingress.compat_flags import NOTES, CompatCommand, Watching, nginx_flags, place_flags, take_place, take_watching
from ingress.duties import admission_webhook, telling, webhook_flags
from ingress.listeners import Address, read_listening, read_range
from ingress.names import AGAIN_SECONDS
from ingress.observe.requests import SHAPE_FLAGS
from ingress.publish_flags import publisher_of, publishing, publishing_nodes
from ingress.replicas import LEASE_NAME, FolderReplicas, LeaseReplicas
from ingress.routes.classes import OWN_CLASS, STANDALONE, Selection
from ingress.routes.compile import DISPENSABLE
from ingress.routes.flags import objects_of
from ingress.routes.model import Defaults
from ingress.start import WORKERS_MAX, FlagSource, Listening, start
from ingress.targets import read_endpoints, read_passthrough, read_route
from ingress.tuning import take_tuning, tuning_flags
from ingress.wanted import class_flags, defaults_flags, kinds_of, reads, take_defaults, take_selection
from lb.cluster.folder import STATUS_FOLDER
from lb.cluster.objects import Object
from lb.cluster.source import Opened, Source, open_source
from lb.cluster.status import FolderStatus
from lb.cluster.store import ObjectStore

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_HTTP = Address("", 8080)


def _checks(read: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """The same, but the text is kept: it is read again on reload."""
    callback = reads(read)

    def checked(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        callback(ctx, param, value)
        return value

    return checked


_ADDRESS = reads(read_listening)


def _listening(drain_delay: float) -> Callable[[F], F]:
    """The flags that both forms of the proxy have; `drain_delay` is the default of --drain-delay."""
    options = (
        click.option("--http", callback=_ADDRESS, multiple=True, metavar="ADDR", help=_HTTP),
        click.option("--https", callback=_ADDRESS, multiple=True, metavar="ADDR", help=_HTTPS),
        click.option("--admin", callback=_ADDRESS, metavar="ADDR", help=_ADMIN),
        click.option("--workers", type=click.IntRange(1, 256), metavar="N", help=_WORKERS),
        click.option("--drain", type=_SECONDS, default=30.0, show_default=True, metavar="SECONDS", help=_DRAIN),
        click.option(
            "--drain-delay", type=_SECONDS, default=drain_delay, show_default=True, metavar="SECONDS", help=_DRAIN_DELAY
        ),
        click.option("--access-log", type=click.Path(path_type=Path), metavar="FILE", help=_ACCESS_LOG),
        click.option("--access-log-format", metavar="TEXT", default="", help=_LOG_FORMAT),
        click.option("--access-log-escape", type=click.Choice(("default", "json", "none")), help=_LOG_ESCAPE),
        click.option(
            "--worker-timeout", type=_SECONDS, default=10.0, show_default=True, metavar="SECONDS", help=_WORKER_TIMEOUT
        ),
        click.option(
            "--resolve-every",
            type=click.FloatRange(0.1),
            default=AGAIN_SECONDS,
            show_default=True,
            metavar="SECONDS",
            help=_RESOLVE,
        ),
        *SHAPE_FLAGS,
        click.option("--control", type=click.Path(path_type=Path), metavar="FILE", help=_CONTROL),
        click.option("--proxy-protocol", is_flag=True, help=_PROXY_PROTOCOL),
        click.option(
            "--trusted-proxies", callback=reads(read_range), multiple=True, metavar="CIDR", help=_TRUSTED_PROXIES
        ),
        click.option(
            "--passthrough",
            callback=reads(read_passthrough),
            multiple=True,
            metavar="NAME=ADDR[,ADDR...]",
            help=_PASSTHROUGH,
        ),
        click.option("--use-forwarded-headers", is_flag=True, help=_USE_FORWARDED_HEADERS),
        click.option("--compute-full-forwarded-for", is_flag=True, help=_FULL_FORWARDED_FOR),
        click.option("--enable-real-ip", is_flag=True, help=_REAL_IP),
        click.option("--forwarded", is_flag=True, help=_FORWARDED),
        defaults_flags,
        click.option("--health-check-path", default="", metavar="PATH", help=_HEALTH_PATH),
        click.option("-v", "--verbose", is_flag=True, help="Log more."),
    )

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_HEALTH_PATH = "Of --admin: answers 200 as long as requests are served, else 500. And of hosts that nobody has: 200."
_SECONDS = click.FloatRange(0)
_HTTP = (
    "Listen for HTTP here: 127.0.0.1:8080, [::1]:8080, :8080 for all addresses, or systemd[:NAME or :PORT] "
    "for sockets of a .socket unit. Repeatable."
)
_HTTPS = "Listen for HTTPS here, with the certificates of the Ingresses' TLS secrets. Repeatable."
_ADMIN = "Serve /healthz, /readyz, /metrics, /routes and /endpoints here (HTTP, no password: keep it private)."
_WORKERS = f"Worker processes.  [default: one per core, at most {WORKERS_MAX}]"
_ACCESS_LOG = "Append a line for each request to this file; - is standard output.  [default: none]"
_PROXY_PROTOCOL = "Every connection begins with a PROXY header, of version 1 or 2; on all of --http and --https."
_PASSTHROUGH = "Hand TLS for this server name (or *.domain) on --https to these endpoints, undecrypted. Repeatable."
_TRUSTED_PROXIES = "Load balancers whose word on the client's address is believed.  [default: none]  Repeatable."
_USE_FORWARDED_HEADERS = "Believe the X-Forwarded-For, -Host, -Port and -Proto of trusted proxies."
_FULL_FORWARDED_FOR = (
    "Send on the whole X-Forwarded-For of trusted proxies with their own address, not the client alone."
)
_REAL_IP = "Believe the X-Forwarded-For of trusted proxies, but not -Host, -Port and -Proto."
_FORWARDED = "Tell endpoints by Forwarded (RFC 7239) as well."
_DRAIN = "What requests under way get to finish when asked to stop (SIGTERM, Ctrl-C)."
_WORKER_TIMEOUT = "Replace a worker process that is alive but does not answer for so long; 0: never."
_LOG_FORMAT = "A line of it: text with nginx's $variables, or json.  [default: that of ingress-nginx, upstreaminfo]"
_LOG_ESCAPE = "How values in it are escaped.  [default: json for json and for formats that begin with {]"
_RESOLVE = "Look up the names of ExternalName Services anew after so long."
_CONTROL = "Unix socket for causeway reload and upgrade.  [default: proxy-PID.sock where they look for it]"
_LEASE_NAMESPACE = "Where the Lease is by which replicas agree who writes statuses."
_ELECTION_ID = "The Lease's name: one for each group of replicas that serve the same classes."
_DRAIN_DELAY = "Go on accepting for so long after that, while /readyz says no, so that load balancers notice first."


def _check_listening(listening: dict[str, Any]) -> None:
    """Flags that need another one: those that believe somebody must be told whom."""
    if listening["passthrough"] and not listening["https"]:
        raise click.UsageError("--passthrough is for TLS listeners: give --https ADDR as well, as in --https :443")
    if listening["trusted_proxies"]:
        return
    for name in ("proxy_protocol", "use_forwarded_headers", "compute_full_forwarded_for", "enable_real_ip"):
        if listening[name]:
            flag = f"--{name.replace('_', '-')}"
            advice = "their ranges, as in 10.0.0.0/8; 0.0.0.0/0 and ::/0 are everybody"
            raise click.UsageError(f"{flag} believes nobody without --trusted-proxies: give it {advice}")


@click.command(short_help="Standalone reverse proxy.")
@click.option("-f", "--manifests", type=click.Path(path_type=Path), metavar="DIR", help="Serve the Ingresses in DIR.")
@click.option("--from", "from_", callback=_ADDRESS, multiple=True, metavar="ADDR", help="The same as --http.")
@click.option(
    "--to", callback=_checks(read_endpoints), multiple=True, metavar="ADDR[,ADDR...]", help="Send every request here."
)
@click.option(
    "--route",
    "routes",
    callback=_checks(read_route),
    multiple=True,
    metavar="HOST/PATH=ADDR[,ADDR...]",
    help="Send requests for this host, at and below this path, here. Repeatable; HOST may be empty or *.example.com.",
)
@tuning_flags
@place_flags
@publishing
@_listening(drain_delay=0.0)
def serve(
    *,
    manifests: Path | None,
    from_: tuple[Address, ...],
    to: tuple[str, ...],
    routes: tuple[str, ...],
    **listening: Any,
) -> None:
    """Reverse proxy without Kubernetes: Ingress rules from a folder of manifests, or none at all.

    \b
      causeway serve --from 127.0.0.1:8080 --to 127.0.0.1:9000 --to 127.0.0.1:9001
      causeway serve --route shop.example.com/api=10.0.0.7:8080 --to 127.0.0.1:9000
      causeway serve -f DIR --http :8080 --https :8443

    DIR holds plain Kubernetes YAML (Ingress, Service, EndpointSlice, Secret); changes are taken up at once. Ingresses
    without a class are served, and every one if DIR has no IngressClass. Without --http, --from and --https it
    listens on :8080, all addresses.
    """
    _check_listening(listening)
    if manifests is None and not to and not routes:
        raise click.UsageError("nothing to serve: give -f DIR, or --to ADDRESS:PORT, or --route HOST/PATH=ADDRESS:PORT")

    def objects_of_flags() -> list[Object]:
        endpoints = tuple(dict.fromkeys(endpoint for each in to for endpoint in read_endpoints(each)))
        return list(objects_of(endpoints, tuple(map(read_route, routes)), OWN_CLASS))

    if not (from_ or listening["http"] or listening["https"]):
        listening["http"] = (DEFAULT_HTTP,)
    if manifests is not None:
        opened = open_source(manifests, None)
    else:
        for flag in ("publish_service", "publish_status_address"):
            if listening[flag]:
                raise click.UsageError(
                    f"--{flag.replace('_', '-')} needs -f DIR: without it there is no Ingress object"
                )
        # The folder of statuses is not touched: nothing is published.
        opened = Opened(ObjectStore(), cast(Source, FlagSource()), FolderStatus(Path()))
    publisher = publisher_of(opened, listening, FolderReplicas((manifests or Path()) / STATUS_FOLDER))
    for found in objects_of_flags():
        opened.store.put(found)
    tuning = take_tuning(listening)
    here, notes = take_place(listening)
    defaults = take_defaults(listening, health_path=listening["health_check_path"], here=here)
    listens = Listening(from_=from_, tuning=tuning, defaults=defaults, notes=notes, **listening)
    start(opened.store, opened.source, STANDALONE, listens, publisher=publisher, objects_of_flags=objects_of_flags)


@click.command(cls=CompatCommand, short_help="The same proxy as an Ingress controller.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), metavar="FILE", help="Default: in-cluster.")
@class_flags
@publishing
@publishing_nodes
@click.option(
    "--lease-namespace",
    metavar="NAME",
    default="kube-system",
    envvar="POD_NAMESPACE",
    show_default=True,
    show_envvar=True,
    help=_LEASE_NAMESPACE,
)
@click.option("--election-id", metavar="NAME", default=LEASE_NAME, show_default=True, help=_ELECTION_ID)
@webhook_flags
@nginx_flags
@place_flags
@_listening(drain_delay=3.0)
def ingress(
    *,
    withdraw: bool,
    kubeconfig: Path | None,
    lease_namespace: str,
    election_id: str,
    **listening: Any,
) -> None:
    """Ingress controller: the proxy of `causeway serve` with the API server as its source.

    Takes the arguments of an ingress-nginx Deployment as they are. Without --http and --https it listens on its ports:
    :80, :443, and :10254 for --admin, or as --http-port, --https-port and --healthz-port say; and it logs requests to
    standard output.
    """
    watching = take_watching(listening)
    webhook = [] if withdraw else admission_webhook(listening)
    _check_listening(listening)
    here, notes = take_place(listening)
    health_path = listening["health_check_path"]
    defaults = take_defaults(listening, health_path=health_path, here=here, **watching.defaults)
    selection = take_selection(listening, watching, base=Selection())
    try:
        opened = open_source(
            None,
            kubeconfig,
            kinds=kinds_of(selection, defaults, withdraw=withdraw),
            only_node=defaults.here.node,
            namespaces=_namespaces(watching, defaults, listening["publish_service"]),
            dispensable=DISPENSABLE,
        )
    except click.UsageError:
        if kubeconfig is not None:
            raise
        advice = "give --kubeconfig FILE, or run in a pod with a service account"
        raise click.UsageError(f"no API server to read from: {advice}") from None
    assert opened.connection is not None
    replicas = LeaseReplicas(opened.connection, lease_namespace, election_id)
    publisher = publisher_of(opened, listening, replicas)
    if withdraw:
        from ingress.withdraw import withdraw as take_back  # imports the Kubernetes client

        take_back(opened, selection, publisher, replicas)
        return
    duties = [telling(opened), *webhook]
    notes += click.get_current_context().meta[NOTES]
    # Whatever port a pod listens on, clients ask a Service for 443; so says ingress-nginx.
    listens = Listening(defaults=defaults, notes=notes, https_told=443, **listening)
    start(opened.store, opened.source, selection, listens, publisher=publisher, duties=duties)


def _namespaces(watching: Watching, defaults: Defaults, published: tuple[str, str] | None) -> tuple[str, ...]:
    """What to read of the API server: of one namespace, and of those where the operator's own objects are; () all."""
    if not watching.namespace:
        return ()
    named = (
        defaults.backend,
        defaults.config_map,
        defaults.certificate,
        defaults.tcp_services,
        defaults.udp_services,
        published,
    )
    return tuple(dict.fromkeys([watching.namespace, *(each[0] for each in named if each)]))


def _which(command: F) -> F:
    command = click.option("--pid", type=click.IntRange(1), help="The proxy's supervisor process.")(command)
    return click.option("--control", type=click.Path(path_type=Path), metavar="FILE", help="Its --control.")(command)


def _ask(do: str, pid: int | None, path: Path | None) -> None:
    try:
        well = control.ask(control.find(pid, path), do, click.echo)
    except control.NotReached as error:
        raise click.ClickException(str(error)) from None
    sys.exit(0 if well else 1)


@click.command(short_help="Make a running proxy read everything again.")
@_which
def reload(*, pid: int | None, control: Path | None) -> None:
    """Tell the proxy that runs here to look again at its files, names and log, and print what it did.

    Changes of the folder or the API server's objects are taken up without it. The same as SIGHUP.
    """
    _ask("reload", pid, control)


@click.command(short_help="Replace a running proxy by the installed version, no connection refused.")
@_which
def upgrade(*, pid: int | None, control: Path | None) -> None:
    """Start the installed code with the flags and on the sockets of the proxy that runs here.

    Once it serves, the old process finishes its requests and ends; if it does not come up, the old one goes on and this
    tells why (exit code 1). The same as SIGUSR2.
    """
    _ask("upgrade", pid, control)
