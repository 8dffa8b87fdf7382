"""How often the worker of one slot has ended unasked, and how long to wait before the next one. Pure."""

from collections import deque

WINDOW_SECONDS = 60.0
FREE = 3
"""So many may end within the window and are replaced at once: killed by hand, or by a kernel short of memory."""
FIRST_PAUSE_SECONDS = 0.1
PAUSE_SECONDS_MAX = 5.0


class Crashes:
    """The ends of one slot's workers within the window. Times are seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._ends: deque[float] = deque()
        self.how = ""
        """How the last one ended, as the rest of a sentence."""

    def add(self, now: float, how: str, *, served: bool) -> float:
        """Note an end; return the pause in seconds. One that never served waits from the first time on."""
        self._ends.append(now)
        self.how = how
        excess = self.recent(now) - (FREE if served else 0)
        if excess <= 0:
            return 0.0
        return float(min(FIRST_PAUSE_SECONDS * 2 ** min(excess - 1, 16), PAUSE_SECONDS_MAX))

    def recent(self, now: float) -> int:
        while self._ends and now - self._ends[0] > WINDOW_SECONDS:
            self._ends.popleft()
        return len(self._ends)

    def trouble(self, now: float) -> str:
        """What an operator should know: "" as long as it is no loop."""
        count = self.recent(now)
        return f"{count} workers ended within {WINDOW_SECONDS:g} s, the last one {self.how}" if count > FREE else ""
