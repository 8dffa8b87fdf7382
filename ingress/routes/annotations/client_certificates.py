"""Client certificates: auth-tls-*. They are asked for by host, so they count for all its rules.

What is wrong with them closes the hosts: everybody gets 403, as with ingress-nginx for a Secret that is missing.
"""

import re

from cryptography import x509

from ingress.filters.patterns import compile_pattern
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import ClientAuthWish, Risk, Wishes
from ingress.routes.secrets import BadSecret, secret_value
from lb.cluster.objects import Secret

SECRET, VERIFY, DEPTH = "auth-tls-secret", "auth-tls-verify-client", "auth-tls-verify-depth"
ERROR_PAGE, PASS, MATCH = "auth-tls-error-page", "auth-tls-pass-certificate-to-upstream", "auth-tls-match-cn"
AUTHORITIES, REVOKED = "ca.crt", "ca.crl"
MODES = ("on", "off", "optional", "optional_no_ca")

NAMES = {
    SECRET: Risk.MEDIUM,
    VERIFY: Risk.MEDIUM,
    DEPTH: Risk.LOW,
    ERROR_PAGE: Risk.HIGH,
    PASS: Risk.LOW,
    MATCH: Risk.HIGH,
}
DIFFERS = {
    ERROR_PAGE: "a whole address; a path of the host itself is refused",
    MATCH: "a pattern of RE2, without look-around and back references; a wrong one lets nobody in",
}
CONFIG: frozenset[str] = frozenset()


def read(reader: Reader, wishes: Wishes) -> None:
    if not reader.has(SECRET):
        for name in (VERIFY, ERROR_PAGE, MATCH):
            if reader.has(name):
                reader.wrong(name, f"it has no effect without {SECRET}", "name the Secret that has ca.crt")
        return
    verify = reader.choice(VERIFY, MODES, "on")
    if verify == "off":
        wishes.tell_endpoint("ssl-client-verify", "NONE")
        return
    match = _match(reader)
    wishes.client_auth = ClientAuthWish(
        b"" if match is None else _authorities(reader),
        verify=verify,
        depth=reader.number(DEPTH, 1, most=100) or 1,
        pass_certificate=reader.flag(PASS),
        error_page=_error_page(reader),
        match_cn=match or "",
    )


def _authorities(reader: Reader) -> bytes:
    """b"": closed, and reported."""
    name = reader.text(SECRET)
    secret = reader.secret(SECRET, name)
    if secret is None:
        return b""
    try:
        return _pem(secret)
    except (BadSecret, ValueError) as error:
        advice = "until it is corrected, every request for the hosts gets 403"
        reader.wrong(SECRET, f"Secret {name}: {error}", advice)
        return b""


def _pem(secret: Secret) -> bytes:
    """Certificates and revocation lists. Raises BadSecret or ValueError for what OpenSSL would not read."""
    found = secret_value(secret, AUTHORITIES)
    try:
        x509.load_pem_x509_certificates(found)
    except ValueError:
        raise BadSecret(f"{AUTHORITIES} has no certificates in PEM") from None
    if REVOKED not in (secret.data or {}) and REVOKED not in (secret.string_data or {}):
        return found
    revoked = secret_value(secret, REVOKED)
    lists = re.findall(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", revoked, re.DOTALL)
    if not lists:
        raise BadSecret(f"{REVOKED} has no revocation list in PEM")
    for each in lists:
        try:
            x509.load_pem_x509_crl(each)
        except ValueError:
            raise BadSecret(f"{REVOKED} has a revocation list that cannot be read") from None
    return found.rstrip(b"\n") + b"\n" + b"\n".join(lists) + b"\n"


def _match(reader: Reader) -> str | None:
    """None: it is no pattern, so nobody can be let in."""
    text = reader.text(MATCH)
    if reader.has(MATCH) and not text.startswith("CN="):
        reader.wrong(MATCH, "it does not begin with CN=", "until it is corrected, every request gets 403")
        return None
    try:
        compile_pattern(text)
    except ValueError as error:
        reader.wrong(MATCH, str(error), "until it is corrected, every request gets 403")
        return None
    return text


def _error_page(reader: Reader) -> str:
    text = reader.text(ERROR_PAGE)
    if text and not re.fullmatch(r"https?://[!-~]+", text):
        reader.wrong(ERROR_PAGE, f'"{text}" is not the address of a page', "write https://HOST/PATH")
        return ""
    return text
