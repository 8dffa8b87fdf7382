"""Which requests are worth a line of the access log."""

from ingress.filters.unlogged import UnloggedSpecification
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes

NAMES = {"enable-access-log": Risk.LOW}
CONFIG = frozenset({"disable-access-log", "skip-access-log-urls"})


def read(reader: Reader, wishes: Wishes) -> None:
    if reader.flag("", config="disable-access-log") or not reader.flag("enable-access-log", True):
        wishes.options["log"] = False
        return
    targets = reader.words("", config="skip-access-log-urls")
    if targets:
        wishes.filters["unlogged"] = UnloggedSpecification(targets)
