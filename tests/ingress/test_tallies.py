"""Numbers that processes share: real processes over one file."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from ingress import tallies
from ingress.tallies import PAIR_ROWS, WAYS, Tallies, make_tallies


@pytest.fixture
def fd() -> Iterator[int]:
    made = make_tallies(3)
    yield made
    os.close(made)


def pair(found: Tallies, zone: str, client: str) -> tuple[int, int]:
    seen = []

    def look(when: int, value: int) -> None:
        seen.append((when, value))

    found.adjust(zone, client, look)
    return seen[0]


def put(found: Tallies, client: str, when: int, value: int) -> None:
    found.adjust("shop/web", client, lambda *_: (when, value))


def test_pairs_belong_to_zone_and_client(fd: int) -> None:
    one, two = Tallies(fd, 0), Tallies(fd, 1)
    put(one, "192.0.2.1", 5, -7)
    assert pair(two, "shop/web", "192.0.2.1") == (5, -7), "every worker sees it"
    assert pair(two, "shop/web", "192.0.2.2") == (0, 0)
    assert pair(two, "shop/other", "192.0.2.1") == (0, 0)
    one.adjust("shop/web", "192.0.2.1", lambda *_: None)
    assert pair(one, "shop/web", "192.0.2.1") == (5, -7)


def test_who_was_seen_longest_ago_makes_way(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "_set_of", lambda key, rows: 0)
    one = Tallies(fd, 0)
    for number in range(WAYS + 1):
        put(one, str(number), 100 + number, number)
    assert pair(one, "shop/web", "0") == (0, 0)
    assert [pair(one, "shop/web", str(each))[1] for each in range(1, WAYS + 1)] == list(range(1, WAYS + 1))


def test_presence_is_counted_over_all_workers(fd: int) -> None:
    one, two = Tallies(fd, 0), Tallies(fd, 1)
    rows = [(each, each.enter("shop/web", "192.0.2.1", 3)) for each in (one, two, one)]
    assert None not in dict(rows).values()
    assert two.enter("shop/web", "192.0.2.1", 3) is None
    assert two.enter("shop/web", "192.0.2.2", 3) is not None
    assert two.enter("shop/other", "192.0.2.1", 3) is not None
    who, row = rows[0]
    assert row is not None
    who.leave(row)
    assert two.enter("shop/web", "192.0.2.1", 3) is not None
    assert one.enter("shop/web", "192.0.2.1", 3) is None


def test_a_new_worker_clears_what_its_slot_has_left(fd: int) -> None:
    one, two = Tallies(fd, 0), Tallies(fd, 1)
    assert one.enter("z", "c", 2) is not None
    assert two.enter("z", "c", 2) is not None
    Tallies(fd, 0)
    assert two.enter("z", "c", 2) is not None
    assert two.enter("z", "c", 2) is None


def test_a_full_set_takes_nobody_else_and_free_rows_are_used_again(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "_set_of", lambda key, rows: 0)
    one = Tallies(fd, 0)
    rows = [one.enter("z", str(each), 1) for each in range(WAYS)]
    assert one.enter("z", "late", 1) is None
    assert rows[3] is not None
    one.leave(rows[3])
    assert one.enter("z", "late", 1) == rows[3]


COUNT = """
import sys
from ingress.tallies import Tallies
found = Tallies(int(sys.argv[1]), int(sys.argv[2]))
for _ in range(3000):
    found.adjust("z", "c", lambda when, value: (when + 1, value + 2))
"""


def test_nothing_is_lost_between_processes(fd: int) -> None:
    running = [subprocess.Popen([sys.executable, "-c", COUNT, str(fd), str(slot)], pass_fds=[fd]) for slot in range(3)]
    assert [each.wait() for each in running] == [0, 0, 0]
    assert pair(Tallies(fd, 0), "z", "c") == (9000, 18000)


HOLD = """
import fcntl, sys
fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX, 0, 0)
print("held", flush=True)
sys.stdin.read()
"""


def test_nobody_waits_for_a_worker_that_hangs(fd: int) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(fd)], pass_fds=[fd], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == b"held\n"
    one = Tallies(fd, 0)
    begin = time.monotonic()
    put(one, "192.0.2.1", 1, 2)
    assert pair(one, "shop/web", "192.0.2.1") == (1, 2)
    assert time.monotonic() - begin < 1
    holder.communicate()


def test_memory_is_taken_where_it_is_used(fd: int) -> None:
    Tallies(fd, 0)
    assert os.fstat(fd).st_size > PAIR_ROWS * 32
    assert os.fstat(fd).st_blocks * 512 < 1 << 20
