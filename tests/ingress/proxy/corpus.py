"""Requests, good and bad, for whoever reads HTTP/1.1: made of pieces, each named by what it is about."""

import itertools
from collections.abc import Iterator


def head(line: bytes = b"GET / HTTP/1.1", *fields: bytes, host: bytes = b"Host: a") -> bytes:
    return b"\r\n".join([line, *([host] if host else []), *fields, b"", b""])


METHODS = [
    b"GET",
    b"POST",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"PATCH",
    b"x-odd",
    b"!#$%&'*+-.^_`|~",
    b"G\0T",
    b"G T",
    b"G(T",
    b"",
    b"G\tT",
    b"G:T",
]
TARGETS = [
    b"/",
    b"/a",
    b"/a/b?c=d",
    b"/%20",
    b"/a;b",
    b"/a=b&c",
    b"/a+b",
    b"/~a",
    b"/[x]",
    b"/a b",
    b"/\0",
    b"/\x01",
    b"/\t",
    b"",
    b"/\x7f",
    b'/"<>\\^`{|}',
    b"http://a/b",
    b"http://a:80",
    b"https://a/?x",
]
VERSIONS = [
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/1",
    b"HTTP/1.",
    b"HTTP/.1",
    b"http/1.1",
    b"HTTP/1.1 ",
    b" HTTP/1.1",
    b"HTTP/11",
    b"HTTP/1.11",
    b"HTTP 1.1",
    b"HTTPS/1.1",
    b"HTTP/a.b",
    b"",
]
NAMES = [
    b"X",
    b"x-a",
    b"X_a",
    b"X.a",
    b"!#$%&'*+-.^_`|~",
    b"9",
    b"X ",
    b" X",
    b"X\t",
    b"",
    b"X(",
    b"X/",
    b"X:",
    b"X\0",
    b"X\x80",
    b"X@",
    b"X[",
    b'X"',
    b"X,",
    b"X;",
    b"X<",
    b"X=",
    b"X\x7f",
    b"X\x1f",
]
VALUES = [
    b"",
    b"a",
    b" a",
    b"\ta",
    b"a ",
    b"a\t ",
    b"a b",
    b"a\tb",
    b'"q"',
    b"a,b",
    b"a:b",
    b"\x80\xff",
    b"\xc3\xa4",
    b"a\0b",
    b"a\rb",
    b"a\nb",
    b"\r",
    b"a\r\n b",
    b"a\r\n\tb",
    b"a\r\n  ",
    b"a\r",
    b"()<>@,;:\\/[]?={}",
    b"x" * 5000,
]
LENGTHS = [
    b"0",
    b"5",
    b"05",
    b"5 ",
    b"\t5",
    b"5,5",
    b"5, 5",
    b"5,6",
    b"5,",
    b",5",
    b"+5",
    b"-5",
    b"5.0",
    b"0x5",
    b"5 5",
    b"",
    b"five",
    b"5\0",
    b"9" * 30,
    b"1_0",
    b"\xb2",
    b"5;",
    b'"5"',
]
CODINGS = [
    b"chunked",
    b"Chunked",
    b"CHUNKED ",
    b"gzip",
    b"identity",
    b"chunked, chunked",
    b"gzip, chunked",
    b"chunked, gzip",
    b"",
    b"xchunked",
    b"chunkedx",
    b"chunked;q=1",
    b'"chunked"',
    b"chunked\0",
    b"\x0bchunked",
    b"chunked,",
]
BODIES = [
    b"",
    b"hello",
    b"hello, and more",
    b"hel",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5;x=y\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX: 1\r\n\r\n",
    b"a\r\n0123456789\r\n0\r\n\r\n",
    b"A\r\n0123456789\r\n0\r\n\r\nGET",
    b"g\r\n",
    b"\r\n",
    b"5\r\nhelloX\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"-1\r\n",
    b"+5\r\nhello\r\n",
    b"0x5\r\nhello\r\n",
    b"5\nhello\n0\n\n",
    b" 5\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"5\r\nhello\r\n0\r\n",
    b"00005\r\nhello\r\n000\r\n\r\n",
]
ENDS = [b"\r\n\r\n", b"\n\n", b"\r\n\n", b"\n\r\n", b"\r\r", b"\r\n", b"\r", b""]


def corpus() -> dict[str, bytes]:
    """Messages by what they are about."""
    return {
        f"{what} #{i}": octets for i, (what, octets) in enumerate(itertools.chain(heads(), bodies(), octets_anywhere()))
    }


def heads() -> Iterator[tuple[str, bytes]]:

    for method, version in itertools.product(METHODS, VERSIONS[:2]):
        yield (f"method {method!r} {version!r}", head(method + b" / " + version))
    for target in TARGETS:
        yield (f"target {target!r}", head(b"GET " + target + b" HTTP/1.1"))
    for version in VERSIONS:
        yield (f"version {version!r}", head(b"GET / " + version))
    for name in NAMES:
        yield (f"name {name!r}", head(b"GET / HTTP/1.1", name + b": 1"))
        yield (f"name {name!r} first", head(b"GET / HTTP/1.1", b"Host: a", host=name + b":1"))
    for value in VALUES:
        yield (f"value {value!r}", head(b"GET / HTTP/1.1", b"X:" + value))
        yield (f"value {value!r} then a field", head(b"GET / HTTP/1.1", b"X: " + value, b"Y: 1"))


def bodies() -> Iterator[tuple[str, bytes]]:
    for length, body in itertools.product(LENGTHS, BODIES[:4]):
        yield (f"length {length!r} body {body!r}", head(b"POST / HTTP/1.1", b"Content-Length: " + length) + body)
    for first, second in itertools.product((b"5", b"6", b"05"), repeat=2):
        yield (
            f"lengths {first!r} {second!r}",
            head(b"POST / HTTP/1.1", b"Content-Length: " + first, b"Content-Length: " + second) + b"hello!",
        )
    for coding in CODINGS:
        yield (f"coding {coding!r}", head(b"POST / HTTP/1.1", b"Transfer-Encoding: " + coding) + BODIES[5])
        yield (
            f"coding {coding!r} twice",
            head(b"POST / HTTP/1.1", b"Transfer-Encoding: " + coding, b"Transfer-Encoding: chunked") + BODIES[5],
        )
    for body in BODIES:
        yield (f"chunks {body!r}", head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked") + body)
        yield (
            f"chunks {body!r} with length",
            head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", b"Content-Length: 5") + body,
        )


def octets_anywhere() -> Iterator[tuple[str, bytes]]:
    for end in ENDS:
        yield (f"end {end!r}", b"GET / HTTP/1.1\r\nHost: a" + end)
        yield (f"end {end!r} of the line", b"GET / HTTP/1.1" + end + b"Host: a\r\n\r\n")
        yield (f"before {end!r}", end + head())
    for octet in range(256):
        one = bytes([octet])
        yield (f"octet {octet} in the method", head(b"GE" + one + b"T / HTTP/1.1"))
        yield (f"octet {octet} in the target", head(b"GET /" + one + b"x HTTP/1.1"))
        yield (f"octet {octet} in a name", head(b"GET / HTTP/1.1", b"X" + one + b"Y: 1"))
        yield (f"octet {octet} in a value", head(b"GET / HTTP/1.1", b"X: a" + one + b"b"))
        yield (
            f"octet {octet} after a size",
            head(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked") + b"5" + one + b"\r\nhello\r\n0\r\n\r\n",
        )
