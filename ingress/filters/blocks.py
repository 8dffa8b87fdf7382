"""block-cidrs, block-user-agents, block-referers: whom nobody answers."""

import msgspec

from ingress.filters.api import Filter, Reply, Request, Tools
from ingress.filters.networks import Networks, read_address
from ingress.filters.patterns import Listed

FORBIDDEN = Reply(403)


class BlocksSpecification(msgspec.Struct, frozen=True):
    networks: tuple[str, ...] = ()
    user_agents: tuple[str, ...] = ()
    """As `Listed` takes them, referers too."""
    referers: tuple[str, ...] = ()


class Blocks(Filter[BlocksSpecification]):
    name = "blocks"
    Specification = BlocksSpecification

    def __init__(self, specification: BlocksSpecification, tools: Tools) -> None:
        super().__init__(specification, tools)
        self._networks = Networks(specification.networks)
        self._fields = [
            (name, Listed(entries))
            for name, entries in (("user-agent", specification.user_agents), ("referer", specification.referers))
            if entries
        ]

    def request(self, request: Request) -> Reply | None:
        if self._networks and (address := read_address(request.client)) is not None and address in self._networks:
            return FORBIDDEN
        for name, listed in self._fields:
            if (request.field(name) or "") in listed:
                return FORBIDDEN
        return None
