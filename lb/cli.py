"""Command line of the lower half: `causeway node`, `causeway balancer`. Each imports what it needs when it runs."""

import asyncio
import contextlib
import logging
import os
from pathlib import Path

import click

from lb.cluster.source import open_source, source_options

FOLDER = click.Path(file_okay=False, path_type=Path)


def log_to_stderr(level: str = "INFO") -> None:
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")


@click.command()
@click.option("--node", "name", metavar="NAME", help="The name of this machine's Node object.")
@source_options
@click.option("--run-dir", type=FOLDER, required=True, help="Everything the agent keeps: socket, allocations, state.")
@click.option("--cni-bin-dir", type=FOLDER, help="Where the container runtime looks for plugins, e.g. /opt/cni/bin.")
@click.option("--cni-conf-dir", type=FOLDER, help="Where it looks for their configuration, e.g. /etc/cni/net.d.")
@click.option(
    "--cni-plugin", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="The plugin to put there: for an agent in a container, whose interpreter the node has not.",
)  # fmt: skip
@click.option(
    "--pod-network", "mode", type=click.Choice(["routed", "bridge"]), default="routed", show_default=True,
    help="How new pods are attached: a routed veth each, or a Linux bridge.",
)  # fmt: skip
@click.option("--uplink", metavar="INTERFACE", default="", help="The way to the other nodes. [default: by InternalIP]")
@click.option(
    "--service-cidr", "service_cidrs", multiple=True, metavar="NETWORK",
    help="Where ClusterIPs come from: one that no Service has is dropped, not routed. Repeatable.",
)  # fmt: skip
@click.option("--heartbeat-port", type=click.IntRange(1, 65535), help="UDP, between agents; the same on all nodes.")
@click.option(
    "--drift-seconds", type=click.FloatRange(min=0.1), metavar="SECONDS", default=10.0, show_default=True,
    help="How often routes, rules and settings are compared with what they should be, and repaired.",
)  # fmt: skip
@click.option("--cleanup", is_flag=True, help="Remove all that agents with this run folder have made, and exit.")
@click.option("--log-level", type=click.Choice(["DEBUG", "INFO", "WARNING"]), default="INFO", show_default=True)
def node(
    name: str | None,
    manifests: Path | None,
    kubeconfig: Path | None,
    run_dir: Path,
    cni_bin_dir: Path | None,
    cni_conf_dir: Path | None,
    cni_plugin: Path | None,
    mode: str,
    uplink: str,
    service_cidrs: tuple[str, ...],
    heartbeat_port: int | None,
    drift_seconds: float,
    cleanup: bool,
    log_level: str,
) -> None:
    """The node agent: pod network, Services, announcements. Needs root."""
    from lb.agent import KINDS, CannotStart, Options, run_agent
    from lb.balancer.heartbeat import PORT as HEARTBEAT_PORT
    from lb.cleanup import clean_up
    from lb.service.vips import network_of

    if not cleanup:
        given = {"--node": name, "--cni-bin-dir": cni_bin_dir, "--cni-conf-dir": cni_conf_dir}
        for flag, value in given.items():
            if not value:
                raise click.UsageError(f"Missing option '{flag}'.")
    networks = []
    for text in service_cidrs:
        if (network := network_of(text)) is None:
            raise click.BadParameter(f"{text!r} is not a network such as 10.96.0.0/16", param_hint="'--service-cidr'")
        networks.append(network)
    if os.geteuid() != 0:
        raise click.ClickException("the node agent needs root: it makes interfaces, routes and nftables rules (sudo?)")
    log_to_stderr(log_level)
    run_dir = run_dir.absolute()
    try:
        if cleanup:
            for removed in asyncio.run(clean_up(run_dir)):
                click.echo(f"removed {removed}")
            return
        assert name is not None
        assert cni_bin_dir is not None
        assert cni_conf_dir is not None
        opened = open_source(manifests, kubeconfig, kinds=KINDS)
        options = Options(
            node=name,
            run_dir=run_dir,
            cni_bin_dir=cni_bin_dir.absolute(),
            cni_conf_dir=cni_conf_dir.absolute(),
            mode="bridge" if mode == "bridge" else "routed",
            uplink=uplink,
            service_cidrs=tuple(networks),
            heartbeat_port=heartbeat_port or HEARTBEAT_PORT,
            drift_seconds=drift_seconds,
            cni_plugin=cni_plugin,
        )
        asyncio.run(run_agent(options, opened))
    except CannotStart as error:
        raise click.ClickException(str(error)) from None


@click.command()
@source_options
@click.option(
    "--pool", "pools", multiple=True, required=True, metavar="NAME=FIRST-LAST",
    help="Addresses to give out, IPv4 or IPv6; a CIDR will do, too. Repeatable; equal names add up to one pool.",
)  # fmt: skip
@click.option("--load-balancer-class", "class_name", metavar="NAME", help="Ours, beside none. [causeway.dev/balancer]")
@click.option("--lease-namespace", metavar="NAME", default="kube-system", show_default=True, help="Where our Lease is.")
@click.option("--log-level", type=click.Choice(["DEBUG", "INFO", "WARNING"]), default="INFO", show_default=True)
def balancer(
    manifests: Path | None,
    kubeconfig: Path | None,
    pools: tuple[str, ...],
    class_name: str | None,
    lease_namespace: str,
    log_level: str,
) -> None:
    """Give Services of type LoadBalancer their addresses, and write them to their status."""
    from lb.balancer.assign import KINDS, AlreadyRunning, Assigner, only_balancer_of, run_balancer
    from lb.balancer.pools import BadPool, parse_pools
    from lb.balancer.wish import CLASS
    from lb.cluster.status import StatusFailed

    try:
        parsed = parse_pools(pools)
    except BadPool as error:
        raise click.BadParameter(str(error), param_hint="'--pool'") from None
    opened = open_source(manifests, kubeconfig, kinds=KINDS)
    log_to_stderr(log_level)
    try:
        with only_balancer_of(manifests) if manifests else contextlib.nullcontext():
            asyncio.run(run_balancer(opened, lambda: Assigner(opened, parsed, class_name or CLASS), lease_namespace))
    except (AlreadyRunning, StatusFailed) as error:
        raise click.ClickException(str(error)) from None
