"""The plugin `loopback` of Causeway: brings the interface lo of a container up.

containerd calls a plugin of this name for every Pod, before any configuration, and starts none without it. The agent
puts this file beside the plugin where nobody has installed another one; like that one it needs nothing but the standard
library, and it asks nobody. Source: CNI specification 1.1.0; netdevice(7) for the flags.
"""

import ctypes
import fcntl
import json
import os
import socket
import struct
import sys

VERSIONS = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]
ENVIRONMENT, INPUT_OUTPUT, UNDECODABLE = 4, 5, 6

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
IFREQ = struct.Struct("16sH22x")


def main() -> int:
    """Answer one call; the exit status."""
    command = os.environ.get("CNI_COMMAND", "")
    if command == "VERSION":
        return say({"cniVersion": VERSIONS[-1], "supportedVersions": VERSIONS})
    try:
        config = json.loads(sys.stdin.buffer.read())
        version, previous = config.get("cniVersion") or VERSIONS[0], config.get("prevResult")
    except (ValueError, AttributeError) as error:
        return fail(VERSIONS[-1], UNDECODABLE, f"the network configuration on standard input cannot be read: {error}")
    if command not in ("ADD", "CHECK"):
        return 0  # DEL, GC, STATUS: lo goes with its namespace
    namespace = os.environ.get("CNI_NETNS", "")
    if not namespace:
        return fail(version, ENVIRONMENT, "required environment variables missing: CNI_NETNS")
    try:
        bring_up(namespace)
    except OSError as error:
        return fail(version, INPUT_OUTPUT, f"lo of {namespace} cannot be brought up: {error.strerror}")
    if command == "CHECK":
        return 0
    lo = {"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": namespace}
    return say(previous or {"cniVersion": version, "interfaces": [lo], "dns": {}})


def bring_up(namespace: str) -> None:
    """Raises OSError. This process stays in the namespace: it ends after this."""
    with open(namespace, "rb") as opened:
        if ctypes.CDLL(None, use_errno=True).setns(opened.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kernel:
        name, flags = IFREQ.unpack(fcntl.ioctl(kernel, SIOCGIFFLAGS, IFREQ.pack(b"lo", 0)))
        if not flags & IFF_UP:
            fcntl.ioctl(kernel, SIOCSIFFLAGS, IFREQ.pack(name, flags | IFF_UP))


def fail(version: str, code: int, message: str) -> int:
    say({"cniVersion": version, "code": code, "msg": message, "details": ""})
    return 1


def say(what: "dict[str, object]") -> int:
    sys.stdout.write(json.dumps(what) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
