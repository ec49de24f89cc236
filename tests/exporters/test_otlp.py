"""OTLP: the contract of all exporters, and what spans and metrics say."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import llm_trace
from llm_trace.errors import ConfigurationError
from llm_trace.exporters.delivery.delivery import Delivery
from llm_trace.exporters.delivery.status import get_standing
from llm_trace.exporters.registry import make_exporter
from llm_trace.record import Attribution, Segment
from tests.conftest import Recorded
from tests.helpers.exporter_contract import ExporterContract
from tests.helpers.loopback import Loopback, Received, Reply
from tests.helpers.otlp_server import spans_of, strict
from tests.helpers.spool_toys import BEGIN, HandWriter, span, spool_of


class TestOtlp(ExporterContract):
    settings = "OTEL_EXPORTER_OTLP_HEADERS"

    def address(self, server: Loopback) -> str:
        return f"otlp://{server.address}"

    def answer(self, request: Received) -> Reply:
        return strict(request)

    def spans(self, request: Received) -> list[str]:
        return [span.span_id.hex() for span in spans_of(request)]


# What spans and metrics say


@pytest.fixture
def sent(recorded: Recorded) -> Iterator[Callable[..., Sent]]:
    with Loopback(strict) as server:

        def deliver(options: str = "") -> Sent:
            delivery = Delivery(
                spool_of(recorded.path), make_exporter(f"otlp://{server.address}{options}"), every=True
            )
            before = len(server.received)
            assert delivery.claim()
            delivery.step()
            delivery.close()
            return Sent(server.received[before:])

        yield deliver


class Sent:
    """What a receiver was sent: spans by name, metrics by name and kind of token."""

    def __init__(self, received: list[Received]) -> None:
        self.spans = {span.name: span for request in received for span in spans_of(request)}
        self.resources = [
            {a.key: a.value.string_value for a in r.resource.attributes}
            for request in received
            if request.path.endswith("/v1/traces")
            for r in ExportTraceServiceRequest.FromString(request.body).resource_spans
        ]
        self.metrics = [
            metric
            for request in received
            if request.path.endswith("/v1/metrics")
            for r in ExportMetricsServiceRequest.FromString(request.body).resource_metrics
            for scope in r.scope_metrics
            for metric in scope.metrics
        ]


def attributes(told: Any) -> dict[str, Any]:
    """Return the attributes of a span, event or data point."""
    made = {}
    for attribute in told.attributes:
        kind = attribute.value.WhichOneof("value")
        value = getattr(attribute.value, kind)
        made[attribute.key] = (
            [getattr(v, v.WhichOneof("value")) for v in value.values] if kind == "array_value" else value
        )
    return made


def record() -> None:
    @llm_trace.trace(kind="llm", model="gpt-4.1")
    def ask(messages: list[dict[str, str]]) -> str:
        usage = {"input_tokens": 9, "output_tokens": 300, "cache_write_tokens": 4}
        llm_trace.update_current_call(provider="openai", usage=usage)
        llm_trace.log_score("kind", 0.5, comment="so so")
        return "hello"

    @llm_trace.trace
    def work(question: str) -> str:
        ask([{"role": "user", "content": question}])
        raise ValueError("the secret went wrong")

    with pytest.raises(ValueError, match="secret"):
        work("what is the secret?")


def test_a_span_says_what_the_convention_asks_for(
    recorded: Recorded, sent: Callable[..., Sent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "refunds")
    llm_trace.configure(recorded.path, record_env=False)
    record()
    found = sent()
    ask, work = found.spans["chat gpt-4.1"], found.spans["work"]
    stored = {call.name: call for call in recorded.calls()}
    told = attributes(ask)
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.usage.output_tokens"] == 300
    assert json.loads(told["gen_ai.input.messages"])[0]["parts"][0]["content"] == "what is the secret?"
    assert (ask.kind, work.kind) == (Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_INTERNAL)
    assert (ask.span_id, ask.trace_id, ask.parent_span_id) == (
        *(bytes.fromhex(i) for i in (stored["ask"].span_id, stored["ask"].trace_id)),
        work.span_id,
    )
    assert (ask.start_time_unix_nano, ask.end_time_unix_nano) == (
        stored["ask"].start_ns,
        stored["ask"].end_ns,
    )
    assert (work.status.code, work.status.message) == (2, "the secret went wrong")
    (event,) = work.events
    assert event.name == "exception"
    assert attributes(event)["exception.type"] == "ValueError"
    assert found.resources[0]["service.name"] == "refunds"


def test_nothing_that_was_said_leaves_without_content(recorded: Recorded, sent: Callable[..., Sent]) -> None:
    llm_trace.configure(recorded.path, record_env=False)
    record()
    found = sent("?content=false")
    assert set(found.spans) == {"chat gpt-4.1", "work", "evaluation kind"}
    shown = str(found.spans) + str(found.metrics)
    assert "secret" not in shown
    assert "so so" not in shown
    assert "ValueError" in shown


def test_genai_and_openinference_names_are_there_by_default(
    recorded: Recorded, sent: Callable[..., Sent]
) -> None:
    llm_trace.configure(recorded.path, record_env=False)
    record()
    found = sent()
    told, work = attributes(found.spans["chat gpt-4.1"]), attributes(found.spans["work"])
    assert told["openinference.span.kind"] == "LLM"
    assert told["llm.input_messages.0.message.content"] == "what is the secret?"
    assert told["gen_ai.request.model"] == "gpt-4.1"
    assert json.loads(work["input.value"]) == {"question": "what is the secret?"}
    assert "llm_trace.input" not in work


def test_openinference_names_can_be_left_out(recorded: Recorded, sent: Callable[..., Sent]) -> None:
    llm_trace.configure(recorded.path, record_env=False)
    record()
    told = attributes(sent("?openinference=false").spans["work"])
    assert json.loads(told["llm_trace.input"]) == {"question": "what is the secret?"}
    assert not [name for name in told if name.startswith(("openinference", "llm.", "input."))]


def test_a_score_stands_below_its_call_and_makes_no_trace_of_its_own(
    recorded: Recorded, sent: Callable[..., Sent]
) -> None:
    llm_trace.configure(recorded.path, record_env=False)
    record()
    found = sent()
    score, ask = found.spans["evaluation kind"], found.spans["chat gpt-4.1"]
    assert [(link.trace_id, link.span_id) for link in score.links] == [(ask.trace_id, ask.span_id)]
    assert (score.trace_id, score.parent_span_id) == (ask.trace_id, ask.span_id)
    assert attributes(score)["openinference.span.kind"] == "EVALUATOR"
    (event,) = score.events
    assert (event.name, attributes(event)["gen_ai.evaluation.score.value"]) == (
        "gen_ai.evaluation.result",
        0.5,
    )


def test_an_attribution_is_linked_to_the_call_that_it_explains(
    recorded: Recorded, sent: Callable[..., Sent]
) -> None:
    spool = HandWriter(spool_of(recorded.path))
    spool.call(1)
    made = Attribution(
        method="occlusion",
        segments=(Segment(start=0, end=4, text="gold"), Segment(start=5, end=8, text="now")),
        values=(2.5, 0.0),
        bounds="exact",
        prompt="gold now",
        response="yes",
        target="the whole response",
        baseline="delete",
        seconds=2.0,
    )
    event = {"id": span(60), "span_id": span(1), "method": "occlusion", "config_hash": "h", "status": "ok"}
    spool.event("attribution", **event, time_ns=BEGIN + 10**10, attribution=made.model_dump(mode="json"))
    spool.event(
        "attribution",
        **{**event, "id": span(61), "method": "lime", "status": "failed"},
        time_ns=BEGIN,
        error="no model",
    )
    found = sent()
    spool.close()
    done, failed = found.spans["attribution occlusion"], found.spans["attribution lime"]
    for told in (done, failed):
        assert [(link.trace_id.hex(), link.span_id.hex()) for link in told.links] == [(f"{1:032x}", span(1))]
    assert done.end_time_unix_nano - done.start_time_unix_nano == 2 * 10**9
    values = attributes(done)
    assert values["llm_trace.attribution.values"] == [2.5, 0.0]
    assert json.loads(values["llm_trace.attribution.segments"])[0]["text"] == "gold"
    assert values["llm_trace.call.span_id"] == span(1)
    assert attributes(failed)["llm_trace.attribution.error"] == "no model"
    bare = str(sent("/bare?content=false").spans["attribution occlusion"])
    assert ("gold" in str(done), "gold" in bare, "no model" in bare) == (True, False, False)


def test_metrics_have_the_buckets_of_the_convention_and_each_batch_is_a_delta(
    recorded: Recorded, sent: Callable[..., Sent]
) -> None:
    llm_trace.configure(recorded.path, record_env=False)
    record()
    record()
    found = {metric.name: metric for metric in sent().metrics}
    assert set(found) == {
        "gen_ai.client.inference.usage.input_tokens",
        "gen_ai.client.inference.usage.output_tokens",
        "gen_ai.client.inference.usage.cache_write.input_tokens",
        "gen_ai.client.inference.operation.input_tokens",
        "gen_ai.client.inference.operation.output_tokens",
        "gen_ai.client.inference.duration",
        "gen_ai.client.token.usage",
        "gen_ai.client.operation.duration",
    }
    used = found["gen_ai.client.inference.usage.output_tokens"].sum
    (point,) = used.data_points
    assert (used.aggregation_temporality, used.is_monotonic, point.as_int) == (1, True, 600)
    assert attributes(point)["gen_ai.token.modality"] == "unknown"
    (each,) = found["gen_ai.client.inference.operation.output_tokens"].histogram.data_points
    assert (each.count, each.sum) == (2, 600)
    tokens = found["gen_ai.client.token.usage"].histogram
    assert tokens.aggregation_temporality == 1
    by_type = {attributes(point)["gen_ai.token.type"]: point for point in tokens.data_points}
    out = by_type["output"]
    assert (out.count, out.sum, out.min, out.max) == (2, 600, 300, 300)
    assert list(out.explicit_bounds)[:5] == [1, 4, 16, 64, 256]
    assert list(out.bucket_counts).index(2) == 5  # 256 to 1024
    assert attributes(out)["gen_ai.provider.name"] == "openai"
    for name in ("gen_ai.client.inference.duration", "gen_ai.client.operation.duration"):
        (took,) = found[name].histogram.data_points
        assert (took.count, list(took.explicit_bounds)[:2], took.sum < 600) == (2, [0.01, 0.02], True)


def test_a_receiver_without_metrics_is_not_asked_again(recorded: Recorded) -> None:
    def answer(request: Received) -> Reply:
        return Reply(404) if request.path == "/v1/metrics" else strict(request)

    spool = HandWriter(spool_of(recorded.path))
    with Loopback(answer) as server:
        delivery = Delivery(spool.folder, make_exporter(f"otlp://{server.address}"))
        assert delivery.claim()
        for number in (1, 2):
            spool.call(number)
            delivery.step()
        delivery.close()
        assert [request.path for request in server.received] == ["/v1/traces", "/v1/metrics", "/v1/traces"]
        assert get_standing(spool.folder, delivery.name).delivered == 2


@pytest.mark.parametrize("kind", ["application/x-protobuf", "application/json"])
def test_a_partial_success_is_counted_as_rejected(recorded: Recorded, kind: str) -> None:
    told = ExportTracePartialSuccess(rejected_spans=2, error_message="too old")
    body = ExportTraceServiceResponse(partial_success=told).SerializeToString()
    if kind == "application/json":
        body = b'{"partialSuccess": {"rejectedSpans": "2", "errorMessage": "too old"}}'
    spool = HandWriter(spool_of(recorded.path))
    with Loopback(lambda _: Reply(200, body, {"content-type": kind})) as server:
        delivery = Delivery(spool.folder, make_exporter(f"otlp://{server.address}?metrics=false"))
        assert delivery.claim()
        for number in range(5):
            spool.call(number + 1)
        delivery.step()
        delivery.close()
    stands = get_standing(spool.folder, delivery.name)
    assert (stands.delivered, stands.pending, stands.rejected) == (3, 0, 2)
    assert "too old" in stands.said


def test_addresses_and_headers_are_as_opentelemetry_users_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc==, X-Team=a")
    for text, base in (
        ("otlp://collector", "http://collector:4318"),
        ("otlps://collector:443/otlp/v1/traces", "https://collector:443/otlp"),
        ("otlp://[::1]:9/?tls", "https://[::1]:9"),
    ):
        made = make_exporter(text)
        assert (made.base, dict(made.headers)) == (base, {"authorization": "Basic abc==", "x-team": "a"})
    assert make_exporter("otlp://user:key@host?openinference=true").name == "otlp://host:4318"


STATUS = b"\x08\x10\x12\x0funauthenticated"
"""A google.rpc.Status: code 16 and its message."""


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "text/html"),
        (b"<html>please log in", "text/html; charset=utf-8"),
        (b"OK", ""),
        (b'{"error": "quota exceeded"}', "application/json"),
        (b'{"code": 16, "message": "unauthenticated"}', "application/json"),
        (b'{"partialSuccess": {"rejected', "application/json"),
        (b"[]", "application/json"),
        (STATUS, "application/x-protobuf"),
        (b"\xff\xff", "application/x-protobuf"),
    ],
    ids=["empty page", "page", "text", "error", "status", "torn", "list", "protobuf status", "no protobuf"],
)
def test_a_200_with_an_error_or_a_page_in_its_body_is_not_delivered(
    tmp_path: Path, body: bytes, kind: str
) -> None:
    spool = HandWriter(spool_of(tmp_path / "t.duckdb"))
    spool.call(1)
    with Loopback(lambda _: Reply(200, body, {"content-type": kind})) as server:
        delivery = Delivery(spool.folder, make_exporter(f"otlp://{server.address}?metrics=false"))
        assert delivery.claim()
        delivery.step()
        delivery.close()
        stands = get_standing(spool.folder, delivery.name)
    assert (stands.delivered, stands.pending, stands.rejected, stands.refused) == (0, 1, 0, True)
    assert "OTEL_EXPORTER_OTLP_HEADERS" in stands.said


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", ""), (b"", "application/x-protobuf"), (b"{}", "application/json"),
        (b'{"partialSuccess": {}}', "application/json"),
    ],
    ids=["nothing", "protobuf", "json", "empty partial success"],
)  # fmt: skip
def test_a_receivers_own_answers_are_delivered(tmp_path: Path, body: bytes, kind: str) -> None:
    spool = HandWriter(spool_of(tmp_path / "t.duckdb"))
    spool.call(1)
    with Loopback(lambda _: Reply(200, body, {"content-type": kind} if kind else {})) as server:
        delivery = Delivery(spool.folder, make_exporter(f"otlp://{server.address}?metrics=false"))
        assert delivery.claim()
        delivery.step()
        delivery.close()
        assert get_standing(spool.folder, delivery.name).delivered == 1


PEM = Path(__file__).parents[1] / "recorded" / "loopback.pem"
"""A certificate for 127.0.0.1, signed by itself, with its key; for tests only."""


@pytest.mark.parametrize(
    "variable", ["OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"]
)
def test_the_certificate_that_opentelemetrys_variables_name_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    spool = HandWriter(spool_of(tmp_path / "t.duckdb"))
    spool.call(1)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(PEM)
    context.load_verify_locations(PEM)
    context.verify_mode = ssl.CERT_REQUIRED  # the client has to show one, too
    monkeypatch.setenv(variable, str(PEM))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(PEM))
    with Loopback(strict, tls=context) as server:
        delivery = Delivery(spool.folder, make_exporter(f"otlps://{server.address}?metrics=false"))
        assert delivery.claim()
        delivery.step()
        delivery.close()
    assert get_standing(spool.folder, delivery.name).delivered == 1


def test_a_certificate_that_is_not_there_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem")
    with pytest.raises(ConfigurationError, match=r"OTEL_EXPORTER_OTLP_CERTIFICATE='/nowhere/ca\.pem'"):
        make_exporter("otlps://127.0.0.1")
