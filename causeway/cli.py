"""The one command. Each sub-command lives in its package's cli.py and is imported only when it is asked for."""

import importlib
from typing import cast

import click

SUBCOMMANDS = {
    "serve": ("ingress.cli:serve", "Standalone reverse proxy: manifests from a folder, or no file at all."),
    "ingress": (
        "ingress.cli:ingress",
        "The same proxy as an Ingress controller: objects from the API server.",
    ),
    "reload": ("ingress.cli:reload", "Make a running proxy read its files, names and log again."),
    "upgrade": ("ingress.cli:upgrade", "Replace a running proxy by the installed version, no connection refused."),
    "check": ("ingress.check:check", "Validate manifests or a cluster; report on a move from ingress-nginx."),
    "node": ("lb.cli:node", "The node agent: pod network, Services, announcements (root)."),
    "balancer": ("lb.cli:balancer", "Allocate load-balancer addresses and write them to Service status."),
    "explain": (
        "causeway.explain:explain",
        "Walk a request along the whole path; say at each hop who decided and why.",
    ),
    "bench": ("bench.cli:bench", "The load benchmarking harness."),
    "demo": ("causeway.demo.cli:demo", "A cluster in network namespaces with the whole path working (root)."),
}
"""name -> (module:function, what it does). The help page is made from this table without importing anything."""

ALIASES = {"nginx-ingress-controller": "ingress"}
"""How the arguments of an ingress-nginx Deployment begin, whatever the folder: our container takes them as they are."""


class LazyGroup(click.Group):
    """Imports a sub-command when it runs: `causeway node` must not pay for the proxy, nor the other way round."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        cmd_name = ALIASES.get(cmd_name.rpartition("/")[2], cmd_name)
        if cmd_name not in SUBCOMMANDS:
            return None
        module, function = SUBCOMMANDS[cmd_name][0].split(":")
        return cast(click.Command, getattr(importlib.import_module(module), function))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (_, what) in SUBCOMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="causeway")
def main() -> None:
    """Causeway: the path from the internet to a pod."""
