"""Settings: what could not work is told."""

import pytest

from ingress.proxy import Settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("head_limit_bytes", 0),
        ("field_limit", 257),
        ("target_limit_bytes", 1 << 20),
        ("attempts", 0),
        ("read_buffer_bytes", 10),
        ("connect_seconds", 0),
        ("client_idle_seconds", -1.0),
        ("upstream_read_seconds", float("nan")),
        ("upstream_read_seconds", float("inf")),
    ],
)
def test_a_limit_that_could_not_work_is_told(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}: must be"):
        Settings(**{name: value})  # type: ignore[arg-type]


def test_the_defaults_are_fine() -> None:
    assert Settings().head_limit_bytes == 65536
