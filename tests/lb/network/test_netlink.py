"""Netlink in other namespaces, and back."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lb.network.netlink import IPRoute, NoSuchNamespace, in_namespace, index_of, is_own_namespace, on_thread
from tests.conftest import NetNs

pytestmark = pytest.mark.netns


def own() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


def test_work_in_a_namespace_leaves_this_thread_where_it_was(netns: Callable[..., NetNs]) -> None:
    ns = netns()
    ns.run("ip", "link", "add", "there0", "type", "bridge")
    before = own()

    def work(netlink: IPRoute) -> tuple[bool, int]:
        # Settings, too, are those of the namespace.
        return index_of(netlink, "there0") is not None and Path("/proc/sys/net/ipv4/conf/there0").exists(), own()

    found, inside = in_namespace(str(ns.path), work)
    assert found
    assert inside == ns.path.stat().st_ino
    assert own() == before != inside


def test_errors_come_out(netns: Callable[..., NetNs]) -> None:
    def fail(_: IPRoute) -> None:
        raise LookupError("inside")

    with pytest.raises(LookupError, match="inside"):
        in_namespace(str(netns().path), fail)


@pytest.mark.parametrize("path", ["/nowhere", "/etc/hostname", "/proc/self/ns/uts", "/"])
def test_paths_that_lead_to_none(path: str) -> None:
    with pytest.raises(NoSuchNamespace, match=path):
        in_namespace(path, lambda _: None)
    with pytest.raises(NoSuchNamespace, match=path):
        is_own_namespace(path)


def test_own_namespace(netns: Callable[..., NetNs]) -> None:
    assert is_own_namespace("/proc/self/ns/net")
    assert not is_own_namespace(str(netns().path))


async def test_on_thread() -> None:
    assert await on_thread(lambda netlink: index_of(netlink, "lo")) == 1
    assert await on_thread(lambda netlink: index_of(netlink, "absent0")) is None
