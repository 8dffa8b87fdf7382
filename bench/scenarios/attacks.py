"""Clients that mean harm, at bounded rates: what they send is the same whoever they send it to.

    python -m bench.scenarios.attacks NAME PORT HOST SECONDS

A program of its own, so that what it does takes no time of those who measure. It says "ready" and begins when it is
given a line.
"""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

TICK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Attack:
    """`count` connections. `first` is what each sends at once; `more` gives what each sends every tick after that,
    `reads` how many octets each reads then. A connection that is closed is made anew if it is to be `renewed`."""

    count: int
    first: Callable[[str], bytes]
    more: Callable[[str, int], bytes] = lambda host, tick: b""
    reads: int = 65536
    renewed: bool = False


def _get(host: str, path: str = "/", fields: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode()


def _post(host: str) -> bytes:
    return f"POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


ATTACKS = {
    "slow-heads": Attack(
        500, lambda host: b"GET / HTTP/1.1\r\nHost: " + host.encode(), lambda host, tick: b"a", renewed=True
    ),
    "slow-readers": Attack(500, lambda host: _get(host, "/1048576"), reads=800),
    "many-readers": Attack(500, lambda host: _get(host, "/1048576"), reads=0),
    "tiny-chunks": Attack(100, _post, lambda host, tick: b"1\r\nx\r\n" * 500),
    "large-heads": Attack(
        50, lambda host: _get(host, fields="".join(f"X-{n}: {'v' * 900}\r\n" for n in range(60))), renewed=True
    ),
    "many-fields": Attack(50, lambda host: _get(host, fields="a: b\r\n" * 2000), renewed=True),
    "pipelines": Attack(20, lambda host: b"", lambda host, tick: _get(host) * 100 * (tick % 20 == 0)),
    "pipelined-errors": Attack(
        20, lambda host: b"", lambda host, tick: _get("nobody.example.org") * 1000 * (tick % 20 == 0)
    ),
}


def attack(name: str, port: int, host: str, seconds: float) -> None:
    """Do it for so long."""
    chosen = ATTACKS[name]
    first = chosen.first(host)
    connections = [_connect(port, first) for _ in range(chosen.count)]
    for tick in _ticks(seconds):
        more = chosen.more(host, tick)
        for number, each in enumerate(connections):
            if not _turn(each, more, chosen.reads) and chosen.renewed:
                each.close()
                connections[number] = _connect(port, first)


def _connect(port: int, first: bytes) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    made.connect(("127.0.0.1", port))
    made.setblocking(False)
    _send(made, first)
    return made


def _send(connection: socket.socket, octets: bytes) -> bool:
    try:
        connection.send(octets)
    except BlockingIOError:
        pass
    except OSError:
        return False
    return True


def _turn(connection: socket.socket, more: bytes, reads: int) -> bool:
    """Whether it is still open."""
    try:
        if reads and not connection.recv(reads):
            return False
    except BlockingIOError:
        pass
    except OSError:
        return False
    return not more or _send(connection, more)


def _ticks(seconds: float) -> Iterator[int]:
    tick = 0
    due = time.monotonic()
    ends = due + seconds
    while due < ends:
        yield tick
        tick += 1
        due += TICK_SECONDS
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # those who measure come first
    print("ready", flush=True)
    sys.stdin.readline()
    attack(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
