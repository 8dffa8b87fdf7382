"""upstream-hash-by where the data plane does not do it alone."""

from ingress.filters.hash import Hash, HashSpecification
from tests.ingress.filters.asked import Asked, Desk

SIX = tuple(f"10.0.0.{number}:80" for number in range(1, 7))


def test_198_the_key_is_the_text_of_the_request() -> None:
    request = Asked("/caf\xe9?x=1")
    Hash(HashSpecification("$request_method-$request_uri"), Desk()).request(request)
    assert request.hash_key == b"GET-/caf\xe9?x=1"


def members(target: str, size: int, there: tuple[str, ...] = SIX) -> set[str]:
    found = set()
    for chance in (0.0, 0.2, 0.4, 0.6, 0.8, 0.99):
        request = Asked(target, backends={"shop/cart:80": there})
        Hash(HashSpecification("$request_uri", size), Desk(chance=chance)).request(request)
        found.add(request.pin)
    return found


def test_199_a_subset_of_endpoints_answers_for_a_text() -> None:
    subsets = {frozenset(members(f"/{number}", 3)) for number in range(40)}
    assert subsets == {frozenset(SIX[:3]), frozenset(SIX[3:])}


def test_199_a_subset_is_whole_whatever_the_number_of_endpoints() -> None:
    assert {len(members(f"/{number}", 4)) for number in range(20)} == {4}
    assert members("/", 9) == set(SIX)
    assert members("/", 3, ()) == {""}
