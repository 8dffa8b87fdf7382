"""TLS of a host: ssl-passthrough, ssl-ciphers, ssl-prefer-server-ciphers."""

from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes

CIPHERS, PREFER, PASSTHROUGH = "ssl-ciphers", "ssl-prefer-server-ciphers", "ssl-passthrough"

NAMES = {CIPHERS: Risk.LOW, PREFER: Risk.LOW, PASSTHROUGH: Risk.LOW}
CONFIG: frozenset[str] = frozenset()


def read(reader: Reader, wishes: Wishes) -> None:
    wishes.passthrough = reader.flag(PASSTHROUGH)
    for name in (CIPHERS, PREFER):
        if reader.has(name):
            reader.wrong(name, "ciphers are chosen for all hosts at once", f"set {name} in the ConfigMap")
