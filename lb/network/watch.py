"""Tells when the uplink has changed: the kernel drops routes with a link that goes down, and nobody else brings them
back. Looked at here are only events of that one interface; everything else is left to the regular full pass.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator

# linux/rtnetlink.h
_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR, _RTMGRP_IPV6_IFADDR = 0x1, 0x10, 0x100
_RTM_NEWLINK, _RTM_DELLINK, _RTM_NEWADDR, _RTM_DELADDR = 16, 17, 20, 21
_UP_AND_RUNNING = 0x1 | 0x40  # net/if.h

_HEADER = struct.Struct("=LHHLL")  # struct nlmsghdr
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_ADDRESS = struct.Struct("=BBBBi")  # struct ifaddrmsg

Event = tuple[int, int, int]
"""(message type, interface index, its flags; 0 for addresses)"""


def events_in(received: bytes) -> Iterator[Event]:
    """The link and address events of one datagram. A cut one ends the list."""
    place = 0
    while place + _HEADER.size <= len(received):
        length, kind, _, _, _ = _HEADER.unpack_from(received, place)
        body = place + _HEADER.size
        if length < _HEADER.size or place + length > len(received):
            return
        if kind in (_RTM_NEWLINK, _RTM_DELLINK) and length >= _HEADER.size + _LINK.size:
            _, _, index, flags, _ = _LINK.unpack_from(received, body)
            yield kind, index, flags
        elif kind in (_RTM_NEWADDR, _RTM_DELADDR) and length >= _HEADER.size + _ADDRESS.size:
            yield kind, _ADDRESS.unpack_from(received, body)[4], 0
        place += (length + 3) & ~3


class UplinkChanges:
    """Which events say that the uplink is not what it was. Pods come and go on other interfaces all the time."""

    def __init__(self) -> None:
        self._running: bool | None = None

    def matters(self, event: Event, uplink: int) -> bool:
        kind, index, flags = event
        if index != uplink:
            return False
        if kind == _RTM_NEWLINK:
            running = flags & _UP_AND_RUNNING == _UP_AND_RUNNING
            before, self._running = self._running, running
            return before is not None and running != before
        return True


async def uplink_changes(uplink: Callable[[], str], settle_seconds: float = 0.2) -> AsyncIterator[None]:
    """Yield after each change of the interface whose name `uplink` returns ("": not known yet), settled."""
    loop = asyncio.get_running_loop()
    changes = UplinkChanges()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.setblocking(False)
        netlink.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR))
        while True:
            try:
                received = await loop.sock_recv(netlink, 65536)
                index = _index(uplink())
                # All of them are looked at, for the state they leave.
                judged = [changes.matters(each, index) for each in events_in(received)]
                matters = any(judged)
            except OSError:  # ENOBUFS: events were lost, perhaps ours
                matters = True
            if matters:
                await asyncio.sleep(settle_seconds)
                yield


def _index(name: str) -> int:
    """0, which no interface has, if there is none of this name."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0
