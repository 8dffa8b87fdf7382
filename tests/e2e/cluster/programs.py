"""The upstream programs of the cluster, built from Go modules into a folder outside the repository.

A program is built again when its version or the recipe changes: beside each program lies a stamp naming both.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .leftovers import kill_marked
from .processes import MARK

KUBERNETES_MINOR_PATCH = "36.3"
RECIPE = "2"
GO = "go"  # the name builds are marked with
GO_AT_LEAST = (1, 26)  # the go line of Kubernetes' go.mod


class BuildFailed(Exception):
    """A program could not be built; the text holds the end of what Go said."""


@dataclass(frozen=True)
class Program:
    """One executable: its package path inside the Go module, or the source of a `main` of our own that uses it."""

    name: str
    package: str = ""
    main: str = ""


@dataclass(frozen=True)
class Module:
    """A Go module and the programs we want of it; `staged` is for Kubernetes' own parts, see `_kubernetes_go_mod`."""

    path: str
    version: str
    programs: tuple[Program, ...]
    ldflags: str = ""
    staged: bool = False


# coredns' own main takes in every plugin there is, and with them the clients of three clouds: minutes of compiling
_COREDNS = """package main

import (
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
)

func main() { coremain.Run() }
"""


def modules(*, with_kubectl: bool, with_kube_proxy: bool) -> tuple[Module, ...]:
    """The modules to build; biggest first."""
    kubernetes = ["kube-apiserver", "kubelet", "kube-controller-manager", "kube-scheduler"]
    kubernetes += ["kubectl"] if with_kubectl else []
    kubernetes += ["kube-proxy"] if with_kube_proxy else []
    variable = "k8s.io/component-base/version"
    versions = {"Version": f"v1.{KUBERNETES_MINOR_PATCH}", "Major": "1", "Minor": KUBERNETES_MINOR_PATCH.split(".")[0]}
    return (
        Module(
            "k8s.io/kubernetes",
            f"v1.{KUBERNETES_MINOR_PATCH}",
            (
                *(Program(name, f"/cmd/{name}") for name in kubernetes),
                Program("agnhost", "/test/images/agnhost"),
            ),
            ldflags=" ".join(f"-X {variable}.git{name}={value}" for name, value in versions.items()),
            staged=True,
        ),
        Module("github.com/coredns/coredns", "v1.13.1", (Program("coredns", main=_COREDNS),)),
        Module(
            "github.com/containerd/containerd/v2",
            "v2.2.1",
            tuple(Program(name, f"/cmd/{name}") for name in ("containerd", "ctr", "containerd-shim-runc-v2")),
        ),
        Module("go.etcd.io/etcd/server/v3", "v3.6.6", (Program("etcd"),)),
        Module(
            "helm.sh/helm/v3",
            "v3.22.0",
            (Program("helm", "/cmd/helm"),),
            # what `helm template` takes a cluster for
            ldflags="-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 "
            f"-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor={KUBERNETES_MINOR_PATCH.split('.')[0]}",
        ),
    )


def build(wanted: Sequence[Module], folder: Path, say: Callable[[str], None]) -> None:
    """Builds what `folder` lacks of `wanted`. Two modules at a time: linking uses one core only.

    Raises BuildFailed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [m for m in wanted if not all(_is_built(m, p, folder) for p in m.programs)]
    with ThreadPoolExecutor(2) as pool:
        try:
            list(pool.map(lambda module: _build_module(module, folder, say), missing))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            kill_marked(GO)  # or we would wait for minutes
            raise


def all_built(wanted: Sequence[Module], folder: Path) -> bool:
    """True if nothing has to be built, so that Go is not needed."""
    return all(_is_built(module, program, folder) for module in wanted for program in module.programs)


def _stamp(module: Module, program: Program) -> str:
    return f"{module.path}{program.package} {module.version} recipe {RECIPE}\n"


def _is_built(module: Module, program: Program, folder: Path) -> bool:
    stamp = folder / f"{program.name}.version"
    return (folder / program.name).exists() and stamp.exists() and stamp.read_text() == _stamp(module, program)


def _build_module(module: Module, folder: Path, say: Callable[[str], None]) -> None:
    source = folder / "src" / module.path.replace("/", "_")
    source.mkdir(parents=True, exist_ok=True)
    say(f"building {', '.join(p.name for p in module.programs)} of {module.path} {module.version}")
    go_mod = _kubernetes_go_mod(module, source) if module.staged else _plain_go_mod(module, source)
    (source / "go.mod").write_text(go_mod)
    todo = [p for p in module.programs if not _is_built(module, p, folder)]
    out = source / "out"
    out.mkdir(exist_ok=True)
    packages = [_package(module, program, source) for program in todo]
    # without debugging tables: a tenth less to compute
    flags = ["-mod=mod", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags", f"-s -w {module.ldflags}"]
    _go(["build", *flags, "-o", f"{out}/", *packages], source)
    for program in todo:
        # Go names the file after the last path element that is not a major version
        default = re.sub(r"/v\d+$", "", _package(module, program, source)).rsplit("/", 1)[1]
        (out / default).replace(folder / program.name)
        (folder / f"{program.name}.version").write_text(_stamp(module, program))
    say(f"{module.path} {module.version} is built")


def _package(module: Module, program: Program, source: Path) -> str:
    """What `go build` is to build; a `main` of our own is written first."""
    if not program.main:
        return module.path + program.package
    folder = source / program.name
    folder.mkdir(exist_ok=True)
    (folder / "main.go").write_text(program.main)
    return f"./{program.name}"


def _plain_go_mod(module: Module, source: Path) -> str:
    directive = re.search(r"^go \S+$", _module_file(module, source).read_text(), re.M)
    assert directive, f"{module.path}: go.mod without a go line"
    return f"module build\n{directive[0]}\nrequire {module.path} {module.version}\n"


def _kubernetes_go_mod(module: Module, source: Path) -> str:
    """Its go.mod names its own parts by folder; as a dependency each needs its published version instead."""
    text = _module_file(module, source).read_text()
    parts = sorted(set(re.findall(r"(k8s\.io/[a-z0-9-]+) => \./staging", text)))
    replaces = "".join(f"replace {part} => {part} v0.{KUBERNETES_MINOR_PATCH}\n" for part in parts)
    return _plain_go_mod(module, source) + replaces


def _module_file(module: Module, source: Path) -> Path:
    # outside of any module, so that a go.mod of an earlier try does no harm
    told = _go(["mod", "download", "-json", f"{module.path}@{module.version}"], source.parent)
    return Path(json.loads(told)["GoMod"])


def _go(arguments: Sequence[str], folder: Path) -> str:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", MARK: GO}
    done = subprocess.run(["go", *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise BuildFailed(
            f"go {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-3000:] or done.stdout[-3000:]}"
        )
    return done.stdout
