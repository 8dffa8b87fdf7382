"""The thread that writes the access log, so that the event loop never waits for a disk or for a pipe's reader."""

import ctypes
import os
import threading
from queue import SimpleQueue

# What may wait for a slow reader before lines are dropped. A minute's worth at some thousand requests a second.
BEHIND_MAX_OCTETS = 16 << 20

CLOSE_RANGE_UNSHARE = 2
LAST_DESCRIPTOR = 0xFFFFFFFF


class LogWriter:
    """Writes whole lines, in order, to a dup of `fd`, which may be a file, a pipe or a terminal."""

    def __init__(self, fd: int) -> None:
        self._fd = os.dup(fd)
        self._pieces: SimpleQueue[bytes | None] = SimpleQueue()
        self._queued_octets = 0  # counted by who calls
        self._done_octets = 0  # counted by the thread
        self._closing = False
        self._started = threading.Event()
        self._alone = False
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._alone:
            os.close(self._fd)

    def write(self, lines: bytes) -> int:
        """Queue whole lines; how many had to be dropped because the reader is too far behind."""
        if self._closing or self._queued_octets - self._done_octets + len(lines) > BEHIND_MAX_OCTETS:
            return lines.count(b"\n")
        self._queued_octets += len(lines)
        self._pieces.put(lines)
        return 0

    def close(self, seconds: float = 1.0) -> None:
        """Let the thread end when all is written, and wait so long for it. A stuck reader does not hold us up."""
        self._closing = True
        self._pieces.put(None)
        self._thread.join(seconds)

    def _run(self) -> None:
        self._alone = own_descriptors(self._fd)
        self._started.set()
        while (piece := self._pieces.get()) is not None:
            self._write_all(piece)
            self._done_octets += len(piece)
        os.close(self._fd)

    def _write_all(self, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                # The descriptor was given to us non-blocking: wait here, in the thread, until it takes more.
                os.set_blocking(self._fd, True)
            except OSError:
                return  # a full disk or a closed pipe: these lines are lost, the next ones may not be


def own_descriptors(kept: int) -> bool:
    """Give this thread a table of descriptors of its own, with `kept` and the standard ones alone in it.

    As long as two threads share a table, the kernel counts a reference up and down at each system call of either: some
    two per cent of a request. False, and nothing changed, where the system cannot do it (Linux before 5.9).
    """
    close_range = getattr(ctypes.CDLL(None, use_errno=True), "close_range", None)
    if close_range is None:
        return False
    above: int = close_range(ctypes.c_uint(kept + 1), ctypes.c_uint(LAST_DESCRIPTOR), CLOSE_RANGE_UNSHARE)
    if above == 0 and kept > 3:
        close_range(ctypes.c_uint(3), ctypes.c_uint(kept - 1), CLOSE_RANGE_UNSHARE)
    return above == 0
