"""What a running program uses, from /proc: CPU time and memory of a process and all that descend from it.

CPU time is the scheduler's own (`schedstat`, nanoseconds), so that a burst of a second is told exactly.
"""

import contextlib
import os
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def family(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def cpu_ns(pid: int) -> int:
    """CPU time used so far. Ended threads are not counted."""
    total = 0
    for each in family(pid):
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
    return total


def cpu_split(pid: int) -> tuple[int, int]:
    """User and system time in clock ticks."""
    user = system = 0
    for each in family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            user, system = user + int(fields[11]), system + int(fields[12])
    return user, system


def memory_bytes(pid: int) -> int:
    """Resident memory; what processes share counts once for each of them."""
    total = 0
    for each in family(pid):
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{each}/statm").read_text().split()[1]) * PAGE_BYTES
    return total


def own_memory_bytes(pid: int) -> int:
    """Memory that would be free if the processes ended: what they share with others counts not at all."""
    total = 0
    for each in family(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Private_Clean:", "Private_Dirty:")):
                    total += int(line.split()[1]) * 1024
    return total
