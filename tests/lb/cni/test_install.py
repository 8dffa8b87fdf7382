"""Getting the plugin onto the node: tests/lb/cni/test_plugin.py runs what is installed; here is what it looks like."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.image.from_scratch import compile_plugin
from lb.cni import install
from lb.cni.install import loopback_text, plugin_text


@pytest.mark.parametrize("text", [plugin_text, loopback_text])
def test_the_executables_are_one_file_each_run_by_this_interpreter(text: Callable[[], str]) -> None:
    first, rest = text().split("\n", 1)
    assert first.startswith("#!/")
    assert first.endswith(" -IS")
    assert len(first) < 256  # the kernel cuts it there (execve(2))
    assert "from lb" not in rest
    assert "import lb" not in rest


def names(folder: Path) -> list[str]:
    return [each.path.name for each in install.files(folder, folder, folder / "cni.sock")]


def test_the_configuration_comes_last(tmp_path: Path) -> None:
    assert names(tmp_path) == ["causeway-cni", "loopback", "10-causeway.conflist"]


def test_only_a_loopback_of_ours_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "loopback").write_text(loopback_text().replace("import sys", "import sys  # an earlier version"))
    assert "loopback" in names(tmp_path)
    compile_plugin(tmp_path / "loopback")
    assert "loopback" in names(tmp_path)
    (tmp_path / "loopback").write_bytes(b"\x7fELF" + bytes(4096))
    assert names(tmp_path) == ["causeway-cni", "10-causeway.conflist"]


def test_an_executable_instead_of_scripts(tmp_path: Path) -> None:
    native = tmp_path / "native"
    compile_plugin(native)
    found = install.files(tmp_path / "bin", tmp_path / "conf", tmp_path / "cni.sock", native)
    assert [each.content == native.read_bytes() for each in found] == [True, True, False]
