import pytest

from ingress.filters.access import AccessSpecification
from ingress.filters.external import ExternalSpecification
from ingress.routes.annotations import external_auth
from ingress.routes.annotations.external_auth import cache_seconds
from tests.ingress.routes.annotations.reading import config_map, read

URL = "http://auth.shop.svc:8080/check"
DEFAULT = {200: 300, 202: 300, 401: 300}


def access_of(annotations: dict[str, str], config: dict[str, str] | None = None) -> AccessSpecification:
    wishes, problems = read(external_auth, annotations, config)
    assert (problems, wishes.closed) == ([], "")
    found = wishes.filters["access"]
    assert isinstance(found, AccessSpecification)
    return found


def test_an_address_is_enough() -> None:
    found = access_of({"auth-url": URL})
    assert found.external == ExternalSpecification(URL, cache_seconds=DEFAULT)
    assert found.open_paths == ("/.well-known/acme-challenge",)


def test_all_of_it() -> None:
    annotations = {
        "auth-url": "https://$host/check?of=$remote_addr",
        "auth-method": "post",
        "auth-signin": "https://$host/login",
        "auth-signin-redirect-param": "back",
        "auth-response-headers": "X-User, X-Group,",
        "auth-request-redirect": "https://$host$request_uri",
        "auth-cache-key": "$remote_user$http_authorization",
        "auth-cache-duration": "200 1m, 401 10s",
        "auth-always-set-cookie": "true",
        "auth-proxy-set-headers": "shop/more",
        "auth-keepalive": "10",
        "auth-keepalive-share-vars": "true",
        "satisfy": "any",
    }
    more = config_map("shop", "more", {"X-Shop": "$host", "X-Fixed": "7\n"})
    wishes, problems = read(external_auth, annotations, {"no-auth-locations": "/open"}, objects=(more,))
    assert (problems, wishes.closed) == ([], "")
    external = ExternalSpecification(
        annotations["auth-url"],
        "POST",
        "https://$host/login",
        "back",
        ("X-User", "X-Group"),
        "https://$host$request_uri",
        "$remote_user$http_authorization",
        {200: 60, 401: 10},
        True,
        (("X-Fixed", "7"), ("X-Shop", "$host")),
    )
    assert wishes.filters["access"] == AccessSpecification(external=external, any=True, open_paths=("/open",))


GLOBAL = {"global-auth-url": URL, "global-auth-response-headers": "X-User", "global-auth-method": "HEAD"}


def test_the_config_maps_service_counts_for_who_has_none_and_does_not_opt_out() -> None:
    found = access_of({}, GLOBAL).external
    assert found == ExternalSpecification(URL, "HEAD", response_fields=("X-User",), cache_seconds=DEFAULT)
    own = access_of({"auth-url": "http://own.example/"}, GLOBAL).external
    assert own == ExternalSpecification("http://own.example/", cache_seconds=DEFAULT)
    wishes, problems = read(external_auth, {"enable-global-auth": "false"}, GLOBAL)
    assert (wishes.filters, problems, wishes.closed) == ({}, [], "")
    wishes, problems = read(external_auth, {"enable-global-auth": "nope"}, GLOBAL)
    assert problems == ["enable-global-auth"]
    assert "access" in wishes.filters


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auth-url", "https://invalid..auth.url"),
        ("auth-url", "auth.shop.svc/check"),
        ("auth-url", "ftp://auth.shop.svc/"),
        ("auth-url", "http:///check"),
        ("auth-url", "http://user:secret@auth.shop.svc/"),
        ("auth-url", "http://auth.shop.svc:http/"),
        ("auth-url", "http://auth/$nonsense"),
        ("auth-url", "http://auth/a b"),
        ("auth-url", "http://auth/\x07"),
        ("auth-method", "CONNECT"),
        ("auth-method", "G ET"),
        ("auth-response-headers", "X-User, X Group"),
        ("auth-response-headers", "X-User\u00e9"),
        ("auth-request-redirect", "$nonsense"),
        ("auth-cache-key", "$nonsense"),
        ("auth-cache-duration", "200 soon"),
        ("auth-cache-duration", "999 1m"),
        ("auth-always-set-cookie", "perhaps"),
    ],
)
def test_what_is_wrong_closes(name: str, value: str) -> None:
    wishes, problems = read(external_auth, {"auth-url": URL, name: value})
    assert set(problems) == {name}
    assert wishes.closed
    assert not wishes.filters
    wishes, problems = read(external_auth, {}, {**GLOBAL, f"global-{name}": value})
    assert problems == [], "of the ConfigMap: reported once"
    assert wishes.closed


@pytest.mark.parametrize(
    "data", [{"X Name": "1"}, {"X-Name": "a\nb"}, {"X-Name": "$nonsense"}], ids=["name", "lines", "variable"]
)
def test_fields_that_are_wrong_close(data: dict[str, str]) -> None:
    objects = (config_map("shop", "more", data),)
    wishes, problems = read(external_auth, {"auth-url": URL, "auth-proxy-set-headers": "more"}, objects=objects)
    assert problems == ["auth-proxy-set-headers"]
    assert wishes.closed


def test_fields_that_are_missing_close() -> None:
    wishes, problems = read(external_auth, {"auth-url": URL, "auth-proxy-set-headers": "more"})
    assert problems == ["auth-proxy-set-headers"]
    assert wishes.closed


def test_what_only_says_where_clients_are_sent_does_not_close() -> None:
    wishes, problems = read(external_auth, {"auth-url": URL, "auth-signin": "http://$nonsense/"})
    assert problems == ["auth-signin"]
    assert wishes.closed == ""
    assert wishes.filters["access"] == access_of({"auth-url": URL})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("200 202 10m, 401 5s", {200: 600, 202: 600, 401: 5}),
        ("1h30m", {200: 5400, 301: 5400, 302: 5400}),
        ("any 2d,200 30", {0: 172800, 200: 30}),
        ("200 1500ms", {200: 1}),
    ],
)
def test_durations(text: str, wanted: dict[int, int]) -> None:
    assert cache_seconds(text) == wanted
