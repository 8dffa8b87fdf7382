"""`causeway bench load`."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from bench.load import scenario as scenarios
from bench.load.arrivals import parse_duration, parse_profile
from bench.load.metrics import served
from bench.load.replay import recorded
from bench.load.result import Counts
from bench.load.run import Plan, RunFailed, run
from bench.load.scenario import BadScenario, Replay, Scenario
from bench.load.show import live, show


@click.command()
@click.argument("url", required=False)
@click.option("--scenario", "scenario_file", metavar="FILE",
              type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="What to send, instead of one URL: target, requests by weight, checks (YAML).")  # fmt: skip
@click.option("--rate", metavar="R", help="Open loop at R requests/s, or a profile: 100@10s,100..1000@30s. "
              "Without it: closed loop, every connection as fast as it is answered.")  # fmt: skip
@click.option("--poisson", is_flag=True, help="Open loop with exponentially distributed gaps instead of equal ones.")
@click.option("--duration", default="10s", show_default=True, metavar="TIME")
@click.option("--connections", default=64, show_default=True, type=click.IntRange(1, 100_000), metavar="N")
@click.option("--processes", default=1, show_default=True, type=click.IntRange(1, 64), metavar="N")
@click.option("--think", default="0", metavar="TIME", help="Closed loop: pause between an answer and the next request.")
@click.option("--timeout", default="10s", show_default=True, metavar="TIME", help="When an answer counts as missing.")
@click.option("--method", default="GET", show_default=True)
@click.option("-H", "--header", "headers", multiple=True, metavar="NAME: VALUE")
@click.option("--body", default="", help="Body of each request.")
@click.option("--new-connections", is_flag=True, help="A new connection for each request.")
@click.option("--cacert", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
              help="Verify the target's certificate by these authorities (default: any is taken).")  # fmt: skip
@click.option("--replay", metavar="LOG", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Send the GETs of an access log (combined or upstreaminfo format), at its times.")  # fmt: skip
@click.option("--speed", default=1.0, show_default=True, help="Of --replay: 2 is twice as fast as recorded.")
@click.option("--metrics", metavar="ADDR", help="Serve Prometheus metrics here while it runs, e.g. 127.0.0.1:9100.")
@click.option("--watch", type=int, metavar="PID", help="Tell this process' CPU time and memory over time, too.")
@click.option("--seed", default=1, type=int, help="For arrivals and the choice of requests.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, writable=True, path_type=Path), metavar="FILE",
              help="Write the result here ('-': standard output, nothing else is printed).", )  # fmt: skip
def load(url: str | None, scenario_file: Path | None, json_file: Path | None, **options: Any) -> None:
    """Load URL, or the target of a scenario, and print what came of it.

    Only loopback addresses and those in the scenario's `allow` list are loaded. Exit 1 when nothing was answered.
    """
    quiet = json_file is not None and str(json_file) == "-"
    try:
        scenario = choose_scenario(url, scenario_file, options)
        result = asyncio.run(drive(scenario, make_plan(options, scenario), quiet, options["metrics"]))
    except (BadScenario, ValueError) as error:
        raise click.UsageError(str(error)) from None
    except RunFailed as error:
        raise click.ClickException(str(error)) from None
    text = json.dumps(result, indent=2)
    if quiet:
        click.echo(text)
    else:
        if json_file is not None:
            json_file.write_text(text + "\n")
        show(result)
    if not result["requests"]:
        raise SystemExit(1)


def choose_scenario(url: str | None, scenario_file: Path | None, options: dict[str, Any]) -> Scenario:
    if (url is None) == (scenario_file is None):
        raise BadScenario("give either a URL or --scenario FILE")
    if scenario_file is not None:
        if options["replay"] is not None:
            raise BadScenario("--replay goes with a URL; in a scenario write replay: {log: FILE}")
        scenario = scenarios.parse(scenario_file.read_text())
        return with_log(scenario, scenario_file.parent) if scenario.replay is not None else scenario
    headers = {}
    for text in options["headers"]:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise BadScenario(f"--header: {text!r} is not NAME: VALUE")
        headers[name.strip()] = value.strip()
    assert url is not None
    scenario = scenarios.of_url(
        url,
        method=options["method"],
        headers=headers,
        body=options["body"],
        keep_alive=not options["new_connections"],
    )
    if options["replay"] is None:
        return scenario
    host = next((value for name, value in headers.items() if name.lower() == "host"), None)
    scenario = replace(scenario, replay=Replay(str(options["replay"]), host=host, speed=options["speed"]))
    scenarios.check(scenario)
    return with_log(scenario, Path())


def with_log(scenario: Scenario, folder: Path) -> Scenario:
    """The scenario with what its log has; a relative path counts from `folder`."""
    assert scenario.replay is not None
    try:
        with (folder / scenario.replay.log).open(errors="replace") as lines:
            return recorded(scenario, scenario.replay, lines)
    except OSError as error:
        raise BadScenario(f"replay.log: {scenario.replay.log} cannot be read: {error.strerror}") from None


def make_plan(options: dict[str, Any], scenario: Scenario) -> Plan:
    duration = parse_duration(options["duration"])
    if duration <= 0:
        raise ValueError("--duration must be above 0")
    if options["processes"] > options["connections"]:
        raise ValueError("--processes is above --connections; every process needs a connection")
    if (options["rate"] is not None or scenario.recording) and options["think"] != "0":
        raise ValueError("--think belongs to the closed loop; leave --rate and --replay out")
    if scenario.recording:
        if options["rate"] is not None:
            raise ValueError("--rate does not go with a replay, which has times of its own; use --speed")
        if options["processes"] > len(scenario.recording):
            raise ValueError("--processes is above the number of requests in the log")
        duration = scenario.recording[-1][0] + 0.001
    return Plan(
        duration_seconds=duration,
        connections=options["connections"],
        pieces=parse_profile(options["rate"], duration) if options["rate"] is not None else (),
        poisson=options["poisson"],
        processes=options["processes"],
        timeout_seconds=parse_duration(options["timeout"]),
        think_seconds=parse_duration(options["think"]),
        seed=options["seed"],
        tls_verify=options["cacert"],
        watch_pid=options["watch"],
    )


async def drive(scenario: Scenario, plan: Plan, quiet: bool, metrics: str | None) -> dict[str, Any]:
    with live(plan, quiet) as shown, served(metrics) as gauges:

        def progress(counts: Counts) -> None:
            gauges.counts = counts
            shown(counts)

        return await run(scenario, plan, progress)
