"""A Secret -> a certificate chain and its key, or what is wrong with it; and which Secret a host shows."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from ingress.routes.model import EVERY_HOST, Certificate
from ingress.routes.rules import Claims
from ingress.routes.secrets import BadSecret, secret_value
from lb.cluster.objects import Secret
from lb.cluster.problems import Problem
from lb.cluster.store import ObjectStore

CHAIN, KEY = "tls.crt", "tls.key"
_SPKI = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def read_pair(secret: Secret) -> tuple[bytes, bytes]:
    """Return chain and key in PEM; BadSecret says what is wrong. The key must belong to the first certificate."""
    chain_pem, key_pem = secret_value(secret, CHAIN), secret_value(secret, KEY)
    try:
        first = x509.load_pem_x509_certificates(chain_pem)[0]
        certified = first.public_key().public_bytes(*_SPKI)
    except Exception as error:
        # The library's errors are of many types (ValueError, UnsupportedAlgorithm, ...); all mean the same here.
        raise BadSecret(f"{CHAIN} is not a certificate in PEM ({_words(error)})") from None
    try:
        owned = load_pem_private_key(key_pem, password=None).public_key().public_bytes(*_SPKI)
    except Exception as error:
        raise BadSecret(f"{KEY} is not a private key in PEM ({_words(error)})") from None
    if owned != certified:
        raise BadSecret(f"{KEY} is not the key of the first certificate in {CHAIN}")
    return chain_pem, key_pem


def check_host(chain_pem: bytes, host: str) -> None:
    """Raises BadSecret unless the certificate is for that host, be it by its CN, as with ingress-nginx."""
    if host == EVERY_HOST:
        return
    first = x509.load_pem_x509_certificates(chain_pem)[0]
    named = {str(each.value).lower() for each in first.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)}
    try:
        alternatives = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        pass
    else:
        named |= {each.lower() for each in alternatives.get_values_for_type(x509.DNSName)}
    if not {host, "*." + host.partition(".")[2]} & named:
        raise BadSecret(f"its certificate is for {', '.join(sorted(named)) or 'nobody'}, not for {host}")


def compile_certificate(
    host: str, owners: Sequence[Claims], store: ObjectStore
) -> tuple[Certificate | None, list[Problem]]:
    """The certificate of one host: the oldest Ingress's whose Secret holds one. None: the default certificate."""
    chosen: Certificate | None = None
    problems: list[Problem] = []
    for owner in owners:
        claim = owner.tls[host]
        title, secret = f"Ingress {owner.title}", f"{owner.namespace}/{claim.secret}"
        if chosen is not None:
            if chosen.secret != secret:
                reason = (
                    f"{host or 'every host'} already shows the certificate of Secret {chosen.secret} (older Ingress)"
                )
                problems.append(Problem(title, claim.field, reason, "use one Secret for one host"))
            continue
        found = store.get(Secret, owner.namespace, claim.secret)
        if found is None:
            reason = f"Secret {secret} does not exist; {host or 'every host'} shows the default certificate"
            problems.append(Problem(title, claim.field, reason, "create it, type kubernetes.io/tls"))
            continue
        try:
            pair = read_pair(found)
            check_host(pair[0], host)
            chosen = Certificate(host, secret, *pair)
        except BadSecret as error:
            reason = f"Secret {secret} cannot be used: {error}"
            advice = f"kubectl -n {owner.namespace} create secret tls {claim.secret} --cert=FILE --key=FILE"
            problems.append(Problem(title, claim.field, reason, advice))
    return chosen, problems


def default_certificate(named: tuple[str, str], store: ObjectStore) -> tuple[Certificate | None, list[Problem]]:
    """What is shown where no other fits, of the Secret of this namespace and name."""
    title = "/".join(named)
    found = store.get(Secret, *named)
    try:
        if found is None:
            raise BadSecret("it does not exist")
        return Certificate(EVERY_HOST, title, *read_pair(found)), []
    except BadSecret as error:
        reason = f"it is no default certificate: {error}; a self-signed one is shown"
        return None, [Problem(f"Secret {title}", "", reason, "create it, type kubernetes.io/tls")]


def _words(error: Exception) -> str:
    return str(error).split("\n")[0].split(". ")[0][:120] or type(error).__name__
