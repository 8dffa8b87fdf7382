"""Keys for session tickets: what is made by one is read until its sessions are old."""

import itertools

from ingress.proxy import Settings
from ingress.proxy.engine import TICKET_KEY_OCTETS
from ingress.tickets import KEPT, KEY_OCTETS, ROTATE_SECONDS, TicketKeys


def test_rotation() -> None:
    numbers = itertools.count(1)
    keys = TicketKeys(lambda octets: bytes([next(numbers)] * octets))
    seen = []
    for _ in range(6):
        seen.append([key[0] for key in keys.keys])
        keys.rotate()
    assert seen == [[1, 2], [2, 3, 1], [3, 4, 2, 1], [4, 5, 3, 2], [5, 6, 4, 3], [6, 7, 5, 4]]
    for before, after in itertools.pairwise(seen):
        assert after[0] in before  # known everywhere before anybody makes tickets by it


def test_sizes() -> None:
    assert KEY_OCTETS == TICKET_KEY_OCTETS
    assert Settings().tls_session_seconds <= KEPT * ROTATE_SECONDS
    assert "\\x" not in repr(TicketKeys(bytes))
