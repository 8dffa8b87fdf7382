"""ingress-nginx's command line, as a Deployment has it -> ours. What has no meaning here is accepted with a warning.

Source: ingress-nginx, docs/user-guide/cli-arguments.md.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import click

from ingress.routes.selectors import read_selector
from lb.endpoints import NOWHERE, Here

F = TypeVar("F", bound=Callable[..., Any])

PROGRAM = "nginx-ingress-controller"
NOTES = "ingress.compat_flags.notes"
"""Where the context of the command keeps what is to be told."""

_SWITCHES = frozenset(
    {
        "watch-ingress-without-class",
        "ingress-class-by-name",
        "report-status-classes",
        "enable-ssl-passthrough",
        "disable-catch-all",
        "disable-svc-external-name",
        "report-node-internal-ip-address",
        "enable-topology-aware-routing",
    }
)
"""Ours as well, given alone; there "=true" and "=false" may follow."""
_BOOLS = frozenset({"metrics-per-host", "update-status", "update-status-on-shutdown"})
"""Ours as well, with a value; there they may be given alone."""

_HELD = {"http-port": "80", "https-port": "443", "healthz-port": "10254", "healthz-host": ""}
"""What is said by other flags here, and its default."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_NO_USE = "it has no meaning here"
_ACCEPTED: dict[str, str] = {
    **dict.fromkeys(("apiserver-host", "certificate-authority"), "give --kubeconfig FILE, or run in a pod"),
    **dict.fromkeys(("status-update-interval", "election-ttl"), "statuses follow changes at once"),
    "ssl-passthrough-proxy-port": "no second port is needed",
    "default-server-port": "no second port is needed",
    "post-shutdown-grace-period": "nothing has to be waited for",
    **dict.fromkeys(
        [
            "sync-rate-limit",
            "sync-period",
            "dynamic-configuration-retries",
            "internal-logger-address",
            "stream-port",
            "status-port",
            "profiler-port",
            "profiler-address",
            "health-check-timeout",
            "monitor-max-batch-size",
            "max-buckets",
            "bucket-factor",
            "maxmind-edition-ids",
            "maxmind-license-key",
            "maxmind-mirror",
            "maxmind-retries-count",
            "maxmind-retries-timeout",
            "stderrthreshold",
            "log_dir",
            "log_file",
            "log_file_max_size",
            "vmodule",
            "log_backtrace_at",
        ],
        _NO_USE,
    ),
}
"""Flags with a value that changes nothing."""
_ACCEPTED_ALONE: dict[str, str] = {
    "disable-leader-election": "the Lease decides only who writes statuses",
    "disable-sync-events": "there are no such events",
    "enable-metrics": "see /metrics of --admin",
    "metrics-per-undefined-host": "hosts that nobody has are counted together",
    **dict.fromkeys(
        [
            "disable-full-test",
            "deep-inspect",
            "enable-ssl-chain-completion",
            "enable-annotation-validation",
            "profiling",
            "logtostderr",
            "alsologtostderr",
            "skip_headers",
            "skip_log_headers",
            "add_dir_header",
            "one_output",
        ],
        _NO_USE,
    ),
}
"""Those that are given alone, or with "=true" and "=false"."""
_QUIET = frozenset({"enable-metrics", "deep-inspect", "enable-annotation-validation", "logtostderr"})
"""What they ask for is so anyway."""
_PUBLISHING = ("publish-service", "publish-status-address")


class Translated(NamedTuple):
    arguments: list[str]
    notes: list[str]
    """What has no effect, and why."""


def translate(arguments: Sequence[str]) -> Translated:
    """Arguments of `causeway ingress` or of ingress-nginx, or of both -> of `causeway ingress`.

    Where neither --http nor --https says what to listen on, ingress-nginx's ports count, --http-port and the like, and
    requests are logged as it does.
    """
    return _Translation(arguments).run()


class _Translation:
    def __init__(self, arguments: Sequence[str]) -> None:
        self.left = list(arguments)
        self.made: list[str] = []
        self.notes: list[str] = []
        self.held = dict(_HELD)

    def run(self) -> Translated:
        if self.left and self.left[0].rpartition("/")[2] == PROGRAM:
            del self.left[0]
        while self.left:
            self._one(self.left.pop(0))
        names = {_named(each)[0] for each in self.made}
        if not names & {"http", "https"}:
            self.made += [f"--http=:{self.held['http-port']}", f"--https=:{self.held['https-port']}"]
            if "access-log" not in names:
                self.made.append("--access-log=-")
            if "admin" not in names:
                self.made.append(f"--admin={self.held['healthz-host']}:{self.held['healthz-port']}")
            if "health-check-path" not in names:
                self.made.append("--health-check-path=/healthz")
        return Translated(self.made, self.notes)

    def _one(self, argument: str) -> None:
        name, value = _named(argument)
        if re.fullmatch("--?v=[0-9]+", argument):
            if int(argument.rpartition("=")[2]) > 1:
                self.made.append("--verbose")
        elif name in _SWITCHES:
            if value != "false":
                self.made.append(f"--{name}")
        elif name in _BOOLS:
            self.made.append(f"--{name}={self._bool(value)}")
        elif name in _HELD:
            self.held[name] = self._value(value)
        elif name in _ACCEPTED_ALONE:
            if value != "false" and name not in _QUIET:
                self._note(name, _ACCEPTED_ALONE[name])
        elif name in _ACCEPTED:
            self._value(value)
            self._note(name, _ACCEPTED[name])
        elif name == "shutdown-grace-period":
            self.made.append(f"--drain-delay={self._value(value)}")
        elif name in _PUBLISHING:
            self.made.append(f"--{name}={self._value(value)}")
        else:
            self.made.append(argument)

    def _bool(self, value: str | None) -> str:
        if value is None and self.left and self.left[0] in ("true", "false"):
            return self.left.pop(0)
        return value or "true"

    def _value(self, value: str | None) -> str:
        """What follows "=", else the next argument."""
        if value is not None:
            return value
        return self.left.pop(0) if self.left else ""

    def _note(self, name: str, why: str) -> None:
        self.notes.append(f"--{name} has no effect: {why}")


