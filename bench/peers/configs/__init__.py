"""The same routes and duties in each proxy's own configuration, one file per proxy: one worker, the Host kept, the
request numbered and X-Forwarded-* set (DUTIES), an access log in about the same form, a 404 for an unknown host,
time-outs as each has them by default. Pure: a Work and a Place in, text out.
"""

from dataclasses import dataclass

DUTIES = (
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Forwarded-Scheme",
    "X-Real-IP",
    "X-Request-ID",
    "X-Scheme",
)
"""Fields that every proxy must give the endpoint, whatever the client has sent."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a proxy listens, where its endpoint is, and a folder for its files."""

    folder: str
    port: int
    endpoint_port: int
    certificate: str
    key: str
