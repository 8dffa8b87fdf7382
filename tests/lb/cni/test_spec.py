"""The CNI protocol: what a call may look like, how results and errors are said in each version."""

import json
from typing import Any

import pytest

from lb.cni import plugin, spec
from lb.cni.spec import Address, Attachment, CniError, Interface, PortMapping, Result, Route, parse_call, parse_result

VARIABLES = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/run/netns/x",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
    "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart-1",
}
CONFIG = {"cniVersion": "1.0.0", "name": "causeway", "type": "causeway-cni", "socket": "/run/x"}


def call(config: dict[str, Any] | None = None, **variables: str) -> spec.Call:
    return parse_call(VARIABLES | variables, json.dumps(CONFIG | (config or {})))


def code_of(config: dict[str, Any] | None = None, **variables: str) -> int:
    with pytest.raises(CniError) as caught:
        call(config, **variables)
    return caught.value.code


def test_a_call() -> None:
    mappings = [{"hostPort": 8080, "containerPort": 80, "protocol": "TCP"}]
    got = call({"runtimeConfig": {"portMappings": mappings}, "unknown": {"keys": "pass"}})
    assert got.attachment == Attachment("c1", "eth0")
    assert (got.command, got.version, got.network, got.netns) == ("ADD", "1.0.0", "causeway", "/run/netns/x")
    assert got.pod == "shop/cart-1"
    assert got.port_mappings == (PortMapping(8080, 80),)


def test_port_mappings_as_containerd_writes_them() -> None:
    mappings = [{"HostPort": 53, "ContainerPort": 5353, "Protocol": "udp", "HostIP": "10.0.0.1"}]
    got = call({"runtimeConfig": {"portMappings": mappings}})
    assert got.port_mappings == (PortMapping(53, 5353, "udp", "10.0.0.1"),)


def test_executable_and_agent_speak_the_same_versions() -> None:
    assert tuple(plugin.VERSIONS) == spec.VERSIONS


@pytest.mark.parametrize("ifname", ["", "0123456789abcdef", ".", "..", "a/b", "a:b", "a b", "a\tb", "ä" * 8])
def test_names_no_interface_can_have(ifname: str) -> None:
    assert code_of(CNI_IFNAME=ifname) == spec.BAD_ENVIRONMENT


@pytest.mark.parametrize("container", ["", "-a", ".a", "a/b", "a b", "a\n", "ä"])
def test_bad_container_ids(container: str) -> None:
    assert code_of(CNI_CONTAINERID=container) == spec.BAD_ENVIRONMENT


def test_all_that_is_wrong_with_the_environment_is_said_at_once() -> None:
    with pytest.raises(CniError) as caught:
        call(CNI_CONTAINERID="/", CNI_IFNAME="/", CNI_NETNS="")
    for name in ("CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"):
        assert name in caught.value.message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", spec.UNDECODABLE),
        ("{", spec.UNDECODABLE),
        ("[]", spec.UNDECODABLE),
        ("null", spec.UNDECODABLE),
        ('{"cniVersion": 1, "name": "n"}', spec.BAD_CONFIG),
        ('{"cniVersion": "1.0.0"}', spec.BAD_CONFIG),
        ('{"cniVersion": "1.0.0", "name": "-"}', spec.BAD_CONFIG),
        ('{"cniVersion": "1.0.0", "name": "n", "prevResult": 5}', spec.BAD_CONFIG),
        ('{"name": "n"}', spec.BAD_VERSION),
        ('{"cniVersion": "0.2.0", "name": "n"}', spec.BAD_VERSION),
    ],
)
def test_bad_configurations(text: str, code: int) -> None:
    with pytest.raises(CniError) as caught:
        parse_call(VARIABLES, text)
    assert caught.value.code == code


def test_every_prefix_of_a_configuration_is_refused_in_order() -> None:
    text = json.dumps(CONFIG)
    for end in range(len(text)):
        with pytest.raises(CniError) as caught:
            parse_call(VARIABLES, text[:end])
        assert caught.value.code == spec.UNDECODABLE
        assert json.loads(caught.value.body(spec.version_for_errors(text[:end])))["cniVersion"] == "1.1.0"


