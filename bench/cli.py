"""`causeway bench`: the load harness."""

import json
import random
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench.compare import Change, NotComparable, compared
from bench.load.cli import load
from bench.peers.cli import peers
from bench.report import markdown
from bench.report.page import page
from bench.scenarios.cli import scenario


@click.group()
def bench() -> None:
    """The load benchmarking harness."""


bench.add_command(load)
bench.add_command(peers)
bench.add_command(scenario)


class Share(click.ParamType):  # type: ignore[type-arg]
    """ "5%" or "0.05"."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            share = float(value[:-1]) / 100 if value.endswith("%") else float(value)
        except ValueError:
            self.fail(f"{value!r} is no share; write for example 5% or 0.05", param, ctx)
        if not 0 <= share < 10:
            self.fail(f"{value!r} is not between 0% and 1000%", param, ctx)
        return share


RESULT = click.Path(exists=True, dir_okay=False, path_type=Path)


def read_result(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise click.UsageError(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict) or "kind" not in found:
        raise click.UsageError(f"{path} is no result of `causeway bench`: it has no `kind`")
    return found


@bench.command()
@click.argument("before", type=RESULT)
@click.argument("after", type=RESULT)
@click.option("--bound", type=Share(), default="3%", show_default=True, help="Changes up to this are none.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(before: Path, after: Path, bound: float, as_json: bool) -> None:
    """Hold two results of `load` or of `peers` against each other.

    Each change has a 95 % confidence interval. Exit 1 when AFTER is worse than BEFORE by more than the bound and the
    interval does not contain "no change", or when something fails that has worked.
    """
    old, new = read_result(before), read_result(after)
    try:
        changes = compared(old, new, random.Random(1))
    except NotComparable as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        told = [{"what": c.what, "change": c.share, "low": c.low, "high": c.high, "note": c.note,
                 "verdict": c.verdict(bound)} for c in changes]  # fmt: skip
        click.echo(json.dumps(told, indent=2))
    else:
        show_changes(changes, bound)
        other = [name for name in ("cpu", "kernel", "python") if old["machine"].get(name) != new["machine"].get(name)]
        if other:
            click.echo(f"note: the two were measured with a different {' and '.join(other)}", err=True)
    if any(change.verdict(bound) == "regression" for change in changes):
        raise SystemExit(1)


STYLES = {"regression": "bold red", "better": "green", "unsure": "yellow", "same": ""}


def show_changes(changes: list[Change], bound: float) -> None:
    table = Table("", "change", "95 % interval", "")
    for change in changes:
        verdict = change.verdict(bound)
        figures = ("", "") if change.note else (f"{change.share:+.1%}", f"{change.low:+.1%} to {change.high:+.1%}")
        table.add_row(change.what, *figures, change.note or verdict, style=STYLES[verdict])
    Console().print(table)


@bench.command()
@click.argument("results", nargs=-1, required=True, type=RESULT)
@click.option("-o", "--output", type=click.Path(dir_okay=False, writable=True, path_type=Path), metavar="FILE",
              help="Write an HTML page here that needs no other file.")  # fmt: skip
@click.option("--readme", type=click.Path(exists=True, dir_okay=False, writable=True, path_type=Path), metavar="FILE",
              help="Write the tables into this Markdown file, between its marks.")  # fmt: skip
@click.option("--title", default="Load benchmarks", show_default=True)
def report(results: tuple[Path, ...], output: Path | None, readme: Path | None, title: str) -> None:
    """Make a page of results of `load`, `peers` and `scenario`; without -o print Markdown tables.

    Several results of `peers` are drawn over their dates, too.
    """
    read = [(path.stem, read_result(path)) for path in results]
    try:
        if output is not None:
            output.write_text(page(read, title))
            click.echo(f"{output}: {output.stat().st_size // 1024} KiB")
        if readme is not None:
            readme.write_text(markdown.filled(readme.read_text(), dict(read)))
        if output is None and readme is None:
            click.echo("\n\n".join(markdown.table(result) for _, result in read))
    except KeyError as error:
        raise click.UsageError(f"a result has no {error}: was it written by another version?") from None
