"""Our calls and OpenTelemetry spans are each other's parents; the user's provider is used and fed."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

import llm_trace
from llm_trace import trace
from llm_trace.errors import ConfigurationError
from tests.conftest import Recorded


@pytest.fixture
def exported() -> Iterator[tuple[TracerProvider, InMemorySpanExporter]]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider, exporter
    provider.shutdown()


@trace(kind="llm", model="m")
def ask(question: str) -> str:
    otel.get_current_span().set_attribute("app.step", 3)
    return "SECRET answer"


def test_a_remote_parent_is_our_parent_and_our_call_travels_on(store: Recorded) -> None:
    carrier = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    sent: dict[str, str] = {}

    @trace
    def handle() -> None:
        TraceContextTextMapPropagator().inject(sent)

    with otel.use_span(otel.get_current_span(TraceContextTextMapPropagator().extract(carrier))):
        handle()
    call = store.one()
    assert (call.trace_id, call.parent_id) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert sent["traceparent"] == f"00-{call.trace_id}-{call.span_id}-01"


def test_spans_of_an_sdk_are_children_of_a_call_without_a_provider_of_ours(
    store: Recorded, exported: tuple[TracerProvider, InMemorySpanExporter]
) -> None:
    provider, exporter = exported

    @trace
    def handle() -> None:
        with provider.get_tracer("http").start_as_current_span("GET"):
            ask("x")

    handle()
    (span,) = exporter.get_finished_spans()
    inner, outer = store.calls()
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == outer.span_id
    assert inner.parent_id == f"{span.context.span_id:016x}"
    assert inner.trace_id == outer.trace_id == f"{span.context.trace_id:032x}"


def test_attributes_that_others_set_on_our_span_are_kept(store: Recorded) -> None:
    @trace(kind="llm")
    def f() -> None:
        span = otel.get_current_span()
        assert span.is_recording()
        span.set_attributes({"gen_ai.usage.input_tokens": 7, "app.step": 3})
        span.add_event("cache", {"hit": True})
        span.record_exception(ValueError("seen"))
        span.end()

    f()
    call = store.one()
    assert call.status == "ok"
    assert call.usage is not None
    assert call.usage.input_tokens == 7
    assert call.metadata["otel"]["attributes"]["app.step"] == 3
    assert [e["name"] for e in call.metadata["otel.events"]] == ["cache", "exception"]


def test_a_span_marked_as_error_by_other_code_is_an_error(store: Recorded) -> None:
    @trace
    def f() -> None:
        otel.get_current_span().set_status(otel.Status(otel.StatusCode.ERROR, "bad gateway"))

    f()
    call = store.one()
    assert call.status == "error"
    assert call.error is not None
    assert call.error.message == "bad gateway"


def test_calls_are_spans_in_the_users_provider_without_content(
    recorded: Recorded, exported: tuple[TracerProvider, InMemorySpanExporter], monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, exporter = exported
    llm_trace.configure(recorded.path, tracer_provider=provider)

    @trace
    def handle() -> None:
        with provider.get_tracer("http").start_as_current_span("GET"):
            ask("x")
        raise ValueError("SECRET")

    with pytest.raises(ValueError, match="SECRET"):
        handle()
    spans = {s.name: s for s in exporter.get_finished_spans()}
    calls = {c.name: c for c in recorded.calls()}
    assert set(spans) == {"ask", "GET", "handle"}
    for name, call in calls.items():
        assert f"{spans[name].context.span_id:016x}" == call.span_id
        assert spans[name].start_time == call.start_ns
        assert spans[name].end_time == call.end_ns
    attributes = dict(spans["ask"].attributes or {})
    assert attributes["gen_ai.request.model"] == "m"
    assert attributes["app.step"] == 3
    assert calls["ask"].metadata["otel"]["attributes"] == {"app.step": 3}
    assert not spans["handle"].status.is_ok
    assert "SECRET" not in json.dumps([s.to_json() for s in spans.values()])
    assert calls["ask"].output == "SECRET answer"


def test_content_goes_into_the_users_spans_when_asked(
    recorded: Recorded, exported: tuple[TracerProvider, InMemorySpanExporter], monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, exporter = exported
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "span_only")
    llm_trace.configure(
        recorded.path, tracer_provider=provider, redact=lambda text: text.replace("SECRET", "***")
    )
    ask("x")
    (span,) = exporter.get_finished_spans()
    assert "*** answer" in span.to_json()
    assert "SECRET" not in span.to_json()


OPENINFERENCE: dict[str, Any] = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "gpt-4o",
    "llm.input_messages.0.message.role": "user",
    "llm.input_messages.0.message.content": "hi",
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.content": "hello",
    "llm.token_count.prompt": 3,
    "llm.token_count.completion": 1,
}
GEN_AI: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 3,
    "gen_ai.usage.output_tokens": 1,
    "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"hi"}]}]',
    "gen_ai.output.messages": (
        '[{"role":"assistant","parts":[{"type":"text","content":"hello"}],"finish_reason":"stop"}]'
    ),
}


@pytest.mark.parametrize("attributes", [OPENINFERENCE, GEN_AI], ids=["openinference", "gen_ai"])
def test_genai_spans_of_other_instrumentations_become_calls(
    recorded: Recorded, exported: tuple[TracerProvider, InMemorySpanExporter], attributes: dict[str, Any]
) -> None:
    provider, _ = exported
    llm_trace.configure(recorded.path, tracer_provider=provider)

    @trace
    def handle() -> None:
        with provider.get_tracer("other").start_as_current_span("chat gpt-4o", attributes=attributes):
            pass
        with provider.get_tracer("http").start_as_current_span("GET"):
            pass

    handle()
    foreign, ours = recorded.calls()
    assert (foreign.kind, foreign.model, foreign.parent_id, foreign.trace_id) == (
        "llm",
        "gpt-4o",
        ours.span_id,
        ours.trace_id,
    )
    assert [(m.role, m.text) for m in (*foreign.messages_in, *foreign.messages_out)] == [
        ("user", "hi"),
        ("assistant", "hello"),
    ]
    assert foreign.usage is not None
    assert (foreign.usage.input_tokens, foreign.usage.output_tokens) == (3, 1)
    assert foreign.metadata["otel"]["attributes"] == attributes


@pytest.mark.parametrize("capture_content", [True, False], ids=["content", "no content"])
def test_links_of_other_instrumentations_spans_are_kept(recorded: Recorded, capture_content: bool) -> None:
    provider = TracerProvider()
    llm_trace.configure(recorded.path, tracer_provider=provider, capture_content=capture_content)
    pointed = SpanContext(9, 8, is_remote=True)
    attributes = {"gen_ai.operation.name": "chat"}
    link = Link(pointed, {"why": ("handoff",)})
    with provider.get_tracer("sdk").start_as_current_span("chat", attributes=attributes, links=[link]):
        pass
    assert recorded.one().metadata["otel"]["links"] == [
        {
            "trace_id": f"{9:032x}",
            "span_id": f"{8:016x}",
            **({"attributes": {"why": ["handoff"]}} if capture_content else {}),
        }
    ]


def test_foreign_spans_follow_sampling_and_content_settings(
    recorded: Recorded, exported: tuple[TracerProvider, InMemorySpanExporter]
) -> None:
    provider, _ = exported
    llm_trace.configure(recorded.path, tracer_provider=provider, capture_content=False)
    with provider.get_tracer("other").start_as_current_span("chat", attributes=GEN_AI):
        pass
    call = recorded.one()
    assert (call.messages_in, call.messages_out, call.input, call.output) == ((), (), None, None)
    assert call.model == "gpt-4o"
    assert "hello" not in call.model_dump_json()
    llm_trace.configure(recorded.path, tracer_provider=provider, sample=0.0)
    with provider.get_tracer("other").start_as_current_span("chat", attributes=GEN_AI):
        pass
    assert len(recorded.calls()) == 1


def test_calls_that_sampling_left_out_are_spans_in_the_users_provider_all_the_same(
    recorded: Recorded, exported: tuple[TracerProvider, InMemorySpanExporter]
) -> None:
    provider, exporter = exported
    llm_trace.configure(recorded.path, tracer_provider=provider, sample=0.0)
    ask("x")
    assert [s.name for s in exporter.get_finished_spans()] == ["ask"]
    assert llm_trace.flush().ok


def test_a_foreign_span_belongs_to_the_run_it_began_in(
    recorded: Recorded, exported: tuple[TracerProvider, InMemorySpanExporter]
) -> None:
    provider, _ = exported
    llm_trace.configure(recorded.path, tracer_provider=provider)
    with (
        llm_trace.start_run("v1"),
        provider.get_tracer("other").start_as_current_span("chat", attributes=GEN_AI),
    ):
        pass
    assert len(recorded.calls(run="v1")) == 1


def test_after_shutdown_the_provider_is_left_alone(
    recorded: Recorded, exported: tuple[TracerProvider, InMemorySpanExporter]
) -> None:
    provider, exporter = exported
    llm_trace.configure(recorded.path, tracer_provider=provider)
    llm_trace.shutdown()
    assert ask("x") == "SECRET answer"
    with provider.get_tracer("other").start_as_current_span("chat", attributes=GEN_AI):
        pass
    assert [s.name for s in exporter.get_finished_spans()] == ["chat"]
    assert not list(recorded.path.parent.iterdir())


def chat_span(provider: TracerProvider, model: str) -> None:
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
    provider.get_tracer("lib").start_span("chat", attributes=attributes).end()


def test_configuring_again_leaves_one_processor_in_the_provider(recorded: Recorded) -> None:
    added: list[Any] = []

    class Counting(TracerProvider):
        def add_span_processor(self, span_processor: Any) -> None:
            added.append(span_processor)
            super().add_span_processor(span_processor)

    provider = Counting()
    for name in ("a", "b"):
        llm_trace.configure(recorded.path.with_name(f"{name}.duckdb"), tracer_provider=provider)
    llm_trace.configure(recorded.path, tracer_provider=provider)
    chat_span(provider, "m")
    assert len(added) == 1
    assert recorded.one().model == "m"
    llm_trace.shutdown()
    chat_span(provider, "after")
    assert recorded.one().model == "m"
    provider.shutdown()


def test_a_provider_that_wraps_the_sdks_is_joined(recorded: Recorded) -> None:
    class Wrapping:
        __hash__ = None  # type: ignore[assignment]  # as dataclasses have it

        def __init__(self) -> None:
            self.provider = TracerProvider()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.provider, name)

    wrapping: Any = Wrapping()
    llm_trace.configure(recorded.path, tracer_provider=wrapping)
    chat_span(wrapping, "m")
    assert recorded.one().model == "m"
    wrapping.provider.shutdown()


def test_a_provider_that_takes_no_processors_is_refused(recorded: Recorded) -> None:
    with pytest.raises(ConfigurationError, match="takes no span processors"):
        llm_trace.configure(recorded.path, tracer_provider=otel.NoOpTracerProvider())


def test_a_provider_that_is_set_later_is_joined(recorded: Recorded) -> None:
    code = """
