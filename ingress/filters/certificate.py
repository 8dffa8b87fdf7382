"""What a host asks of client certificates beside their being valid, which the engine sees to: whose they are.

Runs on all routes of the host, also for clients without TLS: these have shown nothing.
"""

import msgspec

from ingress.filters.api import Filter, Reply, Request, Tools
from ingress.filters.patterns import compile_pattern

CLOSED = Reply(403)
STRANGER = Reply(403, (("Content-Type", "text/plain"),), b"client certificate unauthorized")
"""In ingress-nginx's words."""


class CertificateSpecification(msgspec.Struct, frozen=True):
    match_cn: str = ""
    """A pattern that the subject must have, "CN=(shop|cart)"; "": any."""
    closed: bool = False
    """It is not known who may pass, so nobody does."""


class Certificate(Filter[CertificateSpecification]):
    name = "certificate"
    Specification = CertificateSpecification

    def __init__(self, specification: CertificateSpecification, tools: Tools) -> None:
        """Raises ValueError for what is no pattern."""
        super().__init__(specification, tools)
        self._pattern = compile_pattern(specification.match_cn)

    def request(self, request: Request) -> Reply | None:
        if self.specification.closed:
            return CLOSED
        shown = request.client_certificate
        subject = shown.subject if shown else ""
        return None if self._pattern.search(subject) else STRANGER
