"""A client for tests: ask peer_server.py which address it sees. Arguments: tcp|udp ADDRESS PORT."""

import socket
import sys


def main(protocol: str, address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(family, kind) as client:
        client.settimeout(3)
        client.connect((address, port))
        if protocol == "udp":
            client.send(b"who am I")
        print(client.recv(100).decode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