@pytest.mark.parametrize(
    ("command", "version", "allowed"),
    [
        ("CHECK", "0.3.1", False), ("CHECK", "0.4.0", True),
        ("GC", "1.0.0", False), ("GC", "1.1.0", True),
        ("STATUS", "1.0.0", False), ("STATUS", "1.1.0", True),
        ("DEL", "0.3.1", True),
    ],
)  # fmt: skip
def test_commands_by_version(command: str, version: str, allowed: bool) -> None:
    config = {"cniVersion": version, "prevResult": {}, "cni.dev/valid-attachments": []}
    if allowed:
        assert call(config, CNI_COMMAND=command).command == command
    else:
        assert code_of(config, CNI_COMMAND=command) == spec.BAD_VERSION


def test_gc_never_takes_a_missing_list_for_an_empty_one() -> None:
    gc = {"cniVersion": "1.1.0"}
    assert code_of(gc, CNI_COMMAND="GC") == spec.BAD_CONFIG
    assert code_of(gc | {"cni.dev/valid-attachments": [{"containerID": "a"}]}, CNI_COMMAND="GC") == spec.BAD_CONFIG
    assert call(gc | {"cni.dev/valid-attachments": []}, CNI_COMMAND="GC").valid == frozenset()
    listed = [{"containerID": "a", "ifname": "eth0"}]
    assert call(gc | {"cni.dev/valid-attachments": listed}, CNI_COMMAND="GC").valid == {Attachment("a", "eth0")}


def test_del_needs_neither_namespace_nor_previous_result() -> None:
    assert call(CNI_COMMAND="DEL", CNI_NETNS="").netns == ""
    unreadable = {"prevResult": {"ips": 5}, "runtimeConfig": {"portMappings": [5]}}
    assert call(unreadable, CNI_COMMAND="DEL").attachment == Attachment("c1", "eth0")
    assert code_of(CNI_COMMAND="CHECK") == spec.BAD_CONFIG


RESULT = Result(
    (Interface("cw1", "02:00:00:00:00:01", mtu=1500), Interface("eth0", "02:00:00:00:00:02", "/run/netns/x", 1500)),
    (Address("10.1.0.2/32", "169.254.1.1", 1), Address("fd00::2/128", "fe80::1", 1)),
    (Route("0.0.0.0/0", "169.254.1.1"), Route("::/0", "fe80::1")),
)


@pytest.mark.parametrize("version", spec.VERSIONS)
def test_results_by_version(version: str) -> None:
    said = json.loads(RESULT.body(version))
    assert said["cniVersion"] == version
    assert [each.get("version") for each in said["ips"]] == (["4", "6"] if version < "1.0.0" else [None, None])
    assert all(("mtu" in each) == (version == "1.1.0") for each in said["interfaces"])
    back = parse_result(said)
    assert (back.ips, back.routes) == (RESULT.ips, RESULT.routes)
    assert [each.name for each in back.interfaces] == ["cw1", "eth0"]


@pytest.mark.parametrize(
    "said", [{"ips": [{}]}, {"ips": [{"address": "x"}]}, {"interfaces": [{}]}, {"routes": [5]}, {"ips": 5}]
)
def test_previous_results_that_are_none(said: dict[str, Any]) -> None:
    with pytest.raises(CniError) as caught:
        parse_result(said)
    assert caught.value.code == spec.BAD_CONFIG


@pytest.mark.parametrize(
    "mapping",
    [
        {"hostPort": 0, "containerPort": 80},
        {"hostPort": 70000, "containerPort": 80},
        {"hostPort": 80},
        {"hostPort": "x", "containerPort": 80},
        {"hostPort": 80, "containerPort": 80, "protocol": "icmp"},
        5,
    ],
)
def test_bad_port_mappings(mapping: object) -> None:
    assert code_of({"runtimeConfig": {"portMappings": [mapping]}}) == spec.BAD_CONFIG
