"""The plugin for lo, called as containerd calls it."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.image.from_scratch import compile_plugin
from lb.cni.install import loopback_text
from tests.conftest import NetNs

CONFIG = {"cniVersion": "0.3.1", "name": "cni-loopback", "type": "loopback"}


@pytest.fixture(scope="module", params=["python", "c"])
def executable(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bin") / "loopback"
    if request.param == "c":
        compile_plugin(path)
    else:
        path.write_text(loopback_text())
        path.chmod(0o755)
    return path


def run(executable: Path, command: str, namespace: str = "", stdin: str = json.dumps(CONFIG)) -> tuple[int, str]:
    variables = {"PATH": os.environ["PATH"], "CNI_COMMAND": command, "CNI_NETNS": namespace, "CNI_IFNAME": "lo"}
    done = subprocess.run([executable], input=stdin, text=True, capture_output=True, env=variables, timeout=20)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.netns
def test_it_brings_lo_up(executable: Path, netns: Callable[..., NetNs]) -> None:
    pod = netns("pod")
    pod.run("ip", "link", "set", "lo", "down")
    for _ in range(2):
        status, said = run(executable, "ADD", str(pod.path))
        assert status == 0, said
        result = json.loads(said)
        assert result["cniVersion"] == "0.3.1"
        assert [each["name"] for each in result["interfaces"]] == ["lo"]
        assert "LOOPBACK,UP" in pod.run("ip", "link", "show", "lo")
    assert run(executable, "CHECK", str(pod.path)) == (0, "")
    assert run(executable, "DEL", str(pod.path)) == (0, "")


def test_a_namespace_that_has_gone(executable: Path, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    assert run(executable, "DEL", gone) == (0, "")
    status, said = run(executable, "ADD", gone)
    assert (status, json.loads(said)["code"]) == (1, 5)
    assert gone in json.loads(said)["msg"]


@pytest.mark.parametrize("stdin", ["", "{", "[]"])
def test_configurations_that_are_none(executable: Path, stdin: str) -> None:
    status, said = run(executable, "ADD", "/x", stdin)
    assert (status, json.loads(said)["code"]) == (1, 6)


def test_versions_and_what_is_missing(executable: Path) -> None:
    assert "0.3.1" in json.loads(run(executable, "VERSION", stdin="")[1])["supportedVersions"]
    status, said = run(executable, "ADD")
    assert (status, json.loads(said)["code"]) == (1, 4)
