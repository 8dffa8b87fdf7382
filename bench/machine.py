"""What figures were measured on, so that they can be told apart later."""

import functools
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "causeway": own_version(),
    }


@functools.cache
def own_version() -> str:
    """Causeway's version, and the commit where it runs from a repository ("+" when files differ from it)."""
    try:
        number = version("causeway")
    except PackageNotFoundError:
        number = "?"
    argv = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(argv, capture_output=True, text=True)
    return f"{number} ({done.stdout.strip()})" if done.returncode == 0 else number
