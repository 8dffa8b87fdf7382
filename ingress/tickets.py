"""Keys for TLS session tickets: made by the supervisor, had by every worker, replaced in time, and handed to the
supervisor that comes after. Pure: octets and times come from the caller.
"""

from collections.abc import Callable

import msgspec

KEY_OCTETS = 80
"""Name (16), AES-256 key (32) and HMAC key (32): TICKET_KEY_OCTETS of the engine."""
ROTATE_SECONDS = 3600.0
KEPT = 2
"""Keys that are only read by: a session lives for two periods (Settings.tls_session_seconds)."""

_Handed = tuple[tuple[bytes, ...], float]


class TicketKeys:
    """The keys in the order that engines take: the first makes tickets, all read them.

    The second is the next first one: every worker can read its tickets a whole period before any worker makes one.
    """

    def __init__(self, random: Callable[[int], bytes], now_seconds: float) -> None:
        self._random = random
        self.keys: tuple[bytes, ...] = (random(KEY_OCTETS), random(KEY_OCTETS))
        self.due_seconds = now_seconds + ROTATE_SECONDS
        """When to rotate them."""

    def __repr__(self) -> str:
        """Without the keys: this ends up in logs and test reports."""
        return f"TicketKeys({len(self.keys)})"

    def rotate(self) -> None:
        """A period has passed."""
        used, coming, *old = self.keys
        self.keys = (coming, self._random(KEY_OCTETS), used, *old[: KEPT - 1])
        self.due_seconds += ROTATE_SECONDS

    def handed(self) -> bytes:
        """For another process on this machine, whose clock is the same."""
        return msgspec.msgpack.encode((self.keys, self.due_seconds))

    def take(self, handed: bytes) -> bool:
        """Go on with what `handed` gave. False if that is something else: these keys stay then."""
        try:
            keys, due_seconds = msgspec.msgpack.decode(handed, type=_Handed)
        except msgspec.MsgspecError:
            return False
        if not 2 <= len(keys) <= 2 + KEPT or any(len(key) != KEY_OCTETS for key in keys):
            return False
        self.keys = keys
        # Between now and a period from now, whatever the other clock says.
        self.due_seconds = min(self.due_seconds, max(self.due_seconds - ROTATE_SECONDS, due_seconds))
        return True
