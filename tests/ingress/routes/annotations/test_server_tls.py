from ingress.routes.annotations import server_tls
from tests.ingress.routes.annotations.reading import read


def test_passthrough() -> None:
    assert read(server_tls, {})[0].passthrough is False
    assert read(server_tls, {"ssl-passthrough": "true"})[0].passthrough is True
    wishes, problems = read(server_tls, {"ssl-passthrough": "x"})
    assert (wishes.passthrough, problems) == (False, ["ssl-passthrough"])


def test_ciphers() -> None:
    found = "ECDHE-RSA-AES128-GCM-SHA256:!aNULL"
    wishes, problems = read(server_tls, {"ssl-ciphers": found, "ssl-prefer-server-ciphers": "true"})
    assert (wishes.ciphers, problems) == (found, [])
    wishes, problems = read(server_tls, {"ssl-ciphers": "A; B", "ssl-prefer-server-ciphers": "false"})
    assert (wishes.ciphers, problems) == ("", ["ssl-ciphers", "ssl-prefer-server-ciphers"])
