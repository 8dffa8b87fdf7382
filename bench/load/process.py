"""One generating process: an asyncio loop around the engine, told what to do by its parent over pipes.

Reads one msgpack `Task` from standard input, writes length-prefixed msgpack `Counts` to standard output: one every
half a second while it runs, and a last one at the end. Ends when standard input closes: a dead parent stops the load.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable

import msgspec
import uvloop

from bench.load import scenario as scenarios
from bench.load.engine import Engine
from bench.load.result import Counts
from bench.load.scenario import Scenario

KEEP_BYTES = 1 << 20
"""How much of an answer the checks see."""
REPORT_SECONDS = 0.5


class Task(msgspec.Struct):
    """What one process is to do. `pieces` empty: closed loop. Times in seconds."""

    scenario: Scenario
    address: bytes
    connections: int
    duration_seconds: float
    timeout_seconds: float
    think_seconds: float
    pieces: list[tuple[float, float, float]]
    poisson: bool
    seed: int
    tls_verify: str | bool | None = None
    cpu: int | None = None


def main() -> None:
    task = msgspec.msgpack.decode(read_frame(), type=Task)
    if task.cpu is not None:
        os.sched_setaffinity(0, {task.cpu})
    uvloop.run(generate(task))


def read_frame() -> bytes:
    length = int.from_bytes(sys.stdin.buffer.read(4), "big")
    return sys.stdin.buffer.read(length)


def write_counts(counts: Counts) -> None:
    frame = msgspec.msgpack.encode(counts)
    sys.stdout.buffer.write(len(frame).to_bytes(4, "big") + frame)
    sys.stdout.buffer.flush()


async def generate(task: Task) -> None:
    loop = asyncio.get_running_loop()
    answered_by: dict[str, int] = {}
    engine = Engine(
        loop,
        task.address,
        [
            (
                scenarios.message(task.scenario, each), each.weight,
                each.method == "HEAD", scenarios.echo_length(task.scenario, each),
            )
            for each in task.scenario.requests
        ],
        connections=task.connections,
        keep_alive=task.scenario.keep_alive,
        timeout_seconds=task.timeout_seconds,
        think_seconds=task.think_seconds,
        seed=task.seed,
        tls_name=(task.scenario.server_name or task.scenario.host_port[0]) if task.scenario.tls else None,
        tls_verify=task.tls_verify,
        on_answer=judge(task.scenario, answered_by) if task.scenario.checked else None,
        keep_bytes=KEEP_BYTES,
        upgrade=scenarios.upgrade(task.scenario),
    )  # fmt: skip
    orphaned = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), orphaned.set)  # readable only at its end
    began, cpu_before = loop.time(), time.process_time()
    engine.start(task.duration_seconds, task.pieces, task.poisson, task.scenario.recording)
    give_up = began + task.duration_seconds + task.timeout_seconds
    report = began + REPORT_SECONDS
    while not engine.finished() and not orphaned.is_set():
        await asyncio.sleep(0.02)
        if loop.time() > give_up:
            break
        if loop.time() > report:
            report += REPORT_SECONDS
            write_counts(counts_of(engine, answered_by, loop.time() - began, cpu_before))
    engine.stop()
    write_counts(counts_of(engine, answered_by, loop.time() - began, cpu_before))


def counts_of(engine: Engine, answered_by: dict[str, int], seconds: float, cpu_before: float) -> Counts:
    counts = msgspec.convert(engine.snapshot(), Counts)
    counts.answered_by = dict(answered_by)
    counts.seconds = seconds
    counts.cpu_seconds = time.process_time() - cpu_before
    return counts


def judge(scenario: Scenario, answered_by: dict[str, int]) -> Callable[[int, int, bytes], bool]:
    """What the engine calls with each answer; counts who gave it in `answered_by`."""

    def judged(request: int, status: int, answer: bytes) -> bool:
        if scenario.answered_by:
            head = answer.partition(b"\r\n\r\n")[0]
            who = scenarios.field(head, scenario.answered_by).decode("latin-1") or "?"
            answered_by[who] = answered_by.get(who, 0) + 1
        return scenarios.judge(scenario.requests[request].expect, status, answer)

    return judged


if __name__ == "__main__":
    main()
