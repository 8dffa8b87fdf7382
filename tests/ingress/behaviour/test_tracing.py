"""Spans of requests as a real collector gets them, over HTTP."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.ingress.behaviour.judge import Judge, judging
from tests.ingress.peers import Answer
from tests.ingress.site import CONFIGURED, CONTROLLER, Site, annotated, config_map, site_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
FIELDS = [("traceparent", f"00-{TRACE}-{SPAN}-01"), ("tracestate", "shop=1")]
ON = {"enable-opentelemetry": "true"}
OBJECTS = (
    annotated("on.example", ON),
    annotated("wary.example", {**ON, "opentelemetry-trust-incoming-span": "false"}),
    annotated("named.example", {**ON, "opentelemetry-operation-name": "$namespace $uri"}),
    annotated("redirected.example", {**ON, "permanent-redirect": "http://a.example/"}),
    annotated("off.example"),
)


@dataclass
class Trial:
    site: Site
    collector: Judge

    def spans(self) -> dict[str, dict[str, Any]]:
        """By the path that was asked for."""
        found = {}
        for each in self.collector.asked:
            assert (each.method, each.target) == ("POST", "/v1/traces")
            assert each.all("content-type") == ["application/json"]
            for span in json.loads(each.body)["resourceSpans"][0]["scopeSpans"][0]["spans"]:
                values = {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}
                found[values["url.path"]] = span | {"attributes": values}
        return found

    async def span(self, host: str, path: str, **how: Any) -> tuple[dict[str, Any], Answer]:
        answer = await self.site.get(host, path, **how)

        async def there() -> bool:
            return path in self.spans()

        await self.site.until(there)
        return self.spans()[path], answer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trial(tmp_path_factory: Any) -> AsyncIterator[Trial]:
    path: Path = tmp_path_factory.mktemp("site")
    async with judging() as collector:
        config = {"otlp-collector-host": "127.0.0.1", "otlp-collector-port": str(collector.port)}
        controller = config_map(*CONTROLLER.split("/"), config)
        async with site_of(path, *OBJECTS, controller, flags=CONFIGURED) as site:
            yield Trial(site, collector)


async def test_the_parent_is_kept(trial: Trial) -> None:
    span, answer = await trial.span("on.example", "/kept", fields=FIELDS)
    assert (span["traceId"], span["parentSpanId"], span["traceState"]) == (TRACE, SPAN, "shop=1")
    sent = answer.echo["headers"]
    assert sent["traceparent"] == f"00-{TRACE}-{span['spanId']}-01"
    assert sent["tracestate"] == "shop=1"
    assert span["attributes"]["http.response.status_code"] == "200"
    assert span["attributes"]["k8s.service.name"] == "echo"
    assert int(span["endTimeUnixNano"]) >= int(span["startTimeUnixNano"])


async def test_who_is_not_trusted_gets_a_trace_of_our_own(trial: Trial) -> None:
    span, answer = await trial.span("wary.example", "/wary", fields=FIELDS)
    sent = answer.echo["headers"]
    assert sent["traceparent"] == f"00-{span['traceId']}-{span['spanId']}-01"
    assert span["traceId"] != TRACE
    assert "parentSpanId" not in span
    assert "tracestate" not in sent


async def test_errors_names_and_answers_of_our_own(trial: Trial) -> None:
    span, _ = await trial.span("named.example", "/failed", fields=[("tell-status", "500")])
    assert (span["name"], span["status"]) == ("shop /failed", {"code": 2})
    span, answer = await trial.span("redirected.example", "/redirected")
    assert answer.status == 301
    assert (span["name"], span["attributes"]["http.response.status_code"]) == ("GET /", "301")


async def test_without_it_nothing_is_made(trial: Trial) -> None:
    answer = await trial.site.get("off.example", "/off", fields=FIELDS)
    assert answer.echo["headers"]["traceparent"] == FIELDS[0][1]
    await trial.span("on.example", "/after-off")
    assert "/off" not in trial.spans()
