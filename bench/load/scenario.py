"""What a load run sends: requests by weight, where to, and what answers must look like.

A scenario is a YAML file:

    target: http://127.0.0.1:8080        # scheme and address that is connected to
    allow: [127.0.0.1]                   # addresses beside loopback that may be loaded
    keep_alive: true
    requests:
      - weight: 9
        path: /cart?x=1
        host: shop.example.com           # default: the target's
        headers: {User-Agent: demo}
        expect: {status: 200, body: pod, header: {X-Pod: "cart-"}}
      - {method: POST, path: /orders, body: "a=1"}

or what an access log has recorded, at its times (replay.py), or messages over WebSockets:

    replay: {log: access.log, host: shop.example.com, speed: 2}

    websocket: {path: /chat}             # each connection is upgraded once; bodies are messages to an echo
    requests: [{body_bytes: 100}]

Pure: `parse` takes text and gives a Scenario or raises BadScenario naming the field.
"""

import ipaddress
from typing import Any
from urllib.parse import urlsplit

import msgspec
import yaml


class BadScenario(ValueError):
    """The scenario cannot be used as it is; the text names the field and the remedy."""


class Expect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an answer must have; anything else counts as a failed check."""

    status: int | None = None
    body: str | None = None
    """Text that must be in the body."""
    header: dict[str, str] = {}
    """Field names with text that must be in their value."""


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: str = "/"
    method: str = "GET"
    host: str | None = None
    headers: dict[str, str] = {}
    body: str = ""
    body_bytes: int = 0
    """A body of this many bytes, instead of `body`."""
    weight: int = 1
    expect: Expect | None = None


class Replay(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An access log as the source of requests and of their times."""

    log: str
    host: str | None = None
    """Logs do not tell it. Default: the target's."""
    speed: float = 1.0
    """2: twice as fast as recorded."""
    methods: tuple[str, ...] = ("GET", "HEAD")
    """Others are left out: what they would change is not known from a log."""
    expect_status: bool = False
    """Whether each answer must have the status of the log."""


