"""rtnetlink on threads, in this namespace or another one.

A netlink socket belongs to the namespace its thread was in when it was made, so work for a pod runs on a thread of its
own that enters the pod's namespace and ends with it: no thread that has been elsewhere is ever used again.
"""

import asyncio
import ctypes
import fcntl
import os
import threading
from collections.abc import Callable
from typing import TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

__all__ = ["IPRoute", "NetlinkError", "NoSuchNamespace", "in_namespace", "index_of", "is_own_namespace", "on_thread"]

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
NS_GET_NSTYPE = 0xB703  # ioctl_nsfs(2)
_libc = ctypes.CDLL(None, use_errno=True)


class NoSuchNamespace(Exception):
    """The path given for a network namespace does not lead to one."""


async def on_thread(work: Callable[[IPRoute], T]) -> T:
    """Run blocking netlink work in the agent's own namespace, off the loop."""

    def run() -> T:
        with IPRoute() as netlink:
            return work(netlink)

    return await asyncio.to_thread(run)


def in_namespace(path: str, work: Callable[[IPRoute], T]) -> T:
    """Run work in the network namespace at `path` and wait for it. /proc/sys/net is that namespace's meanwhile."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            enter(path)
            with IPRoute() as netlink:
                results.append(work(netlink))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name=f"in {path}", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def enter(path: str) -> None:
    """Move the calling thread into a network namespace. Raises NoSuchNamespace."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NoSuchNamespace(f"{path}: {error.strerror}") from None
    try:
        # os.setns is there from Python 3.12 on.
        if _libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise NoSuchNamespace(f"{path} is not a network namespace: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(descriptor)


def is_own_namespace(path: str) -> bool:
    """Whether `path` leads to the namespace the calling thread is in. Raises NoSuchNamespace if it leads nowhere."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NoSuchNamespace(f"{path}: {error.strerror}") from None
    try:
        # Any other file answers ENOTTY; asking first spares us half an attachment.
        if fcntl.ioctl(descriptor, NS_GET_NSTYPE) != CLONE_NEWNET:
            raise NoSuchNamespace(f"{path} is a namespace, but not of the network kind")
        there = os.fstat(descriptor)
    except OSError:
        raise NoSuchNamespace(f"{path} is not a network namespace") from None
    finally:
        os.close(descriptor)
    here = os.stat("/proc/thread-self/ns/net")
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def index_of(netlink: IPRoute, name: str) -> int | None:
    """The index of a link, None if there is none of this name."""
    found = netlink.link_lookup(ifname=name)
    return int(found[0]) if found else None
