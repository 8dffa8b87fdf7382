"""One Ingress -> what it claims: paths of hosts, and certificates. Whether it gets them is decided in compile.py.

A rule that the API server would refuse (a manifest folder has no API server in front of it) is left out with a Problem;
the Ingress's other rules go on. Sources: Kubernetes API networking/v1, and its validation of Ingress.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote

import msgspec

from ingress.filters.patterns import compile_pattern
from ingress.routes.dangers import danger, is_literal
from ingress.routes.model import EVERY_HOST, backend_key
from ingress.routes.treatment import PLAIN, Treatment
from lb.cluster.objects import HTTPIngressPath, Ingress, IngressBackend, IngressRule, Key, Secret
from lb.cluster.problems import Problem

EXACT = "Exact"
PATH_TYPES = (EXACT, "Prefix", "ImplementationSpecific")
LITERAL_TYPES = (EXACT, "Prefix")

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_NAME = re.compile(_LABEL)
_NAME_ADVICE = "use a-z, 0-9 and -, a letter or digit at the ends"
_ADDRESS = re.compile(r"[0-9.]+|.*:.*:.*")
_PATH_FORBIDS = re.compile(r"[\x00-\x1f\x7f?#\ud800-\udfff]")
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})|%00")
_NOT_NORMAL = re.compile(r"//|/\.{1,2}(?:/|$)|%2[fF]")


class PathClaim(msgspec.Struct, frozen=True):
    """An Ingress wants one path of one host to go to one backend."""

    path: str
    exact: bool
    backend: str
    field: str
    default: bool = False
    text: str = "/"
    """The path as it is written, for hosts whose paths are patterns."""


class TLSClaim(msgspec.Struct, frozen=True):
    """An Ingress wants one host to show the certificate of one Secret of its namespace."""

    secret: str
    field: str


class Claims(msgspec.Struct, frozen=True):
    """Everything one Ingress asks for."""

    namespace: str
    name: str
    created: str
    """RFC 3339 in UTC, so that text order is time order; "~" without one: after all that have one."""
    hosts: dict[str, tuple[PathClaim, ...]] = {}
    tls: dict[str, TLSClaim] = {}
    secured: frozenset[str] = frozenset()
    """Hosts that there is TLS for, be it with the default certificate."""
    wants_tls: bool = False
    treatment: Treatment = PLAIN
    """What its annotations come to."""
    refused: str = ""
    """Why none of it is served."""
    problems: tuple[Problem, ...] = ()

    @property
    def other_names(self) -> dict[str, str]:
        """More names -> the host of the rules whose routes they have (aliases) or redirect to (www)."""
        wishes, names = self.treatment.wishes, dict[str, str]()
        if wishes.aliases or wishes.www:
            for host in self.hosts:
                if host and wishes.www and not host.startswith("*"):
                    names.setdefault(host[4:] if host.startswith("www.") else f"www.{host}", host)
                for alias in wishes.aliases:
                    names.setdefault(alias, host)
        return {name: host for name, host in names.items() if name not in self.hosts}

    @property
    def annotated_secrets(self) -> frozenset[Key]:
        """The Secrets that its annotations name."""
        return frozenset(key for key in self.treatment.references if key.kind == Secret.KIND)

    @property
    def secrets(self) -> frozenset[Key]:
        """The Secrets that it needs."""
        return self.annotated_secrets.union(Key(Secret.KIND, self.namespace, each.secret) for each in self.tls.values())

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def age(self) -> tuple[str, str, str]:
        """Sorts the oldest first: it wins where two Ingresses claim the same."""
        return self.created, self.namespace, self.name


def read_claims(ingress: Ingress, treatment: Treatment = PLAIN) -> Claims:
    """Read everything an Ingress asks for; what is wrong with it is in `problems`."""
    return _Reader(ingress, treatment).read()


class BadRule(Exception):
    """Part of an Ingress cannot be served: `field` is relative to that part."""

    def __init__(self, field: str, reason: str, advice: str = "") -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason
        self.advice = advice


class _Reader:
    def __init__(self, ingress: Ingress, treatment: Treatment) -> None:
        self.ingress = ingress
        self.treatment = treatment
        self.suffix = treatment.variant.suffix if treatment.variant else ""
        self.hosts: dict[str, list[PathClaim]] = {}
        self.tls: dict[str, TLSClaim] = {}
        self.secured: set[str] = set()
        self.problems: list[Problem] = list(treatment.problems)

    def read(self) -> Claims:
        metadata, spec = self.ingress.metadata, self.ingress.spec
        refused = self.treatment.wishes.refused or self._danger()
        for number, rule in enumerate(spec.rules):
            self._rule(f"spec.rules[{number}]", rule)
        self._default_backend()
        for number, entry in enumerate(spec.tls):
            field = f"spec.tls[{number}]"
            for host in self._tls_hosts(field, entry.hosts):
                self.secured.add(host)
                if entry.secret_name:
                    self.tls.setdefault(host, TLSClaim(entry.secret_name, f"{field}.secretName"))
        return Claims(
            namespace=metadata.namespace,
            name=metadata.name,
            created=metadata.creation_timestamp or "~",
            hosts={host: tuple(claims) for host, claims in self.hosts.items()},
            tls=self.tls,
            secured=frozenset(self.secured),
            wants_tls=bool(spec.tls),
            treatment=self.treatment,
            refused=refused,
            problems=tuple(self.problems),
        )

    def _danger(self) -> str:
        field, reason = danger(self.ingress)
        if reason:
            self._wrong(field, BadRule("", f"{reason}; the Ingress is not served", "remove it"))
        return reason

    def _rule(self, field: str, rule: IngressRule) -> None:
        try:
            host = read_host(rule.host)
        except BadRule as bad:
            self._wrong(field, bad)
            return
        claims = self.hosts.setdefault(host, [])
        for number, each in enumerate(rule.http.paths if rule.http else ()):
            place = f"{field}.http.paths[{number}]"
            try:
                path, exact = self._path(each)
                backend = read_backend(self.ingress.metadata.namespace, each.backend) + self.suffix
            except BadRule as bad:
                self._wrong(place, bad)
            else:
                claims.append(PathClaim(path, exact, backend, place, text=each.path or "/"))
                if self.treatment.wishes.literal_paths and each.path_type in LITERAL_TYPES:
                    self._expect_literal(place, each.path)

    def _path(self, rule: HTTPIngressPath) -> tuple[str, bool]:
        wishes = self.treatment.wishes
        return read_pattern(rule) if wishes.pattern and not wishes.strict else read_path(rule)

    def _expect_literal(self, place: str, path: str) -> None:
        """It is served all the same: ingress-nginx only refuses to take it anew."""
        if not is_literal(path):
            advice = (
                "write pathType: ImplementationSpecific, or set strict-validate-path-type to false in the ConfigMap"
            )
            reason = f'"{path}" has characters that ingress-nginx does not admit in a path of this type'
            self._wrong(place, BadRule("path", reason, advice))

    def _default_backend(self) -> None:
        """With rules it serves the hosts of this Ingress; without rules it is the catch-all."""
        spec = self.ingress.spec
        if spec.default_backend is None:
            if not spec.rules:
                bad = BadRule(
                    "spec", "it has neither rules nor a defaultBackend", "add spec.rules or spec.defaultBackend"
                )
                self._wrong("", bad)
            return
        try:
            backend = read_backend(self.ingress.metadata.namespace, spec.default_backend) + self.suffix
        except BadRule as bad:
            self._wrong("spec.defaultBackend", bad)
            return
        if not spec.rules:
            self.hosts.setdefault(EVERY_HOST, [])
        for claims in self.hosts.values():
            claims.append(PathClaim("/", False, backend, "spec.defaultBackend", default=True))

    def _tls_hosts(self, field: str, hosts: tuple[str, ...]) -> Iterator[str]:
        """The hosts a tls entry speaks of; without any, all hosts of the rules."""
        if not hosts:
            yield from self.hosts
        for number, host in enumerate(hosts):
            try:
                yield read_host(host)
            except BadRule as bad:
                self._wrong(field, BadRule(f"hosts[{number}]", bad.reason, bad.advice))

    def _wrong(self, field: str, bad: BadRule) -> None:
        metadata = self.ingress.metadata
        whole = ".".join(part for part in (field, bad.field) if part)
        self.problems.append(Problem(f"Ingress {metadata.namespace}/{metadata.name}", whole, bad.reason, bad.advice))


def read_host(host: str) -> str:
    """Return the host as it is; BadRule if no request can have it, or the API server would refuse it."""
    if not host:
        return EVERY_HOST
    if host == "*":
        raise BadRule("host", '"*" is not a host', "leave host out to serve every host, or write *.example.com")
    if _ADDRESS.fullmatch(host):
        raise BadRule("host", f'"{host}" is an address, not a host name', "leave host out to serve requests by address")
    if ":" in host:
        raise BadRule("host", f'"{host}" has a port', "write the name alone; the listener decides the port")
    if host != host.lower():
        raise BadRule("host", f'"{host}" has upper-case letters', f'write "{host.lower()}"')
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise BadRule(
            "host", f'"{host}" is not a host name', "use letters, digits, - and dots; * only as the first label"
        )
    return host


def read_pattern(rule: HTTPIngressPath) -> tuple[str, bool]:
    """The same for an Ingress whose paths are patterns: kept as they are written."""
    kind, path = rule.path_type, rule.path or "/"
    if kind is not None and kind not in PATH_TYPES:
        raise BadRule("pathType", f'"{kind}" is not a path type', f"use one of: {', '.join(PATH_TYPES)}")
    if not path.startswith("/"):
        raise BadRule("path", f'"{path}" does not begin with /', f'write "/{path}"')
    try:
        compile_pattern(path, any_case=True)
    except ValueError as error:
        raise BadRule("path", str(error), "write it without look-around and back references") from None
    return path, kind == EXACT


def read_path(rule: HTTPIngressPath) -> tuple[str, bool]:
    """Return path and whether it is exact; BadRule for what the API server would refuse.

    ImplementationSpecific and a missing type mean Prefix; only they may leave the path out, which means "/". Escapes
    are decoded: requests are compared in that form.
    """
    kind, path = rule.path_type, rule.path
    if kind is not None and kind not in PATH_TYPES:
        raise BadRule("pathType", f'"{kind}" is not a path type', f"use one of: {', '.join(PATH_TYPES)}")
    strict = kind in LITERAL_TYPES
    if not path and not strict:
        return "/", False
    if not path.startswith("/"):
        raise BadRule("path", f'"{path}" does not begin with /', f'write "/{path}"')
    if _PATH_FORBIDS.search(path):
        raise BadRule(
            "path", f"{path!r} has characters that no path of a request has", "leave out ?, # and what follows"
        )
    if strict and _NOT_NORMAL.search(path):
        raise BadRule(
            "path", f'"{path}" has //, /./, /../ or %2f, which no normalised path has', "write the plain path"
        )
    try:
        plain = unquote(path, errors="strict")
    except UnicodeDecodeError:
        plain = ""
    if not plain or _BAD_ESCAPE.search(path):
        raise BadRule(
            "path", f'"{path}" has a % that is not followed by two digits of UTF-8', "write %25 for a plain %"
        )
    return plain, kind == EXACT


def read_backend(namespace: str, backend: IngressBackend) -> str:
    """Return the key of the backend a rule names; BadRule if it names none, or one that cannot be served."""
    service, port = backend.service, backend.service.port if backend.service else None
    if backend.resource is not None:
        kind = f"{backend.resource.kind} {backend.resource.name}"
        reason = f"backends that are not Services are not served ({kind})"
        raise BadRule("backend.resource", reason, "use backend.service")
    if service is None or port is None or not service.name:
        raise BadRule("backend.service", "no Service is named", "write backend.service.name and backend.service.port")
    if not _NAME.fullmatch(service.name):
        raise BadRule("backend.service.name", f"{service.name!r} is not the name of a Service", _NAME_ADVICE)
    if port.name and not _NAME.fullmatch(port.name):
        raise BadRule("backend.service.port.name", f"{port.name!r} is not the name of a port", _NAME_ADVICE)
    if port.name and port.number:
        raise BadRule("backend.service.port", "both name and number are given", "keep one of them")
    if not port.name and not 0 < port.number < 65536:
        if port.number:
            raise BadRule("backend.service.port.number", f"{port.number} is not a port", "use 1 to 65535")
        raise BadRule("backend.service.port", "no port is given", "write port.number or port.name of the Service")
    return backend_key(namespace, service.name, port.name or str(port.number))
