"""Text with nginx's variables, as annotations have it: "https://$host/login?rd=$escaped_request_uri"."""

import re
from collections.abc import Callable
from urllib.parse import quote

from ingress.filters.api import Request

Piece = Callable[[Request], str]

_VARIABLE = re.compile(r"\$(?:\{([0-9A-Za-z_]*)\}|([1-9]|[A-Za-z_][0-9A-Za-z_]*|))")

_LABELS = ("namespace", "ingress_name", "service_name", "service_port", "location_path")


def _octets(text: str) -> str:
    """What was decoded as UTF-8, as the octets it is made of."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def _uri(request: Request) -> str:
    return _octets(request.path)


def _label(number: int) -> Piece:
    return lambda request: request.labels[number] if number < len(request.labels) else ""


def _scheme(request: Request) -> str:
    return "https" if request.secure else "http"


def _length(request: Request) -> str:
    return "" if request.content_length is None else str(request.content_length)


VARIABLES: dict[str, Piece] = {
    "args": lambda request: request.query,
    "best_http_host": lambda request: request.authority,
    "binary_remote_addr": lambda request: request.client,
    "content_length": _length,
    "content_type": lambda request: request.field("content-type") or "",
    "document_uri": _uri,
    "escaped_request_uri": lambda request: quote(request.target.encode("latin-1"), safe=""),
    "host": lambda request: request.host,
    "http_host": lambda request: request.field("host") or request.authority,
    "https": lambda request: "on" if request.secure else "",
    "is_args": lambda request: "?" if request.query else "",
    "pass_access_scheme": _scheme,
    "pass_port": lambda request: str(request.port),
    "pass_server_port": lambda request: str(request.port),
    "query_string": lambda request: request.query,
    "realip_remote_addr": lambda request: request.peer,
    "remote_addr": lambda request: request.client,
    "remote_user": lambda request: request.user,
    "req_id": lambda request: request.id,
    "request": lambda request: f"{request.method} {request.target} {request.version}",
    "request_id": lambda request: request.id,
    "request_method": lambda request: request.method,
    "request_uri": lambda request: request.target,
    "scheme": _scheme,
    "server_name": lambda request: request.host,
    "server_port": lambda request: str(request.port),
    "server_protocol": lambda request: request.version,
    "ssl_server_name": lambda request: request.server_name,
    "the_real_ip": lambda request: request.client,
    "uri": _uri,
    **{name: _label(number) for number, name in enumerate(_LABELS)},
}
"""Those without a name of the client's in them. What a request has none of is the empty text."""


class Template:
    """Text and variables. Made once; `render` for each request.

    `$name` and `${name}` are variables, `$1` to `$9` what the rule's pattern has captured; there is no way to write a
    "$" that is not one (as in nginx).
    """

    def __init__(self, text: str, pieces: tuple[str | Piece, ...], names: tuple[str, ...]) -> None:
        self.text = text
        """As it was parsed, in latin-1."""
        self.names = names
        """The variables, in order."""
        self._pieces = pieces

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Raises ValueError for an unknown variable."""
        text = _octets(text)
        pieces: list[str | Piece] = []
        names = []
        at = 0
        for found in _VARIABLE.finditer(text):
            if found.start() > at:
                pieces.append(text[at : found.start()])
            name = found[1] or found[2] or ""
            pieces.append(_piece(name))
            names.append(name)
            at = found.end()
        if at < len(text):
            pieces.append(text[at:])
        return cls(text, tuple(pieces), tuple(names))

    @property
    def constant(self) -> bool:
        """Whether it says the same of every request."""
        return not self.names

    def render(self, request: Request, change: Callable[[str], str] | None = None) -> str:
        """Latin-1, as all text of requests. change: applied to each variable's value, such as to escape it."""
        if change is None:
            return "".join([each if isinstance(each, str) else each(request) for each in self._pieces])
        return "".join([each if isinstance(each, str) else change(each(request)) for each in self._pieces])


_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def for_field(value: str) -> str:
    """Without what no field may hold: a decoded path may have line ends in it."""
    return _CONTROLS.sub("", value) if _CONTROLS.search(value) else value


def _piece(name: str) -> Piece:
    if name in VARIABLES:
        return VARIABLES[name]
    if len(name) == 1 and name in "123456789":
        number = int(name)
        return lambda request: _octets(request.captures[number] or "") if number < len(request.captures) else ""
    lower = name.lower()
    for prefix, make in (("http_", _field), ("cookie_", _cookie), ("arg_", _argument)):
        if lower.startswith(prefix) and len(name) > len(prefix):
            return make(name[len(prefix) :])
    raise ValueError(f"unknown variable ${name}" if name else 'a "$" without the name of a variable')


def _field(name: str) -> Piece:
    wanted = name.lower().replace("_", "-")
    return lambda request: request.field(wanted) or ""


def _cookie(name: str) -> Piece:
    return lambda request: request.cookie(name) or ""


def _argument(name: str) -> Piece:
    find = re.compile(rf"(?:^|&){re.escape(name)}=([^&]*)", re.IGNORECASE)

    def value(request: Request) -> str:
        found = find.search(request.query)
        return found[1] if found else ""

    return value
