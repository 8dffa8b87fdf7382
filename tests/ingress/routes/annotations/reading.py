"""Annotations as one group reads them."""

from collections.abc import Mapping
from types import ModuleType

from ingress.routes.annotations.reader import PREFIXES, Reader
from ingress.routes.annotations.wishes import Wishes
from lb.cluster.objects import ConfigMap, Metadata, Object
from tests.ingress.state import ingress


def read(
    group: ModuleType,
    annotations: Mapping[str, str],
    config: Mapping[str, str] | None = None,
    *,
    objects: tuple[Object, ...] = (),
    paths: tuple[str, ...] = ("/",),
    compat: bool = True,
) -> tuple[Wishes, list[str]]:
    """What the group makes of an Ingress of namespace "shop", and which annotations it reports.

    Annotations are written by plain name; `objects` are what they may refer to.
    """
    written = {PREFIXES[1] + name: value for name, value in annotations.items()}
    found = ingress("web", {"a.example": [(path, "Prefix", "x") for path in paths]}, annotations=written)
    known = {(each.KIND, each.metadata.namespace, each.metadata.name): each for each in objects}
    reader = Reader(found, config or {}, lambda kind, *name: known.get((kind.KIND, *name)), compat=compat)
    wishes = Wishes()
    group.read(reader, wishes)
    reported = [each.field.removeprefix(f"metadata.annotations[{PREFIXES[1]}")[:-1] for each in reader.problems]
    return wishes, reported


def config_map(namespace: str, name: str, data: dict[str, str]) -> ConfigMap:
    return ConfigMap(metadata=Metadata(name=name, namespace=namespace), data=data)
