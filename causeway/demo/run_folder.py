"""The demo's folder under /run: one demo of a name at a time, and nothing left behind.

The lock is flock(2) on a file in the folder: the kernel lets go of it when the demo dies, however it dies. So whoever
holds it may sweep away everything that carries the demo's name.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from causeway.demo import netns, processes
from causeway.demo.layout import Layout

LOCK = "lock"
MADE_NETNS = "made-run-netns"


class Running(Exception):
    """Another demo of this name runs."""

    def __init__(self, pid: str) -> None:
        super().__init__(f"a demo is running already (process {pid or 'unknown'})")
        self.pid = pid


class RunFolder:
    """Holds the lock from `acquire` on, until `remove`."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.lock_fd = -1

    def acquire(self) -> None:
        """Raises Running when another process holds the folder."""
        path = self.layout.folder / LOCK
        while True:
            self.layout.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except FileNotFoundError:
                continue  # the demo that is just ending has removed the folder
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(fd, 20, 0).decode().strip()
                os.close(fd)
                raise Running(holder) from None
            if same_file(fd, path):
                break
            os.close(fd)  # we have locked a file that the demo before us has removed meanwhile
        os.truncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self.lock_fd = fd

    def leftovers(self) -> list[str]:
        """What an earlier run has left, in words; empty if nothing."""
        found = []
        if pids := processes.marked(self.layout.name):
            found.append(f"{len(pids)} processes")
        if spaces := netns.names(self.layout.prefix):
            found.append(f"{len(spaces)} network namespaces")
        if any(each.name != LOCK for each in self.layout.folder.iterdir()):
            found.append(str(self.layout.folder))
        return found

    def sweep(self) -> None:
        """End and remove everything of this demo but the lock. Safe to repeat, and to interrupt and repeat."""
        # A polite end is for programs with something to hand over; ten seconds of it would be a nuisance.
        processes.end_marked(self.layout.name, grace_s=3.0)
        netns.delete(netns.names(self.layout.prefix))
        shutil.rmtree(self.layout.hosts_folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.layout.hosts_folder.parent.rmdir()  # only if it is empty now
        if (self.layout.folder / MADE_NETNS).exists():
            unmake_run_netns()
        for each in self.layout.folder.iterdir():
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each, ignore_errors=True)
            elif each.name != LOCK:
                each.unlink(missing_ok=True)

    def make(self) -> None:
        """The folders a demo needs."""
        if not netns.NETNS.exists():
            (self.layout.folder / MADE_NETNS).touch()
        self.layout.generated.mkdir(parents=True)
        self.layout.logs.mkdir()

    def remove(self) -> None:
        """Sweep, and let go of the folder itself."""
        self.sweep()
        (self.layout.folder / LOCK).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.layout.folder.rmdir()
        os.close(self.lock_fd)


def same_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def unmake_run_netns() -> None:
    """`ip netns add` mounts /run/netns on itself; undo that when we were the first and nobody uses it."""
    try:
        if any(netns.NETNS.iterdir()):
            return
        subprocess.run(["umount", str(netns.NETNS)], capture_output=True, check=False)
        netns.NETNS.rmdir()
    except OSError:
        return  # somebody else's by now
