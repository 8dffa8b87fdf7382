"""The store -> the live tables, at the cost of what has changed.

    Ingress, IngressClass --read_claims--> claims --by host--> HostTable      (changes rarely)
    Service, EndpointSlice ------------------------by port--> Backend         (changes all the time)
    Secret ----------------------------------------by host--> Certificate

A changed Ingress recompiles the hosts it claims now and those it claimed before; a changed Service or slice only the
backends that name it; a changed Secret only the hosts that use it. `update(None)` looks at everything and returns only
what is different.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from msgspec.structs import replace

from ingress.routes.backends import Around, compile_backend
from ingress.routes.certificates import BadSecret, read_pair
from ingress.routes.classes import Selection, follows_nginx, is_strict, refusal
from ingress.routes.model import Backend, Certificate, Changes, HostTable, NameAnswer, Route, split_key
from ingress.routes.rules import Claims, PathClaim, read_claims
from ingress.routes.treatment import Treatment, Treatments
from lb.cluster.objects import ConfigMap, EndpointSlice, Ingress, IngressClass, Key, Object, Pod, Secret, Service
from lb.cluster.problems import Problem, Problems
from lb.cluster.store import ObjectStore

KINDS: tuple[type[Object], ...] = (Ingress, IngressClass, Service, EndpointSlice, Secret, ConfigMap)
"""What the tables are made of."""
FOLDER_KINDS: tuple[type[Object], ...] = (*KINDS, Pod)
"""And in a folder, where nobody makes slices of Pods."""

K = TypeVar("K")
M = TypeVar("M")

Owner = tuple[str, str]
"""Namespace and name of an Ingress, Service or Secret."""


class RoutingTable:
    """The live tables and what they were made from. One place asks it to `update`; others only read."""

    def __init__(
        self, store: ObjectStore, selection: Selection, *, names: Mapping[str, NameAnswer] | None = None
    ) -> None:
        """names: what is known of the names of ExternalName Services; whoever changes it marks their Services."""
        self.store = store
        self.around = Around({} if names is None else names, pods=selection.standalone)
        self.selection = selection
        self.hosts: dict[str, HostTable] = {}
        self.backends: dict[str, Backend] = {}
        self.certificates: dict[str, Certificate] = {}
        self.problems = Problems()
        self.claims: dict[Owner, Claims] = {}
        """What each Ingress that is ours asks for."""
        self.refused: dict[Owner, str] = {}
        """Why each other Ingress is not ours."""
        self._by_host: dict[str, set[Owner]] = {}
        self._by_tls_host: dict[str, set[Owner]] = {}
        self._routes_to: dict[str, dict[str, list[Route]]] = {}  # backend key -> host -> routes
        self._backends_of: dict[Owner, set[str]] = {}  # Service -> backend keys
        self._secret_hosts: dict[Owner, set[str]] = {}  # Secret -> hosts that ask for it
        self._referrers: dict[Key, set[Owner]] = {}  # what annotations refer to -> Ingresses
        self._references: dict[Owner, frozenset[Key]] = {}  # the reverse
        self._treatments = Treatments({}, store.get)
        self._last_route_id = 0

    def update(self, keys: Sequence[Key] | None) -> Changes:
        """Bring the tables in line with the store for these keys (None: all); return what is different now."""
        return _Update(self).run(keys)

    def ingress(self, namespace: str, name: str) -> Ingress | None:
        return self.store.get(Ingress, namespace, name)

    def refusal(self, ingress: Ingress) -> str:
        """Why an Ingress is not ours; "" if it is."""
        classes = self.store.all(IngressClass) if self.selection.standalone else ()
        return refusal(ingress, self._class, classes, self.selection)

    def treatment(self, ingress: Ingress) -> Treatment:
        """What the annotations of an Ingress come to, the ConfigMap being as it is now."""
        strict = is_strict(ingress, self._class)
        compat = not strict and follows_nginx(ingress, self._class, self.selection)
        return self._treatments.of(ingress, compat=compat, strict=strict)

    def _class(self, name: str) -> IngressClass | None:
        return self.store.get(IngressClass, "", name)

    def owners_of(self, host: str) -> list[Claims]:
        """The Ingresses that claim a host, the oldest first."""
        return self._oldest_first(self._by_host.get(host, ()))

    def external_names(self) -> set[str]:
        """The DNS names whose addresses the backends need."""
        return {backend.external for backend in self.backends.values() if backend.external}

    def services_named(self, name: str) -> list[Key]:
        """The ExternalName Services of a DNS name."""
        found = (backend for backend in self.backends.values() if backend.external == name)
        return list({Key(Service.KIND, each.namespace, each.service): None for each in found})

    def routes(self) -> Iterator[Route]:
        for table in self.hosts.values():
            yield from table.routes

    def _oldest_first(self, owners: Iterable[Owner]) -> list[Claims]:
        return sorted((self.claims[owner] for owner in owners), key=lambda claims: claims.age)

    def _numbered(self, route: Route, before: dict[Route, int]) -> Route:
        """Give a route its number: the one it had, or one that was never used."""
        number = before.get(route)
        if number is None:
            self._last_route_id += 1
            number = self._last_route_id
        return replace(route, id=number)


class _Update:
    """One pass over what is dirty: claims, then hosts, then the backends and certificates these led to."""

    def __init__(self, table: RoutingTable) -> None:
        self.table = table
        self.changes = Changes()
        self.ingresses: dict[Owner, None] = {}
        self.hosts: dict[str, None] = {}
        self.tls_hosts: dict[str, None] = {}
        self.backends: dict[str, None] = {}

    def run(self, keys: Sequence[Key] | None) -> Changes:
        if keys is None:
            self._everything()
        else:
            for key in keys:
                self._dirty(key)
        for owner in self.ingresses:
            self._claims(owner)
        for host in self.hosts:
            self._host(host)
        for backend in self.backends:
            self._backend(backend)
        for host in self.tls_hosts:
            self._certificate(host)
        return self.changes

    # -- what has to be looked at

    def _everything(self) -> None:
        table = self.table
        self.ingresses = dict.fromkeys([*table.claims, *table.refused, *self._stored_ingresses()])
        self.hosts = dict.fromkeys(table.hosts)
        self.tls_hosts = dict.fromkeys(table._by_tls_host)
        self.backends = dict.fromkeys(table.backends)

    def _stored_ingresses(self) -> list[Owner]:
        return [(key.namespace, key.name) for key in self.table.store.keys(Ingress.KIND)]

    def _dirty(self, key: Key) -> None:
        owner = (key.namespace, key.name)
        self.ingresses.update(dict.fromkeys(self.table._referrers.get(key, ())))
        if key.kind == Ingress.KIND:
            self.ingresses[owner] = None
        elif key.kind == IngressClass.KIND:
            # Rare, and it may be the default: every Ingress is asked again whose it is.
            self.ingresses.update(dict.fromkeys(self._stored_ingresses()))
        elif key.kind == Service.KIND:  # the store marks the Service of a changed slice
            self.backends.update(dict.fromkeys(self.table._backends_of.get(owner, ())))
        elif key.kind == Pod.KIND and self.table.around.pods:
            for service, backends in self.table._backends_of.items():
                if service[0] == key.namespace and not self.table.store.slices_of(*service):
                    self.backends.update(dict.fromkeys(backends))
        elif key.kind == Secret.KIND:
            self.tls_hosts.update(dict.fromkeys(self.table._secret_hosts.get(owner, ())))

    # -- one Ingress

    def _claims(self, owner: Owner) -> None:
        table = self.table
        ingress = table.store.get(Ingress, *owner)
        before, now = table.claims.pop(owner, None), None
        table.refused.pop(owner, None)
        problems: tuple[Problem, ...] = ()
        references: frozenset[Key] = frozenset()
        if ingress is not None:
            reason = table.refusal(ingress)
            if reason:
                table.refused[owner] = reason
                problems = self._class_problem(ingress, reason)
            else:
                now = read_claims(ingress, table.treatment(ingress))
                problems, references = now.problems, now.treatment.references
                if now.treatment.wishes.refused:
                    table.refused[owner], now = now.treatment.wishes.refused, None
                else:
                    table.claims[owner] = now
        self._problems(Key(Ingress.KIND, *owner), problems)
        self._refer(owner, references)
        for each, index, dirty in (("hosts", table._by_host, self.hosts), ("tls", table._by_tls_host, self.tls_hosts)):
            old: dict[str, object] = getattr(before, each) if before else {}
            new: dict[str, object] = getattr(now, each) if now else {}
            dirty.update(dict.fromkeys([*old, *new]))
            for host in old:
                _discard(index, host, owner)
            for host in new:
                index.setdefault(host, set()).add(owner)
        for host, claim in (before.tls if before else {}).items():
            self._forget_secret((owner[0], claim.secret), host)
        for host, claim in (now.tls if now else {}).items():
            table._secret_hosts.setdefault((owner[0], claim.secret), set()).add(host)

    def _refer(self, owner: Owner, references: frozenset[Key]) -> None:
        """Note what the annotations of an Ingress refer to: when that changes, they are read again."""
        table = self.table
        before = table._references.pop(owner, frozenset())
        for key in before - references:
            _discard(table._referrers, key, owner)
        for key in references - before:
            table._referrers.setdefault(key, set()).add(owner)
        if references:
            table._references[owner] = references

    def _class_problem(self, ingress: Ingress, reason: str) -> tuple[Problem, ...]:
        """In a folder a class that is not there is a slip of the pen; in a cluster it may be anybody's business."""
        name = ingress.spec.ingress_class_name
        if not self.table.selection.standalone or not name or self.table.store.get(IngressClass, "", name):
            return ()
        there = ", ".join(sorted(each.metadata.name for each in self.table.store.all(IngressClass)))
        title = f"Ingress {ingress.metadata.namespace}/{ingress.metadata.name}"
        return (Problem(title, "spec.ingressClassName", f"it {reason}, so it is not served", f"there is: {there}"),)

    def _forget_secret(self, secret: Owner, host: str) -> None:
        """Unless another Ingress of the namespace uses the same Secret for the same host."""
        table = self.table
        for owner in table._by_tls_host.get(host, ()):
            claim = table.claims[owner].tls.get(host)
            if owner[0] == secret[0] and claim is not None and claim.secret == secret[1]:
                return
        _discard(table._secret_hosts, secret, host)

    # -- one host

    def _host(self, host: str) -> None:
        table = self.table
        before = table.hosts.get(host)
        known = {replace(route, id=0): route.id for route in before.routes} if before else {}
        owners = table.owners_of(host)
        chosen, problems = compile_host(host, owners)
        routes = tuple(table._numbered(route, known) for route in chosen)
        self._problems(("host", host), problems)
        now = HostTable(host, routes) if owners else None
        if now == before:
            return
        self.changes.hosts[host] = now
        if now is None:
            del table.hosts[host]
        else:
            table.hosts[host] = now
        self._count_references(host, before.routes if before else (), routes)

    def _count_references(self, host: str, before: Iterable[Route], now: Iterable[Route]) -> None:
        table = self.table
        for route in before:
            table._routes_to.get(route.backend, {}).pop(host, None)
            self.backends[route.backend] = None
        for route in now:
            table._routes_to.setdefault(route.backend, {}).setdefault(host, []).append(route)
            self.backends[route.backend] = None

    # -- one backend

    def _backend(self, key: str) -> None:
        table = self.table
        before = table.backends.get(key)
        namespace, service, port = split_key(key)
        if not table._routes_to.get(key):
            table._routes_to.pop(key, None)
            _discard(table._backends_of, (namespace, service), key)
            self._problems(("backend", key), ())
            if table.backends.pop(key, None) is not None:
                self.changes.backends[key] = None
            return
        table._backends_of.setdefault((namespace, service), set()).add(key)
        now = compile_backend(table.store, namespace, service, port, around=table.around)
        self._problems(("backend", key), _backend_problems(now, table._routes_to[key]))
        if now != before:
            table.backends[key] = now
            self.changes.backends[key] = now

    # -- one host's certificate

    def _certificate(self, host: str) -> None:
        table = self.table
        before = table.certificates.pop(host, None)
        claims = table._oldest_first(table._by_tls_host.get(host, ()))
        now, problems = compile_certificate(host, claims, table.store)
        self._problems(("tls", host), problems)
        if now is not None:
            table.certificates[host] = now
        if now != before:
            self.changes.certificates[host] = now

    def _problems(self, origin: object, found: Iterable[Problem]) -> None:
        self.changes.new_problems.extend(self.table.problems.replace(origin, found))


