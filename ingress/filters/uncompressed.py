"""gzip-disable: clients that get responses as they are, whatever they say they like."""

import msgspec

from ingress.filters.api import Filter, Request, Tools
from ingress.filters.patterns import compile_pattern


class UncompressedSpecification(msgspec.Struct, frozen=True):
    agents: tuple[str, ...]
    """Patterns of User-Agent, in any letter case."""


class Uncompressed(Filter[UncompressedSpecification]):
    name = "uncompressed"
    Specification = UncompressedSpecification

    def __init__(self, specification: UncompressedSpecification, tools: Tools) -> None:
        super().__init__(specification, tools)
        self._agents = [compile_pattern(each, any_case=True) for each in specification.agents]

    def request(self, request: Request) -> None:
        agent = request.field("user-agent")
        if agent and any(each.search(agent) for each in self._agents):
            request.compress = False
