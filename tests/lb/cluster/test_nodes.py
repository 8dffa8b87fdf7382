import textwrap

import pytest
import yaml

from lb.cluster.nodes import BadNode, Values, line_of


def node(text: str) -> yaml.Node:
    found = yaml.compose(textwrap.dedent(text), Loader=yaml.SafeLoader)
    assert found is not None
    return found


TEXT = """\
    metadata:
      name: web
      labels: {a.b/c: d}
    spec:
      ports:
      - name: a
        port: 80
      - name: b

        port: 81
    """


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("", 0),
        ("metadata", 0),
        ("metadata.name", 1),
        ("metadata.labels", 2),
        ("spec.ports", 4),
        ("spec.ports[0]", 5),
        ("spec.ports[0].port", 6),
        ("spec.ports[1].port", 9),
        ("spec.ports[1].protocol", 7),  # not there: the nearest thing around it
        ("spec.ports[7].port", 4),
        ("status.loadBalancer", 0),
        ("metadata.name.x", 1),
    ],
)
def test_lines_of_fields(path: str, line: int) -> None:
    assert line_of(node(TEXT), path) == line


def test_values() -> None:
    text = "{a: [1, 1.5, true, off, null, ~, '1', .inf], b: 0x10, c: 1_000, d: 2026-01-02, e: !!binary aGk=, f: null}"
    assert Values().of(node(text)) == {
        "a": [1, 1.5, True, False, None, None, "1", float("inf")],
        "b": 16, "c": 1000, "d": "2026-01-02", "e": "aGk=",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["{a: 1, a: 2}", "!x {}", "a: !!int x", "{[a]: 1}", "<<: 3", "a: &x [*x]"])
def test_what_is_refused(text: str) -> None:
    with pytest.raises(BadNode):
        Values().of(node(text))


def test_merged_keys_yield_to_those_given() -> None:
    text = "{x: &x {a: 1, b: 1}, y: &y {b: 2, c: 2}, z: {<<: [*x, *y], c: 3}}"
    assert Values().of(node(text))["z"] == {"a": 1, "b": 1, "c": 3}
