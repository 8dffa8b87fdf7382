"""One cluster for all end-to-end tests of a run. Asked for by --e2e or CAUSEWAY_E2E=1, otherwise all are skipped."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.e2e import shop
from tests.e2e.cluster import cluster as clusters
from tests.e2e.cluster import layout, leftovers
from tests.e2e.cluster.programs import BuildFailed

HERE = Path(__file__).parent
BASELINE = os.environ.get("CAUSEWAY_E2E_BASELINE") == "1"
FAILED = 3  # exit code when the cluster cannot be brought up


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "disruptive: ends parts of the cluster; runs after all others")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    ours = [item for item in items if item.path.is_relative_to(HERE)]
    asked = config.getoption("--e2e", default=False) or os.environ.get("CAUSEWAY_E2E") == "1"
    if not asked:
        for item in ours:
            item.add_marker(pytest.mark.skip(reason="real cluster: asked for by --e2e or CAUSEWAY_E2E=1 (`make e2e`)"))
        return
    absent = clusters.lacking(layout.cache_folder(), baseline=BASELINE)
    if absent:
        pytest.exit("the end-to-end tests need:\n" + "\n".join(f"  * {what}" for what in absent), FAILED)
    for item in ours:
        item.add_marker(pytest.mark.timeout(240, func_only=True))
    items.sort(key=lambda item: item.get_closest_marker("disruptive") is not None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What the cluster looked like when a test failed is part of its report."""
    report = yield
    up = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and isinstance(up, clusters.Cluster):
        report.sections.append(("cluster", up.diagnosis()))
    return report


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[clusters.Cluster]:
    """The running cluster; CAUSEWAY_E2E_KEEP=1 leaves it for a look afterwards (the next run removes it)."""
    folder = layout.cache_folder()
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    begun = time.monotonic()

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            print(f"[{time.monotonic() - begun:4.0f} s] {text}", flush=True)

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # takes the cluster down, as Ctrl-C does
    try:
        with clusters.only_run():
            leftovers.remove(folder / "run")
            clusters.prepare(folder, say, baseline=BASELINE)
            up = clusters.Cluster(folder, 2, baseline=BASELINE)
            try:
                try:
                    up.start(say)
                except (RuntimeError, TimeoutError) as error:
                    pytest.exit(f"the cluster did not come up: {error}\n{up.diagnosis()}", FAILED)
                yield up
            finally:
                if os.environ.get("CAUSEWAY_E2E_KEEP") != "1":
                    leftovers.remove(folder / "run")
    except (clusters.NotPossible, BuildFailed) as error:
        pytest.exit(str(error), FAILED)


@pytest.fixture(scope="session")
def town(cluster: clusters.Cluster) -> shop.Town:
    """Pods and Services that tests share and leave as they are."""
    return shop.open_town(cluster)
