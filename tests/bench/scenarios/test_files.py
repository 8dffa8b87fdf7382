from pathlib import Path

import pytest

import bench.scenarios
from bench.load import scenario

FILES = sorted(Path(bench.scenarios.__file__).parent.glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_is_shipped_can_be_read(file: Path) -> None:
    read = scenario.parse(file.read_text())
    assert read.target == "http://127.0.0.1:8080"
    for request in read.requests:
        assert scenario.message(read, request)
