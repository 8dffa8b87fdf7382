"""`causeway check`: what is wrong with manifests or a live cluster, and what a move from ingress-nginx means."""

import asyncio
import html
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from ingress.compat_flags import nginx_flags, take_watching
from ingress.once import read_once
from ingress.routes.classes import STANDALONE, Selection
from ingress.routes.compile import DISPENSABLE, RoutingTable
from ingress.routes.migration import Fate, IngressReport, Report, report_of
from ingress.routes.model import Defaults
from ingress.wanted import class_flags, defaults_flags, kinds_of, take_defaults, take_selection
from lb.cluster.manifests import FolderUnreadable, ManifestFolder
from lb.cluster.objects import KINDS as ALL_KINDS
from lb.cluster.problems import Problem
from lb.cluster.source import open_source, source_options
from lb.cluster.store import ObjectStore

SYNC_SECONDS = 30.0
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
table{border-collapse:collapse;width:100%} h2{margin-bottom:.2rem}
td{padding:.3rem .6rem;border-bottom:1px solid #8886;vertical-align:top;overflow-wrap:anywhere}
.refused,.unknown,.wrong,.problem{color:#c62828} .differs{color:#b26a00} .honoured{color:#2e7d32}"""


@click.command(short_help="Validate manifests or a cluster; report on a move from ingress-nginx.")
@source_options
@click.option(
    "--output",
    type=click.Choice(("text", "table", "json", "html")),
    default="text",
    show_default=True,
    help="text: problems alone, a line each. The others: the whole report, for each Ingress what becomes of each "
    "annotation.",
)
@defaults_flags
@class_flags
@nginx_flags
def check(*, manifests: Path | None, kubeconfig: Path | None, output: str, **flags: Any) -> None:
    """Print everything that is wrong with the manifests in DIR, or with the objects of a live cluster.

    The report (--output table, json or html) tells for each Ingress which annotations are honoured, which differ from
    ingress-nginx and how, which are refused and what to do, and the totals. Exit code 1 if anything has to be
    corrected or decided. Flags of `causeway ingress` that decide over Ingresses mean here what they mean there.
    """
    if manifests is None and kubeconfig is None and not os.environ.get("KUBERNETES_SERVICE_HOST"):
        raise click.UsageError(
            "what to check? Give '-f' DIR for a folder of manifests, --kubeconfig FILE for a cluster, or run in a pod"
        )
    watching = take_watching(flags)
    if manifests is not None:
        watching.defaults["passthrough"] = True  # as for `serve`: whoever writes the folder may have it
    selection = take_selection(flags, watching, base=Selection() if manifests is None else STANDALONE)
    defaults = take_defaults(flags, **watching.defaults)
    if manifests is not None:
        table, problems = _folder(manifests, selection, defaults)
    else:
        table, problems = _cluster(kubeconfig, selection, defaults)
    report = report_of(table, problems)
    if output == "text":
        for problem in [*problems, *table.problems]:
            click.echo(str(problem))
        count = sum(map(table.store.count, ALL_KINDS.values()))
        found = len(problems) + len(table.problems)
        click.echo(f"{count} objects, {len(table.hosts)} hosts, {found} problems", err=True)
        sys.exit(1 if found else 0)
    click.echo(WRITERS[output](report))
    sys.exit(0 if report.good else 1)


def _folder(manifests: Path, selection: Selection, defaults: Defaults) -> tuple[RoutingTable, list[Problem]]:
    store = ObjectStore()
    folder = ManifestFolder(manifests, store)
    try:
        folder.load()
    except FolderUnreadable as error:
        raise click.UsageError(f"-f {error}") from None
    table = RoutingTable(store, selection, defaults=defaults)
    table.update(None)
    return table, list(folder.problems)


def _cluster(kubeconfig: Path | None, selection: Selection, defaults: Defaults) -> tuple[RoutingTable, list[Problem]]:
    opened = open_source(None, kubeconfig, kinds=kinds_of(selection, defaults), dispensable=DISPENSABLE)
    table = RoutingTable(opened.store, selection, defaults=defaults)
    try:
        asyncio.run(read_once(opened, table, SYNC_SECONDS))
    except TimeoutError:
        reasons = "; ".join(map(str, opened.source.problems)) or "it has not answered"
        raise click.ClickException(f"the API server could not be read within {SYNC_SECONDS:g} s: {reasons}") from None
    return table, list(opened.source.problems)


def as_json(report: Report) -> str:
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def as_table(report: Report) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 200)
    with console.capture() as captured:
        for each in report.ingresses:
            made = Table(title=_title(each), title_justify="left", show_header=False, expand=True)
            made.add_column(ratio=3)
            made.add_column(ratio=1, style="bold")
            made.add_column(ratio=4)
            for finding in each.findings:
                made.add_row(*(Text(cell) for cell in (finding.annotation, finding.fate, finding.note)))
            for problem in each.problems:
                made.add_row("", "problem", Text(problem))
            console.print(made if made.rows else Text(_title(each)))
        for problem in report.problems:
            console.print(Text(problem))
        console.print(_totals(report))
    return captured.get().rstrip()


def as_html(report: Report) -> str:
    """One page that needs no other file."""
    sections = [f"<h2>{html.escape(_title(each))}</h2><table>{_rows(each)}</table>" for each in report.ingresses]
    others = "".join(f"<li>{html.escape(problem)}</li>" for problem in report.problems)
    if others:
        sections.append(f"<h2>Other objects</h2><ul>{others}</ul>")
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Migration report</title><style>{STYLE}</style><h1>Migration report</h1>"
        f"<p>{html.escape(_totals(report))}</p>{''.join(sections)}"
    )


def _rows(each: IngressReport) -> str:
    cells: list[Sequence[str]] = [(finding.annotation, finding.fate, finding.note) for finding in each.findings]
    cells += [("", "problem", problem) for problem in each.problems]
    return "".join(
        f'<tr><td>{html.escape(name)}</td><td class="{html.escape(fate.split()[0])}">{html.escape(fate)}</td>'
        f"<td>{html.escape(note)}</td></tr>"
        for name, fate, note in cells
    )


def _title(each: IngressReport) -> str:
    return f"Ingress {each.ingress}" + (
        "" if each.served else f" is not served: {each.reason or 'nothing of it can be'}"
    )


def _totals(report: Report) -> str:
    totals = report.totals
    fates = ", ".join(f"{totals[fate]} {fate}" for fate in Fate)
    return (
        f"{totals['ingresses']} Ingresses, {totals['served']} served; annotations: {fates}; {totals['problems']} other "
        "problems"
    )


WRITERS: dict[str, Callable[[Report], str]] = {"table": as_table, "json": as_json, "html": as_html}
