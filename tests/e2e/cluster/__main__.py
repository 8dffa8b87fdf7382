"""A cluster by hand: python -m tests.e2e.cluster build|up|down; `up` stays until Ctrl-C, complete or not."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys

import click

from . import cluster as clusters
from . import layout, leftovers
from .programs import BuildFailed


@click.group()
def main() -> None:
    """A real Kubernetes cluster in network namespaces, with our parts or upstream's."""


@main.command()
@click.option("--baseline", is_flag=True, help="build kube-proxy too")
def build(baseline: bool) -> None:
    """Build programs and image into the cache folder."""
    clusters.prepare(layout.cache_folder(), click.echo, baseline=baseline)


@main.command()
@click.option("--baseline", is_flag=True, help="upstream's kube-proxy and CNI plugins instead of ours")
@click.option("--nodes", default=2, show_default=True)
def up(baseline: bool, nodes: int) -> None:
    """Bring a cluster up and keep it until Ctrl-C."""
    folder = layout.cache_folder()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as by Ctrl-C
    with clusters.only_run(), contextlib.suppress(KeyboardInterrupt):
        leftovers.remove(folder / "run")
        clusters.prepare(folder, click.echo, baseline=baseline)
        cluster = clusters.Cluster(folder, nodes, baseline=baseline)
        try:
            try:
                cluster.start(click.echo)
            except (RuntimeError, TimeoutError) as error:
                click.echo(f"the cluster did not come up: {error}\n{cluster.diagnosis()}")
            inside = f"nsenter --net=/run/netns/{layout.CONTROL}"
            click.echo(f"{inside} kubectl --kubeconfig {folder}/run/admin.kubeconfig get pods -A")
            click.echo(f"client outside: nsenter --net=/run/netns/{layout.CLIENT}")
            while True:
                signal.pause()
        finally:
            leftovers.remove(folder / "run")


@main.command()
@click.option("--cache", is_flag=True, help="remove the built programs too")
def down(cache: bool) -> None:
    """Remove what a killed run has left behind."""
    with clusters.only_run():
        leftovers.remove(layout.cache_folder() / "run")
        if cache:
            shutil.rmtree(layout.cache_folder(), ignore_errors=True)


if __name__ == "__main__":
    try:
        main()
    except (clusters.NotPossible, BuildFailed, RuntimeError) as error:
        sys.exit(str(error))
