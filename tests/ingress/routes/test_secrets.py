"""Which Secrets the tables want, and what waits for them."""

import base64

import pytest

from ingress.routes.annotations.reader import PREFIXES
from ingress.routes.classes import Selection
from ingress.routes.compile import RoutingTable
from ingress.routes.model import EVERY_HOST, Changes, Defaults
from ingress.routes.secrets import BadSecret, secret_value
from lb.cluster.objects import Key, Metadata, Object, Secret, UnreadSecret
from tests.ingress.certificates import tls_secret
from tests.ingress.routes.annotations.reading import config_map
from tests.ingress.state import ingress, service, table_of

PREFIX = PREFIXES[1]


def key(name: str, namespace: str = "shop") -> Key:
    return Key("Secret", namespace, name)


def unread(name: str, why: str = "") -> UnreadSecret:
    return UnreadSecret(metadata=Metadata(name=name, namespace="shop"), why=why)


def opaque(name: str, **data: str) -> Secret:
    encoded = {key.replace("_", "."): base64.b64encode(text.encode()).decode() for key, text in data.items()}
    return Secret(metadata=Metadata(name=name, namespace="shop"), data=encoded)


def protected(secret: str, *, name: str = "web", path: str = "/") -> Object:
    annotations = {f"{PREFIX}auth-type": "basic", f"{PREFIX}auth-secret": secret}
    return ingress(name, {"a.example": [(path, "Prefix", "x")]}, annotations=annotations)


def put(table: RoutingTable, *objects: Object, coming: tuple[str, ...] = ()) -> Changes:
    """As a source that reads on demand would: these come into the store, those are being read."""
    table.store.wanted.coming = {key(name) for name in coming}
    for each in objects:
        table.store.put(each)
    return table.update([each.key for each in objects])


def filters(table: RoutingTable, host: str = "a.example", path: str = "/") -> list[str]:
    (route,) = [each for each in table.hosts[host].routes if each.path == path]
    return [name for name, _ in route.filters]


@pytest.mark.parametrize(
    ("annotations", "wanted"),
    [
        ({}, ["cert"]),
        ({"auth-type": "basic", "auth-secret": "users"}, ["cert", "users"]),
        ({"auth-type": "basic", "auth-secret": "shop/users", "auth-secret-type": "auth-map"}, ["cert", "users"]),
        ({"auth-tls-secret": "shop/ca"}, ["ca", "cert"]),
        ({"proxy-ssl-secret": "upstream", "backend-protocol": "HTTPS"}, ["cert", "upstream"]),
        ({"canary": "true", "auth-type": "basic", "auth-secret": "users"}, ["cert", "users"]),
        ({"auth-type": "basic", "auth-secret": "other/users"}, ["cert"]),  # not to be used
        ({"auth-secret": "users"}, ["cert"]),  # without effect
    ],
)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_an_ingress_refers_to_is_wanted(prefix: str, annotations: dict[str, str], wanted: list[str]) -> None:
    named = {prefix + name: value for name, value in annotations.items()}
    tls = [{"hosts": ["a.example"], "secretName": "cert"}]
    table = table_of(found := ingress("web", {"a.example": []}, tls=tls, annotations=named))
    assert table.store.wanted.keys == {key(name) for name in wanted}
    table.store.remove(found.key)
    table.update([found.key])
    assert not table.store.wanted.keys
    assert not any((table._users, table._secrets_of, table._waiting))


def test_whose_annotations_are_another_namespaces_secrets_wants_these() -> None:
    config = config_map("ops", "controller", {"allow-cross-namespace-resources": "true"})
    annotations = {f"{PREFIX}auth-type": "basic", f"{PREFIX}auth-secret": "vault/users"}
    found = ingress("web", default="x", annotations=annotations)
    table = table_of(found, config, defaults=Defaults(config_map=("ops", "controller")))
    assert table.store.wanted.keys == {key("users", "vault")}


def test_the_default_certificate_is_wanted_always() -> None:
    defaults = Defaults(certificate=("shop", "default"))
    found = ingress("web", {"a.example": []}, tls=[{"hosts": ["a.example"], "secretName": "default"}])
    table = table_of(found, tls_secret("default", "a.example"), defaults=defaults)
    table.store.remove(found.key)
    table.update([found.key])
    assert table.store.wanted.keys == {key("default")}


def test_a_secret_is_wanted_until_its_last_user_goes() -> None:
    users = [ingress(name, {f"{name}.example": []}, tls=[{"secretName": "cert"}]) for name in ("one", "two")]
    table = table_of(*users)
    for each, left in zip(users, ({key("cert")}, set()), strict=True):
        table.store.remove(each.key)
        table.update([each.key])
        assert table.store.wanted.keys == left


def test_an_ingress_of_others_wants_nothing() -> None:
    table = table_of(ingress("other", {"a.example": []}, tls=[{"secretName": "cert"}]), selection=Selection())
    assert not table.store.wanted.keys


def test_an_ingress_stays_as_it_was_until_its_secret_is_read() -> None:
    table = table_of(protected("users"), *service("x"), opaque("users", auth="joe:{PLAIN}x"), unread("others"))
    (before,) = table.hosts["a.example"].routes
    changes = put(table, protected("others"), coming=("others",))
    assert not changes
    assert table.store.wanted.keys == {key("users"), key("others")}
    changes = put(table, opaque("others", auth="jane:{PLAIN}y"))
    (now,) = changes.hosts["a.example"].routes  # type: ignore[union-attr]
    assert (now.id != before.id, filters(table)) == (True, ["access"])
    assert b"jane" in dict(now.filters)["access"]
    assert (table.store.wanted.keys, len(table.problems)) == ({key("others")}, 0)


