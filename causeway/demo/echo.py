"""The program in the demo's pods: answers HTTP and UDP with who it is and whom it saw.

Run as a file with `python -S -E`, so that a pod is up in some 20 ms: nothing but a little of the standard library.
On SIGTERM it stops listening and lets running requests finish, saying `Connection: close`, as a server in a pod should.

    echo.py [--http ADDRESS:PORT]... [--udp ADDRESS:PORT]... [--neighbour PATH=ADDRESS:PORT]...

With --neighbour, a request for PATH is answered by whoever listens there: another container of the same pod, say.
"""

import os
import signal
import socket
import sys
import threading

HEAD_LIMIT_BYTES = 65536
IDLE_LIMIT_S = 60.0
LEAVE_LIMIT_S = 5.0


neighbours: dict[str, tuple[str, int]] = {}
"""Path -> who is asked for it."""


class Connections:
    """Those that are open, and which of them are in the middle of a request."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.idle: set[socket.socket] = set()
        self.busy: set[socket.socket] = set()
        self.leaving = False

    def set_busy(self, connection: socket.socket) -> None:
        with self.lock:
            self.idle.discard(connection)
            self.busy.add(connection)

    def set_idle(self, connection: socket.socket) -> bool:
        """False when the connection should close instead, because the server is leaving."""
        with self.lock:
            self.busy.discard(connection)
            if self.leaving:
                self.lock.notify_all()
                return False
            self.idle.add(connection)
            return True

    def closed(self, connection: socket.socket) -> None:
        with self.lock:
            self.idle.discard(connection)
            self.busy.discard(connection)
            self.lock.notify_all()

    def leave(self) -> None:
        with self.lock:
            self.leaving = True
            for connection in self.idle:
                shut(connection)
            self.lock.wait_for(lambda: not self.busy, LEAVE_LIMIT_S)


def shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the other side was quicker


def quote(text: str) -> str:
    """A JSON string; importing json would cost as much time as all the rest."""
    kept = "".join(c if c not in '"\\' and " " <= c <= "~" else f"\\u{ord(c) & 0xFFFF:04x}" for c in text)
    return f'"{kept}"'


def describe(peer: tuple[str, int], local: tuple[str, int], more: dict[str, str]) -> bytes:
    said = {
        "pod": os.environ.get("POD_NAME", ""),
        "container": os.environ.get("CONTAINER_NAME", ""),
        "node": os.environ.get("NODE_NAME", ""),
        "peer": f"{peer[0]}:{peer[1]}",
        "local": f"{local[0]}:{local[1]}",
        **more,
    }
    return ("{" + ", ".join(f"{quote(key)}: {quote(value)}" for key, value in said.items()) + "}\n").encode()


def parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Method, path and fields (names in lower case) of a request head. Raises ValueError when it is none."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, version = first.split(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(version)
    fields = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            fields[name.strip().lower()] = value.strip()
    return method, path, fields


def answer(connection: socket.socket, peer: tuple[str, int], head: bytes, leaving: bool) -> bool:
    """Answer one request; False when the connection closes after it."""
    try:
        method, path, fields = parse_head(head)
    except ValueError:
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return False
    more = {"method": method, "host": fields.get("host", ""), "path": path}
    if "x-forwarded-for" in fields:
        more["forwarded-for"] = fields["x-forwarded-for"]
    body = ask(neighbours[path], path) if path in neighbours else describe(peer, connection.getsockname()[:2], more)
    close = leaving or fields.get("connection", "").lower() == "close"
    reply = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        + b"Content-Length: %d\r\n" % len(body)
        + (b"Connection: close\r\n" if close else b"")
        + b"\r\n"
    )
    connection.sendall(reply if method == "HEAD" else reply + body)
    return not close


def ask(neighbour: tuple[str, int], path: str) -> bytes:
    """The body of a neighbour's answer. Raises OSError when there is none."""
    with socket.create_connection(neighbour, timeout=IDLE_LIMIT_S) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {neighbour[0]}\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return received.partition(b"\r\n\r\n")[2]


def serve_connection(connection: socket.socket, peer: tuple[str, int], open_ones: Connections) -> None:
    received = b""
    connection.settimeout(IDLE_LIMIT_S)
    try:
        while True:
            if not received and not open_ones.set_idle(connection):
                return
            while b"\r\n\r\n" not in received:
                piece = connection.recv(65536)
                if not piece or len(received) > HEAD_LIMIT_BYTES:
                    return
                open_ones.set_busy(connection)
                received += piece
            head, _, received = received.partition(b"\r\n\r\n")
            left = body_length(head)
            while left > len(received):  # the body is read and dropped
                left -= len(received)
                received = connection.recv(65536)
                if not received:
                    return
            received = received[left:]
            if not answer(connection, peer, head, open_ones.leaving):
                return
    except OSError:
        return  # a client that leaves half-way is its own business
    finally:
        open_ones.closed(connection)
        connection.close()


def body_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return int(value)
    return 0


def serve_http(listener: socket.socket, open_ones: Connections) -> None:
    while True:
        try:
            connection, peer = listener.accept()
        except OSError:
            return  # closed: the server is leaving
        with open_ones.lock:
            open_ones.busy.add(connection)
        threading.Thread(target=serve_connection, args=(connection, peer[:2], open_ones), daemon=True).start()


def serve_udp(listener: socket.socket, _: Connections) -> None:
    while True:
        try:
            said, peer = listener.recvfrom(2048)
        except OSError:
            return
        more = {"said": said.decode("latin-1")}
        listener.sendto(describe(peer[:2], listener.getsockname()[:2], more), peer)


def listen(kind: int, where: str) -> socket.socket:
    address, _, port = where.rpartition(":")
    listener = socket.socket(socket.AF_INET, kind)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, int(port)))
    if kind == socket.SOCK_STREAM:
        listener.listen(1024)
    return listener


def main(argv: list[str]) -> int:
    open_ones = Connections()
    listeners = []
    for flag, where in zip(argv[::2], argv[1::2], strict=True):
        if flag == "--neighbour":
            path, _, address = where.partition("=")
            neighbours[path] = (address.rpartition(":")[0], int(address.rpartition(":")[2]))
            continue
        if flag not in ("--http", "--udp"):
            print(__doc__, file=sys.stderr)
            return 2
        listeners.append(listen(socket.SOCK_STREAM if flag == "--http" else socket.SOCK_DGRAM, where))
    # Only once all are there: whoever gets an answer from one may count on the others.
    for listener in listeners:
        run = serve_udp if listener.type == socket.SOCK_DGRAM else serve_http
        threading.Thread(target=run, args=(listener, open_ones), daemon=True).start()
    # Blocked in every thread but waited for here: a thread never sees a signal half-way through a request.
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    for listener in listeners:
        shut(listener)  # wakes the thread in accept(), which close() alone would not
        listener.close()
    open_ones.leave()
    return 0


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    sys.exit(main(sys.argv[1:]))
