"""Chains of one filter with hooks of a test's own, for the routes of a rig."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from ingress.filters.api import Elsewhere, Filter, Reply, Request, Response
from ingress.filters.chain import Chain
from ingress.proxy import RouteOptions, RouteSpec, engine
from tests.ingress.filters.asked import Desk
from tests.ingress.proxy.rig import Rig


class Nothing(msgspec.Struct, frozen=True):
    pass


Verdict = Reply | Awaitable[Reply | None] | None


class Base(Filter[Any]):
    Specification = Nothing


def chain(
    request: Callable[[Request], Verdict] | None = None,
    response: Callable[[Request, Response], Elsewhere | None] | None = None,
    finish: Callable[[Request, int], None] | None = None,
    **hooks: Any,
) -> Chain:
    """A chain of one filter with these hooks."""
    made = {"request": request, "response": response, "finish": finish, **hooks}
    body: dict[str, Any] = {"name": "made"}
    for name, hook in made.items():
        if hook is not None and callable(hook):
            body[name] = lambda self, *given, hook=hook: hook(*given)
        elif hook is not None:
            body[name] = hook
    return Chain([type("Made", (Base,), body)(Nothing(), Desk())])


PLAIN = RouteOptions()
SEEN: tuple[type[Request], type[Response]] = (engine.Request, engine.Response)
"""mypy's word that the engine's classes are what filters are promised."""


def route(r: Rig, filters: Chain, options: RouteOptions = PLAIN) -> None:
    """Everything goes through these filters, except what begins with /plain."""
    labels = ("shop", "web", "cart", "80", "/")
    r.engine.set_host(
        "",
        [
            RouteSpec("/", False, "backend", 7, labels, options, filters),
            RouteSpec("/plain", False, "backend", 8),
        ],
    )


def values(head: bytes, name: str) -> Sequence[str]:
    lines = [line.partition(b": ") for line in head.split(b"\r\n")[1:]]
    return [text.decode() for key, _, text in lines if key.lower() == name.lower().encode()]


def status(octets: bytes) -> int:
    return int(octets.split(b" ", 2)[1])
