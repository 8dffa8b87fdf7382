"""Who answers when a backend cannot, and whose error pages clients see."""

from ingress.filters.errors import ErrorsSpecification
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes

NAMES = {
    "custom-http-errors": Risk.LOW,
    "default-backend": Risk.LOW,
    "disable-proxy-intercept-errors": Risk.LOW,
}
CONFIG = frozenset({"custom-http-errors", "disable-proxy-intercept-errors"})


def read(reader: Reader, wishes: Wishes) -> None:
    """The Ingress's own default backend, or else the operator's, makes the error pages."""
    service = reader.text("default-backend")
    own = reader.backend("default-backend", service) if service else ""
    statuses = _statuses(reader)
    backend = own or reader.default_backend
    if statuses and not backend:
        reader.wrong(
            "custom-http-errors", "there is no backend to make the pages", "name one: the annotation default-backend"
        )
    if not backend or not (own or statuses):
        return
    wishes.default_backend = own
    wishes.backends.add(backend)
    wishes.filters["errors"] = ErrorsSpecification(
        backend,
        statuses,
        own_only=reader.flag("disable-proxy-intercept-errors", config="disable-proxy-intercept-errors"),
        stands_in=bool(own),
    )


def _statuses(reader: Reader) -> tuple[int, ...]:
    words = reader.words("custom-http-errors", config="custom-http-errors")
    for each in words:
        if not each.isascii() or not each.isdigit() or not 400 <= int(each) <= 599:
            reader.wrong("custom-http-errors", f'"{each}" is not the status of an error', "write 404,503")
            return ()
    return tuple(sorted({int(each) for each in words}))
