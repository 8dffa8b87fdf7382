"""The plugin called as a container runtime calls it, with the agent running, killed and restarted."""

import json
import os
import statistics
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.netns.lan import Lan, LanNode, Pod, wait_for

pytestmark = pytest.mark.netns


@pytest.fixture
def node(lan: Lan) -> LanNode:
    made = lan.node(1)
    made.start()
    return made


def host_interfaces(node: LanNode) -> set[str]:
    links = json.loads(node.ns.run("ip", "-j", "link"))
    return {each["ifname"] for each in links if each["ifname"].startswith("cw")}


def records(node: LanNode) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((node.run_dir / "attachments").glob("*.json"))]


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0", "1.1.0"])
def test_add_check_del_in_every_version(lan: Lan, node: LanNode, version: str) -> None:
    pod = lan.pod(node, add=False)
    netns = str(pod.ns.path)
    added = node.cni("ADD", pod.container, netns, cniVersion=version)
    assert added.status == 0, added.stdout
    assert added.body["cniVersion"] == version
    host, inside = added.body["interfaces"]
    assert (inside["name"], inside["sandbox"]) == ("eth0", netns)
    assert "sandbox" not in host
    assert ("mtu" in inside) == (version == "1.1.0")
    four, six = added.body["ips"]
    assert (four["address"], four["gateway"], four["interface"]) == ("10.70.1.2/32", "169.254.1.1", 1)
    assert (six["address"], six["gateway"]) == ("fd70:1::2/128", "fe80::1")
    assert ("version" in four) == (version < "1.0.0")
    assert added.body["routes"] == [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}, {"dst": "::/0", "gw": "fe80::1"}]
    assert f"link/ether {inside['mac']}" in pod.ns.run("ip", "link", "show", "eth0")
    assert host_interfaces(node) == {host["name"]}

    if version != "0.3.1":
        checked = node.cni("CHECK", pod.container, netns, cniVersion=version)
        assert (checked.status, checked.stdout) == (0, "")
    for _ in range(2):
        deleted = node.cni("DEL", pod.container, netns, cniVersion=version)
        assert (deleted.status, deleted.stdout) == (0, "")
    assert host_interfaces(node) == set()
    assert records(node) == []
    assert "10.70.1.2" not in node.routes()


def test_a_loopback_that_is_down_is_brought_up(lan: Lan, node: LanNode) -> None:
    pod = lan.pod(node, add=False)
    pod.ns.run("ip", "link", "set", "lo", "down")
    pod.add()
    assert "LOOPBACK,UP" in pod.ns.run("ip", "link", "show", "lo")


def test_a_second_add_is_refused_and_harms_nothing(lan: Lan, node: LanNode) -> None:
    pod = lan.pod(node)
    again = node.cni("ADD", pod.container, str(pod.ns.path))
    assert again.status == 1
    assert again.code >= 100
    assert "attached already" in again.body["msg"]
    other = node.cni("ADD", "another", str(pod.ns.path))  # another container id, but the namespace has an eth0
    assert other.status == 1
    assert "has an interface eth0 already" in other.body["msg"]
    lan.serve(pod.ns)
    assert lan.pod(node).ask(pod.ips[0])
    assert len(records(node)) == 2


def test_a_failed_add_leaves_nothing(lan: Lan, node: LanNode) -> None:
    pod = lan.pod(node, add=False)
    # The default route is in the way: the last step of the pod's side fails.
    pod.ns.run("ip", "link", "add", "x0", "type", "veth", "peer", "name", "x1")
    pod.ns.run("ip", "link", "set", "x0", "up")
    pod.ns.run("ip", "route", "add", "default", "dev", "x0")
    answer = node.cni("ADD", pod.container, str(pod.ns.path))
    assert answer.status == 1
    assert "File exists" in answer.body["msg"]
    assert host_interfaces(node) == set()
    assert records(node) == []
    assert "eth0" not in pod.ns.run("ip", "-br", "link")


ERRORS: list[tuple[dict[str, Any], int, str]] = [
    ({"CNI_CONTAINERID": None, "CNI_NETNS": None, "CNI_IFNAME": None, "CNI_PATH": None}, 4,
     "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH"),
    ({"CNI_CONTAINERID": "a/b"}, 4, "CNI_CONTAINERID"),
    ({"CNI_IFNAME": "far-too-long-a-name"}, 4, "CNI_IFNAME"),
    ({"CNI_ARGS": "nonsense"}, 4, "CNI_ARGS"),
    ({"CNI_COMMAND": "FLY"}, 4, "FLY"),
    ({"cniVersion": "9.9.9"}, 1, "9.9.9"),
    ({"cniVersion": None}, 1, "0.1.0"),
    ({"name": None}, 7, "name"),
    ({"name": 5}, 7, "name"),
    ({"prevResult": {}}, 7, "first of its chain"),
    ({"socket": None}, 7, "socket"),
    ({"CNI_NETNS": "/nowhere"}, 8, "/nowhere"),
    ({"CNI_NETNS": "/etc/hostname"}, 8, "not a network namespace"),
    ({"CNI_COMMAND": "CHECK", "cniVersion": "0.3.1"}, 1, "CHECK"),
    ({"CNI_COMMAND": "CHECK"}, 7, "prevResult"),
    ({"CNI_COMMAND": "GC"}, 1, "GC"),
    ({"CNI_COMMAND": "GC", "cniVersion": "1.1.0"}, 7, "valid-attachments"),
    ({"runtimeConfig": {"portMappings": [{"hostPort": 0, "containerPort": 80}]}}, 7, "portMappings[0]"),
]  # fmt: skip


