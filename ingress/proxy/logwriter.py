"""The thread that writes the access log, so that the event loop never waits for a disk or for a pipe's reader."""

import os
import threading
from collections import deque

# What may wait for a slow reader before lines are dropped. A minute's worth at some thousand requests a second.
BEHIND_MAX_OCTETS = 16 << 20


class LogWriter:
    """Writes whole lines, in order, to a dup of `fd`, which may be a file, a pipe or a terminal."""

    def __init__(self, fd: int) -> None:
        self._fd = os.dup(fd)
        self._pieces: deque[bytes] = deque()
        self._behind_octets = 0
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def write(self, lines: bytes) -> int:
        """Queue whole lines; how many had to be dropped because the reader is too far behind."""
        with self._changed:
            if self._closing or self._behind_octets + len(lines) > BEHIND_MAX_OCTETS:
                return lines.count(b"\n")
            self._pieces.append(lines)
            self._behind_octets += len(lines)
            self._changed.notify()
        return 0

    def close(self, seconds: float = 1.0) -> None:
        """Let the thread end when all is written, and wait so long for it. A stuck reader does not hold us up."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._pieces and not self._closing:
                    self._changed.wait()
                if not self._pieces:
                    break
                piece = self._pieces.popleft()
            self._write_all(piece)
            with self._changed:
                self._behind_octets -= len(piece)
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
