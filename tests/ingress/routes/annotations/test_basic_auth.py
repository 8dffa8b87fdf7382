import base64

import pytest

from ingress.filters.access import AccessSpecification
from ingress.filters.basic import BasicSpecification
from ingress.routes.annotations import basic_auth
from lb.cluster.objects import Metadata, Secret
from tests.ingress.routes.annotations.reading import read

SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
BASIC = {"auth-type": "basic", "auth-secret": "users"}


def secret(**values: str) -> Secret:
    data = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
    return Secret(metadata=Metadata(name="users", namespace="shop"), data=data)


def access_of(annotations: dict[str, str], *objects: Secret, **config: str) -> AccessSpecification:
    settings = {name.replace("_", "-"): value for name, value in config.items()}
    wishes, problems = read(basic_auth, annotations, settings, objects=objects)
    assert (problems, wishes.closed) == ([], "")
    found = wishes.filters["access"]
    assert isinstance(found, AccessSpecification)
    return found


def test_a_file() -> None:
    lines = f"# people\n\nada:{SHA}:Ada Lovelace\r\nbob:{SHA}\r\n"
    found = access_of({**BASIC, "auth-realm": "Café"}, secret(auth=lines))
    assert found.basic == BasicSpecification("Caf\xc3\xa9", (("ada", SHA), ("bob", SHA)))
    assert found.open_paths == ("/.well-known/acme-challenge",)


def test_a_map() -> None:
    annotations = {**BASIC, "auth-secret-type": "auth-map", "auth-type": "Basic"}
    found = access_of(annotations, secret(bob=f"{SHA}\n", ada=SHA), no_auth_locations="/a, /b,")
    assert found.basic == BasicSpecification("", (("ada", SHA), ("bob", SHA)))
    assert found.open_paths == ("/a", "/b")


@pytest.mark.parametrize("line", ["foo:", "foo", "foo:plain", "foo:$2y$31$" + "a" * 53])
def test_a_line_that_lets_nobody_in(line: str) -> None:
    wishes, problems = read(basic_auth, BASIC, objects=(secret(auth=f"ada:{SHA}\n{line}\n"),))
    assert problems == ["auth-secret"]
    assert wishes.closed == "", "the others are let in"
    assert "access" in wishes.filters


@pytest.mark.parametrize(
    ("annotations", "objects", "reported"),
    [
        (BASIC, (), "auth-secret"),
        ({"auth-type": "basic"}, (secret(auth="a:b"),), "auth-secret"),
        ({**BASIC, "auth-secret": "other/users"}, (secret(auth="a:b"),), "auth-secret"),
        (BASIC, (secret(passwords=f"ada:{SHA}"),), "auth-secret"),
        (BASIC, (Secret(metadata=Metadata(name="users", namespace="shop"), data={"auth": "?"}),), "auth-secret"),
        ({**BASIC, "auth-secret-type": "map"}, (secret(auth="a:b"),), "auth-secret-type"),
        ({**BASIC, "auth-type": "digest"}, (secret(auth="a:b"),), "auth-type"),
        ({**BASIC, "auth-type": "none"}, (secret(auth="a:b"),), "auth-type"),
        ({**BASIC, "auth-type": "ba\x01sic"}, (secret(auth="a:b"),), "auth-type"),
    ],
)
def test_what_is_wrong_closes(annotations: dict[str, str], objects: tuple[Secret, ...], reported: str) -> None:
    wishes, problems = read(basic_auth, annotations, objects=objects)
    assert set(problems) == {reported}
    assert wishes.closed
    assert not wishes.filters


def test_without_a_type_it_has_no_effect_and_that_is_said() -> None:
    wishes, problems = read(basic_auth, {"auth-secret": "users", "auth-realm": "r"}, objects=(secret(auth="a:b"),))
    assert problems == ["auth-secret", "auth-realm"]
    assert (wishes.closed, wishes.filters) == ("", {})