def test_errors_are_numbered(lan: Lan, node: LanNode) -> None:
    pod = lan.pod(node, add=False)
    for changed, code, said in ERRORS:
        answer = node.cni("ADD", pod.container, str(pod.ns.path), **changed)
        assert (answer.status, answer.code) == (1, code), f"{changed}: {answer.stdout}"
        assert said in answer.body["msg"] + answer.body.get("details", "")
        assert answer.body["cniVersion"]
    assert host_interfaces(node) == set()


def test_the_nodes_own_namespace_is_refused(lan: Lan, node: LanNode) -> None:
    answer = node.cni("ADD", "c1", str(node.ns.path))
    assert (answer.status, answer.code) == (1, 8)


def test_version_status_and_no_agent(lan: Lan, node: LanNode) -> None:
    pod = lan.pod(node, add=False)
    assert node.cni("VERSION").body["supportedVersions"] == ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]
    status = node.cni("STATUS", cniVersion="1.1.0")
    assert (status.status, status.stdout) == (0, "")
    assert node.stop() == 0
    assert not (node.run_dir / "cni.sock").exists()
    for command in ("ADD", "DEL", "STATUS"):
        answer = node.cni(command, pod.container, str(pod.ns.path), cniVersion="1.1.0")
        assert (answer.status, answer.code) == (1, 11)
    assert node.cni("VERSION").status == 0


def test_check_notices_tampering(lan: Lan, node: LanNode) -> None:
    pod = lan.pod(node)

    def check() -> str:
        answer = node.cni("CHECK", pod.container, str(pod.ns.path))
        return str(answer.body["msg"]) if answer.status else ""

    assert check() == ""
    pod.ns.run("ip", "addr", "del", f"{pod.ips[0]}/32", "dev", "eth0")
    assert "no address" in check()
    pod.ns.run("ip", "addr", "add", f"{pod.ips[0]}/32", "dev", "eth0")
    pod.ns.run("ip", "-6", "route", "del", "default")
    assert "no default route over fe80::1" in check()
    pod.ns.run("ip", "link", "del", "eth0")
    assert "is gone" in check()
    assert node.cni("CHECK", "unknown", str(pod.ns.path), prevResult={"ips": []}).code == 3


def test_gc_frees_what_the_runtime_does_not_know(lan: Lan, node: LanNode) -> None:
    kept, lost = lan.pod(node), lan.pod(node)
    valid = [{"containerID": kept.container, "ifname": "eth0"}]
    answer = node.cni("GC", cniVersion="1.1.0", **{"cni.dev/valid-attachments": valid})
    assert (answer.status, answer.stdout) == (0, "")
    assert [each["container"] for each in records(node)] == [kept.container]
    assert len(host_interfaces(node)) == 1
    assert lost.ips[0] not in node.routes()
    lan.serve(kept.ns)
    assert lan.pod(node).ask(kept.ips[0])


def test_an_exhausted_pool_says_so(lan: Lan) -> None:
    node = lan.node(1)
    lan.write_node(1, podCIDRs=["10.70.1.0/30"])
    node.start()
    lan.pod(node)
    pod = lan.pod(node, add=False)
    answer = node.cni("ADD", pod.container, str(pod.ns.path))
    assert answer.status == 1
    assert "no free address in 10.70.1.0/30" in answer.body["msg"]


def test_ten_at_once_and_how_long_they_take(lan: Lan, node: LanNode) -> None:
    pods = [lan.pod(node, add=False) for _ in range(10)]
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(Pod.add, pods))
    assert len({ip for pod in pods for ip in pod.ips}) == 20
    lan.serve(pods[0].ns)
    assert pods[9].ask(pods[0].ips[0]) == pods[9].ips[0]
    with ThreadPoolExecutor(10) as threads:
        deleted = list(threads.map(lambda pod: node.cni("DEL", pod.container, str(pod.ns.path)), pods))
    assert {each.status for each in deleted} == {0}
    assert records(node) == []
    one_by_one = []
    for pod in pods[:5]:
        one_by_one.append(pod.add().seconds)
        node.cni("DEL", pod.container, str(pod.ns.path))
    print(
        f"ADD: {statistics.median(one_by_one) * 1000:.0f} ms alone, {max(a.seconds for a in answers) * 1000:.0f} of ten"
    )
    assert statistics.median(one_by_one) < 0.5  # of this loaded machine; alone it is a tenth of that


