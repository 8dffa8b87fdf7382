"""upstream-hash-by: requests with the same text go to the same endpoint, or to the same few."""

from hashlib import blake2b

import msgspec

from ingress.filters.api import Filter, Request, Tools
from ingress.filters.variables import Template


class HashSpecification(msgspec.Struct, frozen=True):
    by: str
    """Text with variables."""
    subset_size: int = 0
    """Endpoints are put into groups of so many; a text has a group, and any of its members answers. 0: one endpoint."""


class Hash(Filter[HashSpecification]):
    name = "hash"
    Specification = HashSpecification

    def __init__(self, specification: HashSpecification, tools: Tools) -> None:
        super().__init__(specification, tools)
        self._by = Template.parse(specification.by)

    def request(self, request: Request) -> None:
        key = self._by.render(request).encode("latin-1", "replace")
        if self.specification.subset_size:
            request.pin = self._member(key, request)
        else:
            request.hash_key = key

    def _member(self, key: bytes, request: Request) -> str:
        there = sorted(request.endpoints(request.backend))
        if not there:
            return ""
        size = min(self.specification.subset_size, len(there))
        groups = -(-len(there) // size)
        # Rendezvous hashing: one more group takes keys from all, and moves no others.
        group = max(range(groups), key=lambda number: blake2b(key, digest_size=8, salt=b"%d" % number).digest())
        # The last group is filled up from the first: a group of one would be no subset.
        return there[(group * size + int(self.tools.draw() * size)) % len(there)]
