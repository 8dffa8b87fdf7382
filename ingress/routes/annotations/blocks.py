"""Whom the operator has nobody answer: networks, user agents, referers."""

from ingress.filters.blocks import BlocksSpecification
from ingress.routes.annotations.access_log import listable
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes

NAMES: dict[str, Risk] = {}
CONFIG = frozenset({"block-cidrs", "block-user-agents", "block-referers"})


def read(reader: Reader, wishes: Wishes) -> None:
    """A list that is broken closes everything: whom it was meant for is not known."""
    if not CONFIG & reader.config.keys():
        return
    networks = reader.networks("", config="block-cidrs")
    agents = reader.words("", config="block-user-agents")
    referers = reader.words("", config="block-referers")
    if networks is None or not listable(agents) or not listable(referers):
        wishes.closed = wishes.closed or "block-cidrs, block-user-agents or block-referers of the ConfigMap is broken"
    elif networks or agents or referers:
        wishes.filters["blocks"] = BlocksSpecification(networks, agents, referers)
