"""Request and response heads: every case whole and cut at every octet."""

import pytest

from ingress.proxy.engine import parse_request_head, parse_response_head, rewrite_request

GOOD = {
    "plain": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "no fields in 1.0": b"GET / HTTP/1.0\r\n\r\n",
    "leading empty line": b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "query": b"GET /a/b?c=d&e=%20 HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute": b"GET http://b.example:81/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute without path": b"GET HTTPS://b.example?x HTTP/1.1\r\nHost: a\r\n\r\n",
    "host with port": b"GET / HTTP/1.1\r\nHost: A.Example:8080\r\n\r\n",
    "host v6": b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n",
    "empty host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "empty value": b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n",
    "spaces around the value": b"GET / HTTP/1.1\r\nHost: \t a \t\r\nX: \t \r\n\r\n",
    "obs-text in a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe4\xff\r\n\r\n",
    "content-length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
    "content-length 0": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "content-length repeated": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n",
    "content-length joined": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n",
    "content-length leading zero": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0005\r\n\r\n",
    "chunked": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
    "token method": b"x-a.b!~ / HTTP/1.1\r\nHost: a\r\n\r\n",
    "minor version of tomorrow": b"GET / HTTP/1.9\r\nHost: a\r\n\r\n",
}

BAD = {
    "bare lf": (400, b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    "bare lf after a field": (400, b"GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n"),
    "bare cr in a value": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
    "bare cr before the end": (400, b"GET / HTTP/1.1\r\nHost: a\r\n\rX: 1\r\n\r\n"),
    "bare cr in the request line": (400, b"GET / HTTP/1.1\rX\r\nHost: a\r\n\r\n"),
    "two empty lines": (400, b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "fold": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n"),
    "fold with a tab": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\t2\r\n\r\n"),
    "fold at the first field": (400, b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    "space before the colon": (400, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    "no name": (400, b"GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n"),
    "no colon": (400, b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n"),
    "nul in a value": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
    "control in a value": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n"),
    "del in a value": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n"),
    "nul in the name": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n"),
    "obs-text in the name": (400, b"GET / HTTP/1.1\r\nHost: a\r\nX\xe4: a\r\n\r\n"),
    "nul in the target": (400, b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "fragment": (400, b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    "two spaces": (400, b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "space in the target": (400, b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    "tab for a space": (400, b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    "space after the version": (400, b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    "no version": (400, b"GET /\r\nHost: a\r\n\r\n"),
    "version in lower case": (400, b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    "version without a minor": (400, b"GET / HTTP/1\r\nHost: a\r\n\r\n"),
    "version of two digits": (400, b"GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
    "http/2": (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    "http/2 preface": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "method with a colon": (400, b"GE:T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "no method": (400, b" / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "method without end": (400, b"G" * 65 + b" / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "tls hello": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "asterisk": (400, b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    "authority-form": (400, b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "other scheme": (400, b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    "absolute without authority": (400, b"GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n"),
    "absolute with user": (400, b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    "no host": (400, b"GET / HTTP/1.1\r\nX: 1\r\n\r\n"),
    "two hosts": (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    "two hosts in 1.0": (400, b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
    "host with a space": (400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    "host with a slash": (400, b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    "host with an at": (400, b"GET / HTTP/1.1\r\nHost: u@b\r\n\r\n"),
    "host list": (400, b"GET / HTTP/1.1\r\nHost: a:80:90\r\n\r\n"),
    "port not digits": (400, b"GET / HTTP/1.1\r\nHost: a:8a\r\n\r\n"),
    "port alone": (400, b"GET / HTTP/1.1\r\nHost: :80\r\n\r\n"),
    "open bracket": (400, b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    "host of 256 octets": (400, b"GET / HTTP/1.1\r\nHost: " + b"a" * 256 + b"\r\n\r\n"),
    "length and coding": (
        400,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    "coding and length": (
        400,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    ),
    "coding in 1.0": (400, b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "gzip": (501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"),
    "gzip, chunked": (501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
    "chunked, identity": (501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n"),
    "xchunked": (501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"),
    "vtab chunked": (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n"),
    "coding empty": (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n"),
    "chunked twice": (
        400,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    "lengths differ": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    "lengths of two spellings": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 05\r\n\r\n"),
    "lengths joined differ": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\n"),
    "length with a comma at the end": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,\r\n\r\n"),
    "length signed": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n"),
    "length negative": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n"),
    "length hexadecimal": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n"),
    "length with a space": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\n"),
    "length empty": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"),
    "length beyond any": (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n"),
    "path above the root": (400, b"GET /../a HTTP/1.1\r\nHost: a\r\n\r\n"),
    "bad escape": (400, b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"),
    "escape cut": (400, b"GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "escaped nul": (400, b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "101 fields": (431, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 100 + b"\r\n"),
    "long target": (414, b"GET /" + b"a" * 32768 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "many options of connection": (
        400,
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: " + b",".join(b"x%d" % i for i in range(17)) + b"\r\n\r\n",
    ),
}


@pytest.mark.parametrize("head", GOOD.values(), ids=GOOD.keys())
def test_accepted_whole_and_cut_at_every_octet(head: bytes) -> None:
    whole = parse_request_head(head)
    assert isinstance(whole, dict)
    assert whole["length"] == len(head)
    assert parse_request_head(head + b"GET /next") == whole
    assert [parse_request_head(head[:cut]) for cut in range(len(head))] == [None] * len(head)


@pytest.mark.parametrize(("status", "head"), BAD.values(), ids=BAD.keys())
def test_refused_whole_and_cut_at_every_octet(status: int, head: bytes) -> None:
    assert parse_request_head(head) == status
    if len(head) > 4096:
        return
    verdicts = [parse_request_head(head[:cut]) for cut in range(len(head) + 1)]
    first = next(cut for cut, verdict in enumerate(verdicts) if verdict is not None)
    # Once refused, no further octet makes it acceptable.
    assert set(verdicts[first:]) == {status}


def test_every_octet_at_every_place_of_a_value() -> None:
    """Values are read eight octets at a time: what is in the middle of eight is seen like what is at their ends."""
    for length in range(1, 20):
        for at in range(length):
            for octet in range(256):
                value = b"a" * at + bytes([octet]) + b"\x80" * (length - at - 1)
                got = parse_request_head(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + value + b"\r\n\r\n")
                if octet == 9 or (octet >= 32 and octet != 127):
                    assert isinstance(got, dict), value
                    assert got["fields"][1] == (b"X", value.strip(b" \t"))
                else:
                    assert got == 400, value


@pytest.mark.parametrize("name", [b"Connection", b"te", b"keep-alive", b"Proxy-Authorization", b"x-real-ip"])
def test_names_are_known_in_any_case_and_no_other_is_taken_for_them(name: bytes) -> None:
    def dropped(spelt: bytes) -> bool:
        sent = rewrite_request(b"GET / HTTP/1.1\r\nHost: a\r\n" + spelt + b": zzz\r\n\r\n")
        assert isinstance(sent, bytes)
        return b": zzz" not in sent

    assert all(map(dropped, (name, name.upper(), name.swapcase())))
    for at in range(len(name)):
        for octet in b"!#$%&'*+.^`|~q7":
            assert not dropped(name[:at] + bytes([octet]) + name[at + 1 :])


def test_what_is_understood() -> None:
    head = parse_request_head(
        b"POST http://Shop.Example.:8080/a//b/%63/../d?x=1 HTTP/1.1\r\nHost: other\r\nContent-Length: 12\r\n"
        b"Connection: Upgrade, close\r\nUpgrade: websocket\r\nExpect: 100-Continue\r\nX-A:  b c \r\n\r\n"
    )
    assert isinstance(head, dict)
    assert head["method"] == b"POST"
    assert head["host"] == b"shop.example"
    assert head["path"] == b"/a/b/d"
    assert head["content_length"] == 12
    assert head["close"]
    assert head["upgrade"] == b"websocket"
    assert head["expect_continue"]
    assert (b"X-A", b"b c") in head["fields"]


@pytest.mark.parametrize(
    ("minor", "connection", "close"),
    [
        (b"1", b"", False),
        (b"1", b"Connection: close\r\n", True),
        (b"1", b"Connection: keep-alive\r\n", False),
        (b"1", b"Connection: x, Close\r\n", True),
        (b"0", b"", True),
        (b"0", b"Connection: Keep-Alive\r\n", False),
        (b"0", b"Connection: keep-alive, close\r\n", True),
    ],
)
def test_persistence(minor: bytes, connection: bytes, close: bool) -> None:
    head = parse_request_head(b"GET / HTTP/1." + minor + b"\r\nHost: a\r\n" + connection + b"\r\n")
    assert isinstance(head, dict)
    assert head["close"] is close


def fields(head: bytes) -> list[bytes]:
    return head.split(b"\r\n")[1:-2]


def test_rewritten_for_the_endpoint() -> None:
    head = rewrite_request(
        b"POST /a?b HTTP/1.1\r\nHost: shop.example:81\r\nConnection: close, X-Secret, Host, Content-Length\r\n"
        b"X-Secret: 1\r\nX-Keep: 2\r\nKeep-Alive: 5\r\n"
        b"TE: trailers\r\nProxy-Connection: x\r\nProxy: evil\r\nUpgrade: h2c\r\n"
        b"content-length: 003\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 8.8.8.8\r\nX-Forwarded-Host: myhost\r\n"
        b"X-Forwarded-Proto: myproto\r\nX-Forwarded-Port: 1234\r\nX-Real-IP: 7.7.7.7\r\nX-Scheme: s\r\n"
        b"X-Original-Forwarded-For: 6.6.6.6\r\nForwarded: for=5.5.5.5\r\nX-Request-ID: mine\r\n\r\n",
        client="198.51.100.7",
        port=8443,
        tls=True,
    )
    assert head.startswith(b"POST /a?b HTTP/1.1\r\n")
    assert head.endswith(b"\r\n\r\n")
    assert sorted(fields(head)) == sorted(
        [
            b"Host: shop.example:81",
            b"X-Keep: 2",
            b"X-Request-ID: mine",
            b"Content-Length: 3",
            b"X-Real-IP: 198.51.100.7",
            b"X-Forwarded-For: 198.51.100.7",
            b"X-Forwarded-Host: shop.example:81",
            b"X-Forwarded-Port: 8443",
            b"X-Forwarded-Proto: https",
            b"X-Forwarded-Scheme: https",
            b"X-Scheme: https",
            b"X-Original-Forwarded-For: 9.9.9.9, 8.8.8.8",
            b"X-Original-Forwarded-Host: myhost",
        ]
    )


def test_a_request_id_is_made_where_there_is_none() -> None:
    made = {
        next(
            f for f in fields(rewrite_request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")) if f.startswith(b"X-Request-ID: ")
        )
        for _ in range(20)
    }
    assert len(made) == 20
    assert all(len(bytes.fromhex(one.split(b": ")[1].decode())) == 16 for one in made)


def test_absolute_form_becomes_origin_form() -> None:
    head = rewrite_request(b"GET http://b.example?x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert head.startswith(b"GET /?x HTTP/1.1\r\n")
    assert [f for f in fields(head) if f.lower().startswith(b"host:")] == [b"Host: b.example"]


def test_an_upgrade_is_passed_on_only_when_it_is_asked_for() -> None:
    asked = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert {b"Connection: Upgrade", b"Upgrade: websocket"} <= set(fields(rewrite_request(asked)))
    for head in (
        asked.replace(b", Upgrade", b""),
        asked.replace(b"1.1\r\n", b"1.0\r\n", 1),
        asked.replace(b"websocket", b"x, H2C"),
        asked.replace(b"\r\n\r\n", b"\r\nUpgrade: y\r\n\r\n"),
        asked.replace(b"\r\n\r\n", b"\r\nUpgrade: y\r\nUpgrade: z\r\n\r\n"),
        asked.replace(b"websocket", b""),
    ):
        assert not any(f.lower().startswith((b"connection", b"upgrade")) for f in fields(rewrite_request(head)))


def test_the_longest_head_fits() -> None:
    host = b"h" * 255
    head = (
        b"GET /"
        + b"t" * 32000
        + b" HTTP/1.1\r\nHost: "
        + host
        + b":65535\r\n"
        + b"X-Forwarded-For: "
        + b"f" * 30000
        + b"\r\n\r\n"
    )
    assert len(rewrite_request(head, client="2001:db8:ffff:ffff:ffff:ffff:255.255.255.255"[:45])) > len(head)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", (200, 5, False, False)),
        (b"HTTP/1.1 200 \r\n\r\n", (200, None, False, False)),
        (b"HTTP/1.1 200\r\n\r\n", (200, None, False, False)),
        (b"HTTP/1.0 200 OK\r\n\r\n", (200, None, False, True)),
        (
            b"HTTP/1.1 404 Not \xe4 Found\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
            (404, None, True, True),
        ),
    ],
)
def test_response_accepted(head: bytes, expected: tuple[int, int | None, bool, bool]) -> None:
    got = parse_response_head(head)
    assert isinstance(got, dict)
    assert (got["status"], got["content_length"], got["chunked"], got["close"]) == expected
    assert [parse_response_head(head[:cut]) for cut in range(len(head))] == [None] * len(head)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\nX: 1\r\n\r\n",
        b"HTTP/1.1 200 O\0K\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    ],
)
def test_response_refused(head: bytes) -> None:
    assert parse_response_head(head) == 502
