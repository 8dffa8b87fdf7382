"""Numbers that all workers of a proxy share: how much, and how many requests at once, each client has used.

One file in memory, made by the supervisor and inherited by its workers: a limit holds for all of them together, however
clients are spread over them. It has two tables of fixed size, each of sets of WAYS rows; a key belongs to one set.

    pairs     two numbers for a key. The row of a set that was used longest ago makes way for a new key.
    presence  for each worker, how many requests of a key are under way in it. A row is free once all are zero; what a
              killed worker has left behind is cleared by the next one in its slot.

A set is locked while it is looked at, by a byte range of the file: the kernel unlocks what a killed worker has locked.
Nobody waits long for it: this is the loop's own thread, and a number that is wrong by one does less harm.
"""

import fcntl
import hashlib
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PAIR_ROWS = 131072
"""Clients whose rates are known, of all zones: 4 MiB, as far as it is used."""
PRESENCE_ROWS = 65536
"""Clients with requests under way."""
WAYS = 8
WAIT_SECONDS = 0.05
"""For a lock; it is held for microseconds, unless the system stops its owner just then."""

_KEY = 16
_PAIR = struct.Struct("<16sQq")
_COUNT = struct.Struct("<H")
_HEAD = struct.Struct("<16sI")
_HEAD_BYTES = 64
_COUNT_MAX = 65535
_FREE = bytes(_KEY)

Change = Callable[[int, int], tuple[int, int] | None]
"""(when, value) as they are, zeros for a key that is new -> as they shall be; None leaves them."""


def make_tallies(slots: int) -> int:
    """A file for so many workers; the descriptor is the caller's to close. Memory is taken only where it is used."""
    fd = os.memfd_create("tallies")
    os.ftruncate(fd, _presence_at() + PRESENCE_ROWS * (_KEY + slots * _COUNT.size))
    os.pwrite(fd, _HEAD.pack(os.urandom(_KEY), slots), 0)
    return fd


def _presence_at() -> int:
    return _HEAD_BYTES + PAIR_ROWS * _PAIR.size


class Tallies:
    """One worker's view of the file. Keys are (zone, client); what is kept is their keyed digest."""

    def __init__(self, fd: int, slot: int) -> None:
        """fd: of `make_tallies`, held open; slot: this worker's. What another has counted in that slot is cleared."""
        self._fd = fd
        self._memory = mmap.mmap(fd, 0)
        self._secret, self._slots = _HEAD.unpack_from(self._memory, 0)
        self._keys_at = _presence_at()
        column = PRESENCE_ROWS * _COUNT.size
        self._counts_at = [self._keys_at + PRESENCE_ROWS * _KEY + each * column for each in range(self._slots)]
        self._own = self._counts_at[slot]
        self._memory[self._own : self._own + column] = bytes(column)

    def adjust(self, zone: str, client: str, change: Change) -> None:
        """Change the pair of a key while nobody else does."""
        key = self._digest(zone, client)
        at = _HEAD_BYTES + _set_of(key, PAIR_ROWS) * WAYS * _PAIR.size
        with self._locked(at):
            rows = [_PAIR.unpack_from(self._memory, at + way * _PAIR.size) for way in range(WAYS)]
            way = next((way for way, row in enumerate(rows) if row[0] == key), -1)
            new = change(*rows[way][1:]) if way >= 0 else change(0, 0)
            if new is not None:
                if way < 0:
                    way = min(range(WAYS), key=lambda each: rows[each][1])
                _PAIR.pack_into(self._memory, at + way * _PAIR.size, key, *new)

    def enter(self, zone: str, client: str, most: int) -> int | None:
        """Count a request as under way: what to say to `leave`. None: there are `most` of them already."""
        key = self._digest(zone, client)
        first = _set_of(key, PRESENCE_ROWS) * WAYS
        with self._locked(self._keys_at + first * _KEY):
            row = self._row(key, first)
            if row is None or self._present(row) >= most:
                return None
            count = self._count(self._own, row)
            if count == _COUNT_MAX:
                return None
            self._memory[self._keys_at + row * _KEY : self._keys_at + (row + 1) * _KEY] = key
            _COUNT.pack_into(self._memory, self._own + row * _COUNT.size, count + 1)
            return row

    def leave(self, row: int) -> None:
        """Only this worker writes its column, so nothing has to be locked."""
        _COUNT.pack_into(self._memory, self._own + row * _COUNT.size, self._count(self._own, row) - 1)

    def _row(self, key: bytes, first: int) -> int | None:
        """The key's row, else one that is free. None: the set is full of others."""
        free = None
        for row in range(first, first + WAYS):
            found = self._memory[self._keys_at + row * _KEY : self._keys_at + (row + 1) * _KEY]
            if found == key:
                return row
            if free is None and (found == _FREE or not self._present(row)):
                free = row
        return free

    def _present(self, row: int) -> int:
        return sum(self._count(at, row) for at in self._counts_at)

    def _count(self, column_at: int, row: int) -> int:
        count: int = _COUNT.unpack_from(self._memory, column_at + row * _COUNT.size)[0]
        return count

    def _digest(self, zone: str, client: str) -> bytes:
        """Keyed, so that nobody can choose clients that push another one out of its set."""
        text = f"{zone}\0{client}".encode("utf-8", "surrogateescape")
        return hashlib.blake2b(text, digest_size=_KEY, key=self._secret).digest()

    @contextmanager
    def _locked(self, at: int) -> Iterator[None]:
        held = self._lock(at)
        try:
            yield
        finally:
            if held:
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, at)

    def _lock(self, at: int) -> bool:
        deadline = 0.0
        while True:
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, at)
                return True
            except BlockingIOError:
                deadline = deadline or time.monotonic() + WAIT_SECONDS
                if time.monotonic() > deadline:
                    return False
                os.sched_yield()


def _set_of(key: bytes, rows: int) -> int:
    return int.from_bytes(key[:8], "little") % (rows // WAYS)
