"""Takes a cluster down, whoever started it: also what a run that was killed has left behind.

Nothing here needs to be told what was started. Processes are found by the mark in their environment, containers by
runc's state, mounts and namespaces by their names.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from pathlib import Path

from .layout import PREFIX, SOCKETS
from .processes import MARK, run

CONTAINER_LOG_LINKS = Path("/var/log/containers")
CNI_RESULTS = Path("/var/lib/cni/results")


def remove(state: Path) -> None:
    """Ends every process, container, mount, namespace and file of the cluster whose state folder is `state`."""
    kill_marked()
    remove_containers(SOCKETS)
    kill_marked()
    _unmount(state, SOCKETS)
    namespaces = Path("/run/netns").glob(f"{PREFIX}*")
    for netns in namespaces:
        _kill([int(pid) for pid in run(["ip", "netns", "pids", netns.name], check=False).stdout.split()])
        run(["ip", "netns", "del", netns.name], check=False)
    for link in CONTAINER_LOG_LINKS.glob("*.log"):
        if link.is_symlink() and os.readlink(link).startswith(str(state)):
            link.unlink()
    for file in CNI_RESULTS.glob("*"):  # of pods that never came to be, too: each names its network namespace
        with contextlib.suppress(OSError):
            if f'"{SOCKETS}/' in file.read_text():
                file.unlink()
    shutil.rmtree(state, ignore_errors=True)
    for folder in SOCKETS.glob("node*"):
        shutil.rmtree(folder, ignore_errors=True)


def kill_marked(name: str = "") -> None:
    """Kills the processes that were started under a name and all they have started; without a name, everybody's."""
    _kill(marked(name))


def marked(name: str = "") -> list[int]:
    """Processes started under a name, and all they have started; without a name, everybody's."""
    mark = f"{MARK}={name}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it may end while we look
            variables = (folder / "environ").read_bytes().split(b"\0")
            if any(variable.startswith(mark) for variable in variables):
                found.append(int(folder.name))
    return found


def _kill(pids: list[int], patience_s: float = 10) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + patience_s
    while any(_runs(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def remove_containers(below: Path) -> None:
    """Deletes every container of the nodes whose sockets are below a folder, and their network.

    The shims are dead or die of it, so runc is asked directly.
    """
    for container in below.glob("**/runc/k8s.io/*"):
        run(["runc", "--root", str(container.parent), "delete", "--force", container.name], check=False)
    _unmount(below)
    for told in below.glob("**/io.containerd.runtime.v2.task/*/*/bootstrap.json"):
        address = json.loads(told.read_text()).get("address")
        if address:  # the shim's socket, in a folder all share
            Path(address.removeprefix("unix://")).unlink(missing_ok=True)


def _unmount(*below: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    ours = [mount for mount in mounts if any(f"{mount}/".startswith(f"{folder}/") for folder in below)]
    for mount in sorted(ours, key=len, reverse=True):
        run(["umount", "-l", mount], check=False)
