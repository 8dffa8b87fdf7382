"""What deploy/ says fits the code: flags, rights, values, metrics. The tools themselves render it in tests/e2e."""

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from causeway.cli import main
from ingress.observe import metrics
from ingress.routes.compile import KINDS as INGRESS_KINDS
from lb.agent import KINDS as NODE_KINDS
from lb.balancer.assign import KINDS as BALANCER_KINDS
from lb.cluster.connection import path_of
from lb.cluster.objects import Object

TOP = Path(__file__).parent.parent.parent
DEPLOY = TOP / "deploy"
CHART = DEPLOY / "helm/causeway"
TEMPLATES = sorted((CHART / "templates").iterdir())
PLAIN = sorted(
    each
    for pattern in ("*.yaml", "*.yml")
    for each in DEPLOY.rglob(pattern)
    if CHART / "templates" not in each.parents and DEPLOY / "demo" not in each.parents
)
WATCH = frozenset({"list", "watch"})


def name(path: Path) -> str:
    return str(path.relative_to(DEPLOY))


def documents(*files: Path) -> list[dict[str, Any]]:
    found = [each for file in files for each in yaml.safe_load_all(file.read_text())]
    return [each for each in found if isinstance(each, dict)]


def flags_of(command: str) -> set[str]:
    found = main.get_command(click.Context(main), command)
    assert found is not None, f"no command {command}"
    return {option for param in found.params for option in param.opts}


