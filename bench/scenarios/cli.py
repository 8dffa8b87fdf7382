"""`causeway bench scenario`."""

import json
from pathlib import Path

import click

from bench.report import markdown
from bench.scenarios.catalogue import SCENARIOS, run_all


@click.command()
@click.argument("names", nargs=-1)
@click.option("--list", "listed", is_flag=True, help="List the scenarios, and end.")
@click.option("--full", is_flag=True, help="The large sizes.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, writable=True, path_type=Path), metavar="FILE")
def scenario(names: tuple[str, ...], listed: bool, full: bool, json_file: Path | None) -> None:
    """Changes, failures, idle and slow clients, many Services and pods: what they cost.

    Without NAMES all. What needs root is skipped without it. Exit 1 when one has failed.
    """
    if listed:
        for each in SCENARIOS:
            click.echo(f"{each.name:<18}{each.about}")
        return
    known = {each.name: each for each in SCENARIOS}
    unknown = set(names) - set(known)
    if unknown:
        raise click.UsageError(f"no scenario is called {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    result = run_all([known[name] for name in names or known], full, lambda line: click.echo(line, err=True))
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=2) + "\n")
    click.echo(markdown.scenarios(result))
    if any("error" in entry for entry in result["scenarios"].values()):
        raise SystemExit(1)
