"""Programs of a newer Debian than this one, unpacked into a cache folder and run by that Debian's own loader.

Nothing is installed: apt resolves and downloads with lists and cache of its own, dpkg-deb unpacks.
"""

import shutil
import subprocess
from pathlib import Path

from bench.native import CACHE, Unavailable

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def program(package: str, path: str, suite: str = "trixie") -> list[str]:
    """The command that runs `path` ("usr/sbin/nginx") of a package of `suite`; downloads it at the first call."""
    root = CACHE / suite / package
    if not (root / "complete").exists():
        _unpack(package, suite, root)
    if not (root / path).exists():
        raise Unavailable(f"{package} of {suite} has no {path}")
    libraries = ":".join(str(root / each) for each in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib"))
    loader = next(iter(root.glob("usr/lib*/ld-linux-x86-64.so.2")), root / "lib64/ld-linux-x86-64.so.2")
    return [str(loader), "--library-path", libraries, str(root / path)]


def _unpack(package: str, suite: str, root: Path) -> None:
    if not shutil.which("apt-get"):
        raise Unavailable("no apt-get on this machine")
    work = CACHE / suite / ".apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    (work / "status").touch()
    (work / "sources.list").write_text(f"deb [signed-by={KEYRING}] {_mirror()} {suite} main\n")
    options = {
        "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::Cache": work / "cache",
        "Debug::NoLocking": "1",
        "APT::Sandbox::User": "",
    }
    apt = ["apt-get", "-qq", *(text for name, value in options.items() for text in ("-o", f"{name}={value}"))]
    if not any((work / "lists").glob("*Packages*")):
        _run([*apt, "update"])
    _run([*apt, "install", "--download-only", "--no-install-recommends", "-y", package])
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for archive in sorted((work / "cache/archives").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(archive), str(root)])
        archive.unlink()
    (root / "complete").touch()


def _mirror() -> str:
    """Where this machine's own Debian comes from."""
    told = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"])
    mirrors = [line for line in told.splitlines() if "security" not in line]
    if not mirrors:
        raise Unavailable("apt knows no Debian mirror here; try: apt-get update")
    return mirrors[0]


def _run(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise Unavailable(f"{argv[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
