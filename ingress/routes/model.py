"""The one intermediate form: what Ingress rules (later annotations and Gateway API) compile to.

Three tables, each replaced entry by entry: hosts (change rarely), backends (their endpoints change all the time) and
certificates. A route names its backend by key, so that an endpoint that comes or goes touches no route.
"""

from typing import Any

import msgspec

from lb.cluster.problems import Problem
from lb.endpoints import NOWHERE, Here

Endpoint = tuple[str, int]
"""Address and port of one pod."""

FilterLine = tuple[str, bytes]
"""Name of a filter (ingress/filters) and its specification in msgpack."""

EVERY_HOST = ""
"""The host table that answers for every host without a table of its own."""
STREAM = "tcp:"
"""With a port, the host table of its connections (streams.py). No host has a ":"."""
DATAGRAMS = "udp:"
"""Likewise, of its datagrams."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """Base of what the tables are made of: trees, so the garbage collector need not walk ten thousands of them."""


class Route(Entry, frozen=True):
    """Requests to one path (or below it) of one host go to one backend."""

    id: int
    """Names the route in the counters of the workers. Never used again for another route."""
    host: str
    """"shop.example.com", "*.example.com" (exactly one label), or EVERY_HOST. Lower case."""
    path: str
    exact: bool
    """True: this path only. False: this path and, by whole segments, everything below it."""
    backend: str
    """The key of a Backend."""
    ingress: str
    """The Ingress it comes from, "shop/web"."""
    field: str
    """Where in that Ingress: "spec.rules[0].http.paths[1]" or "spec.defaultBackend"."""
    default: bool = False
    """A default backend: every other route of the host that matches comes before it."""
    filters: tuple[FilterLine, ...] = ()
    """In the order of running."""
    options: tuple[tuple[str, Any], ...] = ()
    """Fields of RouteOptions (ingress/proxy/settings.py) that differ from their defaults."""
    also: tuple[str, ...] = ()
    """Keys of Backends that its filters may choose."""

    @property
    def backends(self) -> tuple[str, ...]:
        """Every backend that requests of this route may go to."""
        return (self.backend, *self.also)

    @property
    def kind(self) -> str:
        """What people call it: Exact, Prefix, or default."""
        return "default" if self.default else "Exact" if self.exact else "Prefix"


class HostTable(Entry, frozen=True):
    """All routes of one host. Swapped as a whole."""

    host: str
    routes: tuple[Route, ...]
    client_auth: dict[str, Any] | None = None
    """What TLS clients of the host are asked for: fields of ClientAuth (ingress/proxy/settings.py)."""
    passthrough: str = ""
    """Key of the Backend that gets the host's TLS connections undecrypted."""
    ciphers: str = ""
    """For TLS 1.2, in OpenSSL's names; "" are those of all hosts."""
    headed: bool = False
    """Of a stream (streams.py): its connections begin with a PROXY header."""
    healthy: str = ""
    """A path that is answered with 200 whatever routes there are."""
    rest: "Rest | None" = None
    """What is told those who get 404, if it is more than that."""
    patterns: tuple[tuple[str, int], ...] = ()
    """Paths are patterns: RE2, matched at the start without regard to case, the first that does counts; with the place
    of its route in `routes`. Empty: they are plain paths."""


class Variant(Entry, frozen=True):
    """A Service port treated in another way than most: a Backend of its own."""

    suffix: str
    """Follows the backend's key: a digest of the rest, so that equal wishes share a Backend."""
    spec: dict[str, Any] = {}
    """Fields of BackendSpec (ingress/proxy/settings.py), with Transport and UpstreamTls as dicts."""
    cluster_ip: bool = False
    """The Service's own address is the only endpoint."""
    udp: bool = False
    """The port is one of UDP."""


class Defaults(msgspec.Struct, frozen=True):
    """What counts where an Ingress says nothing: objects by namespace and name."""

    backend: tuple[str, str] | None = None
    """The Service that answers what no rule takes."""
    config_map: tuple[str, str] | None = None
    """The controller's ConfigMap (config.py)."""
    certificate: tuple[str, str] | None = None
    """The Secret whose certificate is shown where no other fits."""
    passthrough: bool = True
    """Whether Ingresses may have the TLS of their hosts handed through."""
    external_names: bool = True
    """Whether Services may stand for DNS names."""
    prefix: str = ""
    """Of annotations, "nginx.ingress.kubernetes.io/", if it is another."""
    extensions: dict[str, type[msgspec.Struct]] = {}
    """Filters of other packages that Ingresses may ask for -> what they are told."""
    tcp_services: tuple[str, str] | None = None
    """The ConfigMap of streams (streams.py)."""
    udp_services: tuple[str, str] | None = None
    health_path: str = ""
    """Answered with 200 for hosts that nobody has. "": it is a path like all."""
    https_port: int = 443
    """Where TLS is listened for, for redirects that name it."""
    here: Here = NOWHERE
    """Where we run, if hints of endpoints are followed. A node without a zone: that of its Node object."""


