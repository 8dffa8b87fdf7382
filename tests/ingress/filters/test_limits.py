"""The arithmetic of limits, as nginx does it."""

import pytest

from ingress.filters.api import Reply
from ingress.filters.limits import Bucket, Limits, LimitsSpecification
from tests.ingress.filters.asked import Asked, Desk


def passes(limits: Limits, client: str = "192.0.2.7") -> bool:
    request = Asked(client=client)
    found = limits.request(request)
    limits.finish(request, 200)
    return found is None


def times(limits: Limits, number: int) -> int:
    return [passes(limits) for _ in range(number)].count(True)


# (elapsed ms, excess before) -> excess with a request more, at 3 requests a second; worked out by hand from
# ngx_http_limit_req_lookup.
@pytest.mark.parametrize(
    ("elapsed_ms", "before", "after"),
    [
        (0, 0, 1000),
        (0, 4000, 5000),
        (1, 0, 997),
        (333, 1000, 1001),
        (334, 1000, 998),
        (1000, 1000, 0),
        (500, 9000, 8500),
        (60000, 9000, 0),
        (-5, 2000, 3000),
        (-60001, 2000, 2997),
    ],
)
def test_a_bucket_leaks(elapsed_ms: int, before: int, after: int) -> None:
    bucket = Bucket("z", 3000, 0)
    assert bucket.excess(100_000 + elapsed_ms, 100_000, before)[1] == after


def test_the_clock_of_a_bucket_stays_when_no_time_has_passed() -> None:
    bucket = Bucket("z", 3000, 0)
    assert bucket.excess(100, 0, 0) == (100, 0)
    assert bucket.excess(100, 100, 0) == (100, 1000)
    assert bucket.excess(95, 100, 0) == (100, 1000)


def test_burst_then_the_rate() -> None:
    desk = Desk()
    limits = Limits(LimitsSpecification("shop/web", per_second=2), desk)
    assert times(limits, 20) == 11, "one, and five times two more"
    desk.clock += 0.5
    assert times(limits, 5) == 1
    desk.clock += 1
    assert times(limits, 5) == 2
    desk.clock += 60
    assert times(limits, 20) == 11


def test_a_refused_request_is_not_counted() -> None:
    desk = Desk()
    limits = Limits(LimitsSpecification("shop/web", per_second=1, burst_multiplier=1), desk)
    assert times(limits, 100) == 2
    desk.clock += 1
    assert passes(limits)


def test_per_minute() -> None:
    desk = Desk()
    limits = Limits(LimitsSpecification("shop/web", per_minute=6, burst_multiplier=2, requests_status=429), desk)
    assert times(limits, 20) == 13
    assert limits.request(Asked()) == Reply(429)
    desk.clock += 10
    assert times(limits, 3) == 1


def test_each_of_two_rates_counts_only_what_the_other_lets_pass() -> None:
    desk = Desk()
    limits = Limits(LimitsSpecification("shop/web", per_second=1, per_minute=3, burst_multiplier=1), desk)
    assert times(limits, 5) == 2  # by the second
    desk.clock += 1
    assert times(limits, 5) == 1
    desk.clock += 1
    assert times(limits, 5) == 1  # the minute has 4, less what has leaked
    desk.clock += 1
    assert times(limits, 5) == 0
    desk.clock += 17.1
    assert times(limits, 5) == 1, "by the second two would be free"


def test_connections() -> None:
    limits = Limits(LimitsSpecification("shop/web", connections=2, connections_status=429), Desk())
    under_way = [Asked() for _ in range(3)]
    assert [limits.request(each) for each in under_way] == [None, None, Reply(429)]
    assert passes(limits, "192.0.2.8")
    for each in under_way:
        limits.finish(each, 200)
    assert times(limits, 9) == 9


def test_who_is_refused_by_a_rate_is_not_under_way_afterwards() -> None:
    limits = Limits(LimitsSpecification("shop/web", connections=1, per_second=1, burst_multiplier=1), Desk())
    assert times(limits, 5) == 2
    assert limits.tools.tallies.enter("shop/web", "192.0.2.7", 1) is not None


def test_exempt_networks() -> None:
    found = LimitsSpecification("shop/web", per_second=1, exempt=("192.0.2.0/28", "fd00::/8"))
    limits = Limits(found, Desk())
    assert times(limits, 50) == 50
    assert [passes(limits, "192.0.2.77") for _ in range(8)].count(True) == 6


def test_another_key() -> None:
    limits = Limits(LimitsSpecification("shop/web", per_second=1, burst_multiplier=0, key="$http_x_user"), Desk())

    def of(user: str) -> bool:
        return limits.request(Asked(headers=(("X-User", user),) if user else ())) is None

    assert [of("ada"), of("ada"), of("bob"), of(""), of("")] == [True, False, True, True, True]


def test_filters_of_one_ingress_share_their_numbers_and_no_other() -> None:
    desk = Desk()
    one = Limits(LimitsSpecification("shop/web", per_second=1), desk)
    changed = Limits(LimitsSpecification("shop/web", per_second=1, requests_status=429), desk)
    other = Limits(LimitsSpecification("shop/other", per_second=1), desk)
    assert times(one, 9) == 6
    assert times(changed, 9) == 0
    assert times(other, 9) == 6
