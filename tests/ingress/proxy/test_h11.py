"""h11 as the oracle: every message of a corpus is judged alike by both, or the difference is listed with its reason."""

import random
from collections.abc import Iterator

import h11
import pytest

from ingress.proxy.engine import ChunkedReader, parse_request_head, rewrite_request
from tests.ingress.proxy.corpus import corpus


def ours(octets: bytes) -> tuple[object, ...]:
    """("bad",), ("more",) or ("ok", method, target, fields, body, octets taken)."""
    head = parse_request_head(octets)
    if head is None:
        return ("more",)
    if isinstance(head, int):
        return ("bad",)
    taken = head["length"]
    body = b""
    if head["chunked"]:
        reader = ChunkedReader()
        used = reader.feed(octets[taken:])
        if used < 0:
            return ("bad",)
        if not reader.ended:
            return ("more",)
        taken += used
        body = reader.content
    elif head["content_length"]:
        body = octets[taken : taken + head["content_length"]]
        if len(body) < head["content_length"]:
            return ("more",)
        taken += len(body)
    fields = sorted((name.lower(), value) for name, value in head["fields"] if name.lower() not in FRAMING)
    return ("ok", head["method"], head["target"], fields, body, taken)


FRAMING = (b"content-length", b"transfer-encoding")


def theirs(octets: bytes) -> tuple[object, ...]:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(octets)
    body = b""
    request = None
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                return ("more",)
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return ("bad",)
    except h11.RemoteProtocolError:
        return ("bad",)
    assert request is not None
    fields = sorted((bytes(name), bytes(value)) for name, value in request.headers if bytes(name) not in FRAMING)
    taken = len(octets) - len(connection.trailing_data[0])
    return ("ok", bytes(request.method), bytes(request.target), fields, body, taken)


def reason(octets: bytes, us: tuple[object, ...], them: tuple[object, ...]) -> str | None:
    """Why the two may differ here; None when they may not."""
    line, _, rest = octets.lstrip(b"\r\n").partition(b"\r\n")
    head_octets = octets.partition(b"\r\n\r\n")[0]
    if us == ("bad",):
        if b"\n" in octets.replace(b"\r\n", b""):
            return "a bare LF: h11 takes it for a line's end; RFC 9112, 2.2 lets us refuse it"
        if b"\r\n " in head_octets or b"\r\n\t" in head_octets:
            return "a folded line: h11 joins it; RFC 9112, 5.2 lets us refuse it"
        if b"transfer-encoding" in head_octets.lower() and b"content-length" in head_octets.lower():
            return "length and coding: h11 lets the coding win; RFC 9112, 6.3 lets us refuse it"
        if any((o < 32 and o not in (9, 10, 13)) or o == 127 for o in head_octets):
            return "a control in a value: h11 refuses NUL and line ends only; RFC 9110, 5.5 has no other control either"
        if b"#" in line:
            return "a fragment in the target: h11 takes any visible octet; RFC 9112, 3.2 has none"
        if not line.split(b" ")[1].startswith((b"/", b"http://", b"https://")):
            return "a target that is neither origin- nor absolute-form"
        if any(r.startswith((b"5 ", b"5\t")) for r in rest.split(b"\r\n")):
            return "space after a chunk's size: h11 takes it; RFC 9112, 7.1.1 calls it bad whitespace"
        if b"%" in line:
            return "a bad escape in the target: routes could not be matched by it"
        if them == ("more",):
            return "a line that is wrong before its end: h11 waits for the end"
        return None
    if any(o > 127 for o in line):
        return "octets above 127 in the target: sent raw by clients of the web, passed on by nginx too"
    if octets.startswith(b"\r\n"):
        return "an empty line before the request: RFC 9112, 2.2 asks servers to ignore one"
    return None


CORPUS = corpus()


def test_the_corpus_is_large() -> None:
    assert len(CORPUS) > 1600
    assert len(set(CORPUS.values())) > 1500


@pytest.mark.parametrize("chunk", range(8))
def test_judged_alike(chunk: int) -> None:
    wrong = {}
    for what, octets in list(CORPUS.items())[chunk::8]:
        us, them = ours(octets), theirs(octets)
        if us != them and reason(octets, us, them) is None:
            wrong[what] = (octets[:200], us, them)
    assert wrong == {}


def test_a_message_cut_anywhere_is_judged_as_the_whole() -> None:
    for what, octets in CORPUS.items():
        if len(octets) > 400:
            continue
        whole = ours(octets)
        for cut in range(len(octets)):
            part = ours(octets[:cut])
            assert part in (("more",), whole), (what, cut, part, whole)
            if part == ("bad",):
                break


def mutants(count: int, seed: int) -> Iterator[bytes]:
    """Messages of the corpus with pieces cut out, doubled, exchanged or replaced by odd octets."""
    draw = random.Random(seed)
    messages = [octets for octets in CORPUS.values() if len(octets) < 600]
    messages += 4 * [octets for octets in messages if ours(octets)[0] == "ok"]
    odd = [
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b",",
        b";",
        b"0",
        b"5",
        b"\0",
        b"\x80",
        b"chunked",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Host: b\r\n",
        b"GET / HTTP/1.1\r\n",
        b"\r\n\r\n",
        b"HTTP/1.0",
        b"%",
        b"/../",
    ]
    for _ in range(count):
        octets = draw.choice(messages)
        for _ in range(draw.randint(1, 4)):
            at, to = sorted(draw.randrange(len(octets) + 1) for _ in range(2))
            to = min(to, at + draw.choice((0, 1, 2, 20)))
            piece = draw.choice((b"", draw.choice(odd), octets[at:to] * 2, bytes([draw.randrange(256)])))
            octets = octets[:at] + piece + octets[to:]
        yield octets


@pytest.mark.parametrize("seed", range(4))
def test_what_we_accept_h11_reads_in_the_same_way(seed: int) -> None:
    accepted = 0
    for octets in mutants(5000, seed):
        us = ours(octets)
        if us[0] != "ok":
            continue
        them = theirs(octets)
        assert us == them or reason(octets, us, them) is not None, (octets, us, them)
        accepted += 1
    assert accepted > 300


@pytest.mark.parametrize("seed", range(4, 8))
def test_what_goes_on_is_read_by_the_next_hop_in_the_same_way(seed: int) -> None:
    """The rewritten head with the same body: one request, of the same method, target and body, and nothing after it."""
    for octets in mutants(5000, seed):
        us = ours(octets)
        if us[0] != "ok":
            continue
        head = parse_request_head(octets)
        assert isinstance(head, dict)
        _, method, target, _, body, taken = us
        assert isinstance(taken, int)
        sent = rewrite_request(octets[: head["length"]]) + octets[head["length"] : taken]
        them = theirs(sent)
        if any(octet > 127 for octet in sent.partition(b"\r\n")[0]):
            continue  # h11 does not take what clients of the web send raw
        assert them[0] == "ok", (octets, sent, them)
        assert them[1] == method
        assert target in (them[2], head["target"])
        assert them[4:] == (body, len(sent)), (octets, sent, them)
