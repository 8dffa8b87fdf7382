import base64
import textwrap
import time

import pytest

from lb.cluster.documents import read_document, read_documents
from lb.cluster.objects import Ingress, Key, Secret, Service

WEB = """\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  ports:
  - port: 80
"""


def wrong(text: str) -> list[tuple[int, str, str]]:
    """(line counted from 1, field, reason) of everything wrong with a text."""
    return [
        (placed.line + each.line, each.fault.field, each.fault.reason)
        for placed in read_documents(textwrap.dedent(text))
        for found in placed.document.found
        for each in found.wrong
    ]


def keys(text: str) -> list[Key]:
    return [
        found.object.key
        for placed in read_documents(textwrap.dedent(text))
        for found in placed.document.found
        if found.object is not None
    ]


def test_one_document() -> None:
    (found,) = read_document(WEB).found
    assert isinstance(found.object, Service)
    assert found.object.key == found.key == Key("Service", "shop", "web")
    assert found.object.spec.ports[0].port == 80


def test_many_documents_with_all_kinds_of_separators() -> None:
    text = "%YAML 1.1\n---\n" + WEB + "--- # again\n" + WEB.replace("web", "b") + "...\n---\n\n---\n# nothing\n---\n"
    text += WEB.replace("web", "c")
    assert [key.name for key in keys(text)] == ["web", "b", "c"]


def test_windows_line_ends() -> None:
    assert [key.name for key in keys((WEB + "---\n" + WEB.replace("web", "b")).replace("\n", "\r\n"))] == ["web", "b"]


@pytest.mark.parametrize("text", ["", "\n\n", "---\n", "# words\n", "---\n---\n", "null\n"])
def test_nothing(text: str) -> None:
    assert keys(text) == []
    assert wrong(text) == []


def test_a_list_of_any_kind() -> None:
    text = """\
        apiVersion: v1
        kind: List
        items:
        - apiVersion: v1
          kind: Service
          metadata: {name: a}
          spec: {ports: [{port: 80}]}
        - apiVersion: v1
          kind: Service
          metadata: {name: b}
          spec: {ports: [{port: 0}]}
        - {apiVersion: apps/v1, kind: Deployment, metadata: {name: c}}
        """
    assert keys(text) == [Key("Service", "default", "a")]
    assert wrong(text) == [(11, "spec.ports[0].port", "0 is not a port")]


def test_items_of_a_typed_list_need_not_say_what_they_are() -> None:
    text = """\
        apiVersion: networking.k8s.io/v1
        kind: IngressList
        items:
        - metadata: {name: a, namespace: shop}
          spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}
        """
    assert keys(text) == [Key("Ingress", "shop", "a")]
    assert keys("apiVersion: v1\nkind: List\n") == []
    assert keys("apiVersion: v1\nkind: List\nitems: []\n") == []


def test_json_is_read_as_well() -> None:
    text = '{"apiVersion": "v1", "kind": "Service",\n "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}'
    assert keys(text) == [Key("Service", "default", "web")]


