"""`causeway explain`: reads the objects once, walks one request along the whole path, prints every hop."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.text import Text

from causeway.hops import BadQuestion, Hop, Walk, start_of
from ingress.names import Names
from ingress.once import read_once
from ingress.routes.classes import STANDALONE, Selection
from ingress.routes.compile import RoutingTable
from lb.cluster.manifests import ManifestFolder
from lb.cluster.objects import EndpointSlice, Ingress, IngressClass, Node, Pod, Secret, Service
from lb.cluster.source import Opened, open_source, source_options
from lb.cluster.store import ObjectStore
from lb.service.vips import address_of

KINDS = (Service, EndpointSlice, Node, Pod, Ingress, IngressClass, Secret)
READ_SECONDS = 15.0
PORTS = {"http": 80, "https": 443}


@click.command()
@click.argument("question", metavar="URL|ADDRESS:PORT")
@click.option("--from", "source", default="internet", show_default=True, metavar="NAMESPACE/POD|internet|node",
              help="Who asks: a pod, somebody outside, a node (any, or by its name).")  # fmt: skip
@click.option("--udp", is_flag=True, help="ADDRESS:PORT is UDP.")
@source_options
def explain(question: str, source: str, udp: bool, manifests: Path | None, kubeconfig: Path | None) -> None:
    """Walk a request along the whole path: at each hop, which object decided and what it became, or why it ends there.

    Exit 0 if the request reaches an endpoint, 1 if not.
    """
    opened = open_source(manifests, kubeconfig, kinds=KINDS)
    table = read(opened)
    walk = Walk(opened.store, table)
    try:
        ask(walk, opened.store, question, source, "UDP" if udp else "TCP")
    except BadQuestion as error:
        raise click.UsageError(str(error)) from None
    for problem in opened.source.problems:
        click.echo(f"warning: {problem}", err=True)
    show(walk.hops, walk.complete)
    raise SystemExit(0 if walk.complete else 1)


def read(opened: Opened) -> RoutingTable:
    """Fill the store once; the tables that a proxy would have, its ExternalName Services looked up once."""
    source = opened.source
    standalone = isinstance(source, ManifestFolder)
    names = Names(lambda: table.external_names(), lambda name: None, local=standalone)
    table = RoutingTable(opened.store, STANDALONE if standalone else Selection(), names=names.answers)
    if isinstance(source, ManifestFolder):
        source.load()
        table.update(None)
    else:
        try:
            asyncio.run(read_once(opened, table, READ_SECONDS))
        except TimeoutError:
            told = "; ".join(map(str, source.problems)) or "it does not answer"
            raise click.ClickException(f"the API server could not be read within {READ_SECONDS:g} s: {told}") from None
    if table.external_names():
        asyncio.run(names.first())
        table.update(None)
    return table


def ask(walk: Walk, store: ObjectStore, question: str, source: str, protocol: str) -> None:
    """Put the question to the walk. Raises BadQuestion."""
    start = start_of(store, source)
    if "://" not in question:
        host, port = split_port(question)
        address = address_of(host)
        if address is not None:
            walk.address(address, port, start, protocol)
        else:
            walk.url("http", host, port, "/", start)
        return
    parts = urlsplit(question)
    if parts.scheme not in PORTS or not parts.hostname:
        raise BadQuestion(f"{question}: write http://HOST[:PORT]/PATH, https://... or ADDRESS:PORT")
    try:
        port = parts.port or PORTS[parts.scheme]
    except ValueError:
        raise BadQuestion(f"{question}: the port is not between 1 and 65535") from None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    walk.url(parts.scheme, parts.hostname, port, path, start)


def split_port(text: str) -> tuple[str, int]:
    """ "10.96.0.10:80" or "[fd00::1]:80" -> host and port. Raises BadQuestion."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or not 0 < int(port) < 65536 or not host:
        raise BadQuestion(f"{text}: write a URL such as http://shop.example.com/ or ADDRESS:PORT such as 10.96.0.10:80")
    return host.strip("[]"), int(port)


def show(hops: list[Hop], complete: bool) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for hop in hops:
        mark, style = ("✗", "red") if hop.refused else ("✓", "green")
        console.print(Text.assemble((f"{mark} ", style), (f"{hop.what:<12}", "bold"), hop.said))
        for each in hop.details:
            console.print(Text(f"{'':14}{each}", style="dim"))
    console.print(
        "complete: an endpoint answers" if complete else Text("the request does not get through", style="red")
    )
