"""What cannot be asked in one line: scaling under load, and a node that stops."""

import asyncio
import shlex
import sys

from causeway.demo import netns
from causeway.demo.cluster import Cluster, NotThere
from causeway.demo.expect import CURL_FLAGS, Answer, parse_curl, parse_datagram
from causeway.demo.load import Load, Target
from causeway.demo.questions import NODE_PORT, SHOP_HOST, Question, pod_to_pod, questions
from causeway.demo.show import Show
from causeway.demo.workloads import set_replicas
from lb.files import replace_file

SCALE_TO = (6, 2, 3)
SETTLE_LIMIT_S = 30.0
STEADY_S = 0.5
"""How long the load goes on after the last change: what breaks late must be seen, too."""

GONE_LIMIT_S = 15.0
STEADY_REQUESTS = 10
GOOD_IN_A_ROW_S = 1.0
CLIENT_PATIENCE_S = 0.25


async def ask_all(cluster: Cluster, show: Show) -> None:
    """Ask every question once and print what came of it."""
    try:
        todo = questions(await cluster.facts())
    except LookupError as error:
        show.verdict("the pods of the demo", wrong=f"{error.args[0] if error.args else error}")
        return
    for question in todo:
        await ask(cluster, show, question)


async def ask(cluster: Cluster, show: Show, question: Question) -> None:
    """Ask, again if the question allows it; print command, path and verdict."""
    place = cluster.layout.netns(question.asker)
    tried = 1
    answer = await send(place, question.argv)
    while (wrong := question.judge(answer)) and not answer.status and tried < question.tries:
        tried += 1
        answer = await send(place, question.argv)
    again = f"; asked {tried} times" if tried > 1 else ""
    show.verdict(
        question.title + again,
        wrong=wrong,
        command=shlex.join(netns.argv_in(place, question.argv)),
        lines=[] if wrong else [question.path(answer)],
    )


async def send(place: str, argv: tuple[str, ...]) -> Answer:
    """Run the command as it is printed; for curl, with flags that only say more about the answer."""
    is_curl = argv[0] == "curl"
    full = (argv[0], *CURL_FLAGS, *argv[1:]) if is_curl else argv
    # The machine's own proxy settings mean nothing in there.
    done = await netns.run(netns.argv_in(place, full), env={"NO_PROXY": "*", "no_proxy": "*"})
    return (parse_curl if is_curl else parse_datagram)(done.status, done.out, done.err)


async def explain(cluster: Cluster, show: Show) -> None:
    """The same path from the objects alone: what decided at each hop."""
    wanted = ["explain", "-f", str(cluster.layout.manifests), f"http://{SHOP_HOST}/cart/7"]
    done = await netns.run([sys.executable, "-m", "causeway", *wanted])
    show.verdict(
        "the whole path, explained",
        wrong="" if done.status == 0 else f"status {done.status}: {done.err.strip() or 'it is not complete'}",
        command=f"{cluster.wish.command} {shlex.join(wanted)}",
        lines=done.out.splitlines(),
    )


async def scale(cluster: Cluster, deployment: str, replicas: int) -> None:
    """Change the number in the manifest, as a person would, and wait until it is so."""
    path = cluster.layout.manifests / "shop.yaml"
    replace_file(path, set_replicas(path.read_text(), deployment, replicas).encode(), 0o644)
    try:
        await cluster.control.until_replicas("shop", deployment, replicas, SETTLE_LIMIT_S)
    except TimeoutError:
        raise NotThere(f"Deployment shop/{deployment} did not get to {replicas} pods in time") from None


