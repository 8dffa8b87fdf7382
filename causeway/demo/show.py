"""What the demo prints: steps as they happen, questions with their command, path and verdict.

On a terminal in colour; piped, the same lines without control codes. Lines are never wrapped: a command can be copied.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape

from causeway.demo.layout import CLIENT_IP, INTERNET_GATEWAY, LAN_GATEWAY, SERVER_IP, Layout
from causeway.demo.processes import tail
from causeway.demo.questions import PodFact
from causeway.demo.topology import NodePlace

LOG_LINES = 6


class Show:
    """Prints. `failed` counts what went wrong."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        plain = not (self.console.encoding or "").lower().startswith("utf")
        self.tick, self.cross = ("[ok]", "[FAILED]") if plain else ("✓", "✗")
        self.asked = 0
        self.failed: list[str] = []

    def line(self, text: str = "") -> None:
        """Text is markup of rich; what comes from elsewhere must be escaped."""
        self.console.print(text)

    def title(self, text: str) -> None:
        self.line(f"\n[bold]{escape(text)}[/]")

    def note(self, text: str) -> None:
        """Something that happened beside the story."""
        self.line(f"  [yellow]! {escape(text)}[/]")

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[None]:
        """A step, with the time it took once it is done; a step that raises gets a cross."""
        began = time.monotonic()
        try:
            with self.console.status(escape(text)) if self.console.is_terminal else contextlib.nullcontext():
                yield
        except (asyncio.CancelledError, KeyboardInterrupt):
            self.line(f"  - {escape(text)}: interrupted")
            raise
        except BaseException:
            self.line(f"  [red]{escape(self.cross)}[/] {escape(text)}")
            raise
        self.line(f"  [green]{escape(self.tick)}[/] {escape(text)} [dim]{time.monotonic() - began:.1f} s[/]")

    def verdict(self, title: str, *, wrong: str, lines: Sequence[str] = (), command: str = "") -> None:
        """One check: `wrong` is "" if all is as it must be. lines: what happened."""
        self.asked += 1
        mark = f"[red]{escape(self.cross)}[/]" if wrong else f"[green]{escape(self.tick)}[/]"
        self.line(f"  {mark} {escape(title)}")
        if command:
            self.line(f"      [cyan]$ {escape(command)}[/]")
        for each in lines:
            self.line(f"      {escape(each)}")
        if wrong:
            self.failed.append(title)
            self.line(f"      [red]{escape(wrong)}[/]")

    def logs(self, layout: Layout) -> None:
        """The end of every log in which there is something."""
        for path in sorted(layout.logs.glob("*.log")):
            if text := tail(path, LOG_LINES):
                self.line(f"\n[bold]{path.name}[/]\n{escape(text)}")

    def network(self, layout: Layout, nodes: Sequence[NodePlace]) -> None:
        """The picture of what is about to be built."""
        self.title(f"A cluster in network namespaces {layout.prefix}*, its files in {layout.folder}")
        self.line(
            f"""
  internet  {CLIENT_IP} a client, {SERVER_IP} a server
     |
  router    {INTERNET_GATEWAY} | {LAN_GATEWAY}; knows neither pods nor Services"""
        )
        for node in nodes:
            self.line(f"     |---- {node.name}  {node.ip}  pods {node.pod_cidr}")

    def pods(self, pods: Sequence[PodFact]) -> None:
        names = [f"pod {pod.namespace}/{pod.name}" for pod in pods]
        width = max(map(len, names), default=0)
        for name, pod in zip(names, pods, strict=True):
            self.line(f"      {name:{width}}  {pod.node}  {pod.ip}")