def containers() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(name, pod specification, container) of all workloads of kustomize."""
    for each in documents(*(path for path in PLAIN if "kustomize" in path.parts)):
        if each.get("kind") in ("Deployment", "DaemonSet"):
            pod = each["spec"]["template"]["spec"]
            for container in pod["containers"]:
                yield each["metadata"]["name"], pod, container


def roles() -> dict[str, list[dict[str, Any]]]:
    """ "Kind name" -> rules."""
    found = documents(*(path for path in PLAIN if "kustomize" in path.parts))
    return {f"{each['kind']} {each['metadata']['name']}": each["rules"] for each in found if "rules" in each}


def granted(rules: Iterable[dict[str, Any]]) -> dict[tuple[str, str], frozenset[str]]:
    """(API group, resource) -> verbs."""
    found: dict[tuple[str, str], frozenset[str]] = {}
    for rule in rules:
        for place in itertools.product(rule["apiGroups"], rule["resources"]):
            found[place] = found.get(place, frozenset()) | frozenset(rule["verbs"])
    return found


def watched(kinds: Iterable[type[Object]]) -> dict[tuple[str, str], frozenset[str]]:
    """What listing and watching these takes."""
    return {(kind.API_VERSION.rpartition("/")[0], path_of(kind).rpartition("/")[2]): WATCH for kind in kinds}


@pytest.mark.parametrize("path", PLAIN, ids=name)
def test_it_is_yaml(path: Path) -> None:
    assert all(yaml.safe_load_all(path.read_text()))


@pytest.mark.parametrize("path", [each for each in PLAIN if each.name == "kustomization.yaml"], ids=name)
def test_what_a_kustomization_names_is_there(path: Path) -> None:
    [whole] = documents(path)
    names = [*whole.get("resources", ()), *whole.get("components", ())]
    names += [each["path"] for each in whole.get("patches", ()) if "path" in each]
    names += [env for each in whole.get("configMapGenerator", ()) for env in each["envs"]]
    assert names
    assert [each for each in names if not (path.parent / each).exists()] == []


def test_every_flag_of_a_workload_exists() -> None:
    seen = 0
    for where, _, container in containers():
        command, *arguments = container["args"]
        given = {each.partition("=")[0] for each in arguments}
        assert given <= flags_of(command), where
        seen += 1
    assert seen == 3


def test_every_flag_of_the_chart_exists() -> None:
    text = "".join(path.read_text() for path in TEMPLATES if path.suffix == ".tpl")
    given = set(re.findall(r"^- (--[a-z-]+)", text, re.MULTILINE))
    assert len(given) > 8
    assert given <= flags_of("ingress")


@pytest.mark.parametrize("path", sorted((DEPLOY / "systemd").glob("*.service")), ids=name)
def test_every_flag_of_a_unit_exists(path: Path) -> None:
    for line in re.findall(r"^Exec\w+=\S*/causeway (.*)", path.read_text().replace("\\\n", " "), re.MULTILINE):
        command, *words = line.split()
        assert {word for word in words if word.startswith("--")} <= flags_of(command)


@pytest.mark.parametrize(
    ("role", "kinds", "written"),
    [
        (
            "causeway-ingress",
            INGRESS_KINDS,
            {
                ("networking.k8s.io", "ingresses/status"): frozenset({"patch"}),
                ("", "events"): frozenset({"create"}),
            },
        ),
        ("causeway-node", NODE_KINDS, {}),
        ("causeway-balancer", BALANCER_KINDS, {("", "services/status"): frozenset({"patch"})}),
    ],
)
def test_rights_are_what_the_sources_read_and_write(
    role: str, kinds: tuple[type[Object], ...], written: dict[tuple[str, str], frozenset[str]]
) -> None:
    assert granted(roles()[f"ClusterRole {role}"]) == watched(kinds) | written


@pytest.mark.parametrize("role", ["causeway-ingress", "causeway-balancer"])
def test_a_lease_of_its_own(role: str) -> None:
    [rule] = roles()[f"Role {role}"]
    assert rule["resourceNames"] == [role]
    assert granted([rule]) == {("coordination.k8s.io", "leases"): {"get", "patch"}}


def test_the_chart_gives_the_same_rights() -> None:
    text = (CHART / "templates/rbac.yaml").read_text()
    rules = yaml.safe_load("\n".join(re.findall(r"^ *(- \{apiGroups.*verbs.*)", text, re.MULTILINE)))
    by_values = {
        ("", "namespaces"): WATCH,
        ("", "nodes"): WATCH | {"get"},
        ("", "pods"): frozenset({"get", "list"}),
    }
    found = granted(rules)
    assert found == granted(roles()["ClusterRole causeway-ingress"]) | by_values


def test_nobody_is_root_but_the_node_agent() -> None:
    for where, pod, container in containers():
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"], where
        if where == "causeway-node":
            assert (context["privileged"], pod["hostNetwork"]) == (True, True)
            continue
        assert (context["runAsNonRoot"], context["allowPrivilegeEscalation"]) == (True, False), where
        assert context["capabilities"] == {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}, where


def values() -> dict[str, Any]:
    return documents(CHART / "values.yaml")[0]


def test_every_value_the_templates_read_is_documented() -> None:
    wrong = []
    for path in TEMPLATES:
        text = path.read_text()
        found = re.findall(r"\.Values((?:\.\w+)+)", text)
        if "$c := .Values.controller" in text:
            found += [f".controller{each}" for each in re.findall(r"\$c((?:\.\w+)+)", text)]
        for dotted in found:
            here: Any = values()
            for part in dotted.split(".")[1:]:
                if not isinstance(here, dict) or part not in here:
                    wrong.append(f"{path.name}: {dotted}")
                    break
                here = here[part]
    assert wrong == []


def test_every_value_is_read_by_a_template() -> None:
    text = "".join(path.read_text() for path in TEMPLATES)
    words = set(re.findall(r"\w+", text))

    def names(of: dict[str, Any]) -> Iterator[str]:
        for key, value in of.items():
            # what is handed on whole, as Kubernetes has it
            whole = key.endswith(("Probe", "seccompProfile", "resources", "nodeSelector")) or key == "labels"
            yield key
            if isinstance(value, dict) and not whole:
                yield from names(value)

    assert sorted(set(names(values())) - words) == []


def dashboard_queries() -> list[str]:
    whole = json.loads((CHART / "dashboards/ingress.json").read_text())
    return [target["expr"] for panel in whole["panels"] for target in panel.get("targets", ())]


def test_the_dashboard_asks_for_metrics_there_are() -> None:
    source = "".join(each.read_text() for each in Path(metrics.__file__).parent.glob("*.py"))
    named = {each for query in dashboard_queries() for each in re.findall(r"\b(?:nginx_ingress|causeway)_\w+", query)}
    assert len(named) > 10
    for each in named:
        plain = re.sub(r"_(bucket|count|sum)$", "", each.removeprefix(metrics.PREFIX))
        pieces = [plain, plain.removeprefix("nginx_process_"), plain.removesuffix("_total")]
        assert any(f'"{piece}"' in source for piece in pieces), each
