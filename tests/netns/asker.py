"""Asks who has an address, on one interface: INTERFACE. Reads addresses, one a line; prints all MACs that answered.

For IPv4 an ARP request, for IPv6 a neighbour solicitation. It waits a little for a second answer: there must be none.
"""

import select
import socket
import sys
import time
from ipaddress import IPv6Address, ip_address

from lb.balancer import arp, ndp

WAIT_SECONDS = 0.25


def solicit(target: IPv6Address, mac: bytes, source: IPv6Address) -> bytes:
    group = ndp.solicited_node(target)
    body = ndp._NEIGHBOUR.pack(ndp.SOLICITATION, 0, 0, 0, target.packed) + bytes((1, 1)) + mac
    checksum = ndp._checksum(source.packed, group.packed, body)
    body = body[:2] + checksum.to_bytes(2, "big") + body[4:]
    head = ndp._IPV6.pack(6 << 28, len(body), ndp.ICMPV6, 255, source.packed, group.packed)
    return ndp._ETHERNET.pack(b"\x33\x33" + group.packed[-4:], mac, ndp.ETHERTYPE) + head + body


def answer_of(frame: bytes, address: object) -> bytes | None:
    found = arp.parse(frame)
    if found is not None and found[1].operation == arp.REPLY and found[1].sender_ip == address:
        # Gratuitous ones are no answers.
        return found[1].sender_mac if found[1].target_ip != address else None
    advertised = ndp.parse(frame)
    if isinstance(advertised, ndp.Advertisement) and advertised.target == address and frame[0] != 0x33:
        return advertised.mac
    return None


def main(interface: str, own_v4: str, own_v6: str) -> None:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    wire.bind((interface, 3))
    mac = wire.getsockname()[4]
    for line in sys.stdin:
        address = ip_address(line.strip())
        if address.version == 4:
            packet = arp.ArpPacket(arp.REQUEST, mac, ip_address(own_v4), b"\0" * 6, address)  # type: ignore[arg-type]
            wire.send(arp.build(arp.BROADCAST, packet))
        else:
            wire.send(solicit(address, mac, IPv6Address(own_v6)))
        until = time.monotonic() + WAIT_SECONDS
        found: list[str] = []
        while (left := until - time.monotonic()) > 0:
            if select.select([wire], [], [], left)[0]:
                answer = answer_of(wire.recv(2048), address)
                if answer is not None:
                    found.append(answer.hex(":"))
        print(" ".join(found), flush=True)


main(*sys.argv[1:])
