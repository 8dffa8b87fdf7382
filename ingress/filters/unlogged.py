"""skip-access-log-urls: requests that are not worth a line."""

import msgspec

from ingress.filters.api import Filter, Request, Tools
from ingress.filters.patterns import Listed


class UnloggedSpecification(msgspec.Struct, frozen=True):
    targets: tuple[str, ...]
    """As `Listed` takes them."""


class Unlogged(Filter[UnloggedSpecification]):
    name = "unlogged"
    Specification = UnloggedSpecification

    def __init__(self, specification: UnloggedSpecification, tools: Tools) -> None:
        super().__init__(specification, tools)
        self._targets = Listed(specification.targets)

    def request(self, request: Request) -> None:
        if request.target in self._targets:
            request.log = False
