"""Redirects beside the paths of rules, as ingress-nginx has them: to the root of an application, to a path with "/"."""

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from ingress.filters.redirect import SlashSpecification
from ingress.routes.model import Route
from ingress.routes.rules import Claims
from ingress.routes.treatment import filter_lines


def redirects_beside(taken: Iterable[tuple[Route, Claims]]) -> list[Route]:
    """taken: the routes of a host, and whose they are. Returns more routes, for paths that nobody has."""
    taken = list(taken)
    there = {(route.path, route.exact) for route, _ in taken}
    found: dict[str, Route] = {}
    for route, owner in taken:
        wishes = owner.treatment.wishes
        if "app-root" in wishes.filters and ("/", True) not in there:
            # A rule of its own for "/" has the filter anyway; another's is for everything but "/" itself.
            root = filter_lines({"app-root": wishes.filters["app-root"], **_of_all(owner)})
            found.setdefault("/", replace(route, path="/", exact=True, filters=root, default=False, also=()))
        bare = route.path[:-1]
        if wishes.slash and bare and route.path.endswith("/") and not {(bare, True), (bare, False)} & there:
            slash = filter_lines({"slash": SlashSpecification(), **_of_all(owner)})
            found.setdefault(bare, replace(route, path=bare, exact=True, filters=slash, also=()))
    return list(found.values())


def _of_all(owner: Claims) -> dict[str, msgspec.Struct]:
    """What the operator says of every request."""
    filters = owner.treatment.wishes.filters
    return {name: filters[name] for name in ("told", "blocks") if name in filters}
