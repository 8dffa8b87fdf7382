"""A server for tests: TCP and UDP on one port, both families; answers each peer with the address it sees."""

import selectors
import socket
import sys


def main(port: int) -> None:
    tcp = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    udp.bind(("::", port))
    print("ready", flush=True)
    wait = selectors.DefaultSelector()
    wait.register(tcp, selectors.EVENT_READ)
    wait.register(udp, selectors.EVENT_READ)
    while True:
        for key, _ in wait.select():
            if key.fileobj is tcp:
                connection, peer = tcp.accept()
                connection.sendall(shown(peer[0]))
                connection.close()
            else:
                _, ancillary, _, peer = udp.recvmsg(2048, 100)
                # Answer from the address that was asked: a node has several.
                udp.sendmsg(
                    [shown(peer[0])], [(level, kind, data[:16] + bytes(4)) for level, kind, data in ancillary], 0, peer
                )


def shown(address: str) -> bytes:
    return address.removeprefix("::ffff:").encode()


if __name__ == "__main__":
    main(int(sys.argv[1]))
