"""The rules of the house that a machine can check: who imports whom, what pure modules stay away from, sizes."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
PACKAGES = ("causeway", "lb", "ingress", "bench")

MAY_IMPORT = {
    "lb": ("lb",),
    # endpoints: "who may answer for a Service port" is one question with one answer, for packets and for requests.
    "ingress": ("ingress", "lb.cluster", "lb.reconcile", "lb.endpoints"),
    "bench": ("bench",),
    "causeway": PACKAGES,
}

PURE = (
    "lb/cluster/objects.py",
    "lb/cluster/problems.py",
    "lb/cluster/store.py",
    "lb/cluster/wanted.py",
    "lb/cluster/documents.py",
    "lb/cluster/nodes.py",
    "lb/cluster/folder.py",
    "lb/cluster/validate.py",
    "lb/cluster/kinds.py",
    "lb/cluster/spelling.py",
    "lb/cluster/wire.py",
    "lb/endpoints.py",
    "lb/cni/spec.py",
    "lb/ipam.py",
    "lb/network/pod.py",
    "lb/network/routes.py",
    "lb/network/rules.py",
    "lb/service/plan.py",
    "lb/balancer/pools.py",
    "lb/balancer/allocate.py",
    "lb/balancer/wish.py",
    "lb/balancer/elect.py",
    "lb/balancer/liveness.py",
    "lb/balancer/arp.py",
    "lb/balancer/ndp.py",
    "ingress/routes/model.py",
    "ingress/routes/compile.py",
    "ingress/routes/explain.py",
    "ingress/routes/beside.py",
    "ingress/routes/dangers.py",
    "ingress/routes/rules.py",
    "ingress/routes/classes.py",
    "ingress/routes/backends.py",
    "ingress/routes/certificates.py",
    "ingress/routes/hosts.py",
    "ingress/routes/selectors.py",
    "ingress/routes/patterns.py",
    "ingress/routes/tables.py",
    "ingress/routes/config.py",
    "ingress/routes/config_values.py",
    "ingress/routes/treatment.py",
    "ingress/routes/flags.py",
    "ingress/routes/pods.py",
    "ingress/routes/secrets.py",
    "ingress/routes/annotations/access.py",
    "ingress/routes/annotations/basic_auth.py",
    "ingress/routes/annotations/client_certificates.py",
    "ingress/routes/annotations/external_auth.py",
    "ingress/routes/annotations/limits.py",
    "ingress/routes/annotations/lists.py",
    "ingress/routes/annotations/access_log.py",
    "ingress/routes/annotations/aliases.py",
    "ingress/routes/annotations/blocks.py",
    "ingress/routes/annotations/cors.py",
    "ingress/routes/annotations/guard.py",
    "ingress/routes/annotations/headers.py",
    "ingress/routes/annotations/redirects.py",
    "ingress/routes/annotations/refused.py",
    "ingress/routes/annotations/rewrite.py",
    "ingress/routes/annotations/reader.py",
    "ingress/routes/annotations/server_tls.py",
    "ingress/routes/annotations/tracing.py",
    "ingress/routes/annotations/wishes.py",
    "ingress/filters/access.py",
    "ingress/filters/api.py",
    "ingress/filters/certificate.py",
    "ingress/filters/external.py",
    "ingress/filters/limits.py",
    "ingress/filters/networks.py",
    "ingress/filters/passwords.py",
    "ingress/filters/origin.py",
    "ingress/filters/patterns.py",
    "ingress/filters/variables.py",
    "ingress/crashes.py",
    "causeway/hops.py",
    "lb/service/classes.py",
    "lb/service/elements.py",
    "lb/service/explain.py",
    "lb/service/layout.py",
    "lb/service/vips.py",
    "bench/compare.py",
    "bench/load/arrivals.py",
    "bench/load/replay.py",
    "bench/load/result.py",
    "bench/load/scenario.py",
    "bench/load/timeline.py",
    "bench/peers/configs/__init__.py",
    "bench/peers/configs/caddy.py",
    "bench/peers/configs/causeway.py",
    "bench/peers/configs/envoy.py",
    "bench/peers/configs/haproxy.py",
    "bench/peers/configs/nginx.py",
    "bench/report/markdown.py",
    "bench/report/page.py",
    "bench/report/sections.py",
    "bench/report/svg.py",
    "bench/scenarios/documents.py",
)
NOT_IN_PURE = {"asyncio", "socket", "ssl", "os", "time", "random", "logging", "subprocess", "threading", "datetime"}


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((TOP / package).rglob("*.py"))]


def imports(path: Path) -> Iterator[str]:
    """Every module that `path` imports, also inside functions; `from lb.x import y` gives "lb.x"."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the whole name"
            assert node.module is not None
            if node.module in PACKAGES:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def inside(module: str, allowed: tuple[str, ...]) -> bool:
    return any(module == each or module.startswith(each + ".") for each in allowed)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(TOP)))
def test_imports_go_one_way(path: Path) -> None:
    package = path.relative_to(TOP).parts[0]
    wrong = [each for each in imports(path) if each.split(".")[0] in PACKAGES and not inside(each, MAY_IMPORT[package])]
    assert not wrong, f"{path.relative_to(TOP)} imports {wrong}; {package}/ may import {MAY_IMPORT[package]}"


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_touch_nothing_outside(name: str) -> None:
    wrong = {each.split(".")[0] for each in imports(TOP / name)} & NOT_IN_PURE
    assert not wrong, f"{name} is pure, yet it imports {sorted(wrong)}: take the value as an argument"


def loaded_by(module: str) -> set[str]:
    """The top-level modules in memory after `import module` in a fresh interpreter."""
    show = f"import {module}, sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True, cwd=TOP)
    return set(done.stdout.split())


def test_a_worker_carries_nothing_it_does_not_need() -> None:
    # The Kubernetes client alone is tens of megabytes in every worker.
    assert not loaded_by("ingress.worker") & {"kubernetes", "aiohttp", "yaml", "watchfiles", "pyroute2", "rich"}


def test_the_plugin_starts_light() -> None:
    # The kubelet waits for it at every Pod start and stop.
    heavy = {"asyncio", "msgspec", "pyroute2", "click", "yaml", "aiohttp", "typing", "dataclasses"}
    assert not loaded_by("lb.cni.plugin") & heavy


def test_the_command_line_starts_light() -> None:
    assert not loaded_by("causeway.cli") & {"asyncio", "kubernetes", "aiohttp", "pyroute2", "rich", "uvloop"}
