"""server-alias: more names for the hosts of the rules."""

import re

from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes

NAMES = {"server-alias": Risk.HIGH}
CONFIG: frozenset[str] = frozenset()
LACKS = {"server-alias": "~"}

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")


def read(reader: Reader, wishes: Wishes) -> None:
    names = dict.fromkeys(each.lower() for each in reader.words("server-alias"))
    wrong = [each for each in names if len(each) > 253 or not _NAME.fullmatch(each)]
    for each in wrong:
        reader.wrong(
            "server-alias", f'"{each}" is not a host name, so it is left out', "write names, a.example,*.b.example"
        )
    wishes.aliases = tuple(each for each in names if each not in wrong)
