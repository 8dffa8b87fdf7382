"""One OCI image with every program the pods use, packed from this machine's files: no image registry is reached.

The image is also the sandbox ("pause") image: its entry point sleeps for ever, and containers name their own command.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

IMAGE = "causeway.test/e2e:1"
FOLDERS = ("bin", "etc", "tmp", "proc", "sys", "dev", "var", "var/run", "usr", "usr/bin", "root", "uploads")
TEXTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
    "etc/group": "root:x:0:\nnobody:x:65534:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}


def pod_files(programs: Path, certificate: Path, key: Path) -> dict[str, Path]:
    """Path in the image -> file of this machine. agnhost netexec insists on a certificate beside it."""
    return {
        "agnhost": programs / "agnhost",
        "coredns": programs / "coredns",
        "localhost.crt": certificate,
        "localhost.key": key,
        "bin/busybox": Path("/bin/busybox"),
        "bin/sh": Path("/bin/dash"),
        "usr/bin/curl": Path("/usr/bin/curl"),
        "usr/bin/dig": Path("/usr/bin/dig"),
    }


def pack(out: Path, files: Mapping[str, Path]) -> None:
    """Writes the image as an OCI layout tarball that `ctr images import` takes."""
    layer = _layer(_with_libraries(files), _applets(files))
    blobs: dict[str, bytes] = {}

    def blob(data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"digest": f"sha256:{digest}", "size": len(data)}

    oci = "application/vnd.oci.image"
    layer_blob = {"mediaType": f"{oci}.layer.v1.tar", **blob(layer)}
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer_blob["digest"]]},
        "config": {"Entrypoint": ["/bin/busybox", "sleep", "infinity"], "Env": ["PATH=/bin:/usr/bin"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{oci}.manifest.v1+json",
        "config": {"mediaType": f"{oci}.config.v1+json", **blob(json.dumps(config).encode())},
        "layers": [layer_blob],
    }
    names = {"io.containerd.image.name": IMAGE, "org.opencontainers.image.ref.name": IMAGE.rsplit(":", 1)[1]}
    top = {"mediaType": f"{oci}.manifest.v1+json", **blob(json.dumps(manifest).encode()), "annotations": names}
    index = json.dumps({"schemaVersion": 2, "manifests": [top]}).encode()
    with tarfile.open(out, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(tar, "index.json", index)
        for name, data in blobs.items():
            _add(tar, name, data)


def _with_libraries(files: Mapping[str, Path]) -> dict[str, Path]:
    """The files, and the shared libraries of those that are dynamically linked."""
    found = {where: file.resolve() for where, file in files.items()}
    for file in files.values():
        told = subprocess.run(["ldd", file.resolve()], capture_output=True, text=True, check=False).stdout
        found |= {lib.lstrip("/"): Path(lib).resolve() for lib in re.findall(r"(/\S+) \(0x", told)}
    return found


def _applets(files: Mapping[str, Path]) -> list[str]:
    """Names of busybox's applets that no file of their own stands for."""
    told = subprocess.run([files["bin/busybox"], "--list"], capture_output=True, text=True, check=True).stdout
    own = {Path(where).name for where in files}
    return [applet for applet in told.split() if applet not in own]


def _layer(files: Mapping[str, Path], applets: list[str]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for folder in FOLDERS:
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        for where, file in files.items():
            _add(tar, where, file.read_bytes(), 0o755)
        for applet in applets:
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "/bin/busybox"
            tar.addfile(entry)
        for where, text in TEXTS.items():
            _add(tar, where, text.encode())
    return raw.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))