def test_a_new_ingress_takes_nothing_before_its_secret_is_read() -> None:
    table = table_of(ingress("old", {"a.example": [("/", "Prefix", "x")]}), *service("x"), unread("users"))
    new = protected("users", name="new", path="/in")
    assert not put(table, new, coming=("users",))
    assert table.refused == {("shop", "new"): "waits for its Secrets to be read"}
    assert len(table.problems) == 0
    put(table, opaque("users", auth="joe:{PLAIN}x"))
    assert filters(table, path="/in") == ["access"]
    assert not table.refused


@pytest.mark.parametrize("then", ["removed", "unreadable", "the Ingress is gone", "another Secret"])
def test_waiting_ends_without_the_secret(then: str) -> None:
    table = table_of(ingress("old", {"a.example": [("/", "Prefix", "x")]}), *service("x"), unread("users"))
    new = protected("users", name="new", path="/in")
    put(table, new, coming=("users",))
    if then == "removed":
        table.store.wanted.coming.clear()
        table.store.remove(key("users"))
        table.update([key("users")])
        reason = "Secret shop/users does not exist"
    elif then == "unreadable":
        put(table, unread("users", "403 forbidden"))
        reason = "Secret shop/users cannot be read: 403 forbidden"
    elif then == "the Ingress is gone":
        table.store.remove(new.key)
        table.update([new.key])
        assert not table.store.wanted.keys
        reason = ""
    else:
        put(table, protected("more", name="new", path="/in"), coming=("users",))
        reason = "Secret shop/more does not exist"
    assert [each.reason for each in table.problems] == ([reason] if reason else [])
    if reason:
        assert filters(table, path="/in") == ["closed"]
    assert not table._waiting


def test_at_the_very_first_nothing_waits_and_nothing_is_reported() -> None:
    """Whoever asks waits for the Secrets and asks again."""
    table = table_of(*service("x"))
    table = RoutingTable(table.store, table.selection)
    table.store.wanted.coming = {key("users"), key("cert")}
    for each in (unread("users"), unread("cert"), protected("users")):
        table.store.put(each)
    table.store.put(ingress("tls", {"b.example": []}, tls=[{"secretName": "cert"}]))
    table.update(None)
    assert (filters(table), len(table.problems), table.certificates) == (["closed"], 0, {})
    table.store.wanted.coming.clear()
    table.store.put(opaque("users", auth="joe:{PLAIN}x"))
    table.store.put(tls_secret("cert", "b.example"))
    table.update(None)
    assert (filters(table), list(table.certificates)) == (["access"], ["b.example"])


def test_a_certificate_is_shown_until_the_next_is_read() -> None:
    first, second = tls_secret("first", "a.example"), tls_secret("second", "a.example")
    web = [ingress("web", {"a.example": []}, tls=[{"secretName": name}]) for name in ("first", "second")]
    table = table_of(web[0], first)
    put(table, unread("second"), coming=("second",))
    assert not put(table, web[1], coming=("second",)).certificates
    assert table.certificates["a.example"].secret == "shop/first"
    assert put(table, second).certificates["a.example"].secret == "shop/second"  # type: ignore[union-attr]
    # Deleted and made again: one change.
    table.store.remove(second.key)
    assert not put(table, unread("second"), coming=("second",)).certificates
    assert put(table, tls_secret("second", "a.example")).certificates
    assert len(table.problems) == 0


def test_the_default_certificate_is_shown_until_the_next_is_read() -> None:
    defaults = Defaults(certificate=("shop", "default"))
    table = table_of(tls_secret("default", "a.example"), defaults=defaults)
    assert not put(table, unread("default"), coming=("default",))
    assert table.certificates[EVERY_HOST].secret == "shop/default"
    assert put(table, tls_secret("default", "b.example")).certificates


def test_a_certificate_that_cannot_be_read() -> None:
    web = ingress("web", {"a.example": []}, tls=[{"secretName": "cert"}])
    table = table_of(web, unread("cert", "403 forbidden"))
    assert not table.certificates
    assert [str(each) for each in table.problems] == [
        "Ingress shop/web: spec.tls[0].secretName: Secret shop/cert cannot be used: it cannot be read: 403 forbidden "
        "(it is tried again; see that our account may list and watch Secrets)"
    ]


def test_what_nobody_has_read_has_nothing() -> None:
    with pytest.raises(BadSecret, match="it cannot be read: gone"):
        secret_value(unread("any", "gone"), "a")


def test_many_hosts_of_one_secret_are_one_pair() -> None:
    hosts = [f"h{number}.example" for number in range(3)]
    cert = tls_secret("cert", *hosts)
    table = table_of(ingress("web", dict.fromkeys(hosts, ()), tls=[{"secretName": "cert"}]), cert)
    shown = [table.certificates[host] for host in hosts]
    assert all(each.chain_pem is shown[0].chain_pem for each in shown)
    table.store.remove(cert.key)
    table.update([cert.key])
    assert not table._pairs._known
