"""The live tables, and what they were made from: indexes from objects to what depends on them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from msgspec.structs import replace

from ingress.routes.annotations import PREFIXES
from ingress.routes.annotations.reader import TRUE
from ingress.routes.backends import Around
from ingress.routes.certificates import Pairs
from ingress.routes.classes import Selection, follows_nginx, is_strict, refusal
from ingress.routes.model import (
    Backend,
    Certificate,
    Changes,
    Config,
    Defaults,
    HostTable,
    NameAnswer,
    Rest,
    Route,
    Variant,
    split_key,
)
from ingress.routes.rules import Claims
from ingress.routes.selectors import fits
from ingress.routes.treatment import Treatment, Treatments
from lb.cluster.objects import ConfigMap, Ingress, IngressClass, Key, Namespace, Node, Secret, Service
from lb.cluster.problems import Problem, Problems
from lb.cluster.store import ObjectStore
from lb.endpoints import ZONE_LABEL, Here

NO_DEFAULTS = Defaults()

K = TypeVar("K")
M = TypeVar("M")

Owner = tuple[str, str]
"""Namespace and name of an Ingress, Service or Secret."""


class Tables:
    """Read by everybody; brought up to date by compile.py alone."""

    def __init__(
        self,
        store: ObjectStore,
        selection: Selection,
        *,
        names: Mapping[str, NameAnswer] | None = None,
        defaults: Defaults = NO_DEFAULTS,
    ) -> None:
        """names: what is known of the names of ExternalName Services; whoever changes it marks their Services."""
        self.store = store
        self.around = Around(
            {} if names is None else names,
            pods=selection.standalone,
            external_names=defaults.external_names,
            here=defaults.here,
        )
        self.selection = selection
        self.defaults = defaults
        named = defaults.tcp_services
        self.streams_key = Key(ConfigMap.KIND, *named) if named else None
        """The ConfigMap of streams."""
        named = defaults.udp_services
        self.datagrams_key = Key(ConfigMap.KIND, *named) if named else None
        self.hosts: dict[str, HostTable] = {}
        self.backends: dict[str, Backend] = {}
        self.certificates: dict[str, Certificate] = {}
        self.problems = Problems()
        self.claims: dict[Owner, Claims] = {}
        """What each Ingress that is ours asks for."""
        self.refused: dict[Owner, str] = {}
        """Why each other Ingress is not ours."""
        self._by_host: dict[str, set[Owner]] = {}
        self._by_name: dict[str, set[Owner]] = {}  # aliases and the like
        self._by_tls_host: dict[str, set[Owner]] = {}
        self._routes_to: dict[str, dict[str, list[Route]]] = {}  # backend key -> host -> routes
        self._backends_of: dict[Owner, set[str]] = {}  # Service -> backend keys
        self._secrets_of: dict[Owner, frozenset[Key]] = {}  # Ingress -> Secrets that it needs
        self._users: dict[Key, set[Owner]] = {}  # the reverse
        self._waiting: set[Owner] = set()  # Ingresses that stay as they were until their Secrets are read
        self._pairs = Pairs()
        self._updated = False  # at least once
        self._referrers: dict[Key, set[Owner]] = {}  # what annotations refer to -> Ingresses
        self._references: dict[Owner, frozenset[Key]] = {}  # the reverse
        self._treatments = self.treatments({}, "")
        self.config = Config()
        self._rest = Rest()
        self._rest_references: frozenset[Key] = frozenset()
        self._variants: dict[str, Variant] = {}  # by suffix
        self._external: dict[str, set[str]] = {}  # DNS name -> keys of the backends that stand for it
        self.route_count = 0
        self.wants_tls = ""
        """The first Ingress that has asked for TLS."""
        self._last_route_id = 0
        self._kept = frozenset({Key(Secret.KIND, *defaults.certificate)} if defaults.certificate else ())
        for key in self._kept:
            store.wanted.want(key)
        self._untold = Changes()  # what is being changed; of a pass that failed, it is told with the next

    def ingress(self, namespace: str, name: str) -> Ingress | None:
        return self.store.get(Ingress, namespace, name)

    def refusal(self, ingress: Ingress) -> str:
        """Why an Ingress is not ours; "" if it is."""
        wanted = self.selection.namespace_labels
        if wanted:
            namespace = self.store.get(Namespace, "", ingress.metadata.namespace)
            if namespace is None or not fits(wanted, namespace.labels):
                return "is in a namespace without the labels that are watched"
        classes = self.store.all(IngressClass) if self.selection.standalone else ()
        return refusal(ingress, self._class, classes, self.selection)

    def class_problem(self, ingress: Ingress, reason: str) -> tuple[Problem, ...]:
        """In a folder a class that is not there is a slip of the pen; in a cluster it may be anybody's business."""
        name = ingress.spec.ingress_class_name
        if not self.selection.standalone or not name or self.store.get(IngressClass, "", name):
            return ()
        there = ", ".join(sorted(each.metadata.name for each in self.store.all(IngressClass)))
        title = f"Ingress {ingress.metadata.namespace}/{ingress.metadata.name}"
        return (Problem(title, "spec.ingressClassName", f"it {reason}, so it is not served", f"there is: {there}"),)

    def treatment(self, ingress: Ingress) -> Treatment:
        """What the annotations of an Ingress come to, the ConfigMap being as it is now."""
        strict = is_strict(ingress, self._class)
        prefix = self.defaults.prefix or PREFIXES[1]
        compat = not strict and follows_nginx(ingress, self._class, self.selection, prefix=prefix)
        return self._treatments.of(ingress, compat=compat, strict=strict)

    def treatments(self, config: Mapping[str, str], fallback: str) -> Treatments:
        """What reads annotations; config: what counts behind them, fallback: key of the default backend."""
        prefixes = (PREFIXES[0], self.defaults.prefix) if self.defaults.prefix else PREFIXES
        return Treatments(
            config,
            self.store.get,
            prefixes=prefixes,
            default_backend=fallback,
            extensions=self.defaults.extensions,
            https_port=self.defaults.https_port,
        )

    def rest(self, config: Config, treatments: Treatments) -> Rest:
        """What requests get that no rule takes. In a cluster, the controller's ConfigMap stands for ingress-nginx's."""
        compat = self.defaults.config_map is not None and not self.selection.standalone
        treated = treatments.of_rest(compat=compat)
        self._rest_references = treated.references
        return Rest(
            treatments.default_backend,
            logged=config.values.get("enable-access-log-for-default-backend", "") in TRUE,
            healthy=self.defaults.health_path,
            filters=treated.filters,
            options=treated.options,
        )

    def _class(self, name: str) -> IngressClass | None:
        return self.store.get(IngressClass, "", name)

    def place(self) -> tuple[Here, list[Problem]]:
        """Where we are, if hints of endpoints are followed: the node that flags name, and its zone."""
        here = self.defaults.here
        if not here.node or here.zone:
            return here, []
        node = self.store.get(Node, "", here.node)
        zone = node.labels.get(ZONE_LABEL, "") if node else ""
        if zone:
            return Here(here.node, zone), []
        reason = "it has no zone" if node else "it does not exist, or cannot be read"
        advice = f"label it {ZONE_LABEL}, or give --zone; until then endpoints of all zones are used"
        return here, [Problem(f"Node {here.node}", "metadata.labels", reason, advice)]

    def neighbours(self, claims: Claims) -> set[Owner]:
        """The Ingresses that claim a name which these claims speak of."""
        names = {*claims.hosts, *claims.other_names, *claims.tls}
        indexes = (self._by_host, self._by_name, self._by_tls_host)
        return {owner for index in indexes for name in names for owner in index.get(name, ())}

    def owners_of(self, host: str) -> list[Claims]:
        """The Ingresses that claim a host, the oldest first."""
        return self._oldest_first(self._by_host.get(host, ()))

    def shared_certificate(self, name: str) -> Certificate | None:
        """A name beside those of the rules shows the certificate of the host it stands for."""
        owner = self._oldest_first(self._by_name[name])[0]
        found = self.certificates.get(owner.other_names[name])
        return replace(found, host=name) if found else None

    def keys(self) -> list[Key]:
        """Everything that the tables are made of, or were made of."""
        found = {key: None for kind in (Ingress, Service, Secret) for key in self.store.keys(kind.KIND)}
        for cls, owners in ((Ingress, self.claims), (Ingress, self.refused), (Service, self._backends_of)):
            found.update((Key(cls.KIND, *owner), None) for owner in owners)
        return list(found | dict.fromkeys(self._users))

    def external_names(self) -> set[str]:
        """The DNS names whose addresses the backends need."""
        return set(self._external)

    def services_named(self, name: str) -> list[Key]:
        """The ExternalName Services of a DNS name."""
        owners = {split_key(key)[:2]: None for key in sorted(self._external.get(name, ()))}
        return [Key(Service.KIND, *owner) for owner in owners]

    def _stands_for(self, key: str, before: Backend | None, now: Backend | None) -> None:
        """Note which DNS name a backend stands for."""
        if before is not None and before.external:
            discard(self._external, before.external, key)
        if now is not None and now.external:
            self._external.setdefault(now.external, set()).add(key)

    def routes(self) -> Iterator[Route]:
        for table in self.hosts.values():
            yield from table.routes

    def _oldest_first(self, owners: Iterable[Owner]) -> list[Claims]:
        return sorted((self.claims[owner] for owner in owners), key=lambda claims: claims.age)

    def _want(self, owner: Owner, secrets: frozenset[Key]) -> None:
        """Have the Secrets read that an Ingress needs, and let go of those that nobody needs any more."""
        before = self._secrets_of.pop(owner, frozenset())
        if secrets:
            self._secrets_of[owner] = secrets
        for key in secrets - before:
            self._users.setdefault(key, set()).add(owner)
            self.store.wanted.want(key)
        for key in before - secrets:
            discard(self._users, key, owner)
            if key not in self._users and key not in self._kept:
                self.store.wanted.release(key)
                self._pairs.forget(key)

    def _numbered(self, route: Route, before: dict[Route, int]) -> Route:
        """Give a route its number: the one it had, or one that was never used."""
        number = before.get(route)
        if number is None:
            self._last_route_id += 1
            number = self._last_route_id
        return replace(route, id=number)


def discard(index: dict[K, set[M]], name: K, member: M) -> None:
    """Take a member out of a set of an index, and the set with its last member."""
    members = index.get(name)
    if members is not None:
        members.discard(member)
        if not members:
            del index[name]