def compile_host(host: str, owners: Sequence[Claims]) -> tuple[list[Route], list[Problem]]:
    """The routes of one host from everybody who claims it, the oldest first: the first to ask for a path has it.

    A default backend comes after every rule: it takes "/" if no rule of anybody does. Routes are not numbered yet.
    """
    taken: dict[tuple[str, bool], Route] = {}
    problems: list[Problem] = []
    for defaults in (False, True):
        for owner in owners:
            for claim in owner.hosts[host]:
                if claim.default != defaults:
                    continue
                holder = taken.setdefault((claim.path, claim.exact), _route(host, owner, claim))
                if holder.field == claim.field and holder.ingress == owner.title:
                    continue
                if not claim.default or (holder.default and holder.ingress != owner.title):
                    problems.append(_taken(host, owner, claim, holder))
    return list(taken.values()), problems


def compile_certificate(
    host: str, owners: Sequence[Claims], store: ObjectStore
) -> tuple[Certificate | None, list[Problem]]:
    """The certificate of one host: the oldest Ingress's whose Secret holds one. None: the default certificate."""
    chosen: Certificate | None = None
    problems: list[Problem] = []
    for owner in owners:
        claim = owner.tls[host]
        title, secret = f"Ingress {owner.title}", f"{owner.namespace}/{claim.secret}"
        if chosen is not None:
            if chosen.secret != secret:
                reason = (
                    f"{host or 'every host'} already shows the certificate of Secret {chosen.secret} (older Ingress)"
                )
                problems.append(Problem(title, claim.field, reason, "use one Secret for one host"))
            continue
        found = store.get(Secret, owner.namespace, claim.secret)
        if found is None:
            reason = f"Secret {secret} does not exist; {host or 'every host'} shows the default certificate"
            problems.append(Problem(title, claim.field, reason, "create it, type kubernetes.io/tls"))
            continue
        try:
            chosen = Certificate(host, secret, *read_pair(found))
        except BadSecret as error:
            reason = f"Secret {secret} cannot be used: {error}"
            advice = f"kubectl -n {owner.namespace} create secret tls {claim.secret} --cert=FILE --key=FILE"
            problems.append(Problem(title, claim.field, reason, advice))
    return chosen, problems


