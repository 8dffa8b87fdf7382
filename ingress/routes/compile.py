"""The store -> the live tables, at the cost of what has changed.

    Ingress, IngressClass --read_claims--> claims --by host--> HostTable      (changes rarely)
    Service, EndpointSlice ------------------------by port--> Backend         (changes all the time)
    Secret ----------------------------------------by host--> Certificate

A changed Ingress recompiles the hosts it claims now and those it claimed before; a changed Service or slice only the
backends that name it; a changed Secret only the hosts that use it. `update(None)` looks at everything and returns only
what is different.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace as replaced
from itertools import chain

from msgspec.structs import replace

from ingress.routes.backends import backend_problems, compile_backend
from ingress.routes.certificates import compile_certificate, default_certificate
from ingress.routes.config import read_config
from ingress.routes.hosts import Compiled, compile_host, other_name, taken_name
from ingress.routes.model import (
    DATAGRAMS,
    EVERY_HOST,
    STREAM,
    Changes,
    Route,
    backend_key,
    split_key,
    variant_suffix,
)
from ingress.routes.rules import Claims, read_claims
from ingress.routes.streams import read_streams
from ingress.routes.tables import Owner, Tables, discard
from lb.cluster.objects import (
    ConfigMap,
    EndpointSlice,
    Ingress,
    IngressClass,
    Key,
    Namespace,
    Node,
    Object,
    Pod,
    Secret,
    Service,
)
from lb.cluster.problems import Problem
from lb.cluster.store import ObjectStore

KINDS: tuple[type[Object], ...] = (Ingress, IngressClass, Service, EndpointSlice, Secret, ConfigMap)
"""What the tables are made of."""
FOLDER_KINDS: tuple[type[Object], ...] = (*KINDS, Namespace, Node, Pod)
"""And those that matter sometimes: labels of namespaces, the zone of our own node, and Pods in a folder, where nobody
makes slices of them."""
DISPENSABLE: tuple[type[Object], ...] = (IngressClass, Node)
"""Those outside namespaces, which a Role cannot grant. Without classes, annotations say whose an Ingress is."""


class RoutingTable(Tables):
    """The live tables. One place asks it to `update`; others only read."""

    def update(self, keys: Sequence[Key] | None) -> Changes:
        """Bring the tables in line with the store for these keys (None: all); return what is different now."""
        return _Update(self).run(keys)

    def apart(self, store: ObjectStore) -> "RoutingTable":
        """An empty table that judges as this one does."""
        return RoutingTable(store, self.selection, names=self.around.names, defaults=self.defaults)


class _Update:
    """One pass over what is dirty: claims, then hosts, then the backends and certificates these led to."""

    def __init__(self, table: RoutingTable) -> None:
        self.table = table
        self.changes = table._untold
        self.ingresses: dict[Owner, None] = {}
        self.hosts: dict[str, None] = {}
        self.names: dict[str, None] = {}
        self.tls_hosts: dict[str, None] = {}
        self.backends: dict[str, None] = {}
        self.defaults_too = False
        self.streams_too = False

    def run(self, keys: Sequence[Key] | None) -> Changes:
        if keys is None:
            self._everything()
        else:
            for key in keys:
                self._dirty(key)
        if self.defaults_too:
            self._defaults()
        if self.streams_too:
            self._streams()
        for owner in self.ingresses:
            self._claims(owner)
        for host in self.hosts:
            if not _is_stream(host):
                self._host(host)
        for name in self.names:  # after the hosts that they stand for
            self._name(name)
        for backend in self.backends:
            self._backend(backend)
        for host in self.tls_hosts:
            self._certificate(host)
            self.names.update(self._names_of(host))
        for name in self.names:
            self._certificate(name)
        self.table._updated = True
        self.table._untold = Changes()
        return self.changes

    # -- what has to be looked at

    def _everything(self) -> None:
        table = self.table
        self.defaults_too = self.streams_too = True
        self.ingresses = dict.fromkeys([*table.claims, *table.refused, *self._stored_ingresses()])
        self.hosts = dict.fromkeys(table.hosts)
        table._variants.clear()  # filled again by what there is now
        self.tls_hosts = dict.fromkeys([*table._by_tls_host, EVERY_HOST])
        self.backends = dict.fromkeys(table.backends)
        self._zone()

    def _stored_ingresses(self) -> list[Owner]:
        return [(key.namespace, key.name) for key in self.table.store.keys(Ingress.KIND)]

    def _dirty(self, key: Key) -> None:
        owner = (key.namespace, key.name)
        if key in self.table._referrers:
            self.ingresses.update(dict.fromkeys(self.table._referrers[key]))
            self.table._treatments.forget(key)
        named = (self.table.defaults.backend, self.table.defaults.config_map)
        if owner in named or key in self.table._rest_references:
            self.defaults_too = True
        if key in (self.table.streams_key, self.table.datagrams_key):
            self.streams_too = True
        if owner == self.table.defaults.certificate:
            self.tls_hosts[EVERY_HOST] = None
        if key.kind == Ingress.KIND:
            self.ingresses[owner] = None
        elif key.kind == Namespace.KIND and self.table.selection.namespace_labels:
            self.ingresses.update((each, None) for each in self._stored_ingresses() if each[0] == key.name)
        elif key.kind == IngressClass.KIND:
            # Rare, and it may be the default: every Ingress is asked again whose it is.
            self.ingresses.update(dict.fromkeys(self._stored_ingresses()))
        elif key.kind == Service.KIND:  # the store marks the Service of a changed slice
            self.backends.update(dict.fromkeys(self.table._backends_of.get(owner, ())))
        elif key.kind == Pod.KIND and self.table.around.pods:
            for service, backends in self.table._backends_of.items():
                if service[0] == key.namespace and not self.table.store.slices_of(*service):
                    self.backends.update(dict.fromkeys(backends))
        elif key == Key(Node.KIND, "", self.table.defaults.here.node):
            self._zone()
        elif key.kind == Secret.KIND:
            self._secret(key)

    def _secret(self, key: Key) -> None:
        """It is another, or has been read: whose annotations name it are dirty as such."""
        self.table._pairs.forget(key, unless=self.table.store.find(key))
        for owner in self.table._users.get(key, ()):
            if owner in self.table._waiting:
                self.ingresses[owner] = None
            claims = self.table.claims.get(owner)
            if claims is not None and owner[0] == key.namespace:
                self.tls_hosts.update((host, None) for host, claim in claims.tls.items() if claim.secret == key.name)

    def _defaults(self) -> None:
        """What counts where an Ingress says nothing. If it is different now, every Ingress is read again."""
        table, fallback = self.table, ""
        if table.defaults.backend is not None:
            found = table.store.get(Service, *table.defaults.backend)
            if found is not None and found.spec.ports:
                fallback = backend_key(*table.defaults.backend, str(found.spec.ports[0].port))
        named = table.defaults.config_map
        config = read_config(table.store.get(ConfigMap, *named) if named else None)
        self._problems("config", config.problems)
        treatments = table.treatments(config.values, fallback)
        rest = table.rest(config, treatments)
        if rest != table._rest:
            self.hosts.update(dict.fromkeys([*table.hosts, EVERY_HOST]))
        elif config == table.config:
            return
        if config != table.config:
            table.config = self.changes.config = config
        table._rest = rest
        table._treatments = treatments
        self.ingresses.update(dict.fromkeys(self._stored_ingresses()))

    def _streams(self) -> None:
        """All of them: there are few."""
        table = self.table
        for kind, key in ((STREAM, table.streams_key), (DATAGRAMS, table.datagrams_key)):
            streams = read_streams(table.store.get(ConfigMap, key.namespace, key.name) if key else None, kind)
            self._problems(kind, streams.problems)
            before = [host for host in table.hosts if host.startswith(kind)]
            for host in dict.fromkeys([*before, *streams.tables]):
                self._take(host, Compiled(streams.tables.get(host), [], streams.variants))

    def _zone(self) -> None:
        """Of our own node. In another one every Service may have other endpoints."""
        here, problems = self.table.place()
        self._problems("zone", problems)
        if here != self.table.around.here:
            self.table.around = replaced(self.table.around, here=here)
            self.backends.update(dict.fromkeys(self.table.backends))

    # -- one Ingress

    def _claims(self, owner: Owner) -> None:
        table = self.table
        ingress = table.store.get(Ingress, *owner)
        before, now = table.claims.pop(owner, None), None
        table.refused.pop(owner, None)
        table._waiting.discard(owner)
        problems: tuple[Problem, ...] = ()
        references: frozenset[Key] = frozenset()
        if ingress is not None:
            reason = table.refusal(ingress)
            if reason:
                table.refused[owner] = reason
                problems = table.class_problem(ingress, reason)
            else:
                now = read_claims(ingress, table.treatment(ingress))
                if self._must_wait(owner, before, now):
                    return
                problems, references = now.problems, now.treatment.references
                if now.refused:
                    table.refused[owner], now = now.refused, None
                else:
                    table.claims[owner] = now
                    table.wants_tls = table.wants_tls or (now.title if now.wants_tls else "")
        table._want(owner, now.secrets if now else frozenset())
        self._problems(Key(Ingress.KIND, *owner), problems)
        self._refer(owner, references)
        for variant in now.treatment.variants if now else ():
            table._variants[variant.suffix] = variant
        for each, index, dirty in (
            ("hosts", table._by_host, self.hosts),
            ("other_names", table._by_name, self.names),
            ("tls", table._by_tls_host, self.tls_hosts),
        ):
            old: dict[str, object] = getattr(before, each) if before else {}
            new: dict[str, object] = getattr(now, each) if now else {}
            dirty.update(dict.fromkeys([*old, *new]))
            for host in old:
                discard(index, host, owner)
            for host in new:
                index.setdefault(host, set()).add(owner)

    def _must_wait(self, owner: Owner, before: Claims | None, now: Claims) -> bool:
        """Whether Secrets that its annotations name are being read: until then it stays what it was.

        At the very first there is nothing to stay, and who asks for an update waits for Secrets instead. For a TLS
        Secret nothing has to wait but the certificate.
        """
        table = self.table
        secrets = now.annotated_secrets
        if not table._updated or not secrets or now.refused:
            return False
        table._want(owner, now.secrets | (before.secrets if before else frozenset()))
        if table.store.wanted.coming.isdisjoint(secrets):
            return False
        table._waiting.add(owner)
        if before is not None:
            table.claims[owner] = before
        else:
            table.refused[owner] = "waits for its Secrets to be read"
        return True

    def _refer(self, owner: Owner, references: frozenset[Key]) -> None:
        """Note what the annotations of an Ingress refer to: when that changes, they are read again."""
        table = self.table
        before = table._references.pop(owner, frozenset())
        for key in before - references:
            discard(table._referrers, key, owner)
        for key in references - before:
            table._referrers.setdefault(key, set()).add(owner)
        if references:
            table._references[owner] = references

    # -- one host

    def _host(self, host: str) -> None:
        table = self.table
        self.names.update(self._names_of(host))
        if host in table._by_name and host not in table._by_host:
            self.names[host] = None
        else:
            self._take(host, compile_host(host, table.owners_of(host), table.defaults, rest=table._rest))

    def _names_of(self, host: str) -> dict[str, None]:
        """Further names of a host, which have what it has."""
        if not self.table._by_name:
            return {}
        return {name: None for owner in self.table.owners_of(host) for name in owner.other_names}

    def _name(self, name: str) -> None:
        """A name that Ingresses want beside those of their rules: those whose rules have it come first."""
        table = self.table
        owners = table._oldest_first(table._by_name.get(name, ()))
        holders = table.owners_of(name)
        self._problems(("name", name), [taken_name(name, owner, holders) for owner in owners] if holders else ())
        if not holders:
            self._take(name, other_name(name, owners, table.hosts))

    def _take(self, host: str, compiled: Compiled) -> None:
        table = self.table
        for variant in compiled.variants:
            table._variants[variant.suffix] = variant
        before, now = table.hosts.get(host), compiled.table
        known = {replace(route, id=0): route.id for route in before.routes} if before else {}
        routes = tuple(table._numbered(route, known) for route in now.routes) if now else ()
        self._problems(("host", host), compiled.problems)
        if now is not None:
            now = replace(now, routes=routes)
        if now == before:
            return
        self.changes.hosts[host] = now
        table.route_count += len(routes) - (len(before.routes) if before else 0)
        if now is None:
            del table.hosts[host]
        else:
            table.hosts[host] = now
        self._count_references(host, before.routes if before else (), routes)

    def _count_references(self, host: str, before: Iterable[Route], now: Iterable[Route]) -> None:
        table = self.table
        for route in before:
            for key in route.backends:
                table._routes_to.get(key, {}).pop(host, None)
                self.backends[key] = None
        for route in now:
            for key in route.backends:
                table._routes_to.setdefault(key, {}).setdefault(host, []).append(route)
                self.backends[key] = None

    # -- one backend

    def _backend(self, key: str) -> None:
        table = self.table
        before = table.backends.get(key)
        namespace, service, port = split_key(key)
        if not table._routes_to.get(key):
            table._routes_to.pop(key, None)
            discard(table._backends_of, (namespace, service), key)
            self._problems(("backend", key), ())
            if table.backends.pop(key, None) is not None:
                table._stands_for(key, before, None)
                self.changes.backends[key] = None
            return
        table._backends_of.setdefault((namespace, service), set()).add(key)
        variant = table._variants.get(variant_suffix(key))
        now = compile_backend(table.store, namespace, service, port, around=table.around, variant=variant)
        self._problems(("backend", key), backend_problems(now, chain(*table._routes_to[key].values())))
        if now != before:
            table._stands_for(key, before, now)
            table.backends[key] = now
            self.changes.backends[key] = now

    # -- one host's certificate

    def _certificate(self, host: str) -> None:
        table = self.table
        claims = table._oldest_first(table._by_tls_host.get(host, ()))
        if self._is_coming(host, claims):
            return  # once it has been read
        before = table.certificates.pop(host, None)
        now, problems = compile_certificate(host, claims, table.store, table._pairs)
        if now is None and host == EVERY_HOST and table.defaults.certificate:
            now, more = default_certificate(table.defaults.certificate, table.store)
            problems += more
        if not claims and host in table._by_name:
            now = table.shared_certificate(host)
        self._problems(("tls", host), problems)
        if now is not None:
            table.certificates[host] = now
        if now != before:
            self.changes.certificates[host] = now

    def _is_coming(self, host: str, claims: Sequence[Claims]) -> bool:
        """Whether a Secret with a certificate for that host is being read."""
        coming = self.table.store.wanted.coming
        if not coming:
            return False
        wanted = {Key(Secret.KIND, each.namespace, each.tls[host].secret) for each in claims}
        return not coming.isdisjoint(wanted | self.table._kept if host == EVERY_HOST else wanted)

    def _problems(self, origin: object, found: Iterable[Problem]) -> None:
        self.changes.new_problems.extend(self.table.problems.replace(origin, found))


def _is_stream(host: str) -> bool:
    return host.startswith((STREAM, DATAGRAMS))
