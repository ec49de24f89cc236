"""Codex CLI tells of one answer in a log record and in a span, which have no id in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import set_span_in_context

from llm_trace.collect.receiver import Receiver
from llm_trace.record import Call, Usage
from tests.conftest import Recorded
from tests.helpers.agent_toys import BEGIN, SECOND, SESSION, Event, send_logs

COMMON = {"conversation.id": SESSION, "model": "gpt-5.6", "app.version": "0.154.0"}
ANSWERS = ((2.0, 1000, 50), (6.0, 1000, 50), (9.0, 1300, 20))
"""When an answer was complete, its input and its output tokens; the first two count the same."""
USAGES = [
    Usage(input_tokens=asked, output_tokens=answered, cache_read_tokens=800, reasoning_tokens=10)
    for _, asked, answered in ANSWERS
]


def build_event(at: float, name: str, **attributes: Any) -> Event:
    """Return a log record of Codex; two underscores stand for a dot."""
    named = {key.replace("__", "."): value for key, value in attributes.items()}
    return at, f"codex.{name}", COMMON | {"event.timestamp": f"2026-09-21T14:13:{20 + at:06.3f}Z"} | named


def build_completed(at: float, asked: int, answered: int) -> Event:
    return build_event(
        at, "sse_event", event__kind="response.completed", input_token_count=str(asked),
        output_token_count=str(answered), cached_token_count=800, reasoning_token_count=10,
        tool_token_count=str(asked + answered),
    )  # fmt: skip


def build_logs() -> list[Event]:
    events = [build_event(0.0, "user_prompt", prompt="List the files", prompt_length="14")]
    for at, asked, answered in ANSWERS:
        events.append(
            build_event(at - 0.5, "api_request", duration_ms="900", http__response__status_code=200)
        )
        events.append(build_completed(at, asked, answered))
    events.append(
        build_event(3.0, "tool_result", tool_name="shell", call_id="call_1", arguments='{"command":["ls"]}',
                    duration_ms="400", success="true", output="README.md")
    )  # fmt: skip
    return events


class Spans:
    """The spans of a turn: one of it, and one for each event of the stream, which has the tokens at its end.

    Made once, so that they can be sent again.
    """

    def __init__(self, url: str) -> None:
        self.exporter = OTLPSpanExporter(f"{url}/v1/traces")
        self.spans: list[Any] = []
        provider = TracerProvider(
            resource=Resource.create({"service.name": "codex_cli_rs"}), shutdown_on_exit=False
        )
        tracer = provider.get_tracer("codex_cli_rs")

        def begin(name: str, at: float, parent: Any = None, **attributes: Any) -> Any:
            context = None if parent is None else set_span_in_context(parent)
            start = BEGIN + round(at * SECOND)
            return tracer.start_span(name, context, attributes=attributes, start_time=start)

        def end(span: Any, at: float) -> None:
            span.end(BEGIN + round(at * SECOND))
            self.spans.append(span)

        turn = begin("session_task.turn", 0.0, **{"thread.id": SESSION, "turn.id": "1", "model": "gpt-5.6"})
        for at, asked, answered in ANSWERS:
            end(begin("text_delta", at - 0.3, turn, **{"codex.request.reasoning_effort": "high"}), at - 0.1)
            completed = begin("completed", at + 0.02, turn, **{"codex.request.reasoning_effort": "high"})
            event = {name: str(value) for name, value in build_completed(at, asked, answered)[2].items()}
            completed.add_event("event", {"event.name": "codex.sse_event", **event})
            for name, value in (
                ("gen_ai.usage.input_tokens", asked), ("gen_ai.usage.cache_read.input_tokens", 800),
                ("gen_ai.usage.output_tokens", answered), ("codex.usage.reasoning_output_tokens", 10),
                ("codex.usage.total_tokens", asked + answered),
            ):  # fmt: skip
                completed.set_attribute(name, value)
            end(completed, at + 0.03)
        turn.set_attribute("codex.turn.token_usage.total_tokens", 3420)
        end(turn, 10.0)

    def send(self) -> None:
        assert self.exporter.export(self.spans) is SpanExportResult.SUCCESS

    def close(self) -> None:
        self.exporter.shutdown()  # type: ignore[no-untyped-call]


def send_both(client: httpx.Client, *, logs_first: bool) -> None:
    """Send logs and spans, each twice, as a sender that tries again does."""
    spans = Spans(str(client.base_url))

    def send_events() -> None:
        send_logs(str(client.base_url), build_logs(), service="codex_cli_rs", named=True)

    order: list[Callable[[], None]] = [send_events, spans.send]
    for send in 2 * (order if logs_first else order[::-1]):
        send()
    spans.close()


def list_by_start(calls: list[Call], kind: str) -> list[Call]:
    return sorted((call for call in calls if call.kind == kind), key=lambda call: call.start_ns)


@pytest.mark.parametrize("logs_first", [True, False], ids=["logs first", "spans first"])
def test_an_answer_that_a_log_record_and_a_span_of_codex_tell_of_is_one_call_in_its_turn(
    client: httpx.Client, receiver: Receiver, recorded: Recorded, logs_first: bool
) -> None:
    send_both(client, logs_first=logs_first)
    receiver.close()
    calls = recorded.calls()
    assert [call.usage for call in calls if call.usage and call.kind != "llm"] == []
    models = list_by_start(calls, "llm")
    assert [call.usage for call in models] == USAGES
    (turn,) = list_by_start(calls, "agent")
    (tool,) = list_by_start(calls, "tool")
    assert turn.messages_in[0].text == "List the files"
    assert {(call.trace_id, call.parent_id) for call in (*models, tool)} == {(turn.trace_id, turn.span_id)}
    assert {(call.model, call.session) for call in models} == {("gpt-5.6", SESSION)}
    assert [call.params for call in models] == 3 * [{"reasoning_effort": "high"}]


def test_the_spans_of_codex_alone_are_model_calls_with_their_tokens(
    client: httpx.Client, recorded: Recorded
) -> None:
    spans = Spans(str(client.base_url))
    spans.send()
    spans.close()
    calls = recorded.calls()
    assert [call.usage for call in list_by_start(calls, "llm")] == USAGES
    assert {call.kind for call in calls if call.usage} == {"llm"}
