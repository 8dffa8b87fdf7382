"""Which requests are worth a line of the access log."""

from ingress.filters.patterns import Listed
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
    if targets and listable(targets):
        wishes.filters["unlogged"] = UnloggedSpecification(targets)


def listable(entries: tuple[str, ...]) -> bool:
    """Whether every pattern among them is one; the ConfigMap's Problems are told of elsewhere."""
    try:
        Listed(entries)
    except ValueError:
        return False
    return True
