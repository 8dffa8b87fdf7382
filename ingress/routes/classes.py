"""Is this Ingress ours? The rules of IngressClass and of the annotation that came before it."""

from collections.abc import Callable, Iterable

import msgspec

from ingress.routes.selectors import Requirement
from lb.cluster.objects import Ingress, IngressClass, IngressRule

OWN_CONTROLLER = "causeway.dev/ingress-controller"
NGINX_CONTROLLER = "k8s.io/ingress-nginx"
"""Accepted as well: clusters that move from ingress-nginx keep their IngressClass as it is."""

NGINX_CLASS, OWN_CLASS = "nginx", "causeway"
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
STRICT_ANNOTATION = "causeway.dev/strict"
"""On an Ingress or its IngressClass, "true": the Ingress specification counts where ingress-nginx departs from it."""
DEFAULT_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"

FindClass = Callable[[str], IngressClass | None]


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which Ingresses to serve."""

    controllers: tuple[str, ...] = (OWN_CONTROLLER, NGINX_CONTROLLER)
    """IngressClass.spec.controller values that mean us."""
    annotation_classes: tuple[str, ...] = (NGINX_CLASS, OWN_CLASS)
    """Values of the kubernetes.io/ingress.class annotation that mean us."""
    classless: bool = False
    """Serve an Ingress that names no class."""
    by_name: bool = False
    """Serve an Ingress whose IngressClass has one of the names in annotation_classes, whatever its controller."""
    namespaces: tuple[str, ...] = ()
    """Serve Ingresses of these alone; () of all."""
    namespace_labels: tuple[Requirement, ...] = ()
    """Serve Ingresses of namespaces with such labels alone."""
    catch_all: bool = True
    """Serve rules for every host, too."""
    standalone: bool = False
    """A folder instead of an API server. Nobody fills in the default class there, so it is looked up here; and where
    the folder has no IngressClass at all, a class name says nothing, so every Ingress is served."""


STANDALONE = Selection(classless=True, standalone=True)
"""What `causeway serve -f DIR` and `causeway check` select by."""


def refusal(ingress: Ingress, find: FindClass, defaults: Iterable[IngressClass], selection: Selection) -> str:
    """Why this Ingress is not ours, as the rest of a sentence that begins with its name; "" if it is ours.

    `defaults` are the classes there are; only those with the default annotation count, and only in standalone mode.
    Source: kubernetes.io, "Ingress", IngressClass; spec.ingressClassName beats the annotation.
    """
    if selection.namespaces and ingress.metadata.namespace not in selection.namespaces:
        return f"is in another namespace than {', '.join(selection.namespaces)}"
    if not selection.catch_all and not all(rule.host for rule in ingress.spec.rules or (IngressRule(),)):
        return "is for every host, which --disable-catch-all leaves out"
    name = ingress.spec.ingress_class_name
    annotation = ingress.annotations.get(CLASS_ANNOTATION) or None
    known = list(defaults) if selection.standalone else []
    if not name and annotation is None and selection.standalone:
        name = next((each.metadata.name for each in sorted(known, key=_name) if is_default(each)), None)
    if name:
        return _refusal_by_class(name, find, selection, any_class=selection.standalone and not known)
    if annotation is not None:
        if annotation in selection.annotation_classes or (selection.standalone and not known):
            return ""
        return (
            f'has the annotation {CLASS_ANNOTATION}: "{annotation}"; '
            f"served here: {', '.join(selection.annotation_classes)}"
        )
    return "" if selection.classless else "names no class (spec.ingressClassName)"


def is_strict(ingress: Ingress, find: FindClass) -> bool:
    """Whether the Ingress specification was asked for by name, on the Ingress or on its class."""
    own = ingress.annotations.get(STRICT_ANNOTATION)
    if own is not None:
        return own.strip() == "true"
    name = ingress.spec.ingress_class_name
    found = find(name) if name else None
    return found is not None and found.annotations.get(STRICT_ANNOTATION, "").strip() == "true"


def follows_nginx(ingress: Ingress, find: FindClass, selection: Selection, *, prefix: str) -> bool:
    """Whether an Ingress was written for ingress-nginx: by its class, or by annotations with its prefix.

    A class of our own controller is new, and gets what the specification says.
    """
    if any(key.startswith(prefix) for key in ingress.annotations):
        return True
    name = ingress.spec.ingress_class_name
    if name:
        found = find(name)
        return found.spec.controller != OWN_CONTROLLER if found else name == NGINX_CLASS
    annotation = ingress.annotations.get(CLASS_ANNOTATION)
    if annotation:
        return annotation != OWN_CLASS and (annotation == NGINX_CLASS or not selection.standalone)
    return not selection.standalone


def is_default(found: IngressClass) -> bool:
    return found.annotations.get(DEFAULT_ANNOTATION) == "true"


def _refusal_by_class(name: str, find: FindClass, selection: Selection, *, any_class: bool) -> str:
    found = find(name)
    if found is None:
        return "" if any_class else f'names the IngressClass "{name}", which does not exist'
    if found.spec.controller in selection.controllers or (selection.by_name and name in selection.annotation_classes):
        return ""
    return (
        f'names the IngressClass "{name}" of the controller "{found.spec.controller}"; '
        f"served here: {', '.join(selection.controllers)}"
    )


def _name(found: IngressClass) -> str:
    return found.metadata.name
