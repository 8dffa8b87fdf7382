from ingress.routes.annotations import server_tls
from tests.ingress.routes.annotations.reading import read


def test_passthrough() -> None:
    assert read(server_tls, {})[0].passthrough is False
    assert read(server_tls, {"ssl-passthrough": "true"})[0].passthrough is True
    wishes, problems = read(server_tls, {"ssl-passthrough": "x"})
    assert (wishes.passthrough, problems) == (False, ["ssl-passthrough"])


def test_ciphers_are_for_all_hosts() -> None:
    _, problems = read(server_tls, {"ssl-ciphers": "X", "ssl-prefer-server-ciphers": "true"})
    assert problems == ["ssl-ciphers", "ssl-prefer-server-ciphers"]
