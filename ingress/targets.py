"""Endpoints and routes as flags have them: `--to localhost:9000`, `--route shop.example.com/api=10.0.0.1:80`."""

import socket

import click
import msgspec

from ingress.listeners import BadAddress, read_address
from ingress.routes.flags import FlagRoute
from ingress.routes.model import Endpoint
from ingress.routes.rules import BadRule, read_host, read_path
from lb.cluster.objects import HTTPIngressPath, IngressBackend


def read_endpoints(text: str) -> tuple[Endpoint, ...]:
    """Read "ADDRESS:PORT[,ADDRESS:PORT...]". Names are looked up now, once. Raises BadAddress."""
    found: dict[Endpoint, None] = {}
    for part in text.split(","):
        found.update(dict.fromkeys(_resolve(part.strip())))
    return tuple(found)


def _resolve(text: str) -> list[Endpoint]:
    address = read_address(text)
    if not address.port:
        raise BadAddress(f'"{text}": port 0 is no port to connect to')
    if not address.host:
        return [("127.0.0.1", address.port)]  # ":9000" is a server on this machine
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise BadAddress(f'"{text}": {address.host} is not known ({error.strerror})') from None
    return [(str(where[0]), address.port) for _, _, _, _, where in found]


def read_passthrough(text: str) -> tuple[str, tuple[Endpoint, ...]]:
    """Read "NAME=ADDRESS:PORT[,ADDRESS:PORT...]": a server name, or "*.domain", and where its TLS goes.

    Raises BadAddress.
    """
    name, equals, targets = text.rpartition("=")
    if not equals or not name:
        raise BadAddress(f'"{text}": write NAME=ADDRESS:PORT, as in shop.example.com=10.0.0.7:8443')
    try:
        return read_host(name.lower()), read_endpoints(targets)
    except BadRule as bad:
        raise BadAddress(f'"{text}": {bad.reason}; {bad.advice}') from None


def read_route(text: str) -> FlagRoute:
    """Read "HOST/PATH=ADDRESS:PORT[,ADDRESS:PORT...]"; without HOST every host, without /PATH every path.

    Raises BadAddress, also for what is wrong with host and path.
    """
    place, equals, targets = text.rpartition("=")
    if not equals:
        raise BadAddress(f'"{text}" has no "="; write HOST/PATH=ADDRESS:PORT')
    host, slash, path = place.partition("/")
    try:
        name = read_host(host.lower())
        plain, _ = read_path(HTTPIngressPath(path=slash + path or "/", path_type="Prefix", backend=IngressBackend()))
    except BadRule as bad:
        raise BadAddress(f'"{text}": {bad.reason}; {bad.advice}') from None
    return FlagRoute(name, plain, read_endpoints(targets))


def _extensions(ctx: click.Context, param: click.Parameter, text: str) -> dict[str, type[msgspec.Struct]]:
    """Read "stamp,guard": filters of other packages -> what they are told."""
    names = tuple(name for each in text.split(",") if (name := each.strip()))
    if not names:
        return {}
    from ingress.filters.extensions import NotUsable, specifications  # looks through what is installed

    try:
        return specifications(names)
    except NotUsable as error:
        raise click.BadParameter(str(error), ctx, param) from None


allow_filters = click.option(
    "--allow-filters",
    callback=_extensions,
    default="",
    metavar="NAME[,NAME...]",
    help="Filters of other installed packages that Ingresses may ask for by causeway.dev/filters.",
)
