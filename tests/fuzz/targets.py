"""What must hold for any octets. Each target raises AssertionError when it does not; a sanitizer ends the process."""

from collections.abc import Callable

import h11

from ingress.proxy.engine import (
    ChunkedReader,
    normalise_path,
    parse_client_hello,
    parse_proxy_header,
    parse_request_head,
    parse_response_head,
    rewrite_request,
)

REFUSALS = {400, 414, 417, 431, 501, 505}


def request_head(octets: bytes) -> None:
    """The verdict does not depend on how the octets are cut, and what goes on is read alike by h11."""
    found = parse_request_head(octets)
    for cut in {0, len(octets) // 3, len(octets) - 1} & set(range(len(octets))):
        early = parse_request_head(octets[:cut])
        if isinstance(early, dict):
            assert isinstance(found, dict), "a head that ends in two places"
            assert early["length"] == found["length"], "a head that ends in two places"
        elif early is not None:
            assert found == early, "more octets have changed the verdict"
    if not isinstance(found, dict):
        assert found is None or found in REFUSALS, found
        return
    if found["method"].lower() in (b"connect", b"trace"):
        return
    sent = rewrite_request(octets[: found["length"]])
    if any(octet > 127 for octet in found["target"]):
        return  # sent raw by clients of the web, passed on by nginx too, refused by h11
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(sent)
    request = connection.next_event()
    assert isinstance(request, h11.Request), request
    assert request.method == found["method"]
    assert len([name for name, _ in request.headers if name == b"host"]) == 1
    again = parse_request_head(sent, field_limit=256)  # ours come on top
    assert isinstance(again, dict), "what goes on has an end of its own"
    assert again["length"] == len(sent), "what goes on has an end of its own"
    assert again["chunked"] == found["chunked"]
    assert again["content_length"] == found["content_length"]


def response_head(octets: bytes) -> None:
    found = parse_response_head(octets)
    early = parse_response_head(octets[: len(octets) // 2])
    if isinstance(early, dict):
        assert isinstance(found, dict), "a head that ends in two places"
        assert early["length"] == found["length"], "a head that ends in two places"
    if isinstance(found, dict):
        assert 100 <= found["status"] <= 999
        assert not (found["chunked"] and found["content_length"] is not None)


def chunked(octets: bytes) -> None:
    """The same content and the same end, at once and one octet after the other."""
    whole, slow = ChunkedReader(), ChunkedReader()
    used = whole.feed(octets)
    taken = 0
    for at in range(len(octets)):
        if slow.ended:
            break
        step = slow.feed(octets[at : at + 1])
        if step < 0:
            assert used < 0, "refused only when it comes slowly"
            return
        taken += step
    assert used >= 0, "refused only when it comes at once"
    assert (whole.ended, whole.content, used) == (slow.ended, slow.content, taken)


def path(octets: bytes) -> None:
    """Normalising twice changes nothing more, and no step leads up."""
    if b"\0" in octets:
        return  # no head gets so far
    found = normalise_path(octets)
    if found is None:
        return
    assert found.startswith(b"/")
    assert len(found) <= len(octets)
    assert b"//" not in found
    assert b"\0" not in found
    assert not {b".", b".."} & set(found.split(b"/"))


def proxy_header(octets: bytes) -> None:
    found = parse_proxy_header(octets)
    if found is None:
        return
    if found is False:
        assert parse_proxy_header(octets + b"x") is False, "more octets have changed the verdict"
        return
    assert 0 < found[0] <= len(octets)
    assert parse_proxy_header(octets[: found[0]]) == found


def client_hello(octets: bytes) -> None:
    found = parse_client_hello(octets)
    if isinstance(found, bytes):
        assert len(found) <= 255
        assert found == found.lower()
        assert not found.endswith(b".")


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (request_head, response_head, chunked, path, proxy_header, client_hello)
}
