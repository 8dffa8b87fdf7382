"""A load run for a person: a live line while it goes on, tables at its end."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bench.load.result import Counts, latency_ms
from bench.load.run import Plan
from bench.load.timeline import between


@contextmanager
def live(plan: Plan, quiet: bool) -> Iterator[Callable[[Counts], None]]:
    """A progress line on standard error, if that is a terminal; gives what is called with the counts so far."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("loading", total=plan.duration_seconds)
        before = Counts()

        def heard(counts: Counts) -> None:
            nonlocal before
            progress.update(task, completed=counts.seconds, description=line(before, counts))
            before = counts

        yield heard


def line(before: Counts, now: Counts) -> str:
    """What is told of the last half second."""
    recent = between(before, now)
    latency = latency_ms(recent)
    rate = recent.answers / recent.seconds if recent.seconds > 0 else 0.0
    errors = sum(now.errors.values()) + now.failed_checks
    told = f"{rate:,.0f}/s, p50 {latency['p50']:.2f} ms, p99 {latency['p99']:.2f} ms, {now.answers:,} answers"
    return told + (f", [red]{errors:,} errors[/red]" if errors else "")


def show(result: dict[str, Any]) -> None:
    """Print a result's tables to standard output."""
    console = Console()
    asked, reached = result["asked"], result["reached"]
    loop = f"open loop, {asked['arrivals']}" if asked["mode"] == "open" else "closed loop"
    console.print(
        f"{asked['target']}: {loop}, {asked['connections']} connections, {asked['duration_seconds']:g} s",
        highlight=False,
    )
    of = f" of {asked['requests']:,} asked for" if asked["requests"] else ""
    console.print(
        f"{result['requests']:,} answers{of}, {result['throughput']:,.0f}/s, {reached['connects']:,} connections made",
        highlight=False,
    )
    if reached["generator_cpu"] > 0.95 * asked["processes"]:
        console.print("the generator used all of its CPU time: it was the limit; use more --processes", style="yellow")
    latency = Table(*result["latency_ms"], title="latency, ms", title_justify="left")
    latency.add_row(*(f"{value:.3f}" for value in result["latency_ms"].values()))
    console.print(latency)
    for title, counts in (
        ("errors", result["errors"]),
        ("statuses", result["statuses"]),
        ("answered by", result["answered_by"]),
    ):
        if counts:
            console.print(
                f"{title}: " + ", ".join(f"{name} {count:,}" for name, count in counts.items()), highlight=False
            )
