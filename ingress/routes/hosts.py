"""Everybody who claims a host, the oldest first -> the table of the host: who has which path, who is whose canary."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from ingress.filters.affinity import AffinitySpecification
from ingress.filters.certificate import CertificateSpecification
from ingress.routes.annotations.wishes import ClientAuthWish
from ingress.routes.beside import redirects_beside
from ingress.routes.model import (
    EVERY_HOST,
    VARIANT_MARK,
    Defaults,
    HostTable,
    Rest,
    Route,
    Variant,
    backend_key,
    split_key,
)
from ingress.routes.patterns import has_patterns, order_patterns
from ingress.routes.rules import Claims, PathClaim
from ingress.routes.treatment import Treatment, variant_of, with_filter
from lb.cluster.problems import Problem

FALLBACK_FIELD = "--default-backend-service"
NO_REST = Rest()
CANARY_FIELDS = ("algorithm", "load_bound", "hash_by")
"""Of the annotations of a canary these count, beside its own; for the others those of the main Ingress do."""

Taken = dict[tuple[str, bool], tuple[Route, Claims]]
"""Path and exact -> who has it."""


class Compiled(NamedTuple):
    """A host's table, None if nobody serves the host; routes are not numbered yet."""

    table: HostTable | None
    problems: list[Problem]
    variants: list[Variant]
    """Of backends that no Ingress names as they are."""


def compile_host(host: str, owners: Sequence[Claims], defaults: Defaults, *, rest: Rest = NO_REST) -> Compiled:
    """The first to ask for a path has it. Canaries have none: they join those who do.

    A default backend comes after every rule: it takes "/" if no rule of anybody does, and then the rest does.
    """
    mains = [each for each in owners if each.treatment.wishes.canary is None]
    canaries = [each for each in owners if each.treatment.wishes.canary is not None]
    taken: Taken = {}
    problems = _share_out(host, mains, taken)
    variants: list[Variant] = []
    for each in canaries:
        problems += _join(host, each, taken, variants)
    beside = redirects_beside(taken.values())
    if rest.backend and (mains or host == EVERY_HOST) and ("/", False) not in taken:
        beside.append(_fallback(host, rest))
    healthy = rest.healthy if host == EVERY_HOST else ""
    told = rest if (rest.filters or rest.options) and not rest.backend and ("/", False) not in taken else None
    if not mains and not beside and not healthy and not (told and host == EVERY_HOST):
        return Compiled(None, problems, variants)
    auth, more = _client_auth(host, mains)
    routes = (*(route for route, _ in taken.values()), *beside)
    patterns = order_patterns(host, taken.values(), beside) if any(map(has_patterns, mains)) else ()
    passthrough = _passthrough(host, mains, taken)
    if passthrough and not defaults.passthrough:
        problems += [_not_passed(each) for each in mains if each.treatment.wishes.passthrough]
        passthrough = ""
    table = HostTable(host, routes, passthrough=passthrough, healthy=healthy, rest=told, patterns=patterns)
    table = replace(table, ciphers=next((each for each in map(_ciphers, mains) if each), ""))
    return Compiled(_asking(table, auth) if auth else table, problems + more, variants)


def _fallback(host: str, rest: Rest) -> Route:
    """To the backend of those who have none."""
    options = rest.options if rest.logged else (*rest.options, ("log", False))
    return Route(
        0, host, "/", False, rest.backend, "", FALLBACK_FIELD, default=True, filters=rest.filters, options=options
    )


def _share_out(host: str, owners: Sequence[Claims], taken: Taken) -> list[Problem]:
    problems: list[Problem] = []
    secured = any(host in owner.secured for owner in owners)
    for defaults in (False, True):
        for owner in owners:
            for claim in owner.hosts[host]:
                if claim.default != defaults:
                    continue
                route = _route(host, owner, claim, secured=secured)
                holder, _ = taken.setdefault((claim.path, claim.exact), (route, owner))
                if holder is route:
                    continue
                if not claim.default or (holder.default and holder.ingress != owner.title):
                    problems.append(_lost(host, owner, claim, holder))
    return problems


def _route(host: str, owner: Claims, claim: PathClaim, *, secured: bool) -> Route:
    treatment = owner.treatment
    return Route(
        0,
        host,
        claim.path,
        claim.exact,
        claim.backend,
        owner.title,
        claim.field,
        claim.default,
        treatment.tls_filters if secured else treatment.filters,
        treatment.options,
        _also(claim, treatment),
    )


def _also(claim: PathClaim, treatment: Treatment) -> tuple[str, ...]:
    """Backends that filters may choose beside the rule's own."""
    if treatment.secure is None:
        return treatment.also
    return (*treatment.also, claim.backend.partition(VARIANT_MARK)[0] + treatment.secure.suffix)


def _lost(host: str, owner: Claims, claim: PathClaim, holder: Route) -> Problem:
    what = _called(host, claim)
    if holder.ingress == owner.title:
        reason, advice = f"{what} is there twice; {holder.field} is used", "remove one of the two"
    else:
        reason = f"{what} already belongs to Ingress {holder.ingress} ({holder.field}), which is older"
        advice = "change host or path, or remove one of the two"
    return Problem(f"Ingress {owner.title}", claim.field, reason, advice)


def _called(host: str, claim: PathClaim) -> str:
    if claim.default:
        return f"the default backend of {host or 'every host'}"
    return f"{'Exact' if claim.exact else 'Prefix'} {claim.path} of {host or 'every host'}"


# -- canaries


