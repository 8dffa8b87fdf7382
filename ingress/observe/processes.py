"""What the kernel knows of our processes, from proc(5)."""

import os
from collections.abc import Iterable
from dataclasses import dataclass

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Usage:
    """Of one process or several together."""

    processes: int = 0
    resident_bytes: int = 0
    virtual_bytes: int = 0
    cpu_seconds: float = 0.0
    oldest_start_seconds: float = 0.0
    """Unix time."""
    open_files: int = 0
    read_bytes: int = 0
    """From and to storage, not sockets."""
    written_bytes: int = 0

    def add(self, other: "Usage") -> None:
        starts = [each for each in (self.oldest_start_seconds, other.oldest_start_seconds) if each]
        self.oldest_start_seconds = min(starts, default=0.0)
        self.processes += other.processes
        self.resident_bytes += other.resident_bytes
        self.virtual_bytes += other.virtual_bytes
        self.cpu_seconds += other.cpu_seconds
        self.open_files += other.open_files
        self.read_bytes += other.read_bytes
        self.written_bytes += other.written_bytes


def usage_of(pid: int, *, with_children: bool = False) -> Usage:
    """with_children: count the CPU time of children that have ended, too. Raises OSError if it has ended itself."""
    with open(f"/proc/{pid}/statm") as file:
        virtual, resident = file.read().split()[:2]
    with open(f"/proc/{pid}/stat") as file:
        # After the command, which is in brackets and may hold anything: from field 3 on.
        fields = file.read().rpartition(")")[2].split()
    ticks = sum(map(int, fields[11 : 15 if with_children else 13]))
    start = _boot_seconds() + int(fields[19]) / _TICKS
    files = len(os.listdir(f"/proc/{pid}/fd"))
    read, written = _storage_bytes(pid)
    resident_bytes, virtual_bytes = int(resident) * _PAGE_BYTES, int(virtual) * _PAGE_BYTES
    return Usage(1, resident_bytes, virtual_bytes, ticks / _TICKS, start, files, read, written)


def _storage_bytes(pid: int) -> tuple[int, int]:
    """Read and written, those of children that have ended and been waited for included. Zeros where nobody counts."""
    try:
        with open(f"/proc/{pid}/io") as file:
            found = dict(line.split(": ") for line in file)
    except OSError:
        return 0, 0
    return int(found["read_bytes"]), int(found["write_bytes"])


def usages(pids: Iterable[tuple[str, int]]) -> dict[str, Usage]:
    """By name, of those that still run. Of ourselves with the children that have ended: the sum never goes down."""
    found = {}
    for name, pid in pids:
        try:
            found[name] = usage_of(pid, with_children=pid == os.getpid())
        except OSError:
            continue
    return found


def _boot_seconds() -> float:
    with open("/proc/stat") as file:
        return next((float(line.split()[1]) for line in file if line.startswith("btime ")), 0.0)
