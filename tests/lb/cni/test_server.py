"""The agent's end of the plugin's socket, before the network is ready and with callers that are none."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lb.cluster.store import ObjectStore
from lb.cni.attachments import AttachmentStore
from lb.cni.server import CniServer
from lb.network.node import NodeNetwork

ADD = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c", "CNI_NETNS": "/x", "CNI_IFNAME": "eth0", "CNI_PATH": "/bin"}
CONFIG = json.dumps({"cniVersion": "1.1.0", "name": "causeway", "socket": "x"})


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[CniServer]:
    records = AttachmentStore(tmp_path / "attachments")
    records.load()
    made = CniServer(NodeNetwork(ObjectStore(), "node1"), records)
    await made.start(tmp_path / "sock")
    yield made
    await made.stop(tmp_path / "sock")


async def ask(path: Path, said: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(said)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def call(variables: dict[str, str]) -> bytes:
    return b"".join(f"{name}={value}\0".encode() for name, value in variables.items()) + b"\0" + CONFIG.encode()


async def test_not_ready_yet(server: CniServer, tmp_path: Path) -> None:
    await server.network.apply(None)  # there is no Node
    for command, code in (("ADD", 11), ("STATUS", 50)):
        said = await ask(tmp_path / "sock", call(ADD | {"CNI_COMMAND": command}))
        assert said[:1] + said[-1:] == b"1\n"
        error = json.loads(said[1:])
        assert (error["code"], error["cniVersion"]) == (code, "1.1.0")
        assert "waiting for Node node1" in error["details"]


@pytest.mark.parametrize("said", [b"", b"\0", b"\0\0{}", b"{}", b"CNI_COMMAND\0\0{}", b"A=b\0", b"\xff" * 100])
async def test_calls_that_are_none_are_dropped(server: CniServer, tmp_path: Path, said: bytes) -> None:
    assert await ask(tmp_path / "sock", said) == b""
    assert (await ask(tmp_path / "sock", call(ADD))).startswith(b"1{")


async def test_only_the_owner_may_ask(server: CniServer, tmp_path: Path) -> None:
    assert (tmp_path / "sock").stat().st_mode & 0o777 == 0o600


async def test_a_caller_that_leaves(server: CniServer, tmp_path: Path) -> None:
    for _ in range(20):
        _, writer = await asyncio.open_unix_connection(tmp_path / "sock")
        writer.write(b"CNI_COMMAND=")
        writer.transport.abort()
    assert await ask(tmp_path / "sock", b"{}") == b""


async def test_a_socket_of_a_killed_agent_is_replaced(tmp_path: Path) -> None:
    records = AttachmentStore(tmp_path)
    for _ in range(2):
        server = CniServer(NodeNetwork(ObjectStore(), "node1"), records)
        await server.start(tmp_path / "sock")
    assert await ask(tmp_path / "sock", b"{}") == b""
    await server.stop(tmp_path / "sock")
    assert not (tmp_path / "sock").exists()