def _join(host: str, owner: Claims, taken: Taken, variants: list[Variant]) -> list[Problem]:
    """Make an Ingress the alternative of those who have its paths."""
    problems: list[Problem] = []
    wish = owner.treatment.wishes.canary
    assert wish is not None
    for claim in owner.hosts[host]:
        holder, main = taken.get((claim.path, claim.exact), (None, None))
        what = _called(host, claim)
        if holder is None or main is None:
            reason = f"it is a canary, and no other Ingress has {what}"
            advice = "write the same host, path and pathType as the Ingress it stands in for"
        elif split_key(claim.backend) == split_key(holder.backend):
            reason = f"it is a canary for {what} with the very backend of Ingress {holder.ingress}"
            advice = "name the Service of the new version"
        elif any(name == "canary" for name, _ in holder.filters):
            reason = f"{what} of Ingress {holder.ingress} has a canary already"
            advice = "one canary for each rule: remove one of the two"
        else:
            key, variant = _alternative(claim, owner, main)
            if variant is not None:
                variants.append(variant)
            specification = {"backend": key, "session": _session(main), **msgspec.structs.asdict(wish)}
            filters = with_filter(holder.filters, "canary", specification)
            taken[claim.path, claim.exact] = replace(holder, filters=filters, also=(*holder.also, key)), main
            continue
        problems.append(Problem(f"Ingress {owner.title}", claim.field, f"{reason}; it has no effect", advice))
    return problems


def _alternative(claim: PathClaim, owner: Claims, main: Claims) -> tuple[str, Variant | None]:
    """The canary's backend, treated as its main's."""
    spec: dict[str, Any] = dict(main.treatment.variant.spec) if main.treatment.variant else {}
    own: Mapping[str, Any] = owner.treatment.variant.spec if owner.treatment.variant and not _session(main) else {}
    spec |= {name: value for name, value in own.items() if name in CANARY_FIELDS}
    variant = variant_of(spec, cluster_ip=main.treatment.wishes.service_upstream)
    key = backend_key(*split_key(claim.backend))
    return (key + variant.suffix, variant) if variant else (key, None)


def _session(main: Claims) -> str:
    """The cookie by which clients stay with an endpoint."""
    found = main.treatment.wishes.filters.get("affinity")
    return found.cookie if isinstance(found, AffinitySpecification) else ""


# -- what holds for the whole host


def _client_auth(host: str, owners: Sequence[Claims]) -> tuple[ClientAuthWish | None, list[Problem]]:
    """What the oldest Ingress that asks for client certificates asks for."""
    asking = [each for each in owners if each.treatment.wishes.client_auth is not None]
    if not asking:
        return None, []
    first = asking[0].treatment.wishes.client_auth
    assert first is not None
    problems = [
        Problem(
            f"Ingress {each.title}",
            "metadata.annotations",
            f"what clients of {host or 'every host'} must show is said by Ingress {asking[0].title}, which is older",
            "write the same auth-tls annotations on both",
        )
        for each in asking[1:]
        if each.treatment.wishes.client_auth != first
    ]
    return first, problems


def _asking(table: HostTable, wish: ClientAuthWish) -> HostTable:
    """The host with what it asks of its clients: the engine sees that certificates are valid, a filter whose they are.

    The filter is on every route, whichever Ingress has it: there is no other way into the host.
    """
    asked = msgspec.structs.asdict(wish)
    del asked["match_cn"]
    if wish.ca_pem and not wish.match_cn:
        return replace(table, client_auth=asked)
    closed = not wish.ca_pem
    specification = CertificateSpecification("" if closed else wish.match_cn, closed)
    routes = tuple(
        replace(each, filters=with_filter(each.filters, "certificate", specification)) for each in table.routes
    )
    return replace(table, routes=routes, client_auth=None if closed else asked)


def _ciphers(owner: Claims) -> str:
    return owner.treatment.wishes.ciphers


def _passthrough(host: str, owners: Sequence[Claims], taken: Taken) -> str:
    """Whose TLS it is: the first path's backend of the oldest Ingress that asks for it."""
    for owner in owners:
        if owner.treatment.wishes.passthrough and host:
            own = [route.backend for route, holder in taken.values() if holder is owner]
            if own:
                return own[0]
    return ""


def _not_passed(owner: Claims) -> Problem:
    reason = "TLS is not handed through without --enable-ssl-passthrough; the host is served as any other"
    return Problem(f"Ingress {owner.title}", "metadata.annotations", reason, "give the flag, or remove ssl-passthrough")


def taken_name(name: str, owner: Claims, holders: Sequence[Claims]) -> Problem:
    """An Ingress wants a name beside those of its rules that is the host of another."""
    reason = f"{name} is a host of Ingress {holders[0].title}, so it does not stand for {owner.other_names[name]}"
    return Problem(f"Ingress {owner.title}", "metadata.annotations", reason, "leave it out")


def other_name(name: str, owners: Sequence[Claims], tables: Mapping[str, HostTable]) -> Compiled:
    """The table of a name that no rule has: an alias of a host, or one that is redirected to it."""
    if not owners:
        return Compiled(None, [], [])
    owner = owners[0]
    source = owner.other_names[name]
    table = tables.get(source)
    problems = [
        Problem(
            f"Ingress {each.title}",
            "metadata.annotations",
            f"{name} already stands for {source} of Ingress {owner.title}, which is older",
            "give each name to one host",
        )
        for each in owners[1:]
        if each.other_names[name] != source
    ]
    if table is None or not table.routes:
        return Compiled(None, problems, [])
    if name in owner.treatment.wishes.aliases:
        routes = tuple(replace(route, host=name, id=0) for route in table.routes)
        return Compiled(replace(table, host=name, routes=routes), problems, [])
    first = table.routes[0]
    filters = with_filter((), "www", {"host": source, "status": owner.treatment.wishes.www_status})
    route = Route(0, name, "/", False, first.backend, owner.title, "metadata.annotations", filters=filters)
    return Compiled(HostTable(name, (route,)), problems, [])