def _route(host: str, owner: Claims, claim: PathClaim) -> Route:
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
        treatment.filters,
        treatment.options,
    )


def _taken(host: str, owner: Claims, claim: PathClaim, holder: Route) -> Problem:
    what = f"{'Exact' if claim.exact else 'Prefix'} {claim.path} of {host or 'every host'}"
    if claim.default:
        what = f"the default backend of {host or 'every host'}"
    if holder.ingress == owner.title:
        reason, advice = f"{what} is there twice; {holder.field} is used", "remove one of the two"
    else:
        reason = f"{what} already belongs to Ingress {holder.ingress} ({holder.field}), which is older"
        advice = "change host or path, or remove one of the two"
    return Problem(f"Ingress {owner.title}", claim.field, reason, advice)


def _backend_problems(backend: Backend, routes: dict[str, list[Route]]) -> list[Problem]:
    """One for every place that names a backend which cannot be."""
    if not backend.wrong:
        return []
    found: dict[Problem, None] = {}
    for each in routes.values():
        for route in each:
            field = route.field if route.default else f"{route.field}.backend"
            reason = f"{backend.wrong}; requests get 503"
            found[Problem(f"Ingress {route.ingress}", f"{field}.service", reason, backend.advice)] = None
    return list(found)


def _discard(index: dict[K, set[M]], name: K, member: M) -> None:
    """Take a member out of a set of an index, and the set with its last member."""
    members = index.get(name)
    if members is not None:
        members.discard(member)
        if not members:
            del index[name]
