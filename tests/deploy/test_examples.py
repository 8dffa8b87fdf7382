"""The example of a filter in a package of its own: it installs, is found, and does what it says, on its routes only."""

import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from lb.cluster.objects import Ingress
from tests.ingress.peers import Answer
from tests.ingress.serving import started
from tests.ingress.site import Site, annotated, site_of

EXAMPLE = Path(__file__).parent.parent.parent / "deploy/examples/filters"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package in it, as `pip install --target` makes it."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source")
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*argv, "--target", folder / "installed", folder / "source"], check=True, timeout=50)
    return folder / "installed"


def wishing(host: str, filters: str, options: str = "") -> Ingress:
    annotations = {"filters": filters} | ({"filter-options": options} if options else {})
    return annotated(host, annotations)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    objects = (
        wishing("stamped.example", "stamp", '{"stamp": {"text": "seen"}}'),
        wishing("plain-options.example", "stamp"),
        wishing("open.example", "office-hours,stamp", '{"office-hours": {"to_hour": 24}}'),
        wishing("shut.example", "office-hours, stamp", '{"office-hours": {"to_hour": 0}}'),
        wishing("other.example", "stamp,absent"),
        wishing("told-wrong.example", "stamp", '{"stamp": {"text": 5}}'),
        wishing("no-json.example", "stamp", "{"),
        annotated("free.example"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(installed))
        flags = ("--allow-filters", "stamp, office-hours")
        async with site_of(tmp_path_factory.mktemp("site"), *objects, flags=flags) as made:
            yield made


def fields(answer: Answer, name: str) -> list[str]:
    return [value for key, value in answer.lines if key == name]


async def test_a_filter_with_options(site: Site) -> None:
    answer = await site.get("stamped.example")
    assert answer.status == 200
    [stamp] = fields(answer, "x-stamp")
    assert stamp.startswith("seen; ms=")


async def test_its_defaults(site: Site) -> None:
    [stamp] = fields(await site.get("plain-options.example"), "x-stamp")
    assert stamp.startswith("stamped; ")


async def test_two_filters_one_of_which_answers(site: Site) -> None:
    assert (await site.get("open.example")).status == 200
    answer = await site.get("shut.example")
    assert (answer.status, answer.body) == (503, b"We are closed.\n")
    assert fields(answer, "retry-after") == ["3600"]


async def test_other_routes_have_none(site: Site) -> None:
    assert fields(await site.get("free.example"), "x-stamp") == []


@pytest.mark.parametrize("host", ["other.example", "told-wrong.example", "no-json.example"])
async def test_what_is_wrong_closes(site: Site, host: str) -> None:
    assert (await site.get(host)).status == 503
    problems = json.loads((await site.served.ask_admin("/routes")).body)["problems"]
    assert [each for each in problems if each["object"] == f"Ingress shop/{host}"]


async def test_a_filter_that_is_not_installed_is_refused_at_the_start() -> None:
    async with started("serve", "--to", "127.0.0.1:9", "--http", "127.0.0.1:0", "--allow-filters", "absent") as served:
        assert await served.process.wait() == 2
        await served.reading
    assert 'no installed package has a filter "absent"' in served.log
