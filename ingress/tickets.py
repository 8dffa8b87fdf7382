"""Keys for TLS session tickets: made by the supervisor, had by every worker, replaced in time. Pure: octets come from
the caller.
"""

from collections.abc import Callable

KEY_OCTETS = 80
"""Name (16), AES-256 key (32) and HMAC key (32): TICKET_KEY_OCTETS of the engine."""
ROTATE_SECONDS = 3600.0
KEPT = 2
"""Keys that are only read by: a session lives for two periods (Settings.tls_session_seconds)."""


class TicketKeys:
    """The keys in the order that engines take: the first makes tickets, all read them.

    The second is the next first one: every worker can read its tickets a whole period before any worker makes one.
    """

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self.keys: tuple[bytes, ...] = (random(KEY_OCTETS), random(KEY_OCTETS))

    def __repr__(self) -> str:
        """Without the keys: this ends up in logs and test reports."""
        return f"TicketKeys({len(self.keys)})"

    def rotate(self) -> None:
        """A period has passed."""
        used, coming, *old = self.keys
        self.keys = (coming, self._random(KEY_OCTETS), used, *old[: KEPT - 1])
