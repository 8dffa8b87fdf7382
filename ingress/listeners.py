"""The addresses we listen on: reading them from flags, and binding them or taking them over.

Each listener has one socket per worker (SO_REUSEPORT: the kernel spreads connections over them). The supervisor keeps
all of them open, so that the connections queued at a worker that dies wait for the one that takes its place.
A socket that systemd has opened is shared by all workers if no others can be bound beside it.
"""

import errno
import ipaddress
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

BACKLOG = 4096
"""Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn."""


PASSED = "systemd"
SERVICE = "TCP service"
"""In place of a flag, for a port that a ConfigMap asks for."""


class BadAddress(ValueError):
    """The text is not an address; the message says what to write."""


class CannotListen(Exception):
    """The address cannot be had; the message names the flag and says what to do."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address as a flag has it. An empty host means all addresses of the machine."""

    host: str
    port: int
    passed: str | None = None
    """A socket opened by systemd: its name or port, "" for every one that no other flag names."""

    def __str__(self) -> str:
        if self.passed is not None:
            return f"{PASSED}:{self.passed}" if self.passed else PASSED
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_listening(text: str) -> Address:
    """Read "systemd", "systemd:NAME", "systemd:PORT", or what `read_address` reads. Raises BadAddress."""
    word, colon, passed = text.partition(":")
    if word != PASSED:
        return read_address(text)
    if colon and not passed:
        raise BadAddress(f'"{text}" names no socket; write systemd:NAME (FileDescriptorName=), systemd:PORT or systemd')
    return Address("", 0, passed)


def read_address(text: str) -> Address:
    """Read "127.0.0.1:8080", "[::1]:8080", "localhost:8080", ":8080" or "8080"."""
    if "://" in text:
        raise BadAddress(f'"{text}": leave out {text.partition("://")[0]}://, write ADDRESS:PORT')
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        _check_ipv6(text, host)
    elif ":" in host:
        raise BadAddress(f'"{text}": write an IPv6 address in brackets, as in [::1]:8080')
    elif not colon and not text.isdigit():
        raise BadAddress(f'"{text}" has no port; write ADDRESS:PORT, as in 127.0.0.1:8080, [::1]:8080 or :8080')
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise BadAddress(f'"{text}": "{port}" is not a port; use 0 to 65535')
    return Address("" if host == "*" else host, int(port))