import llm_trace
llm_trace.configure()
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider())
attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
trace.get_tracer("lib").start_span("chat", attributes=attributes).end()
llm_trace.shutdown()
assert trace._set_tracer_provider.__module__ == "opentelemetry.trace"
"""
    run_python(code, recorded)
    assert recorded.one().model == "m"


def test_spans_that_go_nowhere_are_named(recorded: Recorded) -> None:
    code = """
import llm_trace
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

class Library(BaseInstrumentor):
    def instrumentation_dependencies(self): return []
    def _instrument(self, **kwargs): pass
    def _uninstrument(self, **kwargs): pass

Library().instrument()
llm_trace.configure()
print(llm_trace.flush())

from opentelemetry.sdk.trace import TracerProvider
llm_trace.configure(tracer_provider=TracerProvider())
print("and with a provider:", llm_trace.flush())
"""
    pytest.importorskip("opentelemetry.instrumentation.instrumentor")
    without, _, given = run_python(code, recorded).partition("and with a provider:")
    assert "spans of __main__ go nowhere" in without
    assert "go nowhere" not in given


def run_python(code: str, recorded: Recorded) -> str:
    environment = {**os.environ, "LLM_TRACE_STORE": str(recorded.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, env=environment, capture_output=True, text=True
    )
    return done.stdout


def test_spans_of_a_provider_that_only_configure_was_given_are_recorded_until_it_is_configured_anew(
    recorded: Recorded,
) -> None:
    def begin() -> Any:
        provider = TracerProvider(shutdown_on_exit=False)
        llm_trace.configure(recorded.path, tracer_provider=provider)
        return provider.get_tracer("other")

    tracer = begin()
    gc.collect()
    tracer.start_span("kept", attributes={"gen_ai.operation.name": "chat"}).end()
    llm_trace.configure(recorded.path)
    tracer.start_span("not kept", attributes={"gen_ai.operation.name": "chat"}).end()
    assert [call.name for call in recorded.calls()] == ["kept"]
