"""Typed access to the annotations of one Ingress, the ConfigMap behind them. What is wrong is a Problem."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

import msgspec

from ingress.routes.model import backend_key
from lb.cluster.objects import ConfigMap, Ingress, Key, Object, Secret, Service, UnreadSecret
from lb.cluster.problems import Problem

PREFIXES = ("causeway.dev/", "nginx.ingress.kubernetes.io/")
"""Ours counts before ingress-nginx's where both are given."""

AnyObject = TypeVar("AnyObject", bound=Object)
T = TypeVar("T")

TRUE = ("1", "t", "T", "true", "TRUE", "True")
FALSE = ("0", "f", "F", "false", "FALSE", "False")
"""As Go's strconv.ParseBool."""

_SIZE = re.compile(r"([0-9]+)([kKmMgG]?)")
_UNIT = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

NO_EXTENSIONS: Mapping[str, type[msgspec.Struct]] = MappingProxyType({})

Find = Callable[[type[Object], str, str], Object | None]


class Reader:
    """Reads by plain name, "enable-cors", whichever prefix it is written with; `config` are ConfigMap keys.

    A value that makes no sense is a Problem, and the default counts, as with ingress-nginx; where that would open what
    was meant to be closed, a group says so with `wishes.closed`.
    """

    def __init__(
        self,
        ingress: Ingress,
        config: Mapping[str, str],
        find: Find,
        *,
        prefixes: tuple[str, ...] = PREFIXES,
        compat: bool = True,
        default_backend: str = "",
        extensions: Mapping[str, type[msgspec.Struct]] = NO_EXTENSIONS,
        https_port: int = 443,
    ) -> None:
        self.ingress = ingress
        self.config = config
        self.compat = compat
        """Where ingress-nginx departs from the Ingress specification, it is followed. An Ingress without annotations
        of ours is read for all such: then look at nothing else of it than whether `spec.tls` is empty."""
        self.default_backend = default_backend
        """Key of the backend of --default-backend-service; "" if there is none."""
        self.extensions = extensions
        """Filters of other packages that the operator allows -> what they are told."""
        self.https_port = https_port
        """Where TLS is listened for."""
        self.problems: list[Problem] = []
        self.references: set[Key] = set()
        """Secrets, ConfigMaps and Services whose change changes what the annotations mean; also missing ones."""
        self._find = find
        self._values: dict[str, str] = {}
        self._spelled: dict[str, str] = {}
        self._prefixes = prefixes
        for prefix in reversed(prefixes):
            for key, value in ingress.annotations.items():
                if key.startswith(prefix):
                    self._values[key[len(prefix) :]] = value
                    self._spelled[key[len(prefix) :]] = key

    @property
    def names(self) -> list[str]:
        """Every annotation of ours that is there."""
        return list(self._values)

    @property
    def title(self) -> str:
        """ "shop/web"."""
        return f"{self.ingress.metadata.namespace}/{self.ingress.metadata.name}"

    def has(self, name: str) -> bool:
        """Whether the Ingress itself has a value that is not empty."""
        return bool(self._values.get(name, "").strip())

    def written(self, name: str) -> str:
        """The annotation's value to the letter."""
        return self._values.get(name, "")

    def wrong(self, name: str, reason: str, advice: str = "", *, minor: bool = False) -> None:
        """Report an annotation, or the ConfigMap's key if only that is there. `minor`: see Problem."""
        if name in self._spelled or (name and name not in self.config):
            where = f"metadata.annotations[{self._spelled.get(name) or self._prefix() + name}]"
            problem = Problem(f"Ingress {self.title}", where, reason, advice, minor=minor)
            if problem not in self.problems:  # several may look at one annotation
                self.problems.append(problem)
        # What is wrong in the ConfigMap is reported once for all Ingresses, by config.py.

    def _prefix(self) -> str:
        """By which the Ingress would say more: ingress-nginx's, unless all it says is by ours."""
        ours, theirs = self._prefixes[0], self._prefixes[-1]
        return ours if self._spelled and all(each.startswith(ours) for each in self._spelled.values()) else theirs

    def text(self, name: str, default: str = "", *, config: str = "") -> str:
        """Without blanks around it. Control characters other than tab: a Problem, and as if it were not there."""
        value = self._values.get(name, "").strip()
        if value and _CONTROL.search(value):
            self.wrong(name, "it has control characters", "write it on one line")
            value = ""
        return value or self.config.get(config, "").strip() or default

    def flag(self, name: str, default: bool = False, *, config: str = "") -> bool:
        return self._parsed(name, _flag, default, config)

    def number(self, name: str, default: int, *, least: int = 0, most: int = 2**31 - 1, config: str = "") -> int:
        def parse(text: str) -> int:
            if not re.fullmatch(r"-?[0-9]{1,18}", text) or not least <= int(text) <= most:
                raise ValueError(f'"{text}" is not a whole number from {least} to {most}')
            return int(text)

        return self._parsed(name, parse, default, config)

    def size(self, name: str, default: int, *, config: str = "") -> int:
        """Bytes, of "8m", "512k" or "1024" (nginx: k, m, g are powers of 1024)."""
        return self._parsed(name, _size, default, config)

    def choice(self, name: str, choices: tuple[str, ...], default: str, *, config: str = "") -> str:
        """One of `choices`, in any letter case."""

        def parse(text: str) -> str:
            for each in choices:
                if each.lower() == text.lower():
                    return each
            raise ValueError(f'"{text}" is none of {", ".join(choices)}')

        return self._parsed(name, parse, default, config)

    def words(self, name: str, default: tuple[str, ...] = (), *, config: str = "") -> tuple[str, ...]:
        """A list separated by commas; empty items are left out."""
        text = self.text(name, config=config)
        return tuple(each.strip() for each in text.split(",") if each.strip()) if text else default

    def networks(self, name: str, *, config: str = "") -> tuple[str, ...] | None:
        """A list of CIDRs or addresses, normalised. None: one of them is wrong (reported)."""
        try:
            return tuple(str(ipaddress.ip_network(each, strict=False)) for each in self.words(name, config=config))
        except ValueError as error:
            self.wrong(name, str(error), "write addresses or networks, 10.0.0.0/8,192.168.1.7")
            return None

    def secret(self, name: str, text: str) -> Secret | None:
        return self._refer(name, Secret, text)

    def config_map(self, name: str, text: str) -> ConfigMap | None:
        return self._refer(name, ConfigMap, text)

    def backend(self, name: str, service: str) -> str:
        """Key of the backend that is the first port of a Service of the Ingress's namespace; "", and a Problem, if
        there is none. Goes into `wishes.backends`."""
        namespace = self.ingress.metadata.namespace
        self.references.add(Key(Service.KIND, namespace, service))
        found = self._find(Service, namespace, service)
        if not isinstance(found, Service):
            self.wrong(
                name, f"Service {namespace}/{service} does not exist", "create it, or correct the name", minor=True
            )
            return ""
        if not found.spec.ports:
            self.wrong(name, f"Service {namespace}/{service} has no port", "give it one")
            return ""
        return backend_key(namespace, service, str(found.spec.ports[0].port))

    def operators_map(self, key: str) -> ConfigMap | None:
        """The ConfigMap that a key of the controller's names, "namespace/name"; None without one."""
        namespace, _, name = self.config.get(key, "").strip().rpartition("/")
        if not name:
            return None
        self.references.add(Key(ConfigMap.KIND, namespace, name))
        found = self._find(ConfigMap, namespace, name)
        return found if isinstance(found, ConfigMap) else None

    def _refer(self, name: str, kind: type[AnyObject], text: str) -> AnyObject | None:
        """The object named "name" or "namespace/name"; None, and a Problem, if it is missing or not to be used.

        None without a Problem for a Secret that has not been read yet.
        """
        namespace, _, rest = text.rpartition("/")
        own = self.ingress.metadata.namespace
        namespace = namespace or own
        if namespace != own and not _flag(self.config.get("allow-cross-namespace-resources", "false")):
            self.wrong(
                name,
                f"{kind.KIND} {text} is in another namespace",
                f"copy it to {own}, or set allow-cross-namespace-resources in the ConfigMap",
            )
            return None
        self.references.add(Key(kind.KIND, namespace, rest))
        found = self._find(kind, namespace, rest)
        if found is None:
            self.wrong(
                name, f"{kind.KIND} {namespace}/{rest} does not exist", "create it, or correct the name", minor=True
            )
            return None
        if isinstance(found, UnreadSecret):
            if found.why:  # else it is on its way, or nobody has wanted it yet
                self.wrong(name, f"Secret {namespace}/{rest} cannot be read: {found.why}", minor=True)
            return None
        assert isinstance(found, kind)
        return found

    def _parsed(self, name: str, parse: Callable[[str], T], default: T, config: str) -> T:
        text = self.text(name)
        if text:
            try:
                return parse(text)
            except ValueError as error:
                self.wrong(name, str(error), f"the default counts: {default}")
        behind = self.config.get(config, "").strip()
        if behind:
            try:
                return parse(behind)
            except ValueError:
                pass  # reported once, by config.py
        return default


def _flag(text: str) -> bool:
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise ValueError(f'"{text}" is neither true nor false')


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text}" is not a size such as 8m, 512k or 1024')
    return int(found[1]) * _UNIT[found[2].lower()]
