from pathlib import Path

import pytest

from causeway.demo import cni

CONFLIST = {
    "cniVersion": "1.0.0",
    "name": "net",
    "plugins": [{"type": "p", "x": 1, "capabilities": {"portMappings": True}}],
}
PLUGIN = {"type": "p", "x": 1, "capabilities": {"portMappings": True}}


@pytest.mark.parametrize(
    ("previous", "expected"),
    [
        (None, {"cniVersion": "1.0.0", "name": "net", "type": "p", "x": 1}),
        ({"ips": []}, {"cniVersion": "1.0.0", "name": "net", "type": "p", "x": 1, "prevResult": {"ips": []}}),
    ],
)
def test_plugin_config(previous: object, expected: dict[str, object]) -> None:
    assert cni.plugin_config(CONFLIST, PLUGIN, previous) == expected


def test_address() -> None:
    assert cni.address({"ips": [{"address": "fd00::2/64"}, {"address": "10.244.1.2/32"}]}) == "10.244.1.2"
    with pytest.raises(cni.AttachFailed, match="no IPv4 address"):
        cni.address({"ips": []})


def test_the_first_configuration_by_name_counts(tmp_path: Path) -> None:
    assert cni.read_conflist(tmp_path) is None
    (tmp_path / "20-b.conflist").write_text('{"name": "b"}')
    (tmp_path / "10-a.conflist").write_text('{"name": "a"}')
    assert cni.read_conflist(tmp_path) == {"name": "a"}


def test_environment() -> None:
    attachment = cni.Attachment("cwd-node1", "abc", Path("/run/netns/x"), "shop", "web-1")
    found = attachment.environment("ADD", Path("/bin"))
    assert found["CNI_COMMAND"] == "ADD"
    assert found["CNI_NETNS"] == "/run/netns/x"
    assert "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1" in found["CNI_ARGS"]


@pytest.mark.parametrize(("out", "code"), [('{"code": 11}', 11), ("", None), ("[]", None), ("Traceback", None)])
def test_decode_error(out: str, code: int | None) -> None:
    assert cni.decode_error(out).get("code") == code
