"""Whom the operator has nobody answer: networks, user agents, referers."""

from ingress.filters.blocks import BlocksSpecification
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes

NAMES: dict[str, Risk] = {}
CONFIG = frozenset({"block-cidrs", "block-user-agents", "block-referers"})


def read(reader: Reader, wishes: Wishes) -> None:
    """Networks that are wrong close everything: whom they were meant for is not known. Patterns that are wrong never
    get here."""
    if not CONFIG & reader.config.keys():
        return
    networks = reader.networks("", config="block-cidrs")
    agents = reader.words("", config="block-user-agents")
    referers = reader.words("", config="block-referers")
    if networks is None:
        wishes.closed = wishes.closed or "block-cidrs of the ConfigMap is broken"
    elif networks or agents or referers:
        wishes.filters["blocks"] = BlocksSpecification(networks, agents, referers)
