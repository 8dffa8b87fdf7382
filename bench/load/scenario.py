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
      - {method: POST, path: /orders, body: "a=1", body_bytes: 0}

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


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    target: str
    requests: tuple[Request, ...] = (Request(),)
    keep_alive: bool = True
    allow: tuple[str, ...] = ()
    answered_by: str | None = None
    """A response field whose values are counted: which endpoint answered."""

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
    """The request as it goes over the wire."""
    body = b"x" * request.body_bytes if request.body_bytes else request.body.encode()
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
