"""What the groups that decide who may pass have in common."""

from ingress.filters.access import AccessSpecification
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Wishes

OPEN_PATHS = "no-auth-locations"
OPEN_PATHS_DEFAULT = ("/.well-known/acme-challenge",)


def access_of(wishes: Wishes) -> AccessSpecification:
    """As far as groups have filled it in."""
    found = wishes.filters.get("access", AccessSpecification())
    assert isinstance(found, AccessSpecification)
    return found


def close(wishes: Wishes, reason: str) -> None:
    """Better nobody than anybody; the first reason is told."""
    wishes.closed = wishes.closed or reason


def closed_by(reader: Reader, wishes: Wishes, name: str, reason: str, advice: str = "") -> None:
    """Report an annotation without which nobody may be let in."""
    reader.wrong(name, reason, advice or "correct it: until then every request gets 503")
    close(wishes, f"{name}: {reason}")


def open_paths(reader: Reader) -> tuple[str, ...]:
    """Rule paths below which nobody is asked who it is."""
    if OPEN_PATHS not in reader.config:
        return OPEN_PATHS_DEFAULT
    return tuple(each.strip() for each in reader.config[OPEN_PATHS].split(",") if each.strip())
