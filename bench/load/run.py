"""A whole load run: the target looked up and allowed, generating processes started, their counts merged."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from bench import usage
from bench.load.arrivals import Piece, share
from bench.load.engine import pack_address
from bench.load.process import Task
from bench.load.result import Counts, report, total
from bench.load.scenario import BadScenario, Scenario, refuse_strangers
from bench.load.timeline import Timeline
from bench.machine import machine


class RunFailed(Exception):
    """The run gave no result; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a scenario is driven. `pieces` empty: closed loop."""

    duration_seconds: float
    connections: int
    pieces: tuple[Piece, ...] = ()
    poisson: bool = False
    processes: int = 1
    timeout_seconds: float = 10.0
    think_seconds: float = 0.0
    seed: int = 1
    tls_verify: str | bool | None = None
    cpus: tuple[int, ...] = ()
    watch_pid: int | None = None
    """A process whose CPU time and memory are told over time."""


def resolve(scenario: Scenario) -> bytes:
    """The target's address as a sockaddr. Raises BadScenario when it is unknown or not allowed."""
    host, port = scenario.host_port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise BadScenario(f"target: {host} cannot be resolved: {error.strerror}") from None
    refuse_strangers(scenario, [str(each[4][0]) for each in found])
    family, _, _, _, address = found[0]
    return pack_address(family, address)


async def run(scenario: Scenario, plan: Plan, progress: Callable[[Counts], None] = lambda _: None) -> dict[str, Any]:
    """Drive the scenario and return the result (see `result.report`). `progress` is called with counts so far."""
    address = resolve(scenario)
    latest: list[Counts] = [Counts() for _ in range(plan.processes)]
    timeline = Timeline(plan.processes)
    watched = Watched(plan.watch_pid) if plan.watch_pid is not None else None

    def heard(index: int, counts: Counts) -> None:
        latest[index] = counts
        if timeline.heard(index, counts, watched.now() if watched is not None else None):
            progress(total(latest))

    try:
        async with asyncio.TaskGroup() as group:
            for index in range(plan.processes):
                group.create_task(generate(task_for(scenario, plan, address, index), partial(heard, index)))
    except ExceptionGroup as group:
        # Not `except*`: what is raised in such a block comes out as a group again, until Python 3.11.3.
        failed, others = group.split(RunFailed)
        if failed is None or others is not None:
            raise
        raise RunFailed("; ".join(str(each) for each in failed.exceptions)) from None
    # Every request belongs to the time asked for, also one whose answer came in after it.
    return {
        **report(total(latest), asked(scenario, plan), plan.duration_seconds),
        "timeline": timeline.points,
        "machine": machine(),
    }


class Watched:
    """CPU share and memory of a process, from one look to the next."""

    def __init__(self, pid: int) -> None:
        if not os.path.exists(f"/proc/{pid}"):
            raise BadScenario(f"--watch: there is no process {pid}")
        self._pid = pid
        self._before = (time.monotonic_ns(), usage.cpu_ns(pid))

    def now(self) -> dict[str, float]:
        at = (time.monotonic_ns(), usage.cpu_ns(self._pid))
        elapsed, used = at[0] - self._before[0], at[1] - self._before[1]
        if elapsed > 10**8:
            self._before = at
        return {
            "cpu": round(max(0, used) / max(1, elapsed), 3),
            "memory_mib": round(usage.memory_bytes(self._pid) / (1 << 20), 2),
        }


def task_for(scenario: Scenario, plan: Plan, address: bytes, index: int) -> Task:
    each, rest = divmod(plan.connections, plan.processes)
    pieces = share(plan.pieces, plan.processes)
    return Task(
        # Of a recording every process plays its part, request by request.
        scenario=replace(scenario, recording=scenario.recording[index :: plan.processes]),
        address=address,
        connections=each + (index < rest),
        duration_seconds=plan.duration_seconds,
        timeout_seconds=plan.timeout_seconds,
        think_seconds=plan.think_seconds,
        pieces=[(piece.seconds, piece.rate_first, piece.rate_last) for piece in pieces],
        poisson=plan.poisson,
        seed=plan.seed + index,
        tls_verify=plan.tls_verify,
        cpu=plan.cpus[index % len(plan.cpus)] if plan.cpus else None,
    )


async def generate(task: Task, heard: Callable[[Counts], None]) -> None:
    """Run one generating process to its end, passing on what it counts."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.load.process",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        frame = msgspec.msgpack.encode(task)
        process.stdin.write(len(frame).to_bytes(4, "big") + frame)
        finished = False
        while header := await process.stdout.read(4):
            if len(header) < 4:
                header += await process.stdout.readexactly(4 - len(header))
            frame = await process.stdout.readexactly(int.from_bytes(header, "big"))
            heard(msgspec.msgpack.decode(frame, type=Counts))
            finished = True
        status = await process.wait()
        if status or not finished:
            raise RunFailed(f"a generating process ended with status {status}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def asked(scenario: Scenario, plan: Plan) -> dict[str, Any]:
    """What was asked for, as it stands in the result."""
    arrivals = ("poisson" if plan.poisson else "constant") if plan.pieces else None
    if scenario.recording:
        arrivals = "recorded"
    return {
        "target": scenario.target,
        "mode": "open" if plan.pieces or scenario.recording else "closed",
        "arrivals": arrivals,
        "rate": [[piece.seconds, piece.rate_first, piece.rate_last] for piece in plan.pieces],
        "requests": len(scenario.recording) or round(sum(piece.requests for piece in plan.pieces)) or None,
        "duration_seconds": plan.duration_seconds,
        "connections": plan.connections,
        "processes": plan.processes,
        "keep_alive": scenario.keep_alive,
        "timeout_seconds": plan.timeout_seconds,
    }
