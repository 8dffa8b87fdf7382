"""kubectl, and waiting for what it shows."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from . import layout
from .processes import in_netns, run

T = TypeVar("T")
OLDEST_MINOR = 30


def system_kubectl() -> Path | None:
    """The machine's own kubectl if it is young enough; Debian 12 has none, or one of version 1.20."""
    found = shutil.which("kubectl")
    if not found:
        return None
    told = run([found, "version", "--client", "-o", "json"], check=False).stdout
    minor = re.search(r'"minor": "(\d+)', told)
    return Path(found) if minor and int(minor[1]) >= OLDEST_MINOR else None


def wait_until(what: str, ask: Callable[[], T | None], timeout: float = 30, pause: float = 0.2) -> T:
    """Asks until the answer is true, and returns it. RuntimeErrors of `ask` count as no answer yet.

    Raises TimeoutError naming `what`, with the last error.
    """
    until = time.monotonic() + timeout
    last = "no answer"
    while True:
        try:
            answer = ask()
            if answer:
                return answer
            last = repr(answer)
        except RuntimeError as error:
            last = str(error)
        if time.monotonic() > until:
            raise TimeoutError(f"not within {timeout:g} s: {what}; last: {last}")
        time.sleep(pause)


class Kubectl:
    """Runs kubectl as admin in the control plane's namespace."""

    def __init__(self, program: Path, kubeconfig: Path) -> None:
        self._argv = [str(program), f"--kubeconfig={kubeconfig}"]

    def __call__(self, *arguments: str, stdin: str = "", timeout: float = 60) -> str:
        """Its standard output. Raises RuntimeError with its words."""
        argv = in_netns(layout.CONTROL, [*self._argv, *arguments])
        return run(argv, stdin=stdin, timeout=timeout).stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        """Server-side apply of objects."""
        self("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any]:
        """One object. Raises RuntimeError if it is not there."""
        found: dict[str, Any] = json.loads(self("-n", namespace, "get", kind, name, "-o", "json"))
        return found

    def all(self, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """The objects of a kind in a namespace, by label selector."""
        told = self("-n", namespace, "get", kind, "-o", "json", "-l", selector)
        items: list[dict[str, Any]] = json.loads(told)["items"]
        return items

    def rolled_out(self, deployment: str, namespace: str, timeout_s: int = 90) -> None:
        """Waits until the Deployment's rollout is complete."""
        self(
            "-n",
            namespace,
            "rollout",
            "status",
            f"deploy/{deployment}",
            f"--timeout={timeout_s}s",
            timeout=timeout_s + 5,
        )

    def exec(self, namespace: str, pod: str, *argv: str, timeout: float = 30) -> str:
        """Runs a command in a pod's first container; its standard output. Raises RuntimeError."""
        return self("-n", namespace, "exec", pod, "--", *argv, timeout=timeout)
