"""Whose Ingress is it: every combination of class, annotation, default class and mode."""

from typing import Any

import pytest

from ingress.routes.classes import STANDALONE, Selection, refusal
from lb.cluster.objects import IngressClass
from tests.ingress.state import ingress, objects

CLUSTER = Selection()


def ingress_class(name: str, controller: str, *, default: bool = False) -> IngressClass:
    (found,) = objects(
        f"""
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {{name: {name}, annotations: {{ingressclass.kubernetes.io/is-default-class: "{str(default).lower()}"}}}}
spec: {{controller: {controller}}}
"""
    )
    assert isinstance(found, IngressClass)
    return found


NGINX = ingress_class("nginx", "k8s.io/ingress-nginx")
OURS = ingress_class("ours", "causeway.dev/ingress-controller")
OTHER = ingress_class("other", "example.com/other")


@pytest.mark.parametrize(
    ("class_name", "annotation", "classes", "selection", "served"),
    [
        # class,  annotation,  objects,            mode,        served
        ("nginx", None, [NGINX, OTHER], CLUSTER, True),
        ("ours", None, [OURS, OTHER], CLUSTER, True),
        ("other", None, [NGINX, OTHER], CLUSTER, False),
        ("gone", None, [NGINX, OTHER], CLUSTER, False),
        ("gone", None, [], CLUSTER, False),
        (None, "nginx", [], CLUSTER, True),
        (None, "causeway", [], CLUSTER, True),
        (None, "other", [], CLUSTER, False),
        ("other", "nginx", [NGINX, OTHER], CLUSTER, False),  # the field beats the annotation
        ("nginx", "other", [NGINX, OTHER], CLUSTER, True),
        (None, None, [NGINX], CLUSTER, False),
        (None, "", [NGINX], CLUSTER, False),
        (None, None, [NGINX], Selection(classless=True), True),
        (None, "other", [NGINX], Selection(classless=True), False),
        ("nginx", None, [NGINX], Selection(controllers=("example.com/other",)), False),
        ("other", None, [OTHER], Selection(controllers=("example.com/other",)), True),
        (None, "mine", [], Selection(annotation_classes=("mine",)), True),
        # The API server has filled in the default class already; an Ingress without is older than that class.
        (None, None, [ingress_class("d", "k8s.io/ingress-nginx", default=True)], CLUSTER, False),
        # A folder.
        (None, None, [], STANDALONE, True),
        (None, None, [OTHER], STANDALONE, True),
        (None, None, [ingress_class("d", "example.com/other", default=True)], STANDALONE, False),
        (None, None, [ingress_class("d", "k8s.io/ingress-nginx", default=True)], STANDALONE, True),
        ("anything", None, [], STANDALONE, True),
        (None, "anything", [], STANDALONE, True),
        ("anything", None, [NGINX], STANDALONE, False),
        ("other", None, [NGINX, OTHER], STANDALONE, False),
        ("nginx", None, [NGINX, OTHER], STANDALONE, True),
        (None, "anything", [NGINX], STANDALONE, False),
    ],
)
def test_whose(
    class_name: str | None, annotation: str | None, classes: list[IngressClass], selection: Selection, served: bool
) -> None:
    spec: dict[str, Any] = {"ingressClassName": class_name} if class_name else {}
    found = ingress(
        "web",
        default="d",
        **spec,
        annotations={"kubernetes.io/ingress.class": annotation} if annotation is not None else {},
    )
    by_name = {each.metadata.name: each for each in classes}
    assert (not refusal(found, by_name.get, classes, selection)) is served


def test_a_refusal_names_the_controller() -> None:
    said = refusal(ingress("web", default="d", ingressClassName="other"), {"other": OTHER}.get, [OTHER], CLUSTER)
    assert '"example.com/other"' in said
