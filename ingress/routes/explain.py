"""Why a request goes where it goes: every choice with the object that decided it, or the reason for the refusal.

`match` is also the readable statement of what the compiled look-up in ingress/proxy/ does; a test compares the two.
"""

import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

import msgspec

from ingress.filters.patterns import compile_pattern
from ingress.routes.compile import RoutingTable
from ingress.routes.model import EVERY_HOST, Backend, Certificate, HostTable, Route
from lb.cluster.objects import Ingress


class Step(msgspec.Struct, frozen=True):
    """One choice: `about` is host, path, filters, certificate, backend or endpoints; `said` is for people."""

    about: str
    said: str


class Explanation(msgspec.Struct, frozen=True):
    steps: tuple[Step, ...]
    status: int | None
    """What the proxy itself answers (400, 404, 503); None if an endpoint answers."""
    route: Route | None = None
    backend: Backend | None = None
    certificate: Certificate | None = None

    @property
    def complete(self) -> bool:
        """Whether the request reaches an endpoint."""
        return self.status is None


def explain(table: RoutingTable, scheme: str, host: str, path: str) -> Explanation:
    """Follow a request of `scheme` for `host` (with or without port) and `path` (with or without query)."""
    name = host_name(host)
    steps: list[Step] = []
    certificate = None
    if scheme == "https":
        certificate = find_certificate(table, name)
        steps.append(Step("certificate", _certificate_reason(name, certificate)))
    chosen = find_host(table, name)
    steps.append(Step("host", _host_reason(table, name, chosen)))
    if chosen is None:
        steps += _left_out(table, name, None)
        return Explanation(tuple(steps), 404, certificate=certificate)
    wanted = normal_path(path)
    if wanted is None:
        steps.append(Step("path", f"{path} is no path a server may use: a bad %XX, or it climbs above /"))
        return Explanation(tuple(steps), 400, certificate=certificate)
    route, others = match_patterns(chosen, wanted) if chosen.patterns else match(chosen.routes, wanted)
    steps.append(Step("path", _path_reason(wanted, route, others, chosen)))
    if route is None:
        steps += _left_out(table, name, chosen)
        return Explanation(tuple(steps), 404, certificate=certificate)
    if route.filters:
        steps.append(
            Step("filters", f"then {', '.join(name for name, _ in route.filters)}, which may answer themselves")
        )
    backend = table.backends[route.backend]
    said = f"Service {backend.namespace}/{backend.service} port {backend.port}: {backend.state}"
    steps.append(Step("backend", said))
    steps.append(Step("endpoints", _endpoints_reason(backend)))
    status = None if backend.endpoints else 503
    return Explanation(tuple(steps), status, route, backend, certificate)


def host_name(host: str) -> str:
    """A Host field value without port and trailing dot, in lower case."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower().removesuffix(".")


def normal_path(target: str) -> str | None:
    """The path that rules are compared with: no query, escapes decoded, "//", "." and ".." resolved, as nginx does it.

    None for what is answered with 400: a bad escape, an escaped NUL, a path that climbs above its root.
    """
    path = re.split(r"[?#]", target, maxsplit=1)[0] or "/"
    decoded = unquote_to_bytes(path)
    if not path.startswith("/") or re.search(r"%(?![0-9a-fA-F]{2})", path) or b"\0" in decoded:
        return None
    segments: list[str] = []
    parts = decoded.decode(errors="surrogateescape").split("/")[1:]
    for part in parts:
        if part == ".." and not segments:
            return None
        if part == "..":
            del segments[-1]
        elif part not in (".", ""):
            segments.append(part)
    tail = "/" if segments and parts[-1] in ("", ".", "..") else ""
    return "/" + "/".join(segments) + tail


def find_host(table: RoutingTable, name: str) -> HostTable | None:
    """The table that answers for a host: its own, then the wildcard that covers its first label, then every host's."""
    for candidate in _names(name):
        found = table.hosts.get(candidate)
        if found is not None:
            return found
    return None


def find_certificate(table: RoutingTable, name: str) -> Certificate | None:
    return next((table.certificates[each] for each in _names(name) if each in table.certificates), None)


def match(routes: Sequence[Route], path: str) -> tuple[Route | None, list[Route]]:
    """The route of a path, and the others that match it too, best first.

    An Exact path before any Prefix, a longer Prefix before a shorter one, a default backend last.
    """
    matching = [route for route in routes if _matches(route, path)]
    matching.sort(key=lambda route: (route.default, not route.exact, -len(route.path)))
    return (matching[0], matching[1:]) if matching else (None, [])


