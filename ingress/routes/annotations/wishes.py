"""What the annotations of one Ingress ask for, gathered by the groups and taken up by compile.py."""

from enum import IntEnum
from typing import Any

import msgspec


class Risk(IntEnum):
    """How much harm a value could do, by ingress-nginx's table; above `annotations-risk-level` one is refused."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class CanaryWish(msgspec.Struct, frozen=True):
    """This Ingress is an alternative for the host and path of another."""

    header: str = ""
    header_value: str = ""
    header_pattern: str = ""
    cookie: str = ""
    weight: int = 0
    weight_total: int = 100
    legacy: bool = False
    """Clients with a session of the canary are not kept there."""


class ClientAuthWish(msgspec.Struct, frozen=True):
    """The hosts of this Ingress ask their TLS clients for certificates: ClientAuth of ingress/proxy/settings.py."""

    ca_pem: bytes
    """b"": the Secret or `match_cn` is missing or wrong, so everything is refused with 403."""
    verify: str = "on"
    depth: int = 1
    pass_certificate: bool = False
    error_page: str = ""
    match_cn: str = ""
    """A pattern for the subject, "" if it does not matter: else 403."""


class Wishes(msgspec.Struct):
    """Filled in by one group after the other; each owns the fields it names in its docstring."""

    filters: dict[str, msgspec.Struct] = msgspec.field(default_factory=dict)
    """Filter name (as in ingress/filters) -> its specification."""
    tls_filters: dict[str, msgspec.Struct] = msgspec.field(default_factory=dict)
    """The same, for hosts only that TLS is there for, by whichever Ingress."""
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    """Fields of RouteOptions in ingress/proxy/settings.py."""
    backend: dict[str, Any] = msgspec.field(default_factory=dict)
    """Fields of BackendSpec there; "transport" is a dict of fields of Transport, "tls" in it of UpstreamTls."""
    secure: dict[str, Any] = msgspec.field(default_factory=dict)
    """Fields of Transport that endpoints are asked by for who has come by TLS; {}: as for everybody."""
    backends: set[str] = msgspec.field(default_factory=set)
    """Keys of further backends that filters of this Ingress send requests to (`Reader.backend` makes them)."""
    closed: str = ""
    """Why every request gets 503: what must not be served without a part that is broken."""
    refused: str = ""
    """Why the whole Ingress is left out."""
    pattern: bool = False
    """Its paths are patterns (use-regex, rewrite-target): so are, without regard to case, all paths of its hosts."""
    slash: bool = False
    """Who asks for the path of a rule without the "/" at its end is sent to the path with it."""
    literal_paths: bool = False
    """Exact and Prefix paths with characters of patterns are reported."""
    aliases: tuple[str, ...] = ()
    """More names for every host of the rules."""
    www: bool = False
    """www.HOST (or HOST, for rules of www.HOST) is redirected to the host."""
    www_status: int = 308
    passthrough: bool = False
    """TLS of the hosts is handed to the backend of their first path, undecrypted."""
    ciphers: str = ""
    """For TLS 1.2 of the hosts, in OpenSSL's names; the oldest Ingress's count."""
    service_upstream: bool = False
    """The Service's cluster address instead of its endpoints."""
    default_backend: str = ""
    """Key of the backend that answers when the rule's has no endpoints; also in `backends`."""
    canary: CanaryWish | None = None
    client_auth: ClientAuthWish | None = None
    strict: bool = False
    """`causeway.dev/strict`: where ingress-nginx departs from the Ingress specification, the specification counts."""

    def tell_client(self, name: str, value: str) -> None:
        """A field of every response, whoever answers."""
        self._add("response_set", name, value)

    def tell_endpoint(self, name: str, value: str) -> None:
        """A field of every request on its way to an endpoint."""
        self._add("request_set", name, value)

    def keep_from_client(self, name: str) -> None:
        """Take a field out of every response."""
        self.options["response_remove"] = (*self.options.get("response_remove", ()), name)

    def keep_from_endpoint(self, name: str) -> None:
        self.options["request_remove"] = (*self.options.get("request_remove", ()), name)

    def _add(self, option: str, name: str, value: str) -> None:
        """Fields are latin-1; what is not ASCII goes out as UTF-8."""
        self.options[option] = (*self.options.get(option, ()), (name, value.encode().decode("latin-1")))