@pytest.mark.parametrize(
    ("text", "line", "field", "reason"),
    [
        (WEB.replace("80", "eighty"), 6, "spec.ports[0].port", "must be a whole number, not text"),
        (WEB.replace("80", "80.5"), 6, "spec.ports[0].port", "must be a whole number, not float"),
        (WEB.replace("80", "99999"), 6, "spec.ports[0].port", "99999 is not a port"),
        (WEB.replace("name: web, ", ""), 3, "metadata.name", "is missing"),
        (WEB.replace("metadata: {name: web, namespace: shop}\n", ""), 1, "metadata", "is missing"),
        (WEB.replace("name: web", "name: 12"), 3, "metadata.name", "must be text, not a whole number"),
        (WEB.replace("  - port: 80", "    port: 80"), 5, "spec.ports", "must be a list, not a mapping"),
        (WEB.replace("v1", "v2"), 1, "apiVersion", "'v2' is not served for Service"),
        (WEB.replace("apiVersion: v1\n", ""), 1, "apiVersion", "is missing"),
        (WEB.replace("Service", "Servise"), 2, "kind", "'Servise' is not a kind of Kubernetes"),
        (WEB.replace("kind: Service\n", ""), 1, "kind", "is missing"),
        (WEB + "  ports: []\n", 7, "", "key 'ports' is given twice"),
        ("- a\n- b\n", 1, "", "is not a Kubernetes object but a bare value"),
        ("just words\n", 1, "", "is not a Kubernetes object but a bare value"),
        (WEB + "x: !!python/object:a {}\n", 7, "", "tag tag:yaml.org,2002:python/object:a has no meaning here"),
        (WEB + "x: !env HOME\n", 7, "", "tag !env has no meaning here"),
        (WEB + "x: &a [*a]\n", 7, "", "an alias contains itself"),
        (WEB + "? [a]\n: 1\n", 7, "", "a key is not plain text"),
        (WEB + "<<: 1\n", 7, "", "<< wants a mapping or a list of mappings"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, field: str, reason: str) -> None:
    assert wrong(text) == [(line, field, reason)]
    # The same one document later: lines are those of the file.
    assert wrong(WEB + "---\n" + text) == [(line + 7, field, reason)]


def test_yaml_errors_name_line_and_column() -> None:
    ((line, field, reason),) = wrong("kind: Service\nspec: [1,\nmetadata: 2\n")
    assert (line, field) == (4, "")
    assert reason.startswith("not YAML at column 1: while parsing a flow sequence")
    ((line, _, reason),) = wrong("a: 1\n  b: 2\n")
    assert line == 2
    assert "column 4" in reason


def test_a_character_yaml_forbids() -> None:
    ((line, _, reason),) = wrong("a: \x01\n")
    assert line == 1
    assert "not YAML" in reason


def test_a_broken_document_harms_only_itself() -> None:
    text = WEB + "---\na: [\n---\n" + WEB.replace("web", "b")
    assert [key.name for key in keys(text)] == ["web", "b"]
    assert len(wrong(text)) == 1


def test_a_key_given_twice_still_tells_whose_document_it_is() -> None:
    (found,) = read_document(WEB + "spec: {}\n").found
    assert found.key == Key("Service", "shop", "web")
    assert found.object is None


def test_kinds_of_others_are_ignored() -> None:
    for version, kind in (
        ("apps/v1", "Deployment"),
        ("v1", "Endpoints"),
        ("v1", "ServiceAccount"),
        ("serving.knative.dev/v1", "Service"),
        ("config.openshift.io/v1", "Ingress"),
        ("networking.internal.knative.dev/v1alpha1", "Ingress"),
        ("traefik.io/v1alpha1", "IngressRoute"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute"),
        ("example.org/v1", "Servise"),
    ):
        text = f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\n"
        assert (keys(text), wrong(text)) == ([], []), (version, kind)


def test_quoting_is_advised_where_text_is_wanted() -> None:
    (found,) = read_document(WEB.replace("namespace: shop", "annotations: {weight: 20}")).found
    ((where),) = found.wrong
    assert where.fault.advice == "put it in quotes"


def test_null_is_as_if_absent() -> None:
    text = WEB.replace("spec:", "spec:\n  selector:\n  externalIPs: ~\n  type: null")
    (found,) = read_document(text).found
    assert isinstance(found.object, Service)
    assert found.object.spec.type == "ClusterIP"


def test_scalars_are_what_kubectl_takes_them_for() -> None:
    text = """\
        apiVersion: v1
        kind: ConfigMap
        metadata:
          name: a
          creationTimestamp: 2026-01-02T03:04:05Z
        data: {time: 12:30:45, port: 8080:80, date: 2026-01-02, quoted: "yes", empty: ""}
        """
    (placed,) = read_documents(textwrap.dedent(text))
    (found,) = placed.document.found
    assert found.wrong == ()
    assert found.object is not None
    assert found.object.metadata.creation_timestamp == "2026-01-02T03:04:05Z"
    assert getattr(found.object, "data") == {  # noqa: B009
        "time": "12:30:45", "port": "8080:80", "date": "2026-01-02", "quoted": "yes", "empty": "",
    }  # fmt: skip


@pytest.mark.parametrize(("text", "value"), [("0x50", 80), ("0o120", 80), ("0120", 80), ("0b1010000", 80), ("+80", 80)])
def test_numbers_in_other_bases(text: str, value: int) -> None:
    (found,) = read_document(WEB.replace("80", text)).found
    if text.startswith("0o"):  # YAML 1.2 only; text in 1.1
        assert found.wrong
        return
    assert isinstance(found.object, Service)
    assert found.object.spec.ports[0].port == value


def test_anchors_and_merges() -> None:
    text = """\
        apiVersion: v1
        kind: Service
        metadata: {name: web, labels: &l {app: web}}
        spec:
          selector: *l
          ports:
          - &p {name: a, port: 80, protocol: UDP}
          - {<<: *p, name: b, port: 81}
        """
    (placed,) = read_documents(textwrap.dedent(text))
    service = placed.document.found[0].object
    assert isinstance(service, Service)
    assert service.spec.selector == {"app": "web"}
    assert [(port.name, port.port, port.protocol) for port in service.spec.ports] == [
        ("a", 80, "UDP"),
        ("b", 81, "UDP"),
    ]


def test_a_few_lines_cannot_ask_for_billions_of_values() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    began = time.process_time()
    ((_, _, reason),) = wrong("\n".join(lines))
    assert "aliases expand" in reason
    assert time.process_time() - began < 2


def test_deep_nesting_is_refused_not_a_crash() -> None:
    text = WEB + "x: " + "[" * 20_000 + "]" * 20_000 + "\n"
    assert wrong(text)


def test_string_data_is_folded_and_wins() -> None:
    text = """\
        apiVersion: v1
        kind: Secret
        metadata: {name: s}
        data: {a: b25l, b: dHdv}
        stringData: {b: three}
        """
    (placed,) = read_documents(textwrap.dedent(text))
    secret = placed.document.found[0].object
    assert isinstance(secret, Secret)
    assert secret.string_data is None
    assert secret.data == {"a": "b25l", "b": base64.b64encode(b"three").decode()}


def test_what_is_known_is_not_read_again() -> None:
    before = read_documents(WEB + "---\n" + WEB.replace("web", "b"))
    known = {each.text: each.document for each in before}
    after = read_documents("# a comment\n" + WEB + "---\n" + WEB.replace("web", "b"), known)
    assert after[0].document is not before[0].document
    assert after[1].document is before[1].document
    assert after[1].line == before[1].line + 1


def test_cut_at_every_byte_nothing_is_raised() -> None:
    text = (
        WEB + "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: é}\nspec: {rules: [{host: a}]}\n"
    )
    for end in range(len(text)):
        read_documents(text[:end])


def test_ten_thousand_documents_are_read_in_a_few_seconds() -> None:
    text = "---\n".join(WEB.replace("web", f"s{number}") for number in range(10_000))
    began = time.process_time()
    placed = read_documents(text)
    assert len(placed) == 10_000
    assert time.process_time() - began < 10  # measured 0.6 s
    known = {each.text: each.document for each in placed}
    began = time.process_time()
    read_documents(text.replace("s5000,", "other,"), known)
    assert time.process_time() - began < 1  # measured 0.02 s


def test_an_ingress() -> None:
    text = """\
        apiVersion: networking.k8s.io/v1
        kind: Ingress
        metadata: {name: web}
        spec:
          rules:
          - host: a.example
            http:
              paths:
              - {path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}
        """
    (placed,) = read_documents(textwrap.dedent(text))
    assert isinstance(placed.document.found[0].object, Ingress)