def match_patterns(table: HostTable, path: str) -> tuple[Route | None, list[Route]]:
    """The same where paths are patterns: they are in the order in which they are tried."""
    matching = [table.routes[number] for text, number in table.patterns if _fits(text, path)]
    return (matching[0], matching[1:]) if matching else (None, [])


def _fits(pattern: str, path: str) -> bool:
    return compile_pattern(pattern, any_case=True).match(path) is not None


def _matches(route: Route, path: str) -> bool:
    if route.exact:
        return path == route.path
    stem = route.path.rstrip("/")
    return path == stem or path.startswith(stem + "/")


def _names(name: str) -> tuple[str, ...]:
    _, dot, rest = name.partition(".")
    return (name, f"*.{rest}", EVERY_HOST) if dot and rest else (name, EVERY_HOST)


def _certificate_reason(name: str, certificate: Certificate | None) -> str:
    if certificate is None:
        return f"no Ingress has a certificate for {name}: the default certificate (self-signed), which browsers refuse"
    covers = "" if certificate.host == name else f" of {certificate.host or 'every host'}"
    return f"Secret {certificate.secret}{covers}"


def _host_reason(table: RoutingTable, name: str, chosen: HostTable | None) -> str:
    if chosen is None:
        known = sorted(host for host in table.hosts if host)
        some = ", ".join(known[:5]) + (f" and {len(known) - 5} more" if len(known) > 5 else "")
        return f"no Ingress serves {name}" + (f"; served are: {some}" if known else "; no host is served at all")
    titles = [owner.title for owner in table.owners_of(chosen.host)]
    titles = titles or list(dict.fromkeys(route.ingress for route in chosen.routes if route.ingress))
    owners = ", ".join(f"Ingress {title}" for title in titles) or "the default backend"
    if chosen.host == name:
        return f"{name}: {owners}"
    if chosen.host:
        return f"{name} is covered by {chosen.host}: {owners}"
    return f"no rule names {name}, so rules for every host apply: {owners}"


def _path_reason(path: str, route: Route | None, others: Sequence[Route], table: HostTable) -> str:
    if route is None:
        there = ", ".join(_called(each) for each in table.routes[:8]) or "none"
        return f"no rule of {table.host or 'every host'} matches {path}; its paths: {there}"
    said = f"{path}: {_called(route)} of Ingress {route.ingress} ({route.field})"
    if others:
        said += f"; before {', '.join(_called(each) for each in others[:4])}"
    return said


def _called(route: Route) -> str:
    return "the default backend" if route.default else f'{route.kind} "{route.path}"'


def _endpoints_reason(backend: Backend) -> str:
    if backend.endpoints:
        shown = ", ".join(f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for ip, port in backend.endpoints[:8])
        more = len(backend.endpoints) - 8
        return f"one of {shown}" + (f" and {more} more" if more > 0 else "")
    if backend.wrong:
        return f"503: {backend.wrong}" + (f" ({backend.advice})" if backend.advice else "")
    look = f"kubectl -n {backend.namespace} get endpointslices -l kubernetes.io/service-name={backend.service}"
    return f"503: {backend.state}; look at: {look}"


def _left_out(table: RoutingTable, name: str, chosen: HostTable | None) -> list[Step]:
    """Ingresses that would have served the host had they been ours, and problems of those that do serve it."""
    steps = []
    for (namespace, title), reason in sorted(table.refused.items()):
        ingress = table.ingress(namespace, title)
        if ingress is not None and not set(_claimed(ingress)).isdisjoint(_names(name)):
            steps.append(Step("refused", f"Ingress {namespace}/{title} would serve it, but it {reason}"))
    owners = {f"Ingress {owner.title}" for owner in table.owners_of(chosen.host)} if chosen else set()
    concerned = (each for each in table.problems if each.object in owners or name in each.reason.lower())
    return steps + [Step("refused", str(problem)) for problem in concerned]


def _claimed(ingress: Ingress) -> list[str]:
    """The hosts an Ingress asks for, whether or not it is ours."""
    hosts = [rule.host for rule in ingress.spec.rules]
    return hosts or ([EVERY_HOST] if ingress.spec.default_backend else [])
