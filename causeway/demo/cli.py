"""`causeway demo`: a cluster of three nodes in network namespaces, with the whole path working."""

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from causeway.demo.layout import DEFAULT_NAME, NAME, Layout, Wish

MANIFESTS = Path(__file__).resolve().parent.parent.parent / "deploy" / "demo"
PROGRAMS = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "curl": "curl",
    "openssl": "openssl",
    "bash": "bash",
}
"""What is run besides our own, and the Debian package it is in."""


def check_name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not NAME.fullmatch(value):
        raise click.BadParameter("use at most 12 of a-z and 0-9, a letter first: it begins the namespaces' names")
    return value


@click.group(invoke_without_command=True)
@click.option("--check", is_flag=True, help="Ask all questions, tear down, exit 1 if one failed.")
@click.option(
    "--manifests",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=MANIFESTS,
    help="Another folder of manifests to begin with.",
)
@click.option(
    "--pod-network",
    type=click.Choice(["routed", "bridge"]),
    default="routed",
    show_default=True,
    help="How pods are attached to their nodes.",
)
@click.option("--name", default=DEFAULT_NAME, callback=check_name, help="Run a demo beside another: its name.")
@click.pass_context
def demo(context: click.Context, *, check: bool, manifests: Path, pod_network: str, name: str) -> None:
    """A cluster in network namespaces: internet, router, three nodes, pods, Services, Ingress (root).

    Shows each step, asks for real from everywhere, and stays up to be tried until Ctrl-C. It leaves nothing behind.
    """
    context.obj = Layout(name)
    if context.invoked_subcommand is None:
        require_root_and_programs()
        sys.exit(run(context.obj, Wish(manifests, pod_network, check, own_command())))


@demo.command()
@click.argument("deployment")
@click.argument("replicas", type=click.IntRange(0, 50))
@click.pass_obj
def scale(layout: Layout, deployment: str, replicas: int) -> None:
    """Change how many pods a Deployment of the running demo has."""
    from causeway.demo.workloads import set_replicas
    from lb.files import replace_file

    if not layout.manifests.is_dir():
        raise click.ClickException("no demo is running; start one in another terminal: causeway demo")
    for path in sorted(layout.manifests.glob("*.y*ml")):
        with contextlib.suppress(LookupError):
            replace_file(path, set_replicas(path.read_text(), deployment, replicas).encode(), 0o644)
            click.echo(f"{deployment}: {replicas} replicas, written to {path}")
            return
    raise click.ClickException(f"no Deployment {deployment} with a replicas: line in {layout.manifests}/*.yaml")


@demo.command()
@click.pass_obj
def clean(layout: Layout) -> None:
    """Remove what a demo that was killed has left behind."""
    from causeway.demo.run_folder import RunFolder, Running

    require_root_and_programs()
    folder = RunFolder(layout)
    try:
        folder.acquire()
    except Running as error:
        raise click.ClickException(f"{error}: end it with Ctrl-C") from None
    found = folder.leftovers()
    folder.remove()
    click.echo(f"removed: {', '.join(found)}" if found else "nothing was left")


def own_command() -> str:
    """How to call this program again, from whatever folder."""
    called = Path(sys.argv[0])
    return f"{sys.executable} -m causeway" if called.name == "__main__.py" else str(called.absolute())


def require_root_and_programs() -> None:
    """Raises ClickException (exit 1) when the demo cannot work here at all."""
    if os.geteuid() != 0:
        raise click.ClickException(f"the demo makes network namespaces, which needs root: sudo {own_command()} demo")
    missing = {package for program, package in PROGRAMS.items() if not shutil.which(program)}
    if missing:
        raise click.ClickException(f"programs are missing: apt-get install {' '.join(sorted(missing))}")


def run(layout: Layout, wish: Wish) -> int:
    """The demo from its lock to its last file; the exit status."""
    from causeway.demo.run_folder import RunFolder, Running
    from causeway.demo.show import Show
    from causeway.demo.story import ending_signals, run_loop, tell

    show = Show()
    folder = RunFolder(layout)
    numbers = ending_signals()
    with ended_by(numbers):
        try:
            folder.acquire()
        except Running as error:
            raise click.ClickException(f"{error}: end it with Ctrl-C, or give this one a --name") from None
        try:
            return run_loop(tell(folder, wish, show))
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:
            # Nobody reads any more; the interpreter must not try to write again at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        finally:
            with uninterrupted(numbers):
                folder.remove()


@contextlib.contextmanager
def ended_by(numbers: Iterable[signal.Signals]) -> Iterator[None]:
    """These signals end the demo as Ctrl-C does: with everything removed."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)


@contextlib.contextmanager
def uninterrupted(numbers: Iterable[signal.Signals]) -> Iterator[None]:
    """A second Ctrl-C must not leave half of it behind; clearing up takes a few seconds at most."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
    yield