def test_an_agent_killed_between_add_and_del(lan: Lan, node: LanNode) -> None:
    before, other = lan.pod(node), lan.pod(node)
    lan.serve(before.ns)
    node.kill()
    assert other.ask(before.ips[0]) == other.ips[0]
    assert node.cni("DEL", other.container, str(other.ns.path)).code == 11
    node.start()
    after = lan.pod(node)
    assert not set(after.ips) & {*before.ips, *other.ips}
    assert after.ask(before.ips[0]) == after.ips[0]
    assert node.cni("CHECK", before.container, str(before.ns.path)).status == 0
    for pod in (before, other, after):
        assert node.cni("DEL", pod.container, str(pod.ns.path)).status == 0
    assert records(node) == []
    assert host_interfaces(node) == set()


def test_killed_in_the_middle_of_adds(lan: Lan, node: LanNode) -> None:
    """Wherever `kill -9` strikes: DEL of every container afterwards leaves nothing, and no address is given twice."""
    pods = [lan.pod(node, add=False) for _ in range(12)]
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(node.cni, "ADD", pod.container, str(pod.ns.path)) for pod in pods]
        wait_for(lambda: sum(call.done() for call in calls) >= 4)
        node.kill()
        answers = [call.result() for call in calls]
    assert {each.code for each in answers if each.status} == {11}
    node.start()
    alive = [pod for pod, answer in zip(pods, answers, strict=True) if answer.status == 0]
    later = lan.pod(node)
    used = [ip for pod in alive for ip in node_ips(node, pod)] + later.ips
    assert len(used) == len(set(used))
    for pod in [*pods, later]:
        assert node.cni("DEL", pod.container, str(pod.ns.path)).status == 0
    assert records(node) == []
    assert host_interfaces(node) == set()


def node_ips(node: LanNode, pod: Pod) -> list[str]:
    return [each["address"].partition("/")[0] for each in node.results[pod.container]["ips"]]


def test_a_pod_that_ended_without_a_del(lan: Lan) -> None:
    node = lan.node(1, "--drift-seconds", "0.2")
    node.start()
    ended, alive = lan.pod(node), lan.pod(node)
    os.kill(ended.ns.holder_pid, 9)
    wait_for(lambda: [each["container"] for each in records(node)] == [alive.container])
    assert node.cni("CHECK", alive.container, str(alive.ns.path)).status == 0
    assert node.cni("DEL", ended.container, "").status == 0


def test_pods_that_ended_while_the_agent_was_away(lan: Lan, node: LanNode) -> None:
    gone, cut_off = lan.pod(node), lan.pod(node)
    node.kill()
    holder = gone.ns.holder_pid
    os.kill(holder, 9)  # its namespace ends, and the veth pair with it
    cut_off.ns.run("ip", "link", "del", "eth0")  # this one only lost its interface: it may be running
    wait_for(lambda: host_interfaces(node) == set())
    node.start()
    assert [each["container"] for each in records(node)] == [cut_off.container]
    assert node.cni("DEL", cut_off.container, "").status == 0
    assert node.cni("DEL", gone.container, "").status == 0
    assert records(node) == []


def test_a_deleted_run_folder_costs_no_pod_its_address(lan: Lan, node: LanNode) -> None:
    pod = lan.pod(node)
    lan.serve(pod.ns)
    node.kill()
    subprocess.run(["rm", "-r", str(node.run_dir)], check=True)
    node.start()
    other = lan.pod(node)
    assert not set(other.ips) & set(pod.ips)
    assert other.ask(pod.ips[0]) == other.ips[0]
    assert node.cni("DEL", pod.container, str(pod.ns.path)).status == 0
    assert len(records(node)) == 1


def test_a_second_agent_is_refused(lan: Lan, node: LanNode) -> None:
    done = subprocess.run(node.ns.argv(*node.argv()), capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert node.process is not None
    assert f"in use by another agent (process {node.process.pid})" in done.stderr


def test_cleanup_removes_everything(lan: Lan) -> None:
    node = lan.node(1, "--pod-network", "bridge")
    node.start()
    lan.pod(node)
    argv = node.ns.argv(*node.argv("--cleanup"))
    refused = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert refused.returncode == 1
    node.stop()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert not node.conflist.exists()
    assert not (node.folder / "bin" / "causeway-cni").exists()
    assert not node.run_dir.exists()
    assert host_interfaces(node) == set()
    assert "causeway0" not in node.ns.run("ip", "-br", "link")
    assert node.routes() == ""
    assert "causeway-network" not in node.ns.run("nft", "list", "tables")


def test_sigterm_leaves_everything_working(lan: Lan, node: LanNode) -> None:
    one, two = lan.pod(node), lan.pod(node)
    lan.serve(one.ns)
    assert node.stop() == 0
    assert two.ask(one.ips[0]) == two.ips[0]
    assert "causeway-network" in node.ns.run("nft", "list", "tables")
    assert node.conflist.exists()
