"""What becomes of each annotation of an Ingress that ingress-nginx served."""

from ingress.routes.annotations import KNOWN, refused
from ingress.routes.migration import DIFFERS, Fate, Report, report_of
from tests.ingress.state import ingress, table_of

PREFIX = "nginx.ingress.kubernetes.io/"
SHOP = {"shop.example": [("/", "Prefix", "web")]}


def report(**annotations: str) -> Report:
    texts = {PREFIX + key.replace("_", "-"): value for key, value in annotations.items()}
    return report_of(table_of(ingress("web", SHOP, annotations=texts)))


def fates(**annotations: str) -> dict[str, Fate]:
    (only,) = report(**annotations).ingresses
    return {finding.annotation.removeprefix(PREFIX): finding.fate for finding in only.findings}


def test_each_fate() -> None:
    assert fates(enable_cors="true", server_snippet="return 200;", enable_cros="yes", ssl_redirect="perhaps") == {
        "enable-cors": Fate.HONOURED,
        "server-snippet": Fate.REFUSED,
        "enable-cros": Fate.UNKNOWN,
        "ssl-redirect": Fate.WRONG,
    }


def test_what_to_do_is_said() -> None:
    (only,) = report(configuration_snippet="more_set_headers 'a: b';").ingresses
    assert "annotations" in only.findings[0].note
    assert only.served


def test_a_switch_that_is_off_asks_for_nothing() -> None:
    assert fates(enable_modsecurity="false") == {"enable-modsecurity": Fate.HONOURED}


def test_what_only_some_values_come_to() -> None:
    aliases = [fates(server_alias=text)["server-alias"] for text in ("b.example", r"~^b\d+\.example$")]
    assert aliases == [Fate.HONOURED, Fate.REFUSED]
    protocols = [fates(backend_protocol=text)["backend-protocol"] for text in ("HTTPS", "grpc", "HTTPX")]
    assert protocols == [Fate.HONOURED, Fate.REFUSED, Fate.WRONG]


def test_totals_and_verdict() -> None:
    found = report(enable_cors="true", server_snippet="x")
    assert found.totals[Fate.HONOURED] == found.totals[Fate.REFUSED] == 1
    assert found.totals["ingresses"] == found.totals["served"] == 1
    assert found.totals["problems"] == 1, "the Service is missing"
    assert not found.good
    other = report_of(table_of(ingress("web", annotations={"kubernetes.io/ingress.class": "x"}, default="y")))
    assert other.totals["ingresses"] == 1


def test_only_known_annotations_differ() -> None:
    assert set(DIFFERS) <= KNOWN - set(refused.NAMES)
    assert all(note.strip() for note in DIFFERS.values())
