"""Redirects: to TLS, to another address, from and to www, and what endpoints write into Location."""

from ingress.filters.https import HttpsSpecification
from ingress.filters.locations import LocationsSpecification
from ingress.filters.redirect import AppRootSpecification, RedirectSpecification
from ingress.filters.replacement import Replacement
from ingress.filters.variables import Template
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes

NAMES = {
    "ssl-redirect": Risk.LOW,
    "force-ssl-redirect": Risk.MEDIUM,
    "preserve-trailing-slash": Risk.MEDIUM,
    "use-port-in-redirects": Risk.LOW,
    "relative-redirects": Risk.LOW,
    "app-root": Risk.MEDIUM,
    "permanent-redirect": Risk.MEDIUM,
    "permanent-redirect-code": Risk.LOW,
    "temporal-redirect": Risk.MEDIUM,
    "temporal-redirect-code": Risk.LOW,
    "from-to-www-redirect": Risk.LOW,
    "proxy-redirect-from": Risk.MEDIUM,
    "proxy-redirect-to": Risk.MEDIUM,
}
CONFIG = frozenset(
    {
        "ssl-redirect",
        "force-ssl-redirect",
        "http-redirect-code",
        "no-tls-redirect-locations",
        "preserve-trailing-slash",
        "use-port-in-redirects",
        "relative-redirects",
        "proxy-redirect-from",
        "proxy-redirect-to",
    }
)

CODES = (301, 302, 307, 308)
ACME = "/.well-known/acme-challenge"
_NOWHERE = ("", "off", "default")
_BEGINNINGS = ("http://", "https://", "/", "$")


def read(reader: Reader, wishes: Wishes) -> None:
    _https(reader, wishes)
    _root(reader, wishes)
    url, status = _elsewhere(reader)
    if url:
        wishes.filters["redirect"] = RedirectSpecification(
            url, status, relative=_relative(reader), with_port=_with_port(reader)
        )
    wishes.slash = reader.compat
    wishes.www = reader.flag("from-to-www-redirect")
    wishes.www_status = redirect_code(reader)
    _locations(reader, wishes)


def _root(reader: Reader, wishes: Wishes) -> None:
    root = reader.text("app-root")
    if not root:
        return
    try:
        if not root.startswith("/") or " " in root:
            raise ValueError(f'"{root}" is not a path')
        Template.parse(root)
    except ValueError as error:
        reader.wrong("app-root", str(error), "write a path that begins with /")
    else:
        wishes.filters["app-root"] = AppRootSpecification(root)


def _https(reader: Reader, wishes: Wishes) -> None:
    """Where ingress-nginx is not followed, TLS alone redirects nobody."""
    force = reader.flag("force-ssl-redirect", config="force-ssl-redirect")
    if not force and not reader.flag("ssl-redirect", reader.compat, config="ssl-redirect"):
        return
    specification = HttpsSpecification(
        status=redirect_code(reader),
        keeps_slash=reader.flag("preserve-trailing-slash", config="preserve-trailing-slash"),
        port=reader.https_port if _with_port(reader) else 0,
        plain_below=reader.words("", (ACME,), config="no-tls-redirect-locations"),
    )
    (wishes.filters if force else wishes.tls_filters)["https"] = specification


def redirect_code(reader: Reader) -> int:
    """Of redirects to TLS and to www."""
    code = reader.number("", 308, config="http-redirect-code")
    return code if code in CODES else 308


def _elsewhere(reader: Reader) -> tuple[str, int]:
    """temporal-redirect comes before permanent-redirect. ("", 0): neither is there."""
    for kind, status, most in (("temporal", 302, 307), ("permanent", 301, 308)):
        url = reader.text(f"{kind}-redirect")
        if url and _is_url(reader, f"{kind}-redirect", url):
            return url, reader.number(f"{kind}-redirect-code", status, least=300, most=most)
    return "", 0


def _is_url(reader: Reader, name: str, url: str) -> bool:
    reason = ""
    if not url.startswith(_BEGINNINGS) or " " in url:
        reason = f'"{url}" is neither an http or https URL nor a path'
    else:
        try:
            Template.parse(url)
        except ValueError as error:
            reason = str(error)
    if reason:
        reader.wrong(name, reason, "write a URL such as https://www.example.com; nothing is redirected")
    return not reason


def _locations(reader: Reader, wishes: Wishes) -> None:
    begins = reader.text("proxy-redirect-from", config="proxy-redirect-from")
    becomes = reader.text("proxy-redirect-to", config="proxy-redirect-to")
    # "default" would mean the address of nginx's own upstream, which no endpoint knows.
    if begins in _NOWHERE or becomes in _NOWHERE:
        return
    try:
        Replacement(begins, becomes)
    except ValueError as error:
        name = "proxy-redirect-from" if reader.has("proxy-redirect-from") else "proxy-redirect-to"
        reader.wrong(name, str(error), "Location stays as endpoints write it")
        return
    wishes.filters["locations"] = LocationsSpecification(
        begins, becomes, relative=_relative(reader), with_port=_with_port(reader)
    )


def _relative(reader: Reader) -> bool:
    return reader.flag("relative-redirects", config="relative-redirects")


def _with_port(reader: Reader) -> bool:
    return reader.flag("use-port-in-redirects", config="use-port-in-redirects")
