"""The image: what is written is an image, and the Dockerfile says the same as the script that needs no Docker."""

import json
import os
import re
import struct
import tarfile
from pathlib import Path

import pytest

from deploy.image import from_scratch
from deploy.image.oci import CAP_NET_BIND_SERVICE, libraries_of, new_layer, write_image

TOP = Path(__file__).parent.parent.parent
DOCKERFILE = (TOP / "deploy/image/Dockerfile").read_text()


@pytest.fixture
def archive(tmp_path: Path) -> tarfile.TarFile:
    with new_layer(tmp_path / "layer.tar") as files:
        files.text("etc/passwd", "root:x:0:0:root:/root:/sbin/nologin\n")
        files.program("opt/bin/cat", Path("/bin/cat"), capability=CAP_NET_BIND_SERVICE)
        files.link("var/run", "/run")
    write_image(tmp_path / "image.tar", ["a.test/b:1", "a.test/b:2"], [tmp_path / "layer.tar"], {"User": "101"})
    return tarfile.open(tmp_path / "image.tar")


def read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


def blob(archive: tarfile.TarFile, described: dict[str, str]) -> bytes:
    return read(archive, "blobs/" + described["digest"].replace(":", "/"))


def test_an_image_by_two_names(archive: tarfile.TarFile) -> None:
    index = json.loads(read(archive, "index.json"))
    names = [each["annotations"]["io.containerd.image.name"] for each in index["manifests"]]
    assert names == ["a.test/b:1", "a.test/b:2"]
    manifest = json.loads(blob(archive, index["manifests"][0]))
    config = json.loads(blob(archive, manifest["config"]))
    assert config["config"] == {"User": "101"}
    assert config["rootfs"]["diff_ids"] == [each["digest"] for each in manifest["layers"]]
    assert [len(blob(archive, each)) for each in manifest["layers"]] == [each["size"] for each in manifest["layers"]]


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("causeway:7", "docker.io/library/causeway:7"),
        ("team/causeway:7", "docker.io/team/causeway:7"),
        ("localhost/causeway:7", "localhost/causeway:7"),
        ("registry:5000/causeway:7", "registry:5000/causeway:7"),
        ("a.test/b/causeway:7", "a.test/b/causeway:7"),
    ],
)
def test_a_pod_finds_it_by_the_name_that_was_given(tmp_path: Path, name: str, whole: str) -> None:
    """The kubelet completes names before it asks; the runtime does not complete those of archives."""
    with new_layer(tmp_path / "layer.tar") as files:
        files.text("etc/passwd", "")
    write_image(tmp_path / "image.tar", [name], [tmp_path / "layer.tar"], {})
    with tarfile.open(tmp_path / "image.tar") as made:
        [manifest] = json.loads(read(made, "index.json"))["manifests"]
    assert manifest["annotations"] == {
        "io.containerd.image.name": whole,
        "org.opencontainers.image.ref.name": "7",
    }


def test_a_layer(archive: tarfile.TarFile, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "layer.tar") as layer:
        cat = layer.getmember("opt/bin/cat")
        assert (cat.uid, cat.mode & 0o111) == (0, 0o111)
        capability = cat.pax_headers["SCHILY.xattr.security.capability"].encode()
        assert struct.unpack("<IIIII", capability) == (0x02000001, 1 << 10, 0, 0, 0)
        assert layer.getmember("var/run").linkname == "/run"
        names = layer.getnames()
        assert len(names) == len(set(names))
        for library in libraries_of([Path("/bin/cat")]):
            assert str(library).lstrip("/") in names


def said(instruction: str) -> list[str]:
    return re.findall(rf"^{instruction} (.*)", DOCKERFILE, re.MULTILINE)


def test_the_dockerfile_says_the_same() -> None:
    config = from_scratch.CONFIG
    assert said("USER") == [config["User"]]
    assert [json.loads(each) for each in said("ENTRYPOINT")] == [config["Entrypoint"]]
    assert said("ENV")[0].split() == config["Env"]
    assert f"/{from_scratch.PLUGIN}" in DOCKERFILE
    assert "setcap cap_net_bind_service=+ep /opt/causeway/bin/python3 " in DOCKERFILE
    for package in from_scratch.PROGRAMS.values():
        assert f" {package} " in DOCKERFILE
    assert set(said("COPY")) >= {f"{each} {each}" for each in from_scratch.SOURCES if (TOP / each).is_dir()}


def test_the_build_needs_what_make_venv_needs() -> None:
    known = re.search(r"^DEBIAN := (.*?)\n\n", (TOP / "Makefile").read_text(), re.MULTILINE | re.DOTALL)
    assert known is not None
    installed = re.findall(r"--no-install-recommends (.*?)\n[A-Z]", DOCKERFILE, re.DOTALL)[0]
    assert set(installed.replace("\\", "").split()) <= set(known[1].replace("\\", "").split())


def test_the_sources_are_whole_and_nothing_built_is_among_them() -> None:
    files = {str(each.relative_to(TOP)) for name in from_scratch.SOURCES for each in from_scratch._files(TOP / name)}
    assert {"pyproject.toml", "ingress/proxy/engine.pyx", "lb/cni/native/causeway-cni.c"} <= files
    assert not [each for each in files if each.endswith((".so", ".pyc", "proxy/engine.c"))]
    assert os.path.relpath(from_scratch.PLUGIN_SOURCE, TOP) in files