class WebSocket(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How each connection is upgraded before its first message."""

    path: str = "/"
    host: str | None = None
    headers: dict[str, str] = {}


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    target: str
    requests: tuple[Request, ...] = (Request(),)
    keep_alive: bool = True
    server_name: str = ""
    """What TLS asks for (SNI); "": the target's host."""
    allow: tuple[str, ...] = ()
    answered_by: str | None = None
    """A response field whose values are counted: which endpoint answered."""
    replay: Replay | None = None
    websocket: WebSocket | None = None
    recording: tuple[tuple[float, int], ...] = ()
    """Made of `replay`: (seconds from the start, index of the request), in order of time."""

    @property
    def checked(self) -> bool:
        return self.answered_by is not None or any(request.expect for request in self.requests)

    @property
    def tls(self) -> bool:
        return self.target.startswith("https:")

    @property
    def host_port(self) -> tuple[str, int]:
        parts = urlsplit(self.target)
        return parts.hostname or "", parts.port or (443 if self.tls else 80)


def parse(text: str) -> Scenario:
    """Read a scenario's YAML."""
    try:
        document = yaml.safe_load(text)
        scenario = msgspec.convert(document, Scenario)
    except yaml.YAMLError as error:
        raise BadScenario(f"not YAML: {error}") from None
    except msgspec.ValidationError as error:
        raise BadScenario(str(error)) from None
    check(scenario)
    return scenario


def of_url(url: str, *, method: str = "GET", headers: dict[str, str], body: str, keep_alive: bool) -> Scenario:
    """The scenario of one URL asked again and again."""
    parts = urlsplit(url if "//" in url else f"http://{url}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    request = Request(path=path, method=method, headers=headers, body=body)
    scenario = Scenario(target=f"{parts.scheme}://{parts.netloc}", requests=(request,), keep_alive=keep_alive)
    check(scenario)
    return scenario


def check(scenario: Scenario) -> None:
    """Raise BadScenario for what would make a run meaningless."""
    parts = urlsplit(scenario.target)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadScenario(f"target: {scenario.target!r} is not http://ADDRESS:PORT or https://ADDRESS:PORT")
    try:
        port = parts.port
    except ValueError:
        port = -1
    if port is not None and not 0 < port < 65536:
        raise BadScenario(f"target: the port in {scenario.target!r} is not between 1 and 65535")
    if not scenario.requests:
        raise BadScenario("requests: there are none")
    for number, request in enumerate(scenario.requests):
        if request.weight < 1:
            raise BadScenario(f"requests[{number}].weight: {request.weight} is below 1; leave the request out instead")
        if not request.path.startswith("/"):
            raise BadScenario(f"requests[{number}].path: {request.path!r} does not begin with /")
        if any(ord(each) < 33 for each in request.path + request.method):
            raise BadScenario(f"requests[{number}]: a blank or control character in the method or path")
        if any("\n" in text or "\r" in text for pair in request.headers.items() for text in pair):
            raise BadScenario(f"requests[{number}].headers: a line break in a field")
        if scenario.websocket is not None and request.expect is not None:
            raise BadScenario(f"requests[{number}].expect: messages over a WebSocket are not checked; leave it out")
    if scenario.replay is not None and not scenario.replay.speed > 0:
        raise BadScenario(f"replay.speed: {scenario.replay.speed} is not above 0")
    if scenario.websocket is not None and (scenario.answered_by or not scenario.keep_alive or scenario.replay):
        raise BadScenario("websocket: does not go with answered_by, replay or keep_alive: false")


def refuse_strangers(scenario: Scenario, addresses: list[str]) -> None:
    """Raise BadScenario unless every address of the target is loopback or named in `allow`.

    A load test against somebody else's address is an attack; the scenario's author must have named it.
    """
    for address in addresses:
        if not ipaddress.ip_address(address.split("%")[0]).is_loopback and address not in scenario.allow:
            raise BadScenario(
                f"{address} is neither loopback nor in the scenario's allow list; "
                f"if it is yours to load, add it: allow: [{address}]"
            )


def message(scenario: Scenario, request: Request) -> bytes:
    """The request as it goes over the wire; a frame, where connections are upgraded."""
    body = b"x" * request.body_bytes if request.body_bytes else request.body.encode()
    if scenario.websocket is not None:
        return frame(body, WEBSOCKET_MASK)
    fields: dict[str, Any] = {"Host": request.host or urlsplit(scenario.target).netloc}
    fields.setdefault("User-Agent", "causeway-bench")
    for name, value in request.headers.items():
        same = next((known for known in fields if known.lower() == name.lower()), name)
        fields[same] = value
    if body or request.method in ("POST", "PUT", "PATCH"):
        fields.setdefault("Content-Length", len(body))
    if not scenario.keep_alive:
        fields["Connection"] = "close"
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{request.method} {request.path} HTTP/1.1\r\n{head}\r\n".encode() + body


def echo_length(scenario: Scenario, request: Request) -> int:
    """Octets of the frame that answers a message on an upgraded connection; 0 where HTTP is spoken."""
    if scenario.websocket is None:
        return 0
    return len(message(scenario, request)) - len(WEBSOCKET_MASK)


def upgrade(scenario: Scenario) -> bytes | None:
    """The request that turns a connection into a WebSocket (RFC 6455, section 4.1); None where HTTP is spoken."""
    if scenario.websocket is None:
        return None
    asked = scenario.websocket
    fields = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "Y2F1c2V3YXktYmVuY2gtMQ==",
        "Sec-WebSocket-Version": "13",
        **asked.headers,
    }
    plain = msgspec.structs.replace(scenario, websocket=None)
    return message(plain, Request(path=asked.path, host=asked.host, headers=fields))


WEBSOCKET_MASK = b"\x37\xfa\x21\x3d"
"""Any will do: it protects old intermediaries from hostile pages, and here is neither."""


def frame(payload: bytes, mask: bytes) -> bytes:
    """One whole binary message as a masked frame (RFC 6455, section 5.2)."""
    if len(payload) < 126:
        length = bytes([0x80 | len(payload)])
    elif len(payload) < 1 << 16:
        length = b"\xfe" + len(payload).to_bytes(2, "big")
    else:
        length = b"\xff" + len(payload).to_bytes(8, "big")
    masked = bytes(octet ^ mask[at % 4] for at, octet in enumerate(payload))
    return b"\x82" + length + mask + masked


def judge(expect: Expect | None, status: int, answer: bytes) -> bool:
    """Whether a whole answer (head and body as received) is what was expected."""
    if expect is None:
        return True
    head, _, body = answer.partition(b"\r\n\r\n")
    return (
        (expect.status is None or status == expect.status)
        and (expect.body is None or expect.body.encode() in body)
        and all(text.encode() in field(head, name) for name, text in expect.header.items())
    )


def field(head: bytes, name: str) -> bytes:
    """The value of a field in a head, b"" without one."""
    wanted = name.lower().encode() + b":"
    for line in head.split(b"\r\n")[1:]:
        if line[: len(wanted)].lower() == wanted:
            return line[len(wanted) :].strip()
    return b""
