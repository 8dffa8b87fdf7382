import io

import pytest
from rich.console import Console

from causeway.demo.show import Show


def piped() -> tuple[Show, io.StringIO]:
    show, out = Show(), io.StringIO()
    show.console = Console(file=out, highlight=False, soft_wrap=True)
    return show, out


def test_piped_there_are_no_control_codes_and_no_wrapped_lines() -> None:
    show, out = piped()
    command = "ip netns exec cwd-internet curl --cacert /run/causeway-demo/ca.crt https://shop.example.com/" + "x" * 100
    with show.step("a step with [brackets]"):
        pass
    show.verdict("a question", wrong="", command=command, lines=["a -> b"])
    show.verdict("another", wrong="it did not work")
    text = out.getvalue()
    assert "\x1b" not in text
    assert f"$ {command}\n" in text
    assert "[brackets]" in text
    assert (show.asked, show.failed) == (2, ["another"])


def test_a_step_that_fails_says_so() -> None:
    show, out = piped()
    with pytest.raises(OSError, match="no"), show.step("try it"):
        raise OSError("no")
    assert f"{show.cross} try it" in out.getvalue()
