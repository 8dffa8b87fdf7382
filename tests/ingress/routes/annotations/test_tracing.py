"""Annotations and keys of OpenTelemetry -> a filter."""

from typing import Any

import pytest

from ingress.filters.tracing import TracingSpecification
from ingress.routes.annotations import tracing
from ingress.routes.config import read_config
from lb.cluster.objects import ConfigMap, Metadata
from tests.ingress.routes.annotations.reading import read

ON = {"enable-opentelemetry": "true"}
THERE = {"otlp-collector-host": "otel.ops"}
URL = "http://otel.ops:4318/v1/traces"


@pytest.mark.parametrize(
    ("annotations", "config", "wanted", "problems"),
    [
        ({}, THERE, None, []),
        (ON, {}, None, ["enable-opentelemetry"]),
        ({}, ON, None, []),
        (ON, THERE, {}, []),
        ({}, ON | THERE, {}, []),
        ({"enable-opentelemetry": "false"}, ON | THERE, None, []),
        (
            {},
            {**ON, "otlp-collector-host": "fd00::1", "otlp-collector-port": "80", "otel-service-name": "edge"},
            {"collector": "http://[fd00::1]:80/v1/traces", "service": "edge"},
            [],
        ),
        ({}, {**ON, **THERE, "otel-sampler-ratio": "0.25"}, {"ratio": 0.25}, []),
        ({}, {**ON, **THERE, "otel-sampler-ratio": "0.25", "otel-sampler": "AlwaysOn"}, {"ratio": 1.0}, []),
        ({}, {**ON, **THERE, "otel-sampler": "TraceIdRatioBased"}, {"ratio": 0.01}, []),
        ({}, {**ON, **THERE, "otel-sampler": "AlwaysOff"}, {"ratio": 0.0}, []),
        ({}, {**ON, **THERE, "otel-sampler-parent-based": "false"}, {"follow_parent": False}, []),
        ({}, {**ON, **THERE, "opentelemetry-trust-incoming-span": "false"}, {"trust": False}, []),
        (
            {"opentelemetry-trust-incoming-span": "true", "opentelemetry-operation-name": "$host"},
            {**ON, **THERE, "opentelemetry-trust-incoming-span": "false", "opentelemetry-operation-name": "x"},
            {"operation": "$host"},
            [],
        ),
        ({**ON, "opentelemetry-operation-name": "$nonsense"}, THERE, {}, ["opentelemetry-operation-name"]),
    ],
)
def test_spans(
    annotations: dict[str, str], config: dict[str, str], wanted: dict[str, Any] | None, problems: list[str]
) -> None:
    wishes, found = read(tracing, annotations, config)
    fields = {"collector": URL, "service": "causeway", **(wanted or {})}
    filters = {} if wanted is None else {"tracing": TracingSpecification(**fields)}
    assert (wishes.filters, found) == (filters, problems)


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (ON | THERE, []),
        (ON, ["enable-opentelemetry"]),
        ({**THERE, "otlp-collector-port": "4317"}, ["otlp-collector-port"]),
        ({**THERE, "otlp-collector-port": "0"}, ["otlp-collector-port"]),
        ({"otlp-collector-host": "http://otel.ops"}, ["otlp-collector-host"]),
        ({"otlp-collector-host": "fd00::1", "otel-sampler-ratio": "1.0"}, []),
        ({"otel-sampler-ratio": "1.5"}, ["otel-sampler-ratio"]),
        ({"otel-sampler": "Sometimes"}, ["otel-sampler"]),
        ({"opentelemetry-operation-name": "$nonsense"}, ["opentelemetry-operation-name"]),
    ],
)
def test_what_is_wrong_with_the_config_map(data: dict[str, str], wrong: list[str]) -> None:
    found = read_config(ConfigMap(metadata=Metadata(name="controller", namespace="ops"), data=data))
    assert [each.field for each in found.problems] == [f"data[{key}]" for key in wrong]
