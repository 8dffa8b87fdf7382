"""Our proxy driven from outside: the parts that the scenarios are made of."""

import os
import signal

import pytest
from click.testing import CliRunner

from bench import native
from bench.cli import bench
from bench.scenarios import Finding, Measured, ScenarioFailed, Skipped, catalogue, clients, network, proxying
from bench.scenarios.stage import HOST, await_true, shop, stage, write
from tests.conftest import IS_ROOT, needs_root


def test_a_stage_follows_its_manifests_and_ends() -> None:
    with native.endpoint() as (one, _), native.endpoint() as (two, _):
        with stage(*shop(one)) as made:
            assert made.ask() == (200, one)
            assert made.ask("nobody.example.org")[0] == 404
            made.write("all.yaml", *shop(two))
            await_true(made.answers(endpoint=two), 10, "the change")
            proxying.settle(made, two)
            with clients.idle(made.port, HOST, 20):
                assert made.ask() == (200, two)
            with clients.slow(made.port, HOST, "/1000000", count=3, octets_per_second=16384) as read:
                await_true(lambda: read[0] > 10_000, 10, "slow reading")
                assert read[0] < 3_000_000
        assert made.process.returncode is not None
        assert made.ask() == (0, 0)


def test_a_proxy_that_dies_is_told() -> None:
    with native.endpoint() as (one, _), stage(*shop(one)) as made:
        os.kill(made.process.pid, signal.SIGKILL)
        made.process.wait()
        with pytest.raises(ScenarioFailed, match="ended with status -9"):
            made.await_answer()


def test_waiting_has_an_end() -> None:
    with pytest.raises(ScenarioFailed, match=r"the moon did not happen within 0.01 s"):
        await_true(lambda: False, 0.01, "the moon")


def fails(full: bool) -> Finding:
    raise ScenarioFailed("it broke")


def skips(full: bool) -> Finding:
    raise Skipped("needs a moon")


def works(full: bool) -> Finding:
    return Finding({"size": 10 if full else 1})


def test_one_that_fails_hinders_none() -> None:
    chosen = [Measured("a", "x", fails), Measured("b", "y", skips), Measured("c", "z", works)]
    found = catalogue.run_all(chosen, True, lambda line: None)["scenarios"]
    assert found["a"] == {"about": "x", "error": "it broke"}
    assert found["b"]["skipped"] == "needs a moon"
    assert found["c"]["figures"] == {"size": 10}


def test_the_command_names_what_there_is() -> None:
    listed = CliRunner().invoke(bench, ["scenario", "--list"]).output
    assert all(each.name in listed for each in catalogue.SCENARIOS)
    unknown = CliRunner().invoke(bench, ["scenario", "nonsense"])
    assert (unknown.exit_code, "idle-connections" in unknown.output) == (2, True)


@pytest.mark.skipif(IS_ROOT, reason="for an ordinary user")
def test_namespaces_need_root() -> None:
    with pytest.raises(Skipped, match="root"), network.namespace():
        pass


@needs_root
def test_a_service_answers_in_its_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    with network.prepared() as (ns, folder), network.endpoints(ns), network.client(ns) as client:
        write(folder / "manifests", "one.yaml", network.service(3))
        with network.agent(ns, folder) as agent:
            agent.await_ready()
            assert network.connect(client, network.address(3), str(network.PORT), 10) > 0
            assert network.connect(client, network.address(4), "any", 0.2) == -1
            with network.namespace() as pod:
                netns = f"/proc/{pod.holder}/ns/net"
                assert agent.cni("ADD", "c1", netns) > 0
                assert "eth0" in pod.run("ip", "link")
                assert agent.cni("DEL", "c1", netns) > 0
