"""Kernel settings of the calling thread's network namespace (/proc/sys/net shows each thread its own)."""

from pathlib import Path

ROOT = Path("/proc/sys/net")


class SysctlRefused(Exception):
    """A setting that is needed could not be made."""


def has_ipv6() -> bool:
    """Whether this kernel has IPv6 at all (it may be booted with ipv6.disable=1)."""
    return (ROOT / "ipv6").is_dir()


def read(name: str) -> str:
    """The value of e.g. "ipv4/ip_forward"; "" if there is no such setting."""
    try:
        return (ROOT / name).read_text().strip()
    except FileNotFoundError:
        return ""


def ensure(name: str, value: str) -> bool:
    """Make the setting have this value; return whether it had another one. Raises SysctlRefused.

    Not written when it is right already: writing ip_forward resets other settings (ip-sysctl.rst), and in some
    containers /proc/sys is read-only but already right.
    """
    if read(name) == value:
        return False
    try:
        (ROOT / name).write_text(value)
    except OSError as error:
        setting = "net." + name.replace("/", ".")
        raise SysctlRefused(
            f"{setting} is {read(name) or 'absent'}, needs to be {value}, and cannot be set: {error.strerror}"
            " (run the agent as root, in a container privileged, with a writable /proc/sys)"
        ) from None
    return True
