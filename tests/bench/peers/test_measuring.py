"""Rounds with real programs: the floor, twice, and the endpoint behind it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.peers.configs import Place
from bench.peers.process import Peer, PeerFailed, free_port, start, start_endpoint, version
from bench.peers.rounds import Bursts, measure
from bench.peers.verify import verify
from bench.peers.work import work_named

BURSTS = Bursts(rounds=3, seconds=0.15, seed=1, foreign_max=1.0, load_cpu=None)


def floor(name: str, folder: Path, endpoint: Peer, work: str = "keep-alive") -> Peer:
    place = Place(str(folder / name), free_port(), endpoint.port, "", "")
    made = start("floor", work_named(work), place, None)
    made.name = name
    return made


async def test_one_that_is_killed_has_an_error_and_no_number(tmp_path: Path) -> None:
    endpoint = start_endpoint(tmp_path / "endpoint", None)
    one, two = floor("one", tmp_path, endpoint), floor("two", tmp_path, endpoint)
    try:
        for peer in (one, two):
            verify_floor(peer)
        told: list[str] = []

        def kill_after_the_first_round(line: str) -> None:
            if not told:
                os.kill(two.process.pid, signal.SIGKILL)
                two.process.wait()
            told.append(line)

        found = await measure(work_named("keep-alive"), [one, two], endpoint, BURSTS, told=kill_after_the_first_round)
    finally:
        for peer in (one, two, endpoint):
            peer.stop()
    assert "two ended with status -9" in found.errors["two"]
    summary = found.summary("one")
    assert set(summary) == {"one"}
    assert summary["one"]["rounds"] == 3
    assert summary["one"]["cpu_us"] > 0
    assert summary["one"]["errors"] == 0
    assert summary["one"]["histogram_us"]


@pytest.mark.parametrize("work", ["keep-alive", "body-1m", "post-1k", "websocket"])
def test_the_floor_passes_on_what_it_gets(tmp_path: Path, work: str) -> None:
    endpoint = start_endpoint(tmp_path / "endpoint", None)
    peer = floor("floor", tmp_path, endpoint, work)
    try:
        verify_floor(peer)
    finally:
        peer.stop()
        endpoint.stop()


def test_one_that_does_other_work_is_found_out(tmp_path: Path) -> None:
    """A mere forwarder called a proxy: the fields that it should set are missing."""
    endpoint = start_endpoint(tmp_path / "endpoint", None)
    peer = floor("impostor", tmp_path, endpoint)
    try:
        with pytest.raises(PeerFailed, match=r"x-forwarded-for: None instead of '127\.0\.0\.1'"):
            verify(peer)
    finally:
        peer.stop()
        endpoint.stop()


def test_our_own_version_is_told() -> None:
    assert version("causeway")[0].isdigit()


def verify_floor(peer: Peer) -> None:
    name, peer.name = peer.name, "floor"
    verify(peer)
    peer.name = name


def test_what_is_measured_before_an_interruption_is_the_result(tmp_path: Path) -> None:
    # A shell's background job ignores Ctrl-C, and so would all that it starts.
    argv = ["env", "--default-signal=INT", sys.executable, "-m", "causeway", "bench", "peers", "--foreign", "1"]
    argv += ["--peer", "floor", "--seconds", "0.1", "--rounds", "20", "--work", "keep-alive", "--work", "varied"]
    argv += ["--json", str(tmp_path / "result.json")]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("varied"):
            process.send_signal(signal.SIGINT)
            break
    process.communicate(timeout=30)
    assert process.returncode == 1
    result = json.loads((tmp_path / "result.json").read_text())
    assert set(result["works"]) == {"keep-alive"}
    assert result["left_out"] == {"varied": "interrupted"}
