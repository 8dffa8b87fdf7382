"""TLS of a host: ssl-passthrough, ssl-ciphers, ssl-prefer-server-ciphers."""

import re

from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes

CIPHERS, PREFER, PASSTHROUGH = "ssl-ciphers", "ssl-prefer-server-ciphers", "ssl-passthrough"

NAMES = {CIPHERS: Risk.LOW, PREFER: Risk.LOW, PASSTHROUGH: Risk.LOW}
_NAMES = r"[-+!:@=A-Za-z0-9_]*"
CONFIG: frozenset[str] = frozenset()


def read(reader: Reader, wishes: Wishes) -> None:
    wishes.passthrough = reader.flag(PASSTHROUGH)
    ciphers = reader.text(CIPHERS)
    if re.fullmatch(_NAMES, ciphers):
        wishes.ciphers = ciphers
    else:
        reader.wrong(CIPHERS, f'"{ciphers}" is no list of ciphers', "write OpenSSL's names, separated by colons")
    if not reader.flag(PREFER, True):
        reader.wrong(PREFER, "the order of the list always counts", "remove it")
