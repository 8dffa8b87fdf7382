"""Writing a container image as a file that `ctr images import`, `docker load` and `skopeo copy oci-archive:` take.

Source: OCI image specification 1.1 (image layout, manifest, configuration, layers).
"""

import contextlib
import hashlib
import io
import json
import platform
import re
import struct
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_OCI = "application/vnd.oci.image"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

CAP_NET_BIND_SERVICE = 10
_VFS_CAP_REVISION_2, _VFS_CAP_EFFECTIVE = 0x02000000, 1


class Layer:
    """Files of an image, written into a tar archive one after the other; all of them belong to root."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._there: set[str] = set()

    def folder(self, path: str, mode: int = 0o755) -> None:
        """A folder and those above it. `path` here and below: from the image's root, without a leading slash."""
        if path in ("", ".") or path in self._there:
            return
        self.folder(str(Path(path).parent))
        entry = tarfile.TarInfo(path)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        self._add(entry)

    def text(self, path: str, text: str, mode: int = 0o644) -> None:
        self.folder(str(Path(path).parent))
        entry, data = tarfile.TarInfo(path), text.encode()
        entry.size, entry.mode = len(data), mode
        self._add(entry, io.BytesIO(data))

    def link(self, path: str, target: str) -> None:
        self.folder(str(Path(path).parent))
        entry = tarfile.TarInfo(path)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self._add(entry)

    def file(self, path: str, source: Path, *, capability: int | None = None) -> None:
        """A file of this machine with its mode and time; links are followed. capability: see capabilities(7)."""
        if path in self._there:
            return
        self.folder(str(Path(path).parent))
        source = source.resolve()
        entry = self._tar.gettarinfo(source, path)
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        if capability is not None:
            entry.pax_headers = {"SCHILY.xattr.security.capability": _file_capability(capability)}
        with source.open("rb") as opened:
            self._add(entry, opened)

    def tree(self, path: str, source: Path, *, without: Sequence[str] = ()) -> None:
        """A folder of this machine with all below it; without: names that are left out wherever they are."""
        for each in sorted(source.iterdir()):
            if each.name in without:
                continue
            if each.is_dir():
                self.tree(f"{path}/{each.name}", each, without=without)
            elif each.is_file():
                self.file(f"{path}/{each.name}", each)

    def program(self, path: str, source: Path, *, capability: int | None = None) -> None:
        """An executable or library, and the shared libraries it needs, where they are on this machine."""
        self.file(path, source, capability=capability)
        self.libraries([source])

    def libraries(self, files: Iterable[Path]) -> None:
        """The shared libraries that these executables and libraries need."""
        for library in libraries_of(files):
            self.file(str(library).lstrip("/"), library)

    def _add(self, entry: tarfile.TarInfo, data: Any = None) -> None:
        self._there.add(entry.name)
        self._tar.addfile(entry, data)


def libraries_of(files: Iterable[Path]) -> list[Path]:
    """What the dynamic linker would load for them, from this machine's folders; () for static programs."""
    paths = [str(each.resolve()) for each in files]
    told = subprocess.run(["ldd", *paths], capture_output=True, text=True, check=False).stdout if paths else ""
    return [Path(each) for each in sorted(set(re.findall(r"(/\S+) \(0x", told)))]


@contextlib.contextmanager
def new_layer(file: Path) -> Iterator[Layer]:
    """Write a layer into a file."""
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as tar:
        yield Layer(tar)


def write_image(out: Path, names: Sequence[str], layers: Sequence[Path], config: Mapping[str, object]) -> None:
    """Write an image of these layers, lowest first, under each of its names.

    config: `Entrypoint`, `Env`, `User` and so on, as in the specification's configuration.
    """
    described = [_described(f"{_OCI}.layer.v1.tar", layer) for layer in layers]
    machine = platform.machine()
    whole = {
        "architecture": _ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [each["digest"] for each in described]},
        "config": config,
    }
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:

        def blob(kind: str, content: object) -> tuple[dict[str, object], Path]:
            data = json.dumps(content).encode()
            file = Path(scratch) / hashlib.sha256(data).hexdigest()
            file.write_bytes(data)
            return _described(f"{_OCI}.{kind}.v1+json", file), file

        configured, config_file = blob("config", whole)
        top, top_file = blob(
            "manifest",
            {
                "schemaVersion": 2,
                "mediaType": f"{_OCI}.manifest.v1+json",
                "config": configured,
                "layers": described,
            },
        )
        index = {"schemaVersion": 2, "manifests": [top | {"annotations": _annotations(name)} for name in names]}
        made = Path(scratch) / "image.tar"
        with tarfile.open(made, "w", format=tarfile.PAX_FORMAT) as tar:
            archive = Layer(tar)
            archive.text("oci-layout", '{"imageLayoutVersion":"1.0.0"}')
            archive.text("index.json", json.dumps(index))
            for described_, file in zip([*described, configured, top], [*layers, config_file, top_file], strict=True):
                archive.file("blobs/" + str(described_["digest"]).replace(":", "/"), file)
        made.replace(out)


def _described(media_type: str, file: Path) -> dict[str, object]:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": file.stat().st_size}


def _annotations(name: str) -> dict[str, str]:
    return {"io.containerd.image.name": _whole_name(name), "org.opencontainers.image.ref.name": name.rpartition(":")[2]}


def _whole_name(name: str) -> str:
    """The name that kubelets ask a runtime for: "causeway:1" in a Pod means docker.io/library/causeway:1.

    Source: distribution's reference grammar. containerd keeps a name as it reads it.
    """
    first, slash, _ = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}"
    if first == "localhost" or set(".:") & set(first):
        return name
    return f"docker.io/{name}"


def _file_capability(number: int) -> str:
    """`struct vfs_cap_data` of linux/capability.h: permitted and effective, not inheritable."""
    data = struct.pack("<IIIII", _VFS_CAP_REVISION_2 | _VFS_CAP_EFFECTIVE, 1 << number, 0, 0, 0)
    return data.decode("ascii")  # so it can stand in a PAX header as it is
