"""The netlink socket to nf_tables and to the connection table of the network namespace it is opened in. Shell.

Blocking on purpose: one endpoint's change takes 0.1 ms. The caller puts large transactions into a thread.
"""

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence

from lb.nftables.attributes import parsed, string_of
from lb.nftables.expressions import Family
from lb.nftables.messages import (
    Kind,
    Message,
    Transaction,
    batch,
    element_at,
    elements_in,
    packet,
    query,
    table_comment,
)

_NETLINK_NETFILTER = 12
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_ERROR, _DONE = 2, 3
_DUMP, _ACK, _DUMP_INTERRUPTED = 0x300, 0x4, 0x10
_DUMP_TRIES_MAX = 20
_BAD_ATTRIBUTE_OFFSET, _ERROR_TEXT = 2, 1
_ANSWER_SECONDS_MAX = 120.0
"""Loading 30,000 Services takes two seconds; a kernel that is silent for two minutes will not answer."""


class NetfilterError(OSError):
    """The kernel refused a message; `about` says which, `element` the key of the element concerned, if it is one."""

    def __init__(self, number: int, about: str, element: bytes | None = None, said: str = "") -> None:
        which = f", element {element.hex()}" if element else ""
        more = f" ({said})" if said else ""
        super().__init__(number, f"nf_tables refused {about}{which}: {os.strerror(number)}{more}")
        self.about = about
        self.element = element


class NetfilterSocket:
    """Use from one thread at a time. Needs CAP_NET_ADMIN: PermissionError without."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        self._socket.settimeout(_ANSWER_SECONDS_MAX)
        self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._sequence = 0
        self._send_bytes = 0
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 16 << 20)
        except PermissionError:
            self._socket.close()
            raise PermissionError(errno.EPERM, "changing nf_tables needs root (CAP_NET_ADMIN)") from None

    def close(self) -> None:
        self._socket.close()

    def commit(self, transactions: Sequence[Transaction]) -> None:
        """Apply everything or nothing. Raises NetfilterError."""
        messages = [message for each in transactions for message in each.messages]
        if not messages:
            return
        first = self._sequence + 1
        self._sequence = first + len(messages) + 1
        self._send(batch(messages, first))
        acknowledged = first + len(messages)
        for kind, _, sequence, payload in self._answers(first):
            if kind != _ERROR:
                continue
            number, said, offset = _error_of(payload)
            index = sequence - first - 1
            if number and 0 <= index < len(messages):
                raise NetfilterError(number, messages[index].about, element_at(messages[index], offset), said)
            if number:
                raise NetfilterError(number, "the transaction", None, said)
            if sequence == acknowledged:
                return

    def table(self, family: Family, name: str) -> str | None:
        """The comment of a table ("" without one), None if there is no such table."""
        try:
            answer = self._ask(query(Kind.GETTABLE, family, name), _ACK)
        except NetfilterError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return table_comment(answer[0]) if answer else None

    def chains(self, family: Family, table: str) -> set[str]:
        """The names of a table's chains."""
        found = set()
        for body in self._ask(query(Kind.GETCHAIN, family, table), _DUMP):
            parts = parsed(body)
            if string_of(parts[1]) == table:
                found.add(string_of(parts[3]))
        return found

    def elements(self, family: Family, table: str, name: str) -> list[tuple[bytes, bytes, bytes]]:
        """Key, data and last key of all elements of a set; see messages.elements_in."""
        found: list[tuple[bytes, bytes, bytes]] = []
        for body in self._ask(query(Kind.GETSETELEM, family, table, name), _DUMP):
            found += elements_in(body)
        return found

    def ask(self, packed: bytes, about: str) -> list[bytes]:
        """Send one framed message whose number is `next_sequence`; the bodies of the answers.

        Raises NetfilterError; with EINTR if the tables changed underneath, so that the answer may be incomplete.
        """
        sequence = self._sequence
        interrupted = False
        bodies: list[bytes] = []
        self._send(packed)
        for kind, flags, got, payload in self._answers(sequence):
            if got != sequence:
                continue
            interrupted |= bool(flags & _DUMP_INTERRUPTED)
            if kind not in (_DONE, _ERROR):
                bodies.append(payload[4:])
                continue
            number, said, _ = _error_of(payload) if kind == _ERROR else (0, "", 0)
            if number or interrupted:
                raise NetfilterError(number or errno.EINTR, about, None, said)
            break
        return bodies

    def next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    def _ask(self, message: Message, flags: int) -> list[bytes]:
        for _ in range(_DUMP_TRIES_MAX):
            framed = packet(message, self.next_sequence(), more_flags=flags)
            try:
                return self.ask(framed, message.about)
            except NetfilterError as error:
                if error.errno != errno.EINTR:
                    raise
        raise NetfilterError(errno.EINTR, message.about, None, f"it changed during each of {_DUMP_TRIES_MAX} dumps")

    def _send(self, data: bytes) -> None:
        if len(data) > self._send_bytes:
            # A transaction goes out as one message; twice its size, for the kernel counts its own overhead.
            self._send_bytes = max(2 * len(data), 1 << 20)
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, self._send_bytes)
        self._socket.send(data)

    def _answers(self, sequence: int) -> Iterator[tuple[int, int, int, bytes]]:
        """Type, flags, number and payload of messages that answer `sequence` or a later one, as long as they come."""
        while True:
            received = self._socket.recv(1 << 20)
            at = 0
            while at + 16 <= len(received):
                length, kind, flags, number, _ = struct.unpack_from("=IHHII", received, at)
                if number >= sequence:
                    yield kind, flags, number, received[at + 16 : at + length]
                at += (length + 3) & ~3


def _error_of(payload: bytes) -> tuple[int, str, int]:
    """errno (0: acknowledged), the kernel's own words, and the offset of what it objects to (0: unknown)."""
    number = -struct.unpack_from("=i", payload)[0]
    # After the number comes the header of the refused message, and with CAP_ACK nothing of its body.
    extra = parsed(payload[20:])
    said = string_of(extra.get(_ERROR_TEXT, b""))
    offset = int.from_bytes(extra[_BAD_ATTRIBUTE_OFFSET], sys.byteorder) if _BAD_ATTRIBUTE_OFFSET in extra else 0
    return number, said, offset
