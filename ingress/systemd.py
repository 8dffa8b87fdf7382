"""What systemd gives and wants: sockets it has opened (sd_listen_fds(3)) and news of our state (sd_notify(3))."""

import logging
import os
import socket
import time
from collections.abc import Iterator

log = logging.getLogger(__name__)

FIRST_FD = 3


def passed_sockets() -> list[tuple[str, socket.socket]]:
    """(name, socket) of every socket passed to this process; at once the variables are taken out."""
    found = {name: os.environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
    if found["LISTEN_PID"] != str(os.getpid()) or not found["LISTEN_FDS"].isdigit():
        return []
    count = int(found["LISTEN_FDS"])
    names = found["LISTEN_FDNAMES"].split(":") if found["LISTEN_FDNAMES"] else []
    return list(_open(count, names))


def _open(count: int, names: list[str]) -> Iterator[tuple[str, socket.socket]]:
    for number in range(count):
        fd = FIRST_FD + number
        try:
            os.set_inheritable(fd, False)
            made = socket.socket(fileno=fd)
        except OSError:
            log.warning("descriptor %d that systemd passed is no socket; it is left alone", fd)
            continue
        made.setblocking(False)
        yield names[number] if number < len(names) else "unknown", made


def notify(**fields: str | int) -> None:
    """Tell the service manager, if there is one: notify(READY=1, STATUS="serving")."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    text = "\n".join(f"{name}={value}" for name, value in fields.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.sendto(text.encode(), "\0" + path[1:] if path.startswith("@") else path)
    except OSError as error:
        log.warning("%s (NOTIFY_SOCKET) cannot be told: %s", path, error.strerror)


def notify_reloading() -> None:
    """Followed by notify(READY=1) when it is done."""
    notify(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)
