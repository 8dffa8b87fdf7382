"""opentelemetry-*: spans of requests, sent to the operator's collector."""

from ingress.filters.tracing import TracingSpecification
from ingress.filters.variables import Template
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes

ENABLE = "enable-opentelemetry"
TRUST = "opentelemetry-trust-incoming-span"
OPERATION = "opentelemetry-operation-name"
NAMES = {ENABLE: Risk.LOW, TRUST: Risk.LOW, OPERATION: Risk.MEDIUM}
DIFFERS = {ENABLE: "spans go to the collector by OTLP over HTTP, as JSON (port 4318 unless it is given), not by gRPC"}
HOST = "otlp-collector-host"
PORT = "otlp-collector-port"
CONFIG = frozenset(
    {
        *NAMES,
        HOST,
        PORT,
        "otel-service-name",
        "otel-sampler",
        "otel-sampler-ratio",
        "otel-sampler-parent-based",
    }
)
SAMPLERS = ("AlwaysOn", "AlwaysOff", "TraceIdRatioBased")
DEFAULT_PORT = 4318
DEFAULT_RATIO = "0.01"


def read(reader: Reader, wishes: Wishes) -> None:
    trust = reader.flag(TRUST, True, config=TRUST)
    operation = reader.text(OPERATION, config=OPERATION)
    try:
        Template.parse(operation)
    except ValueError as error:
        reader.wrong(OPERATION, str(error), "method and path of the rule name the spans")
        operation = ""
    if not reader.flag(ENABLE, config=ENABLE):
        return
    host = reader.text("", config=HOST)
    if not host:
        reader.wrong(ENABLE, "there is no collector", f"set {HOST} in the ConfigMap; no spans are made")
        return
    port = reader.number("", DEFAULT_PORT, least=1, most=65535, config=PORT)
    wishes.filters["tracing"] = TracingSpecification(
        f"http://[{host}]:{port}/v1/traces" if ":" in host else f"http://{host}:{port}/v1/traces",
        reader.text("", "causeway", config="otel-service-name"),
        _ratio(reader),
        reader.flag("", True, config="otel-sampler-parent-based"),
        trust,
        operation,
    )


def _ratio(reader: Reader) -> float:
    """A ratio without a sampler is meant as it says."""
    given = reader.text("", config="otel-sampler-ratio")
    sampler = reader.choice("", SAMPLERS, "TraceIdRatioBased" if given else "AlwaysOn", config="otel-sampler")
    return {"AlwaysOn": 1.0, "AlwaysOff": 0.0}.get(sampler, float(given or DEFAULT_RATIO))
