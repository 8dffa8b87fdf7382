"""Basic authentication: auth-type, auth-secret, auth-secret-type, auth-realm. What is wrong closes the Ingress."""

from msgspec.structs import replace

from ingress.filters.basic import BasicSpecification
from ingress.filters.passwords import flaw
from ingress.routes.annotations.access import OPEN_PATHS, access_of, close, closed_by, open_paths
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes
from ingress.routes.secrets import BadSecret, secret_value
from lb.cluster.objects import Secret

TYPE, SECRET, SECRET_TYPE, REALM = "auth-type", "auth-secret", "auth-secret-type", "auth-realm"
FILE_KEY = "auth"

NAMES = {TYPE: Risk.LOW, SECRET: Risk.MEDIUM, SECRET_TYPE: Risk.LOW, REALM: Risk.MEDIUM}
DIFFERS = {REALM: 'it is text without variables, and "off" is a realm like others'}
DIFFERS_FOR = {REALM: r"\$|^off$"}
CONFIG = frozenset({OPEN_PATHS})

Users = tuple[tuple[str, str], ...]


def read(reader: Reader, wishes: Wishes) -> None:
    kind = reader.text(TYPE).lower()
    if not reader.has(TYPE):
        for name in (SECRET, SECRET_TYPE, REALM):
            if reader.has(name):
                reader.wrong(name, f"it has no effect without {TYPE}", f"set {TYPE}: basic, or remove it")
        return
    if kind != "basic":
        advice = "use basic, or an external service by auth-url; until then every request gets 503"
        closed_by(reader, wishes, TYPE, f'"{kind}" authentication is not supported', advice)
        return
    users = _users(reader, wishes)
    if users is not None:
        realm = reader.text(REALM).encode().decode("latin-1")
        access = replace(access_of(wishes), basic=BasicSpecification(realm, users), open_paths=open_paths(reader))
        wishes.filters["access"] = access


def _users(reader: Reader, wishes: Wishes) -> Users | None:
    """None: closed, for want of a Secret that can be read."""
    name = reader.text(SECRET)
    if not name:
        closed_by(reader, wishes, SECRET, f"it is missing beside {TYPE}", "name the Secret that has the passwords")
        return None
    kind = reader.text(SECRET_TYPE, "auth-file").lower()
    if kind not in ("auth-file", "auth-map"):
        closed_by(reader, wishes, SECRET_TYPE, f'"{kind}" is neither auth-file nor auth-map')
        return None
    secret = reader.secret(SECRET, name)
    if secret is None:  # reported
        close(wishes, f"{SECRET}: {name} cannot be read")
        return None
    try:
        return _file(reader, secret) if kind == "auth-file" else _map(reader, secret)
    except BadSecret as error:
        closed_by(reader, wishes, SECRET, f"Secret {name}: {error}")
        return None


def _file(reader: Reader, secret: Secret) -> Users:
    """Lines of NAME:HASH[:whatever], as htpasswd writes them."""
    users = []
    for number, line in enumerate(secret_value(secret, FILE_KEY).decode("latin-1").split("\n"), start=1):
        line = line.rstrip("\r")
        user, colon, rest = line.partition(":")
        if not line.strip() or line.startswith("#"):
            continue
        stored = rest.partition(":")[0]
        wrong = flaw(stored) if colon else "there is no colon"
        if wrong:
            reader.wrong(SECRET, f"line {number} of {FILE_KEY} lets nobody in: {wrong}", "write it by `htpasswd -B`")
        users.append((user, stored))
    return tuple(users)


def _map(reader: Reader, secret: Secret) -> Users:
    """A key for each name, and its value the hash."""
    users = []
    for user in sorted({**(secret.data or {}), **(secret.string_data or {})}):
        stored = secret_value(secret, user).decode("latin-1").strip()
        wrong = flaw(stored)
        if wrong:
            reader.wrong(SECRET, f'key "{user}" lets nobody in: {wrong}', "write it by `htpasswd -nB`")
        users.append((user, stored))
    return tuple(users)
