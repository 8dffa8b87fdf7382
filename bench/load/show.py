"""A load run for a person: a live line while it goes on, tables at its end."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bench.load.result import Counts
from bench.load.run import Plan


@contextmanager
def live(plan: Plan, quiet: bool) -> Iterator[Callable[[Counts], None]]:
    """A progress line on standard error, if that is a terminal; gives what is called with the counts so far."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("loading", total=plan.duration_seconds)
        before = Counts()

        def heard(counts: Counts) -> None:
            nonlocal before
            if counts.answers > before.answers:
                errors = sum(counts.errors.values())
                progress.update(
                    task, advance=0.5 / plan.processes, description=f"{counts.answers:,} answers, {errors:,} errors"
                )
            before = counts

        yield heard


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
