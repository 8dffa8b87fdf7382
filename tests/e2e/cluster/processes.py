"""Processes of the cluster: each in a network namespace, with a log, and marked so that a later run finds it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

MARK = "CAUSEWAY_E2E_RUN"


def in_netns(netns: str, argv: Sequence[str]) -> list[str]:
    """`ip netns exec` mounts a fresh /sys that hides the cgroups; nsenter does not."""
    return ["nsenter", f"--net=/run/netns/{netns}", "--", *argv]


def run(
    argv: Sequence[str], *, stdin: str = "", timeout: float = 60, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end. Raises RuntimeError with its words if it took too long, or failed and `check`."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{' '.join(argv)} took longer than {timeout:g} s") from None
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stderr or done.stdout}")
    return done


class Process:
    """A long-running program. `nsenter` becomes the program, so the pid is the program's own."""

    def __init__(self, name: str, netns: str, argv: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name, self.netns, self.argv, self.log = name, netns, list(argv), log
        self._environment = {**os.environ, **environment, MARK: name}
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, appending to its log. Its death is not noticed before someone asks `alive`."""
        assert not self.alive, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self._running = subprocess.Popen(
                in_netns(self.netns, self.argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self._running is not None and self._running.poll() is None

    @property
    def pid(self) -> int:
        assert self._running, f"{self.name} was never started"
        return self._running.pid

    def end(self, how: signal.Signals = signal.SIGKILL, timeout: float = 20) -> int:
        """Sends the signal and waits until it has ended; its return code, negative for a signal."""
        assert self._running, f"{self.name} was never started"
        if self._running.poll() is None:
            self._running.send_signal(how)
        return self._running.wait(timeout)

    def log_end(self, characters: int = 2000) -> str:
        """The last part of the log, for messages."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else "(no log)"
