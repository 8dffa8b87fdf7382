"""The control socket, and who talks to it. (What it is asked to do: test_upgrade.py.)"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ingress.control import ControlSocket, Line, ask
from tests.lb.cluster.waiting import until


async def deed() -> AsyncIterator[Line]:
    yield Line("one thing")
    yield Line("all", ok=True)


@pytest.mark.parametrize("sent", [b"", b"nonsense\n", b"x" * 200_000, b'{"do": 3}\n', b'{"do": "'])
async def test_who_talks_nonsense_harms_nobody(sent: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "control.sock"
    running = asyncio.create_task(ControlSocket(path, {"it": deed}).run())
    try:
        await until(path.exists, "it listens")
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(sent)
        writer.write_eof()
        with contextlib.suppress(ConnectionError):  # closed with some of it unread
            assert await reader.read() == b""
        writer.close()
        said: list[str] = []
        assert await asyncio.to_thread(ask, path, "it", said.append)
        assert said == ["one thing", "all"]
        assert not [each for each in caplog.records if each.levelno > logging.INFO], caplog.text
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert not path.exists()
