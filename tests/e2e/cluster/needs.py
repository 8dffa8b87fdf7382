"""What the machine must have, told in words when it has not; and the Debian packages, installed when missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable

from .programs import GO_AT_LEAST

# program -> Debian package that has it
DEBIAN = {
    "runc": "runc",
    "ip": "iproute2",
    "nft": "nftables",
    "conntrack": "conntrack",
    "busybox": "busybox-static",
    "curl": "curl",
    "dig": "dnsutils",
    "openssl": "openssl",
    "arping": "iputils-arping",
    "nsenter": "util-linux",
    "mount": "mount",
}
BASELINE_DEBIAN = {"/usr/lib/cni/ptp": "containernetworking-plugins"}


def missing(*, go_needed: bool) -> list[str]:
    """What only the operator can give: one sentence each, with what to do."""
    found: list[str] = []
    if os.geteuid() != 0:
        found.append("root: nodes are network namespaces with containerd in them; run it as root")
    if go_needed:
        found += _missing_go()
    if _absent(DEBIAN) and not shutil.which("apt-get"):
        found.append(f"the programs {', '.join(_absent(DEBIAN))}: install them (no apt-get here to do it)")
    return found


def _missing_go() -> list[str]:
    wanted = f"Go {'.'.join(map(str, GO_AT_LEAST))} or later"
    if not shutil.which("go"):
        return [f"{wanted}: Kubernetes is built from Go modules; put `go` on the PATH"]
    told = subprocess.run(["go", "version"], capture_output=True, text=True, check=False).stdout
    number = re.search(r"go(\d+)\.(\d+)", told)
    if not number or (int(number[1]), int(number[2])) < GO_AT_LEAST:
        return [f"{wanted}: `go version` says {told.strip() or 'nothing'}"]
    return []


def install_packages(*, baseline: bool) -> None:
    """Installs the Debian packages whose programs are absent. Raises CalledProcessError with apt's words."""
    wanted = DEBIAN | (BASELINE_DEBIAN if baseline else {})
    packages = [wanted[program] for program in _absent(wanted)]
    if not packages:
        return
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", *packages]):
        done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
        if done.returncode and command[1] == "install":
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")


def _absent(programs: Iterable[str]) -> list[str]:
    return [program for program in programs if not shutil.which(program)]
