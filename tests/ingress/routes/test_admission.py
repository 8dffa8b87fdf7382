"""What the webhook lets in: an Ingress beside its neighbours."""

import re

import pytest

from ingress.routes.admission import judge
from ingress.routes.classes import Selection
from lb.cluster.objects import Ingress, Metadata, UnreadSecret
from tests.ingress.state import ingress, table_of

PREFIX = "nginx.ingress.kubernetes.io/"
NGINX = {"kubernetes.io/ingress.class": "nginx"}
SHOP = {"shop.example": [("/", "Prefix", "web")]}


def ours(name: str, rules: object = None, *, created: str | None = "2026", **annotations: str) -> Ingress:
    texts = NGINX | {PREFIX + key.replace("_", "-"): value for key, value in annotations.items()}
    return ingress(name, rules or SHOP, created=created, annotations=texts)  # type: ignore[arg-type]


def errors(existing: list[Ingress], asked: Ingress) -> list[str]:
    return [str(each) for each in judge(table_of(*existing, selection=Selection()), asked).errors]


def warnings(existing: list[Ingress], asked: Ingress) -> list[str]:
    return [str(each) for each in judge(table_of(*existing, selection=Selection()), asked).warnings]


def test_251_the_same_host_and_path_is_refused_and_the_owner_named() -> None:
    (error,) = errors([ours("first", created="2020")], ours("second"))
    assert "shop/first" in error
    assert "shop.example" in error
    assert errors([ours("first", created="2020")], ours("second", {"shop.example": [("/api", "Prefix", "web")]})) == []
    assert errors([ours("first", created="2020")], ours("second", {"other.example": [("/", "Prefix", "web")]})) == []


def test_251_another_class_is_not_checked() -> None:
    other = ingress("second", SHOP, annotations={"kubernetes.io/ingress.class": "traefik"})
    assert errors([ours("first", created="2020")], other) == []
    assert errors([other], ours("first")) == []


def test_251_a_canary_may_have_the_same() -> None:
    canary = ours("second", {"shop.example": [("/", "Prefix", "canary")]}, canary="true", canary_weight="10")
    assert errors([ours("first", created="2020")], canary) == []


def test_27_a_second_canary_is_refused() -> None:
    one = ours("one", {"shop.example": [("/", "Prefix", "a")]}, created="2021", canary="true", canary_weight="10")
    two = ours("two", {"shop.example": [("/", "Prefix", "b")]}, created="2022", canary="true", canary_weight="10")
    assert errors([ours("first", created="2020"), one], two)


def test_an_ingress_may_be_changed_in_its_place() -> None:
    before = ours("first", created="2020")
    assert errors([before], ours("first", {"shop.example": [("/", "Prefix", "new")]}, created="2020")) == []


def test_252_snippets_are_refused() -> None:
    (error,) = errors([], ours("new", configuration_snippet="more_set_headers 'a: b';"))
    assert "configuration-snippet" in error


def test_what_has_no_effect_or_may_still_come_is_a_warning() -> None:
    asked = ours("new", enable_cros="true", custom_headers="shop/missing")
    assert errors([], asked) == []
    told = " ".join(warnings([], asked))
    assert "enable-cros" in told
    assert "shop/missing" in told


@pytest.mark.parametrize("path", ["/%zz", "no-slash", "/a#b"])
def test_a_path_that_cannot_be(path: str) -> None:
    assert errors([], ours("new", {"shop.example": [(path, "Exact", "web")]}))


def test_control_characters_are_refused() -> None:
    assert errors([], ours("new", app_root="/a\r\nSet-Cookie: b=c"))


def test_a_secret_that_nobody_has_wanted_yet_is_not_missing() -> None:
    """What is in it is read once the Ingress is there; that it is there is known before."""
    names = ("users", "cert", "ca")
    there = [UnreadSecret(metadata=Metadata(name=name, namespace="shop")) for name in names]
    annotations = NGINX | {f"{PREFIX}auth-type": "basic", f"{PREFIX}auth-secret": "users"}
    annotations |= {f"{PREFIX}auth-tls-secret": "shop/ca"}
    asked = ingress("new", SHOP, annotations=annotations, tls=[{"hosts": ["shop.example"], "secretName": "cert"}])
    for existing, missing in ((there, []), ([], ["ca", "cert", "users"])):
        verdict = judge(table := table_of(*existing, selection=Selection()), asked)
        told = [each.reason for each in verdict.warnings if "Secret" in each.reason]
        assert sorted(re.findall(r"Secret shop/(\S+) does not exist", " ".join(told))) == missing
        assert (len(told), verdict.errors, table.store.wanted.keys) == (len(missing), (), set())
