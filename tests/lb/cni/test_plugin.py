"""The executable alone: what it answers without an agent."""

import contextlib
import json
import os
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.image.from_scratch import compile_plugin
from lb.cni.install import conflist_text, plugin_text


@pytest.fixture(scope="module", params=["python", "c"])
def executable(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bin") / "causeway-cni"
    if request.param == "c":
        compile_plugin(path)
    else:
        path.write_text(plugin_text())
        path.chmod(0o755)
    return path


def run(executable: Path, stdin: str | None, **variables: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [executable],
        input=stdin,
        text=True,
        capture_output=True,
        env={"PATH": os.environ["PATH"], **variables},
        timeout=20,
    )
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


@contextlib.contextmanager
def agent(path: Path, answer: bytes) -> Iterator[list[bytes]]:
    """Take one call, say this and hang up; yields what was told, complete at the end."""
    told: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                while piece := connection.recv(65536):
                    told.append(piece)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield told
        thread.join()


ADD = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c", "CNI_NETNS": "/x", "CNI_IFNAME": "eth0", "CNI_PATH": "/bin"}


def test_version_needs_nothing(executable: Path) -> None:
    with subprocess.Popen(
        [executable], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"CNI_COMMAND": "VERSION"}
    ) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())  # while standard input stays open
    assert said == {"cniVersion": "1.1.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]}


def test_without_a_command(executable: Path) -> None:
    status, said = run(executable, "")
    assert (status, said["code"]) == (1, 4)
    assert "CNI_COMMAND" in said["msg"]


def test_all_missing_variables_at_once(executable: Path) -> None:
    _, said = run(executable, "", CNI_COMMAND="ADD")
    assert said["code"] == 4
    assert all(name in said["msg"] for name in ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"))
    _, said = run(executable, "", CNI_COMMAND="DEL")
    assert "CNI_NETNS" not in said["msg"]


@pytest.mark.parametrize(
    ("stdin", "code"),
    [
        ("", 6),
        ("{", 6),
        ("[]", 6),
        ("{}", 7),
        ('{"socket": 5}', 7),
        ('{"a": {"socket": "/x"}, "b": "socket", "c": [{"socket": "/x"}]}', 7),
        ('{"socket": "/nowhere/cni.sock"}', 11),
        (' {"type": "\\"{[", "a": {"socket": 5}, "socket" : "/nowhere/cni.sock"}\n', 11),
    ],
)
def test_errors_without_an_agent(executable: Path, stdin: str, code: int) -> None:
    status, said = run(executable, stdin, **ADD)
    assert (status, said["code"]) == (1, code)
    assert set(said) == {"cniVersion", "code", "msg", "details"}


def test_the_agent_is_told_everything_and_its_answer_is_printed(executable: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    config = json.dumps({"socket": str(path), "more": "ä" * 100_000})
    with agent(path, b'0{"dns": {}}\n') as told:
        status, said = run(executable, config, **ADD, CNI_ARGS="A=b;C=d", OTHER="x")
    assert (status, said) == (0, {"dns": {}})
    variables, _, stdin = b"".join(told).partition(b"\0\0")
    assert dict(each.split(b"=", 1) for each in variables.split(b"\0")) == {
        name.encode(): value.encode() for name, value in (ADD | {"CNI_ARGS": "A=b;C=d"}).items()
    }
    assert stdin.decode() == config


def test_an_answer_without_a_text(executable: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with agent(path, b"0\n"):
        done = subprocess.run(
            [executable], input=json.dumps({"socket": str(path)}).encode(), env=ADD, capture_output=True
        )
    assert (done.returncode, done.stdout) == (0, b"")


@pytest.mark.parametrize("answer", [b"", b"0", b"{", b"[]\n", b'0{"cniVersion": "1.0.0"'])
def test_an_agent_that_dies_in_the_middle(executable: Path, tmp_path: Path, answer: bytes) -> None:
    path = tmp_path / "s"
    with agent(path, answer):
        status, said = run(executable, json.dumps({"cniVersion": "0.4.0", "socket": str(path)}), **ADD)
    assert (status, said["code"], said["cniVersion"]) == (1, 11, "0.4.0")


def test_it_starts_fast(executable: Path) -> None:
    taken = []
    for _ in range(7):
        began = time.perf_counter()
        run(executable, json.dumps({"socket": "/nowhere"}), **ADD)
        taken.append(time.perf_counter() - began)
    print(f"the executable takes {min(taken) * 1000:.0f} ms, median {statistics.median(taken) * 1000:.0f}")
    assert min(taken) < 0.2  # 25 ms on an idle machine


def test_the_configuration_names_the_socket() -> None:
    said = json.loads(conflist_text(Path("/run/causeway/cni.sock")))
    assert said["cniVersion"] == "1.0.0"
    assert said["plugins"][0]["socket"] == "/run/causeway/cni.sock"
    assert said["plugins"][0]["type"] == "causeway-cni"
