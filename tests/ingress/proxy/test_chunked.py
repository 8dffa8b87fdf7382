"""The chunked coding: every case whole and cut at every octet."""

import pytest

from ingress.proxy.engine import ChunkedReader

GOOD = {
    "nothing": (b"0\r\n\r\n", b""),
    "one": (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    "several": (b"1\r\na\r\n2\r\nbc\r\n00A\r\n0123456789\r\n0\r\n\r\n", b"abc0123456789"),
    "hexadecimal in both cases": (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
    "content that looks like framing": (b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n"),
    "extensions": (b'5;a=b;c="d;e"\r\nhello\r\n0;last\r\n\r\n', b"hello"),
    "trailers": (b"0\r\nX: 1\r\nY:\r\nZ: a b\t\r\n\r\n", b""),
    "several zeros": (b"000\r\n\r\n", b""),
}

BAD = {
    "empty size": b"\r\nhello",
    "no digits": b";x\r\n",
    "not hexadecimal": b"5g\r\n",
    "signed": b"+5\r\nhello",
    "negative": b"-5\r\nhello",
    "prefixed": b"0x5\r\nhello",
    "underscore": b"1_0\r\n",
    "space before the size": b" 5\r\nhello",
    "space after the size": b"5 \r\nhello",
    "bare lf after the size": b"5\nhello",
    "bare cr after the size": b"5\rhello",
    "bare lf in an extension": b"5;a\nhello",
    "nul in an extension": b"5;a\0\r\nhello",
    "no crlf after the content": b"5\r\nhelloX",
    "lf after the content": b"5\r\nhello\n0\r\n\r\n",
    "cr alone after the content": b"5\r\nhello\rX",
    "size of 16 digits": b"0000000000000005\r\nhello",
    "size beyond any": b"ffffffffffffffff\r\n",
    "trailer without name": b"0\r\n: 1\r\n\r\n",
    "trailer folded": b"0\r\nX: 1\r\n 2\r\n\r\n",
    "trailer without colon": b"0\r\nX\r\n\r\n",
    "trailer with bare lf": b"0\r\nX: 1\n\r\n",
    "trailer with nul": b"0\r\nX: \0\r\n\r\n",
    "bare lf at the end": b"0\r\n\n",
    "extension without end": b"5;" + b"x" * 5000,
    "trailers without end": b"0\r\n" + b"X: 1\r\n" * 4000,
}


def feed(*pieces: bytes) -> tuple[int, ChunkedReader]:
    """Octets taken in all, -1 for wrong framing."""
    reader = ChunkedReader()
    taken = 0
    for piece in pieces:
        used = reader.feed(piece)
        if used < 0:
            return -1, reader
        taken += used
        assert used == len(piece) or reader.ended
    return taken, reader


@pytest.mark.parametrize(("coded", "content"), GOOD.values(), ids=GOOD.keys())
def test_accepted_whole_and_cut_at_every_octet(coded: bytes, content: bytes) -> None:
    taken, reader = feed(coded + b"GET / HTTP/1.1")
    assert (taken, reader.ended, reader.content) == (len(coded), True, content)
    for cut in range(1, len(coded)):
        taken, reader = feed(coded[:cut], coded[cut:] + b"next")
        assert (taken, reader.ended, reader.content) == (len(coded), True, content)
    taken, reader = feed(*(coded[i : i + 1] for i in range(len(coded))))
    assert (taken, reader.ended, reader.content) == (len(coded), True, content)
    taken, reader = feed(coded[:-1])
    assert (taken, reader.ended) == (len(coded) - 1, False)


@pytest.mark.parametrize("coded", BAD.values(), ids=BAD.keys())
def test_refused_whole_and_cut_at_every_octet(coded: bytes) -> None:
    assert feed(coded)[0] == -1
    assert feed(*(coded[i : i + 1] for i in range(len(coded))))[0] == -1
    for cut in range(1, min(len(coded), 200)):
        assert feed(coded[:cut], coded[cut:])[0] == -1