class Rest(msgspec.Struct, frozen=True):
    """What requests get that no rule takes."""

    backend: str = ""
    """Key of the Backend that answers. "": 404."""
    logged: bool = False
    healthy: str = ""
    """As in HostTable, for hosts that nobody has."""
    filters: tuple[FilterLine, ...] = ()
    """As of a Route: what the operator says of all requests."""
    options: tuple[tuple[str, Any], ...] = ()


class Config(msgspec.Struct, frozen=True):
    """What the controller's ConfigMap says."""

    values: dict[str, str] = {}
    """Key -> value as it is written; only what makes sense."""
    settings: dict[str, Any] = {}
    """Fields of Settings (ingress/proxy/settings.py)."""
    backends: dict[str, Any] = {}
    """Fields of BackendSpec there, for every backend."""
    drain_seconds: float | None = None
    proxy_protocol: bool = False
    problems: tuple[Problem, ...] = ()


class NameAnswer(Entry, frozen=True):
    """What a DNS name means now, or why that is not known."""

    addresses: tuple[str, ...] = ()
    error: str = ""


class Backend(Entry, frozen=True):
    """One port of one Service, as rules refer to it, with the endpoints that may answer now."""

    namespace: str
    service: str
    port: str
    """As the rule has it: a number or a name."""
    endpoints: tuple[Endpoint, ...] = ()
    total: int = 0
    """How many endpoints there are, ready or not."""
    wrong: str = ""
    """Why there can be no endpoints, for an operator to correct: "Service shop/cart does not exist"."""
    advice: str = ""
    external: str = ""
    """The DNS name that an ExternalName Service stands for."""
    variant: Variant | None = None
    hinted: bool = False
    """Other ready endpoints are left to proxies elsewhere, as the slices' hints have it."""

    @property
    def key(self) -> str:
        key = backend_key(self.namespace, self.service, self.port)
        return key + self.variant.suffix if self.variant else key

    @property
    def state(self) -> str:
        """One line for people: "2 of 3 endpoints ready"."""
        if self.wrong:
            return self.wrong
        if self.external:
            return (
                f"{len(self.endpoints)} addresses of {self.external}" if self.total else f"{self.external} is looked up"
            )
        if self.hinted:
            return f"{len(self.endpoints)} of {self.total} endpoints, those that are meant for our zone or node"
        if self.total:
            return f"{len(self.endpoints)} of {self.total} endpoints ready"
        return f"no EndpointSlice labelled kubernetes.io/service-name={self.service} has an endpoint for it"


VARIANT_MARK = "#"
"""No name of a Service or port has it."""


def backend_key(namespace: str, service: str, port: str) -> str:
    return f"{namespace}/{service}:{port}"


def split_key(key: str) -> tuple[str, str, str]:
    """The reverse of backend_key, of a variant's key too: namespace, Service, port as written."""
    namespace, _, rest = key.partition("/")
    service, _, port = rest.partition(VARIANT_MARK)[0].rpartition(":")
    return namespace, service, port


def variant_suffix(key: str) -> str:
    """What tells a variant's key from the plain one; "" for the plain one."""
    _, mark, rest = key.partition(VARIANT_MARK)
    return mark + rest


class Certificate(Entry, frozen=True):
    """What a TLS client is shown for one host (EVERY_HOST: if no other fits). Both parts in PEM."""

    host: str
    secret: str
    """Where it comes from, "shop/shop-tls"."""
    chain_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        """Without the private key: this ends up in logs and test reports."""
        return f"Certificate(host={self.host!r}, secret={self.secret!r})"


class Changes(msgspec.Struct):
    """What is different since the last update. None: the entry is gone."""

    hosts: dict[str, HostTable | None] = msgspec.field(default_factory=dict)
    backends: dict[str, Backend | None] = msgspec.field(default_factory=dict)
    certificates: dict[str, Certificate | None] = msgspec.field(default_factory=dict)
    new_problems: list[Problem] = msgspec.field(default_factory=list)
    config: Config | None = None
    """What the ConfigMap says now; None: the same as before."""

    def __bool__(self) -> bool:
        return bool(self.hosts or self.backends or self.certificates or self.config is not None)
