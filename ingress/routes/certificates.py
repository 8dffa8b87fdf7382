"""A Secret -> a certificate chain and its key, or what is wrong with it; and which Secret a host shows."""

from collections.abc import Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from ingress.routes.model import EVERY_HOST, Certificate
from ingress.routes.rules import Claims
from ingress.routes.secrets import BadSecret, secret_value
from lb.cluster.objects import Key, Object, Secret, UnreadSecret
from lb.cluster.problems import Problem
from lb.cluster.store import ObjectStore

CHAIN, KEY = "tls.crt", "tls.key"
_SPKI = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class Pair(NamedTuple):
    """A certificate chain and its key."""

    chain_pem: bytes
    key_pem: bytes
    names: frozenset[str]
    """Whom the first certificate is for."""


class Pairs:
    """What Secrets have as certificates, worked out once for each: many hosts may show the same."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[Secret, Pair | BadSecret]] = {}

    def of(self, secret: Secret) -> Pair:
        """Raises BadSecret."""
        known, found = self._known.get(secret.key, (None, None))
        if known is not secret or found is None:
            try:
                pair = read_pair(secret)
                found = Pair(*pair, _names(pair[0]))
            except BadSecret as error:
                found = error
            self._known[secret.key] = secret, found
        if isinstance(found, BadSecret):
            raise found
        return found

    def forget(self, key: Key, *, unless: Object | None = None) -> None:
        """Unless that is the very Secret it is known of."""
        known = self._known.get(key)
        if known is not None and known[0] is not unless:
            del self._known[key]


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
        # Whether the primes of an RSA key are prime takes 0.1 s to find out; of the rest, see below.
        private = load_pem_private_key(key_pem, password=None, unsafe_skip_rsa_key_validation=True)
        owned = private.public_key().public_bytes(*_SPKI)
    except Exception as error:
        raise BadSecret(f"{KEY} is not a private key in PEM ({_words(error)})") from None
    if owned != certified:
        raise BadSecret(f"{KEY} is not the key of the first certificate in {CHAIN}")
    if isinstance(private, RSAPrivateKey) and not _is_consistent(private):
        raise BadSecret(f"{KEY} is not an RSA key: its numbers do not belong together")
    return chain_pem, key_pem


def _is_consistent(key: RSAPrivateKey) -> bool:
    """Whether what it signs could be verified, its primes being primes."""
    every = key.private_numbers()
    p, q, d = every.p, every.q, every.d
    return (
        p * q == every.public_numbers.n
        and all(d * every.public_numbers.e % (prime - 1) == 1 for prime in (p, q))
        and (every.dmp1, every.dmq1) == (d % (p - 1), d % (q - 1))
        and every.iqmp * q % p == 1
    )


def _names(chain_pem: bytes) -> frozenset[str]:
    first = x509.load_pem_x509_certificates(chain_pem)[0]
    named = {str(each.value).lower() for each in first.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)}
    try:
        alternatives = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        pass
    else:
        named |= {each.lower() for each in alternatives.get_values_for_type(x509.DNSName)}
    return frozenset(named)


def _check_host(names: frozenset[str], host: str) -> None:
    """Raises BadSecret unless the certificate is for that host, be it by its CN, as with ingress-nginx."""
    if host != EVERY_HOST and names.isdisjoint((host, "*." + host.partition(".")[2])):
        raise BadSecret(f"its certificate is for {', '.join(sorted(names)) or 'nobody'}, not for {host}")


def compile_certificate(
    host: str, owners: Sequence[Claims], store: ObjectStore, pairs: Pairs
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
        if isinstance(found, UnreadSecret) and not found.why:
            continue  # nobody has wanted it yet
        try:
            pair = pairs.of(found)
            _check_host(pair.names, host)
            chosen = Certificate(host, secret, pair.chain_pem, pair.key_pem)
        except BadSecret as error:
            reason = f"Secret {secret} cannot be used: {error}"
            advice = f"kubectl -n {owner.namespace} create secret tls {claim.secret} --cert=FILE --key=FILE"
            if isinstance(found, UnreadSecret):
                advice = "it is tried again; see that our account may list and watch Secrets"
            problems.append(Problem(title, claim.field, reason, advice))
    return chosen, problems


def default_certificate(named: tuple[str, str], store: ObjectStore) -> tuple[Certificate | None, list[Problem]]:
    """What is shown where no other fits, of the Secret of this namespace and name."""
    title = "/".join(named)
    found = store.get(Secret, *named)
    try:
        if found is None:
            raise BadSecret("it does not exist")
        if isinstance(found, UnreadSecret) and not found.why:
            return None, []
        return Certificate(EVERY_HOST, title, *read_pair(found)), []
    except BadSecret as error:
        reason = f"it is no default certificate: {error}; a self-signed one is shown"
        return None, [Problem(f"Secret {title}", "", reason, "create it, type kubernetes.io/tls")]


def _words(error: Exception) -> str:
    return str(error).split("\n")[0].split(". ")[0][:120] or type(error).__name__