def _named(argument: str) -> tuple[str, str | None]:
    """Name and value of a flag; ("", None) for what is none. Go takes one dash as two."""
    found = re.fullmatch(r"--?([a-z][-a-z_]+)(?:=(.*))?", argument, re.DOTALL)
    return (found[1], found[2]) if found else ("", None)


_FLAGS = (
    ("ingress-class-by-name", "", "Go by the names in --ingress-class alone for IngressClasses, too."),
    ("watch-namespace", "NAME", "Serve Ingresses of this namespace alone."),
    ("watch-namespace-selector", "LABELS", "Serve Ingresses of namespaces with such labels alone."),
    ("disable-catch-all", "", "Leave out Ingresses for every host."),
    ("disable-svc-external-name", "", "Leave out Services of type ExternalName."),
    ("enable-ssl-passthrough", "", "Hand TLS through undecrypted where an Ingress asks for it."),
    (
        "annotations-prefix",
        "PREFIX",
        "Of annotations, instead of nginx.ingress.kubernetes.io, beside causeway.dev.",
    ),
)


def nginx_flags(command: F) -> F:
    """Flags that only the controller has, named as ingress-nginx has them; `take_watching` reads them."""
    for name, metavar, text in _FLAGS:
        how: dict[str, Any] = {"metavar": metavar, "default": ""} if metavar else {"is_flag": True}
        command = click.option(f"--{name}", help=text, **how)(command)
    return command


class Watching(NamedTuple):
    """What those flags say."""

    selection: dict[str, Any]
    """Fields of Selection."""
    defaults: dict[str, Any]
    """Fields of Defaults."""
    namespace: str


def take_watching(flags: dict[str, Any]) -> Watching:
    """Takes the flags of `nginx_flags` out of `flags`. Raises click.UsageError."""
    namespace, labels = flags.pop("watch_namespace"), flags.pop("watch_namespace_selector")
    if namespace and labels:
        raise click.UsageError("--watch-namespace and --watch-namespace-selector exclude each other")
    try:
        wanted = read_selector(labels)
    except ValueError as error:
        raise click.UsageError(f"--watch-namespace-selector: {error}") from None
    prefix = flags.pop("annotations_prefix")
    selection = {
        "by_name": flags.pop("ingress_class_by_name"),
        "namespaces": (namespace,) if namespace else (),
        "namespace_labels": wanted,
        "catch_all": not flags.pop("disable_catch_all"),
    }
    defaults = {
        "passthrough": flags.pop("enable_ssl_passthrough"),
        "external_names": not flags.pop("disable_svc_external_name"),
        "prefix": f"{prefix.rstrip('/')}/" if prefix else "",
    }
    return Watching(selection, defaults, namespace)


TOPOLOGY = "--enable-topology-aware-routing"
_HINTS = "Ask the endpoints alone that the hints of slices point our zone or node to."
_NO_PLACE = f"{TOPOLOGY} has no effect: give --zone, or --node (in a pod, NODE_NAME from spec.nodeName)"


def place_flags(command: F) -> F:
    """Where the controller is, for endpoints near to it; `take_place` reads them."""
    node = click.option(
        "--node", metavar="NAME", default="", envvar="NODE_NAME", show_envvar=True, help="The node we run on."
    )
    zone = click.option("--zone", metavar="NAME", default="", help="The zone we run in.  [default: that of --node]")
    return click.option(TOPOLOGY, is_flag=True, help=_HINTS)(node(zone(command)))


def take_place(flags: dict[str, Any]) -> tuple[Here, tuple[str, ...]]:
    """Takes the flags of `place_flags` out of `flags`. NOWHERE: hints are not followed. And what is to be told."""
    here = Here(flags.pop("node"), flags.pop("zone"))
    if not flags.pop("enable_topology_aware_routing"):
        return NOWHERE, ()
    return here, () if any(here) else (_NO_PLACE,)


class CompatCommand(click.Command):
    """A command that takes ingress-nginx's flags as well as its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        translated = translate(args)
        ctx.meta[NOTES] = tuple(translated.notes)
        return super().parse_args(ctx, translated.arguments)
