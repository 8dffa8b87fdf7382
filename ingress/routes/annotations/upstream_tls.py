"""backend-protocol and proxy-ssl-*: what is spoken with endpoints."""

import re
from typing import Any

from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes
from ingress.routes.secrets import BadSecret, secret_value

NAMES = {
    "backend-protocol": Risk.LOW,
    "proxy-ssl-secret": Risk.MEDIUM,
    "proxy-ssl-verify": Risk.LOW,
    "proxy-ssl-verify-depth": Risk.LOW,
    "proxy-ssl-name": Risk.HIGH,
    "proxy-ssl-server-name": Risk.LOW,
    "proxy-ssl-ciphers": Risk.MEDIUM,
    "proxy-ssl-protocols": Risk.LOW,
}
CONFIG: frozenset[str] = frozenset({"backend-protocol"})

LACKS = {"backend-protocol": r"(?i)^\s*(grpcs?|fcgi)\s*$"}
PROTOCOLS = ("HTTP", "HTTPS", "AUTO_HTTP", "GRPC", "GRPCS", "FCGI")
TLS_VERSIONS = ("TLSv1.2", "TLSv1.3")

CA, PAIR = "ca.crt", ("tls.crt", "tls.key")

_NAME = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z.-]{0,251}[0-9A-Za-z])?")
_CIPHERS = re.compile(r"[0-9A-Za-z:+!@=_-]+")


def read(reader: Reader, wishes: Wishes) -> None:
    protocol = reader.choice("backend-protocol", PROTOCOLS, "HTTP", config="backend-protocol")
    if protocol == "FCGI":
        wishes.closed = "backend-protocol is FCGI, and FastCGI is not spoken here"
        reader.wrong("backend-protocol", "FastCGI is not spoken here; requests get 503", "put an HTTP server before it")
    elif protocol in ("GRPC", "GRPCS"):
        reader.wrong(
            "backend-protocol",
            "HTTP/2 is not spoken here; endpoints are asked by HTTP/1.1, which gRPC servers alone refuse",
            "keep these hosts with another proxy, or serve gRPC-Web",
        )
    elif protocol == "AUTO_HTTP":
        wishes.secure["tls"] = _tls(reader, wishes)
    if protocol in ("HTTPS", "GRPCS"):
        wishes.backend["transport"] = {"tls": _tls(reader, wishes)}


def _tls(reader: Reader, wishes: Wishes) -> dict[str, Any]:
    """Fields of UpstreamTls."""
    found: dict[str, Any] = {}
    verify = reader.choice("proxy-ssl-verify", ("on", "off"), "off") == "on"
    wanted = reader.text("proxy-ssl-secret")
    if wanted:
        found |= _from_secret(reader, wishes, wanted)
    elif verify and reader.compat:
        # ingress-nginx verifies nothing without the Secret, and endpoints there have certificates of their own making.
        reader.wrong("proxy-ssl-verify", "nothing is verified without a CA", "name one: proxy-ssl-secret")
        verify = False
    if verify:
        found["verify"] = True
        depth = reader.number("proxy-ssl-verify-depth", 1, most=100)
        if depth != 1:
            found["verify_depth"] = depth
    name = reader.text("proxy-ssl-name")
    if name and not _NAME.fullmatch(name):
        reader.wrong("proxy-ssl-name", f'"{name}" is not a host name', "no name is sent or verified")
        name = ""
    sent = reader.choice("proxy-ssl-server-name", ("on", "off"), "off") == "on"
    if name and (sent or verify):
        found["server_name"] = name
    elif sent:
        reader.wrong("proxy-ssl-server-name", "there is no name to send", "write proxy-ssl-name")
    return found | _versions(reader)


def _versions(reader: Reader) -> dict[str, Any]:
    found: dict[str, Any] = {}
    ciphers = reader.text("proxy-ssl-ciphers")
    if ciphers and not _CIPHERS.fullmatch(ciphers):
        reader.wrong("proxy-ssl-ciphers", f'"{ciphers}" is not a list of OpenSSL ciphers', "the default counts")
    elif ciphers and ciphers != "DEFAULT":
        found["ciphers"] = ciphers
    protocols = tuple(each for each in reader.text("proxy-ssl-protocols").split() if each in TLS_VERSIONS)
    if protocols:
        found["protocols"] = protocols
    elif reader.has("proxy-ssl-protocols"):
        reader.wrong("proxy-ssl-protocols", "none of them is spoken here", f"write {' or '.join(TLS_VERSIONS)}")
    return found


def _from_secret(reader: Reader, wishes: Wishes, text: str) -> dict[str, Any]:
    """CA and client certificate. Endpoints that are to be verified must not be asked unverified: 503 without."""
    secret = reader.secret("proxy-ssl-secret", text)
    if secret is None:
        wishes.closed = f"proxy-ssl-secret {text} cannot be used"
        return {}
    try:
        found = {"ca_pem": secret_value(secret, CA)}
        if any(name in each for each in (secret.data or {}, secret.string_data or {}) for name in PAIR):
            found |= zip(("certificate_pem", "key_pem"), (secret_value(secret, name) for name in PAIR), strict=True)
    except BadSecret as error:
        wishes.closed = f"proxy-ssl-secret {text}: {error}"
        reader.wrong("proxy-ssl-secret", f"Secret {text} cannot be used: {error}; requests get 503", f"it needs {CA}")
        return {}
    return found
