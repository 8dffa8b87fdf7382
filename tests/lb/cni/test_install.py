"""Getting the plugin onto the node: tests/lb/cni/test_plugin.py runs what is installed; here is what it looks like."""

from lb.cni.install import plugin_text


def test_the_executable_is_one_file_run_by_this_interpreter() -> None:
    first, rest = plugin_text().split("\n", 1)
    assert first.startswith("#!/")
    assert first.endswith(" -IS")
    assert len(first) < 256  # the kernel cuts it there (execve(2))
    assert "from lb" not in rest
    assert "import lb" not in rest
