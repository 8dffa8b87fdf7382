"""What one Ingress claims, and what of it is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingress.routes.model import backend_key, split_key
from ingress.routes.rules import BadRule, read_backend, read_claims, read_host, read_path
from lb.cluster.objects import (
    HTTPIngressPath,
    HTTPIngressRuleValue,
    Ingress,
    IngressBackend,
    IngressRule,
    IngressServiceBackend,
    IngressSpec,
    IngressTLS,
    Metadata,
    ServiceBackendPort,
    TypedReference,
)
from tests.ingress.state import ingress


@pytest.mark.parametrize(
    "host", ["", "shop.example.com", "*.example.com", "localhost", "xn--caf-dma.example", "a-b.c", "1.example.com"]
)
def test_a_host_as_it_is(host: str) -> None:
    assert read_host(host) == host


@pytest.mark.parametrize(
    ("host", "advice"),
    [
        ("*", "leave host out"),
        ("*.*.example.com", "only as the first label"),
        ("shop.*.com", "only as the first label"),
        ("a*.example.com", "only as the first label"),
        ("10.0.0.1", "leave host out"),
        ("::1", "leave host out"),
        ("Shop.example.com", 'write "shop.example.com"'),
        ("shop.example.com:80", "the name alone"),
        ("shop.example.com.", "letters, digits"),
        ("-shop.example.com", "letters, digits"),
        ("shop_a.example.com", "letters, digits"),
        ("a" * 64 + ".com", "letters, digits"),
        (".".join(["abcdefgh"] * 30), "letters, digits"),
    ],
)
def test_a_host_no_request_can_have(host: str, advice: str) -> None:
    with pytest.raises(BadRule) as bad:
        read_host(host)
    assert advice in bad.value.advice


@pytest.mark.parametrize(
    ("kind", "path", "want"),
    [
        ("Exact", "/foo", ("/foo", True)),
        ("Prefix", "/foo/", ("/foo/", False)),
        ("ImplementationSpecific", "/foo", ("/foo", False)),
        (None, "/foo", ("/foo", False)),
        ("ImplementationSpecific", "", ("/", False)),
        (None, "", ("/", False)),
        ("Prefix", "/caf%C3%A9", ("/café", False)),
        ("Exact", "/a%20b", ("/a b", True)),
        ("Prefix", "/~user/a,b;c=1/(x)", ("/~user/a,b;c=1/(x)", False)),
        ("Prefix", "/...", ("/...", False)),
        ("Prefix", "/.well-known/acme", ("/.well-known/acme", False)),
    ],
)
def test_a_path(kind: str | None, path: str, want: tuple[str, bool]) -> None:
    assert read_path(HTTPIngressPath(path=path, path_type=kind, backend=IngressBackend())) == want


@pytest.mark.parametrize(
    ("kind", "path", "field"),
    [
        ("prefix", "/", "pathType"),
        ("Regex", "/", "pathType"),
        ("Exact", "", "path"),
        ("Prefix", "", "path"),
        ("Prefix", "foo", "path"),
        ("ImplementationSpecific", "foo", "path"),
        ("Prefix", "/a//b", "path"),
        ("Exact", "/a/./b", "path"),
        ("Exact", "/a/..", "path"),
        ("Prefix", "/a%2fb", "path"),
        ("Prefix", "/a?b=c", "path"),
        ("Prefix", "/a#b", "path"),
        ("Prefix", "/a\nb", "path"),
        ("Prefix", "/100%", "path"),
        ("Prefix", "/%ff", "path"),
        ("Prefix", "/%00", "path"),
    ],
)
def test_a_path_that_is_refused(kind: str, path: str, field: str) -> None:
    with pytest.raises(BadRule) as bad:
        read_path(HTTPIngressPath(path=path, path_type=kind, backend=IngressBackend()))
    assert bad.value.field == field
    assert bad.value.advice


def service_backend(name: str = "", number: int = 0, service: str = "cart") -> IngressBackend:
    port = ServiceBackendPort(name=name, number=number)
    return IngressBackend(service=IngressServiceBackend(name=service, port=port))


def test_a_backend_by_number_and_by_name() -> None:
    assert read_backend("shop", service_backend(number=80)) == "shop/cart:80"
    assert read_backend("shop", service_backend(name="http")) == "shop/cart:http"


@pytest.mark.parametrize(
    ("backend", "field"),
    [
        (IngressBackend(), "backend.service"),
        (service_backend(number=80, service=""), "backend.service"),
        (service_backend(), "backend.service.port"),
        (service_backend(name="http", number=80), "backend.service.port"),
        (service_backend(number=70000), "backend.service.port.number"),
        (service_backend(number=80, service="a:b"), "backend.service.name"),
        (service_backend(number=80, service="a/b"), "backend.service.name"),
        (service_backend(name="A"), "backend.service.port.name"),
        (IngressBackend(resource=TypedReference(kind="Bucket", name="x")), "backend.resource"),
    ],
)
def test_a_backend_that_is_refused(backend: IngressBackend, field: str) -> None:
    with pytest.raises(BadRule) as bad:
        read_backend("shop", backend)
    assert bad.value.field == field


def test_only_the_wrong_rule_is_left_out() -> None:
    rules = {"*": [("/", "Prefix", "a")], "x.example": [("no", "Prefix", "a"), ("/b", "Prefix", "b")]}
    claims = read_claims(ingress("web", rules))
    assert list(claims.hosts) == ["x.example"]
    assert [claim.path for claim in claims.hosts["x.example"]] == ["/b"]
    assert [(problem.object, problem.field) for problem in claims.problems] == [
        ("Ingress shop/web", "spec.rules[0].host"),
        ("Ingress shop/web", "spec.rules[1].http.paths[0].path"),
    ]


def test_a_default_backend_serves_the_hosts_of_its_rules() -> None:
    claims = read_claims(ingress("web", {"a.example": [("/x", "Exact", "a")], "b.example": []}, default="d"))
    assert {host: [claim.backend for claim in found] for host, found in claims.hosts.items()} == {
        "a.example": ["shop/a:80", "shop/d:80"],
        "b.example": ["shop/d:80"],
    }


def test_a_default_backend_without_rules_is_the_catch_all() -> None:
    claims = read_claims(ingress("web", default="d"))
    assert [(claim.path, claim.default) for claim in claims.hosts[""]] == [("/", True)]


def test_a_default_backend_whose_rules_are_all_wrong_does_not_become_the_catch_all() -> None:
    assert read_claims(ingress("web", {"*": []}, default="d")).hosts == {}


def test_an_ingress_that_asks_for_nothing() -> None:
    assert [problem.field for problem in read_claims(ingress("web")).problems] == ["spec"]


def test_tls_without_hosts_means_all_hosts_of_the_rules() -> None:
    rules = {"a.example": [("/", "Prefix", "a")], "*.b.example": [("/", "Prefix", "a")]}
    claims = read_claims(ingress("web", rules, tls=[{"secretName": "cert"}]))
    assert {host: claim.secret for host, claim in claims.tls.items()} == {"a.example": "cert", "*.b.example": "cert"}


def test_tls_with_hosts_and_without_secret() -> None:
    tls = [{"hosts": ["a.example", "Bad"], "secretName": "one"}, {"hosts": ["b.example"]}]
    claims = read_claims(ingress("web", {"a.example": []}, default="d", tls=tls))
    assert {host: claim.secret for host, claim in claims.tls.items()} == {"a.example": "one"}
    assert [problem.field for problem in claims.problems] == ["spec.tls[0].hosts[1]"]


TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", "*", "*.a", "a.b", "A.b", "/", "/a", "/a/", "//", "/%", "/%zz", "/..", "a:1", "1.2.3.4", "::1", "/\udcff"]
    ),
)
BACKENDS = st.builds(
    IngressBackend,
    service=st.none()
    | st.builds(
        IngressServiceBackend,
        name=TEXTS,
        port=st.builds(ServiceBackendPort, name=TEXTS, number=st.integers(-1, 70000)),
    ),
    resource=st.none() | st.builds(TypedReference, kind=TEXTS, name=TEXTS),
)
PATHS = st.builds(
    HTTPIngressPath,
    backend=BACKENDS,
    path=TEXTS,
    path_type=st.sampled_from([None, "Exact", "Prefix", "ImplementationSpecific", "x"]),
)
RULES = st.builds(
    IngressRule,
    host=TEXTS,
    http=st.none() | st.builds(HTTPIngressRuleValue, paths=st.lists(PATHS, max_size=3).map(tuple)),
)
SPECS = st.builds(
    IngressSpec,
    default_backend=st.none() | BACKENDS,
    rules=st.lists(RULES, max_size=3).map(tuple),
    tls=st.lists(
        st.builds(IngressTLS, hosts=st.lists(TEXTS, max_size=2).map(tuple), secret_name=TEXTS), max_size=2
    ).map(tuple),
)


@given(SPECS)
def test_whatever_an_ingress_says_it_becomes_claims_or_problems(spec: IngressSpec) -> None:
    claims = read_claims(Ingress(metadata=Metadata(name="web", namespace="shop"), spec=spec))
    for found in claims.hosts.values():
        for claim in found:
            assert claim.path.startswith("/")
            assert backend_key(*split_key(claim.backend)) == claim.backend
            assert claim.path.encode()
    assert all(problem.reason and problem.field for problem in claims.problems)
