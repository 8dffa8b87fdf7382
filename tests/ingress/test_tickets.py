"""Keys for session tickets: what is made by one is read until its sessions are old."""

import itertools

import msgspec
import pytest

from ingress.proxy import Settings
from ingress.proxy.engine import TICKET_KEY_OCTETS
from ingress.tickets import KEPT, KEY_OCTETS, ROTATE_SECONDS, TicketKeys


def test_rotation() -> None:
    numbers = itertools.count(1)
    keys = TicketKeys(lambda octets: bytes([next(numbers)] * octets), 100.0)
    seen = []
    for _ in range(6):
        seen.append([key[0] for key in keys.keys])
        keys.rotate()
    assert seen == [[1, 2], [2, 3, 1], [3, 4, 2, 1], [4, 5, 3, 2], [5, 6, 4, 3], [6, 7, 5, 4]]
    assert keys.due_seconds == 100.0 + 7 * ROTATE_SECONDS
    for before, after in itertools.pairwise(seen):
        assert after[0] in before  # known everywhere before anybody makes tickets by it


def test_sizes() -> None:
    assert KEY_OCTETS == TICKET_KEY_OCTETS
    assert Settings().tls_session_seconds <= KEPT * ROTATE_SECONDS
    assert "\\x" not in repr(TicketKeys(bytes, 0.0))


def made(octet: int, now_seconds: float) -> TicketKeys:
    return TicketKeys(lambda octets: bytes([octet] * octets), now_seconds)


@pytest.mark.parametrize("rotations", range(4))
def test_the_next_supervisor_goes_on_with_them(rotations: int) -> None:
    numbers = itertools.count(1)
    old = TicketKeys(lambda octets: bytes([next(numbers)] * octets), 100.0)
    for _ in range(rotations):
        old.rotate()
    new = made(99, old.due_seconds - 5)
    assert new.take(old.handed())
    assert (new.keys, new.due_seconds) == (old.keys, old.due_seconds)
    old.rotate()
    new.rotate()
    assert new.keys[0] == old.keys[0], "those of the old one's last clients are read by the new one's workers"


@pytest.mark.parametrize(("due_seconds", "expected"), [(0.0, 500.0), (1e9, 500.0 + ROTATE_SECONDS), (600.0, 600.0)])
def test_no_key_is_used_for_longer_than_a_period(due_seconds: float, expected: float) -> None:
    new = made(1, 500.0)
    assert new.take(made(2, due_seconds - ROTATE_SECONDS).handed())
    assert new.due_seconds == expected


@pytest.mark.parametrize(
    "handed",
    [
        b"",
        b"nonsense",
        msgspec.msgpack.encode({"keys": 3}),
        msgspec.msgpack.encode((("text", "text"), 1.0)),
        msgspec.msgpack.encode((([b"short"] * 2), 1.0)),
        msgspec.msgpack.encode(([bytes(KEY_OCTETS)], 1.0)),
        msgspec.msgpack.encode(([bytes(KEY_OCTETS)] * 5, 1.0)),
        made(1, 2.0).handed()[:-3],
    ],
)
def test_what_are_no_keys_changes_nothing(handed: bytes) -> None:
    keys = made(7, 1.0)
    assert not keys.take(handed)
    assert keys.keys == (bytes([7]) * KEY_OCTETS,) * 2
    assert keys.due_seconds == 1.0 + ROTATE_SECONDS
