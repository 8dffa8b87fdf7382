import pytest

from ingress.filters.limits import LimitsSpecification
from ingress.routes.annotations import limits
from tests.ingress.routes.annotations.reading import read


def test_nothing_asked_for() -> None:
    wishes, problems = read(limits, {"limit-burst-multiplier": "3", "limit-allowlist": "10.0.0.0/8", "limit-rps": "0"})
    assert (wishes.filters, wishes.options, problems) == ({}, {}, [])


def test_all_of_it() -> None:
    wishes, problems = read(
        limits,
        {
            "limit-connections": "8",
            "limit-rps": "2",
            "limit-rpm": "90",
            "limit-burst-multiplier": "3",
            "limit-whitelist": "10.0.0.0/8",
        },
        {"limit-req-status-code": "429", "limit-conn-status-code": "430", "limit-conn-zone-variable": "$http_x_user"},
    )
    assert problems == []
    assert wishes.filters["limits"] == LimitsSpecification(
        "shop/web", 8, 2, 90, 3, ("10.0.0.0/8",), "$http_x_user", connections_status=430, requests_status=429
    )


def test_defaults() -> None:
    wishes, _ = read(limits, {"limit-rps": "1"}, {"limit-conn-zone-variable": "$binary_remote_addr"})
    assert wishes.filters["limits"] == LimitsSpecification("shop/web", per_second=1, burst_multiplier=5)


@pytest.mark.parametrize("text", ["200", "600", "lots", "", "٤٢٩"])
def test_a_status_that_makes_no_sense(text: str) -> None:
    wishes, _ = read(limits, {"limit-rps": "1"}, {"limit-req-status-code": text})
    found = wishes.filters["limits"]
    assert isinstance(found, LimitsSpecification)
    assert found.requests_status == 503


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit-rps", "-1"), ("limit-rpm", "many"), ("limit-connections", "1.5"), ("limit-burst-multiplier", "0")],
)
def test_a_number_that_makes_no_sense(name: str, value: str) -> None:
    wishes, problems = read(limits, {"limit-rps": "7", "limit-rpm": "7", name: value})
    assert problems == [name]
    assert "limits" in wishes.filters, "the others count"


def test_who_is_exempt_must_be_right() -> None:
    wishes, problems = read(limits, {"limit-rps": "7", "limit-allowlist": "10.0.0.0/8,x"})
    assert problems == ["limit-allowlist"]
    assert wishes.filters["limits"] == LimitsSpecification("shop/web", per_second=7), "nobody is exempt"


def test_rate_of_responses() -> None:
    wishes, _ = read(limits, {"limit-rate": "100"}, {"limit-rate": "7", "limit-rate-after": "64"})
    assert wishes.options == {"rate_bytes_per_second": 102400, "rate_after_bytes": 65536}
    wishes, _ = read(limits, {"limit-rate": "0", "limit-rate-after": "5"}, {"limit-rate": "7"})
    assert wishes.options == {}
