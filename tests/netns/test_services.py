"""Services with real packets: every expectation, and what only a kernel can show."""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from tests.conftest import namespaces
from tests.lb.service.expectations import ENDPOINTS, LB1, NODE, NODE6, SCENES, SOURCES, SOURCES6, Scene
from tests.netns.service_lab import Lab, lab_of

pytestmark = pytest.mark.netns
LETTERS = {address: letter for letter, address in ENDPOINTS.items()}
NODE_ADDRESSES = (NODE, NODE6, "10.244.1.1", "fd44:0:0:1::1")
TRIES_MAX = 64
"""Of two endpoints one stays unseen in 64 draws once in 10^19 runs."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with namespaces() as make, lab_of(make) as made:
        yield made


def outcome_of(lab: Lab, protocol: str, source: str, address: str, port: int, wanted: str) -> str:
    """Ask until every endpoint of `wanted` has answered; what came of it, in the words of expectations.py."""
    ask = lab.ask_udp if protocol == "UDP" else lab.ask
    letters: set[str] = set()
    how: set[str] = set()
    client = (SOURCES6 if ":" in address else SOURCES)[source]
    for _ in range(TRIES_MAX):
        endpoint, peer = ask(source, address, port, silence=wanted == "DROP")
        if endpoint in ("REJECT", "DROP"):
            return endpoint
        letters.add(LETTERS[endpoint])
        if source in "NV" and peer in NODE_ADDRESSES:
            how.add(wanted[-1])  # the node's own address is what masquerading gives, too
        else:
            how.add("u" if peer == client else "m")
        if letters >= set(wanted.split()[0]):
            break
    return f"{''.join(sorted(letters))} {''.join(sorted(how))}"


@pytest.mark.parametrize("scene", SCENES, ids=[scene.name.replace(" ", "_") for scene in SCENES])
async def test_expectations(lab: Lab, scene: Scene) -> None:
    if scene.protocol == "SCTP":
        pytest.skip("the kernel here has no SCTP sockets; the rules are the same three fields")
    lab.with_options(**scene.options)
    await lab.have(*scene.objects)
    for number, source, address, port, wanted in scene.checks:
        if wanted == "-":
            continue
        with lab.owning(LB1) if source == "V" else contextlib.nullcontext():
            came = await asyncio.to_thread(outcome_of, lab, scene.protocol, source, address, port, wanted)
        assert came == wanted, f"expectation {number}: {source} to {address}:{port}"
