"""What the responder makes of another machine's claims; what it sends is in tests/netns/test_announce.py."""

import asyncio
import ipaddress

import pytest

from lb.balancer.responder import Responder

HANDED_OVER, STOLEN = ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("192.0.2.2")


async def test_a_hand_over_is_no_conflict(caplog: pytest.LogCaptureFixture) -> None:
    """The next holder may hear of a change, and speak, before we hear of it."""
    told = asyncio.Event()
    responder = Responder(lambda: (), on_change=told.set)
    responder.addresses = frozenset((HANDED_OVER, STOLEN))
    for address in (HANDED_OVER, STOLEN):
        responder.claimed_elsewhere(address, bytes(6))
    responder.set_addresses({STOLEN})
    async with asyncio.timeout(10):
        await told.wait()
    assert responder.conflicts == 1
    assert [str(STOLEN) in each.message for each in caplog.records] == [True]
