import pytest

from ingress.routes.secrets import BadSecret, secret_value
from lb.cluster.objects import Metadata, Secret

FOUND = Secret(
    metadata=Metadata(name="s", namespace="shop"),
    data={"a": "Zm9v", "lines": "Zm\n 9v", "bad": "?"},
    string_data={"b": "caf\u00e9", "a2": ""},
)


@pytest.mark.parametrize(
    ("name", "value"), [("a", b"foo"), ("lines", b"foo"), ("b", "caf\u00e9".encode()), ("a2", b"")]
)
def test_values(name: str, value: bytes) -> None:
    assert secret_value(FOUND, name) == value


@pytest.mark.parametrize(("name", "reason"), [("none", "it has no none"), ("bad", "bad is not base64")])
def test_what_is_wrong(name: str, reason: str) -> None:
    with pytest.raises(BadSecret, match=reason):
        secret_value(FOUND, name)