def read_range(text: str) -> str:
    """Read "10.0.0.0/8", "2001:db8::/32" or one address."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise BadAddress(f"{error}; write a range as in 10.0.0.0/8 or 2001:db8::/32") from None


def _check_ipv6(text: str, host: str) -> None:
    try:
        ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        raise BadAddress(f'"{text}": {host} is not an IPv6 address') from None


@dataclass(slots=True)
class Listener:
    """One bound address: a socket per worker."""

    flag: str
    tls: bool
    address: Address
    sockets: list[socket.socket] = field(default_factory=list)
    asked: str = ""
    """The flag as it was written, by which the next supervisor finds it again."""
    shared: bool = False
    """There can be no more sockets than these: workers share them."""
    told: int = 0
    """The port by which clients have come, for endpoints and redirects; 0: this one."""

    def of_slot(self, slot: int, slots: int) -> list[socket.socket]:
        """The sockets that the worker in one of `slots` places accepts on."""
        return self.sockets[slot::slots] or [self.sockets[slot % len(self.sockets)]]

    @property
    def port(self) -> int:
        return int(self.sockets[0].getsockname()[1])

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{Address(self.address.host, self.port)}"

    def close(self) -> None:
        for each in self.sockets:
            each.close()


def open_listeners(
    wanted: Sequence[tuple[str, bool, Address]],
    workers: int,
    *,
    handed: Sequence[Listener] = (),
    passed: Sequence[tuple[str, socket.socket]] = (),
    others: Sequence[Listener] = (),
    beside: bool = False,
) -> list[Listener]:
    """Bind and listen on every (flag, tls, address), with a socket for each worker.

    handed: what a supervisor before us listens on; passed: what systemd has opened, by name; others: what is open
    already; beside: another process of ours may listen on the same.
    Raises CannotListen; nothing stays open then.
    """
    opened: list[Listener] = []
    left, unclaimed = list(handed), list(passed)
    named = {address.passed for _, _, address in wanted if address.passed}
    try:
        for flag, tls, address in wanted:
            asked = _asked(flag, address, opened)
            found = [each for each in left if each.asked == asked]
            if found:
                left = [each for each in left if each not in found]
            elif address.passed is not None:
                found, unclaimed = _claim(flag, tls, address, unclaimed, named)
            else:
                _check_not_ours(flag, address, [*others, *opened])
                found = _open(flag, tls, address, workers=workers, beside=beside)
            for listener in found:
                listener.asked = asked
                _fill(listener, workers)
            opened += found
    except BaseException:
        for listener in (*opened, *left):
            listener.close()
        raise
    for listener in left:
        listener.close()
    for _, each in unclaimed:
        each.close()
    return opened


def _asked(flag: str, address: Address, opened: Sequence[Listener]) -> str:
    """The same text twice is possible with port 0 only."""
    text = f"{flag} {address}"
    before = len({each.asked for each in opened if each.asked.split("#")[0] == text})
    return f"{text}#{before}" if before else text


def _claim(
    flag: str, tls: bool, address: Address, passed: Sequence[tuple[str, socket.socket]], named: Collection[str]
) -> tuple[list[Listener], list[tuple[str, socket.socket]]]:
    """The sockets of systemd that a flag means, and those it leaves to others."""
    mine, others = [], []
    for name, each in passed:
        names = {name, str(_port_of(each))}
        if address.passed in names or (not address.passed and not names & set(named)):
            mine.append(_adopt(flag, tls, each))
        else:
            others.append((name, each))
    if not mine:
        there = ", ".join(f"{name} ({_port_of(each)})" for name, each in passed) or "none, LISTEN_FDS is not for us"
        raise CannotListen(f"{flag} {address}: systemd passed no such socket (there is: {there}); see deploy/systemd")
    return mine, others


def _port_of(found: socket.socket) -> int:
    return int(found.getsockname()[1]) if found.family in (socket.AF_INET, socket.AF_INET6) else 0


def _adopt(flag: str, tls: bool, found: socket.socket) -> Listener:
    listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if found.family not in (socket.AF_INET, socket.AF_INET6) or found.type != socket.SOCK_STREAM or not listens:
        raise CannotListen(f"{flag}: the socket from systemd is no listening TCP socket; use ListenStream=PORT")
    # More can be bound beside it only if it was bound so (ReusePort=yes), and by the user we run as.
    alone = not found.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
    return Listener(flag, tls, Address(*found.getsockname()[:2]), [found], shared=alone)


def _fill(listener: Listener, workers: int) -> None:
    """A socket for each worker, if there can be."""
    family = listener.sockets[0].family
    while len(listener.sockets) < workers and not listener.shared:
        try:
            listener.sockets.append(_bind(family, listener.address.host, listener.port, first=False))
        except OSError:
            listener.shared = True


def _check_not_ours(flag: str, address: Address, opened: Sequence[Listener]) -> None:
    """Say so plainly when two flags want the same port; else the second would blame another program."""
    for listener in opened:
        same = address.host in (listener.address.host, "") or listener.address.host in ("0.0.0.0", "::")
        if address.port and listener.port == address.port and same:
            raise CannotListen(f"{flag} {address}: {listener.flag} listens there already; choose another port")


def open_admin(
    flag: str, address: Address, passed: Sequence[tuple[str, socket.socket]] = (), *, shared: bool = False
) -> socket.socket:
    """One listening socket for operators. `shared`: another process of ours may have it, too. Raises CannotListen."""
    if address.passed is not None:
        (found, *_), _ = _claim(flag, False, address, passed, ())
        return found.sockets[0]
    family, host = _families(flag, address)[0]
    try:
        return _bind(family, host, address.port, first=not shared)
    except OSError as error:
        raise CannotListen(_advice(flag, address, error)) from None


def _open(flag: str, tls: bool, address: Address, *, workers: int, beside: bool) -> list[Listener]:
    """All addresses means two listeners: IPv4 clients keep their plain address in forwarded fields and logs."""
    port, opened = address.port, list[Listener]()
    for family, host in _families(flag, address):
        listener = Listener(flag, tls, Address(host, port))
        try:
            for _ in range(workers):
                listener.sockets.append(_bind(family, host, port, first=not listener.sockets and not beside))
                port = listener.port
        except OSError as error:
            listener.close()
            if not address.host and family == socket.AF_INET6 and error.errno != errno.EADDRINUSE:
                continue  # a machine without IPv6
            for each in opened:
                each.close()
            raise CannotListen(_advice(flag, address, error)) from None
        opened.append(listener)
    return opened


def _families(flag: str, address: Address) -> list[tuple[socket.AddressFamily, str]]:
    if not address.host:
        return [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(f"{flag} {address}: {address.host} is not known ({error.strerror})") from None
    every = list(dict.fromkeys((socket.AddressFamily(family), str(where[0])) for family, _, _, _, where in found))
    return every[:1] if address.port == 0 else every


def _bind(family: socket.AddressFamily, host: str, port: int, *, first: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not first:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((host, port))
        if first:
            # Only now: bound with it, a second `causeway serve` would silently share the port with the first.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.listen(BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def _advice(flag: str, address: Address, error: OSError) -> str:
    what = f"{flag} {address}"
    if error.errno == errno.EADDRINUSE:
        look = f"ss -ltnp 'sport = :{address.port}'"
        return f"{what}: another program listens there (see {look}); stop it or choose another port"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            f"{what}: not allowed; ports below 1024 need root or CAP_NET_BIND_SERVICE. "
            f"Choose a higher port: {flag} {Address(address.host, address.port + 8000)}"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{what}: this machine has no such address (see ip address); use :{address.port} for all of them"
    return f"{what}: {error.strerror}"
