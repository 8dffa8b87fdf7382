"""Fields that routes add, replace and take out; compression."""

import re
from collections.abc import Iterator

from ingress.filters.cookies import CookiesSpecification
from ingress.filters.headers import HeadersSpecification
from ingress.filters.replacement import Replacement
from ingress.filters.uncompressed import UncompressedSpecification
from ingress.filters.variables import Template
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes
from lb.cluster.objects import ConfigMap

NAMES = {
    "custom-headers": Risk.MEDIUM,
    "upstream-vhost": Risk.LOW,
    "connection-proxy-header": Risk.LOW,
    "proxy-cookie-domain": Risk.MEDIUM,
    "proxy-cookie-path": Risk.MEDIUM,
}
CONFIG = frozenset(
    {
        "hsts",
        "hsts-max-age",
        "hsts-include-subdomains",
        "hsts-preload",
        "add-headers",
        "proxy-set-headers",
        "hide-headers",
        "server-tokens",
        "allow-backend-server-header",
        "generate-request-id",
        "proxy-add-original-uri-header",
        "global-allowed-response-headers",
        "proxy-cookie-domain",
        "proxy-cookie-path",
        "use-gzip",
        "gzip-disable",
        "enable-brotli",
    }
)

DIFFERS = {
    "connection-proxy-header": "only keep-alive can be said; upgrades go through all the same",
}

OLD = r"MSIE [4-6]\."
"""What nginx calls msie6."""
YEAR_SECONDS = 31536000
_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")


def read(reader: Reader, wishes: Wishes) -> None:
    _hsts(reader, wishes)
    _server(reader, wishes)
    _config_maps(reader, wishes)
    _custom(reader, wishes)
    _endpoint(reader, wishes)
    _cookies(reader, wishes)
    if "use-gzip" in reader.config or "enable-brotli" in reader.config:
        wishes.options["compress"] = reader.flag("", config="use-gzip") or reader.flag("", config="enable-brotli")
        agents = tuple(OLD if each == "msie6" else each for each in reader.words("", config="gzip-disable"))
        if wishes.options["compress"] and agents:
            wishes.filters["uncompressed"] = UncompressedSpecification(agents)


def _hsts(reader: Reader, wishes: Wishes) -> None:
    """On every answer over TLS, instead of what the endpoint says."""
    if not reader.flag("", reader.compat, config="hsts"):
        return
    value = f"max-age={reader.number('', YEAR_SECONDS, config='hsts-max-age')}"
    if reader.flag("", True, config="hsts-include-subdomains"):
        value += "; includeSubDomains"
    if reader.flag("", config="hsts-preload"):
        value += "; preload"
    wishes.options["response_set_secure"] = (("Strict-Transport-Security", value),)


def _server(reader: Reader, wishes: Wishes) -> None:
    """What ingress-nginx lets clients know of who has answered: nothing."""
    if not reader.compat and "server-tokens" not in reader.config:
        return
    if not reader.flag("", config="allow-backend-server-header"):
        if reader.flag("", config="server-tokens"):
            wishes.tell_client("Server", "causeway")
        else:
            wishes.keep_from_client("Server")


def _config_maps(reader: Reader, wishes: Wishes) -> None:
    """The operator's, for all Ingresses."""
    variable: dict[str, list[tuple[str, str]]] = {"add-headers": [], "proxy-set-headers": []}
    for key, tell in (("add-headers", wishes.tell_client), ("proxy-set-headers", wishes.tell_endpoint)):
        for name, value in _listed(reader.operators_map(key)):
            if "$" in value:
                variable[key].append((name, value))
            elif value:
                tell(name, value)
            elif key == "proxy-set-headers":
                wishes.keep_from_endpoint(name)
    if reader.flag("", config="proxy-add-original-uri-header"):
        variable["proxy-set-headers"].append(("X-Original-Uri", "$request_uri"))
    if not reader.flag("", True, config="generate-request-id"):
        variable["proxy-set-headers"].append(("X-Request-ID", "$http_x_request_id"))
    for name in reader.words("", config="hide-headers"):
        if _NAME.fullmatch(name):
            wishes.keep_from_client(name)
    if variable["proxy-set-headers"]:
        wishes.filters["headers"] = HeadersSpecification(request=tuple(variable["proxy-set-headers"]))
    if variable["add-headers"]:
        wishes.filters["told"] = HeadersSpecification(response=tuple(variable["add-headers"]))


def _listed(found: ConfigMap | None) -> Iterator[tuple[str, str]]:
    """Those of a ConfigMap's entries that can be fields."""
    for name, value in (found.data or {}).items() if found else ():
        if _NAME.fullmatch(name) and not _broken(value) and _is_template(value):
            yield name, value.strip()


def _is_template(value: str) -> bool:
    try:
        Template.parse(value)
    except ValueError:
        return False
    return True


def _broken(value: str) -> bool:
    return any((ord(each) < 32 and each != "\t") or each == "\x7f" for each in value)


def _custom(reader: Reader, wishes: Wishes) -> None:
    """What an Ingress may say of its own, of the names that the operator allows; what is wrong closes it."""
    title = reader.text("custom-headers")
    if not title:
        return
    found = reader.config_map("custom-headers", title)
    allowed = {each.lower() for each in reader.words("", config="global-allowed-response-headers")}
    fields = (found.data or {}).items() if found else ()
    reason = "" if found else f"ConfigMap {title} cannot be used"
    for name, value in fields:
        if not _NAME.fullmatch(name) or _broken(value):
            reason = f"{name} is no field, or its value is none"
        elif name.lower() not in allowed:
            reason = f"{name} is not allowed"
    if not reason:
        for name, value in fields:
            wishes.tell_client(name, value.strip())
        return
    wishes.closed = wishes.closed or f"custom-headers: {reason}"
    if found:
        advice = "list it in global-allowed-response-headers of the controller's ConfigMap"
        reader.wrong("custom-headers", f"{reason}; requests get 503", advice)


def _endpoint(reader: Reader, wishes: Wishes) -> None:
    """Host and Connection as endpoints are to see them."""
    connection = reader.text("connection-proxy-header")
    if connection.lower() == "keep-alive":
        wishes.tell_endpoint("Connection", "keep-alive")
    elif connection:
        reader.wrong("connection-proxy-header", f'"{connection}" has no effect', 'only "keep-alive" can be said')
    host = reader.text("upstream-vhost")
    if not host:
        return
    try:
        constant = Template.parse(host).constant
    except ValueError as error:
        reader.wrong("upstream-vhost", str(error), "it has no effect")
        return
    if constant:
        wishes.tell_endpoint("Host", host)
    else:
        before = wishes.filters.get("headers", HeadersSpecification())
        assert isinstance(before, HeadersSpecification)
        wishes.filters["headers"] = HeadersSpecification((*before.request, ("Host", host)), before.response)


def _cookies(reader: Reader, wishes: Wishes) -> None:
    domain, path = _pair(reader, "proxy-cookie-domain"), _pair(reader, "proxy-cookie-path")
    if domain or path:
        wishes.filters["cookies"] = CookiesSpecification(domain, path)


def _pair(reader: Reader, name: str) -> tuple[str, str] | None:
    text = reader.text(name, config=name)
    if text in ("", "off"):
        return None
    parts = text.split()
    try:
        if len(parts) != 2:
            raise ValueError(f'"{text}" is not two texts')
        Replacement(parts[0], parts[1], domain=name == "proxy-cookie-domain")
    except ValueError as error:
        reader.wrong(name, str(error), 'write what is there and what takes its place, "localhost example.org"')
        return None
    return parts[0], parts[1]
