"""The thread that writes the access log."""

import os
import threading

from ingress.proxy import logwriter
from ingress.proxy.logwriter import LogWriter


def test_everything_is_written_in_order_before_it_closes() -> None:
    reading, writing = os.pipe()
    writer = LogWriter(writing)
    os.close(writing)
    for i in range(1000):
        assert writer.write(b"%d\n" % i) == 0
    writer.close()
    with open(reading, "rb") as pipe:
        assert pipe.read() == b"".join(b"%d\n" % i for i in range(1000))


def test_a_reader_that_is_too_far_behind_loses_lines_which_are_counted() -> None:
    reading, writing = os.pipe()
    writer = LogWriter(writing)
    line = b"x" * (1 << 20) + b"\n"
    accepted = 0
    while writer.write(line) == 0:
        accepted += 1
        assert accepted <= logwriter.BEHIND_MAX_OCTETS >> 20
    assert accepted >= (logwriter.BEHIND_MAX_OCTETS >> 20) - 1
    assert writer.write(line + line) == 2
    writer.close(0.01)  # does not wait for a reader that never comes
    os.close(reading)
    os.close(writing)


def test_a_closed_pipe_does_no_harm() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    writer = LogWriter(writing)
    os.close(writing)
    assert writer.write(b"lost\n") == 0
    writer.close()
    assert writer.write(b"late\n") == 1


def test_the_thread_shares_no_descriptors_with_the_loop() -> None:
    reading, writing = os.pipe()
    writer = LogWriter(writing)
    (thread,) = (each for each in threading.enumerate() if each.name == "access-log")
    own = os.listdir(f"/proc/self/task/{thread.native_id}/fd")
    os.close(writing)
    assert len(own) <= 4  # the standard ones and its own
    assert writer.write(b"line\n") == 0
    assert os.read(reading, 100) == b"line\n"
    writer.close()
    assert os.read(reading, 1) == b""  # nobody holds the pipe any more
    os.close(reading)
