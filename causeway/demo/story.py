"""The demo from beginning to end: build, ask, scale, stop a node, stay."""

import asyncio
import signal
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from rich.markup import escape

from causeway.demo import trials
from causeway.demo.cluster import Cluster, NotThere
from causeway.demo.control import EXPECTED
from causeway.demo.layout import DEFAULT_NAME, INTERNET, ROUTER, Layout, Wish
from causeway.demo.questions import CART_IP, DESK_HOST, NODE_PORT, SHOP_HOST
from causeway.demo.run_folder import RunFolder
from causeway.demo.show import Show

INTERRUPTED = 130


@dataclass
class Outcome:
    """What the exit status would be if the demo ended now."""

    status: int = INTERRUPTED


def run_loop(telling: Coroutine[Any, Any, int]) -> int:
    """asyncio.run, with children watched by pidfd as Python 3.12 does it.

    The thread for each child of 3.11 outlives the loop here, as the programs are ended after it, and complains.
    """
    if sys.version_info < (3, 12):
        asyncio.get_event_loop_policy().set_child_watcher(asyncio.PidfdChildWatcher())
    return asyncio.run(telling)


def ending_signals() -> list[signal.Signals]:
    """What ends the demo, tidily. A terminal that goes does not if `nohup` said so."""
    found = [signal.SIGINT, signal.SIGTERM]
    return found if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [*found, signal.SIGHUP]


async def tell(folder: RunFolder, wish: Wish, show: Show) -> int:
    """The exit status: 0, or 1 if something failed, or 130 when it was interrupted before it was up."""
    outcome = Outcome()
    story = asyncio.create_task(chapters(folder, wish, show, outcome))
    loop = asyncio.get_running_loop()
    for number in ending_signals():
        # Only the first: what ends the story must itself come to its end.
        loop.add_signal_handler(number, lambda: story.cancelling() or story.cancel())
    try:
        await story
    except asyncio.CancelledError:
        show.line("\nClearing up.")
    except (*EXPECTED, NotThere) as error:
        show.line(f"\n[red]{escape(str(error) or type(error).__name__)}[/]")
        show.logs(folder.layout)  # they are removed with all the rest
        outcome.status = 1
    return outcome.status


async def chapters(folder: RunFolder, wish: Wish, show: Show, outcome: Outcome) -> None:
    began = time.monotonic()
    if left := folder.leftovers():
        with show.step(f"clearing up what an earlier demo has left: {', '.join(left)}"):
            await asyncio.to_thread(folder.sweep)
    folder.make()
    cluster = Cluster(folder.layout, wish, show)
    work = asyncio.create_task(play(cluster, show, outcome, began))
    try:
        # The cluster's own tasks never end; one that does has found a bug, which must not pass unseen.
        while not work.done():
            await asyncio.wait({work, *cluster.background}, return_when=asyncio.FIRST_COMPLETED, timeout=1.0)
            for task in cluster.background:
                if task.done():
                    await task
        await work
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await cluster.reap()


async def play(cluster: Cluster, show: Show, outcome: Outcome, began: float) -> None:
    show.network(cluster.layout, cluster.nodes)
    for problem in cluster.problems:
        show.note(problem)
    show.title("Up")
    await cluster.build()
    up = time.monotonic()
    show.title("Asked for real")
    await trials.ask_all(cluster, show)
    await trials.explain(cluster, show)
    show.title("Scaled under load")
    await trials.scale_under_load(cluster, show)
    show.title("A node stops")
    await trials.fail_over(cluster, show)
    show.line(
        f"\n[bold]{show.asked - len(show.failed)} of {show.asked} checks passed[/]; "
        f"up in {up - began:.0f} s, checked in {time.monotonic() - up:.0f} s"
    )
    for title in show.failed:
        show.line(f"  [red]{escape(show.cross)}[/] {escape(title)}")
    outcome.status = 1 if show.failed else 0
    if not cluster.wish.check:
        invite(cluster, show)
        await asyncio.Event().wait()


def invite(cluster: Cluster, show: Show) -> None:
    """Commands to try; every one of them works as it is printed."""
    layout, node = cluster.layout, cluster.nodes[0]
    causeway = f"{cluster.wish.command} demo" + ("" if layout.name == DEFAULT_NAME else f" --name {layout.name}")
    outside = f"ip netns exec {layout.netns(INTERNET)}"
    pod = next((each for each in cluster.pods() if each.namespace == "shop"), None)
    groups = {
        "From the internet": [
            f"{outside} curl http://{SHOP_HOST}/",
            f"{outside} curl http://{SHOP_HOST}/cart/7",
            f"{outside} curl --cacert {layout.ca} https://{SHOP_HOST}/",
            f"{outside} curl http://{DESK_HOST}/",
            f"{outside} curl http://{node.ip}:{NODE_PORT}/",
        ],
        "From a pod": [f"ip netns exec {layout.pod_netns(pod.namespace, pod.name)} curl http://{CART_IP}/"]
        if pod
        else [],
        "Why does it go there": explain_lines(layout, cluster.wish.command, node.ip),
        "Change something": [
            f"{causeway} scale web 5",
            f"$EDITOR {layout.manifests}/shop.yaml",
            f"kill -9 {cluster.programs[node.name].process.pid}    # the agent of {node.name}; it is started again",
            f"ip -n {layout.netns(ROUTER)} link set {node.name} down    # pull the cable; up plugs it in",
        ],
        "Look at it": [
            f"ip netns exec {layout.netns(node.name)} nft list ruleset",
            f"ip netns exec {layout.netns(node.name)} tcpdump -ni any tcp port 8080",
            f"tail -f {layout.logs}/*.log",
        ],
    }
    show.title("It stays up; in another terminal, as root:")
    for title, lines in groups.items():
        show.line(f"\n  {title}")
        for line in lines:
            show.line(f"    [cyan]{escape(line)}[/]")
    show.line("\nCtrl-C ends it and removes everything.")


def explain_lines(layout: Layout, program: str, node_ip: str) -> list[str]:
    folder = f"-f {layout.manifests}"
    return [
        f"{program} explain {folder} http://{SHOP_HOST}/cart/7",
        f"{program} explain {folder} {node_ip}:{NODE_PORT} --from internet",
    ]