async def scale_under_load(cluster: Cluster, show: Show) -> None:
    """More pods, fewer pods, while clients ask through the Ingress and through a NodePort all the time."""
    address = cluster.balancer_ip()
    keep_alive = Target(address, 80, SHOP_HOST, per_connection=50)
    through_ingress = Load(cluster.layout, keep_alive, workers=4, pause_s=0.01)
    through_node_port = Load(cluster.layout, Target(cluster.nodes[0].ip, NODE_PORT, "web"), workers=4, pause_s=0.01)
    before = len(cluster.control.of("shop", "web"))
    async with through_ingress, through_node_port:
        for replicas in SCALE_TO:
            with show.step(f"Deployment shop/web to {replicas} pods, under load"):
                await scale(cluster, "web", replicas)
                await asyncio.sleep(STEADY_S)
    tallies = (("through the Ingress", through_ingress.tally), ("through the NodePort", through_node_port.tally))
    for way, tally in tallies:
        pods = ", ".join(f"{pod} {count}" for pod, count in sorted(tally.pods.items()))
        wrong = f"{len(tally.failures)} failed: {tally.worst()}" if tally.failures else ""
        wrong = wrong or ("nobody answered at all" if not tally.answered else "")
        numbers = " -> ".join(str(each) for each in (before, *SCALE_TO))
        show.verdict(
            f"scaling {numbers} pods {way}: {tally.answered} requests answered, {len(tally.failures)} failed",
            wrong=wrong,
            lines=[f"by {pods}"],
        )


async def fail_over(cluster: Cluster, show: Show) -> None:
    """Stop the node that answers for the load-balancer address, and see how long clients notice."""
    address, old = cluster.balancer_ip(), await cluster.holder()
    if not old:
        show.verdict("fail-over of the load-balancer address", wrong=f"the router knows no node that has {address}")
        return
    loop = asyncio.get_running_loop()
    target = Target(address, 80, SHOP_HOST, limit_s=CLIENT_PATIENCE_S)
    async with Load(cluster.layout, target, workers=2, pause_s=0.02) as load:
        try:
            await wait_steady(load)
        except TimeoutError:
            show.verdict("fail-over of the load-balancer address", wrong=f"it does not answer: {load.tally.worst()}")
            return
        already = len(load.tally.failures)
        began = loop.time()
        with show.step(f"{old} holds {address}: its agent killed, its cable pulled out"):
            await cluster.stop_node(old)
        wrong = ""
        with show.step(f"clients keep asking {address}"):
            try:
                await wait_recovered(load, began)
            except TimeoutError:
                wrong = f"still failing after {GONE_LIMIT_S:g} s: {load.tally.worst()}"
    lost = [when for when, _ in load.tally.failures[already:]]
    dark = max(lost, default=began) + CLIENT_PATIENCE_S - began if lost else 0.0
    new = await cluster.holder()
    wrong = wrong or (f"the router still sends to {new or 'nobody'}" if new in ("", old) else "")
    show.verdict(
        f"the load-balancer address moves from {old} to {new or '?'}: clients without answer for {dark:.1f} s",
        wrong=wrong,
        lines=[f"{load.tally.answered} requests answered, {len(lost)} failed, none after the move"],
    )
    await come_back(cluster, show, old)


async def wait_steady(load: Load) -> None:
    async with asyncio.timeout(GONE_LIMIT_S):
        while load.tally.answered < STEADY_REQUESTS:  # noqa: ASYNC110  (counting is all there is to wait for)
            await asyncio.sleep(0.02)


async def wait_recovered(load: Load, began: float) -> None:
    """Until requests begun later than `began` have been answered for a while without a failure."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(GONE_LIMIT_S):
        while True:
            last_failure = max((when + CLIENT_PATIENCE_S for when, _ in load.tally.failures), default=0.0)
            quiet_since = max(last_failure, began + CLIENT_PATIENCE_S)
            if load.tally.last_good > quiet_since and loop.time() - quiet_since > GOOD_IN_A_ROW_S:
                return
            await asyncio.sleep(0.02)


async def come_back(cluster: Cluster, show: Show, name: str) -> None:
    """Start the stopped node again; its pods are as reachable as before."""
    with show.step(f"{name} plugged in and started again"):
        await cluster.start_node(name)
    pods = [pod for pod in cluster.pods() if pod.namespace == "shop"]
    back = next((pod for pod in pods if pod.node == name), None)
    other = next((pod for pod in pods if pod.node != name), None)
    if back is None or other is None:
        show.verdict(f"the pods of {name} are back", wrong="there is no pod to ask")
        return
    await ask(cluster, show, pod_to_pod(f"pods of {name} are reachable again", other, back))
