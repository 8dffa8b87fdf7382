"""Which nodes answer: an ICMP echo to each from the router, ten a second.

Stands for the kubelets' leases and the node lifecycle controller, which take 40 s to say the same.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence

from causeway.demo import netns
from causeway.demo.topology import NodePlace

PERIOD_S = 0.1
SILENCE_S = 0.5
ECHO_REQUEST = 8


async def watch_nodes(router: str, nodes: Sequence[NodePlace], tell: Callable[[str, bool], Awaitable[None]]) -> None:
    """Call `tell(node, answers)` for every node again and again, until cancelled. `router`: a namespace."""
    netns.set_sysctl(router, "net/ipv4/ping_group_range", "0 0")
    loop = asyncio.get_running_loop()
    names = {node.ip: node.name for node in nodes}
    heard = dict.fromkeys(names.values(), loop.time())
    with contextlib.closing(netns.open_socket(router, netns.DATAGRAM, socket.IPPROTO_ICMP)) as pings:

        def receive() -> None:
            with contextlib.suppress(OSError):  # also "no route to host" of an earlier ping
                while True:
                    _, sender = pings.recvfrom(512)
                    heard[names.get(sender[0], "")] = loop.time()

        loop.add_reader(pings, receive)
        try:
            while True:
                for ip in names:
                    with contextlib.suppress(OSError):
                        pings.sendto(struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, 0, 0), (ip, 0))
                await asyncio.sleep(PERIOD_S)
                for name in names.values():
                    await tell(name, loop.time() - heard[name] < SILENCE_S)
        finally:
            loop.remove_reader(pings)
