"""What several spans tell of one model call is one call: all that each says, its tokens counted once.

The attributes are recorded from the Anthropic SDK and OpenInference; only the counts are made equal.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span, set_span_in_context

import llm_trace
from llm_trace.capture.values import ValueEncoder
from llm_trace.collect import protobuf
from llm_trace.collect.receiver import Receiver
from llm_trace.exporters.delivery.cursor import Cursor
from llm_trace.exporters.delivery.reader import Reader
from llm_trace.record import Call, Usage
from llm_trace.spool.paths import get_spool_dir
from llm_trace.spool.writer import SpoolWriter
from llm_trace.stores.purge import purge
from tests.conftest import Recorded
from tests.helpers.span_attributes import ANTHROPIC_SDK, OPENINFERENCE_ANTHROPIC

INNER = {
    name: value
    for name, value in ANTHROPIC_SDK.items()
    if name not in ("gen_ai.response.id", "gen_ai.input.messages", "gen_ai.output.messages")
}
OUTER = {**OPENINFERENCE_ANTHROPIC, "llm.token_count.prompt": 721, "llm.token_count.completion": 112}
USAGE = {"gen_ai.usage.input_tokens": 9, "gen_ai.usage.output_tokens": 2}
CHAT: dict[str, Any] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}
TOLD: dict[str, Any] = {**CHAT, **USAGE}
ANSWER = {
    "id": "chatcmpl-1", "model": "gpt-4o", "choices": [{"message": {"role": "assistant", "content": "4"}}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2},
}  # fmt: skip


def nest(provider: TracerProvider, *levels: dict[str, Any]) -> None:
    """Make a span in a span, the first the outermost."""
    with ExitStack() as open_spans:
        for number, attributes in enumerate(levels):
            tracer = provider.get_tracer(f"instrumentation-{number}")
            open_spans.enter_context(tracer.start_as_current_span(f"level {number}", attributes=attributes))


def received(recorded: Recorded, *levels: dict[str, Any]) -> list[Call]:
    """Return the calls that `llm-trace collect` makes of spans."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    nest(provider, *levels)
    body = encode_spans(exporter.get_finished_spans()).SerializeToString()
    with closing(SpoolWriter(get_spool_dir(recorded.path))) as spool:
        receiver = Receiver(spool, ValueEncoder())
        for _ in range(2):  # the sender has not heard the answer, and tries again
            assert receiver.take(protobuf.read_spans(body)).rejected == 0
            recorded.calls()
    return by_name(recorded)


def captured(recorded: Recorded, *levels: dict[str, Any]) -> list[Call]:
    """Return the calls of spans that end in the user's own provider."""
    nest(configured(recorded), *levels)
    return by_name(recorded)


def configured(recorded: Recorded) -> TracerProvider:
    provider = TracerProvider()
    llm_trace.configure(recorded.path, tracer_provider=provider)
    return provider


def by_name(recorded: Recorded) -> list[Call]:
    return sorted(recorded.calls(), key=lambda call: call.name)


def delivered(recorded: Recorded) -> list[dict[str, Any]]:
    """Return the calls that an exporter is given."""
    folder = get_spool_dir(recorded.path)
    cursor = Cursor.load(folder, "test")
    cursor.every = True
    with closing(Reader(folder, cursor)) as reader:
        return [dict(event.data) for group in reader.groups() for event in group if event.kind == "call"]


def tokens(recorded: Recorded) -> tuple[Any, ...]:
    """Return how many model calls there are and what they were counted."""
    query = "SELECT count(*) FILTER (kind = 'llm'), sum(input_tokens), sum(output_tokens) FROM calls"
    (row,) = recorded.sql(query).fetchall()
    return tuple(row)


@pytest.mark.parametrize("calls_of", [received, captured])
def test_a_span_inside_another_of_the_same_call_is_merged_into_it(recorded: Recorded, calls_of: Any) -> None:
    (call,) = calls_of(recorded, OUTER, INNER)
    assert (call.name, call.kind, call.model) == ("level 0", "llm", "claude-sonnet-4-6")
    assert (call.usage.input_tokens, call.usage.output_tokens) == (721, 112)
    assert call.messages_out[0].text.startswith("The current weather")
    assert call.metadata["otel"]["attributes"]["llm.token_count.prompt"] == 721
    (account,) = call.metadata["same"]
    assert (account["name"], account["otel"]["scope"]) == ("level 1", "instrumentation-1")
    assert account["otel"]["attributes"] == {
        name: list(value) if isinstance(value, tuple) else value for name, value in INNER.items()
    }
    assert tokens(recorded) == (1, 721, 112)


@pytest.mark.parametrize("calls_of", [received, captured])
def test_three_that_tell_of_one_call_are_one(recorded: Recorded, calls_of: Any) -> None:
    (call,) = calls_of(recorded, OUTER, OUTER, INNER)
    assert [account["name"] for account in call.metadata["same"]] == ["level 1", "level 2"]
    assert tokens(recorded) == (1, 721, 112)


def test_the_store_and_the_exporters_are_given_the_same_calls(recorded: Recorded) -> None:
    provider = configured(recorded)

    @llm_trace.trace(kind="llm")
    def ask(question: str) -> str:
        nest(provider, OUTER, INNER)
        return "4"

    @llm_trace.trace
    def work() -> None:
        ask("2 + 2?")
        nest(provider, OUTER, INNER)

    work()
    sent = {call["span_id"]: call for call in delivered(recorded)}
    stored = {call.span_id: call for call in recorded.calls()}
    assert sorted(call.name for call in stored.values()) == [
        "ask",
        "level 0",
        "work",
    ]
    assert sent.keys() == stored.keys()
    for span_id, call in stored.items():
        told = sent[span_id]
        assert (told["kind"], told.get("model"), told.get("parent_id")) == (
            call.kind,
            call.model,
            call.parent_id,
        )
        assert Usage(**told["usage"]) == call.usage if call.usage else "usage" not in told
        for name in ("messages_in", "messages_out"):
            assert [m["role"] for m in told[name]] == [m.role for m in getattr(call, name)]


@pytest.mark.parametrize("returned", [ANSWER, "4"], ids=["answer", "text"])
def test_a_traced_function_around_an_instrumentation_counts_once(recorded: Recorded, returned: Any) -> None:
    provider = configured(recorded)

    @llm_trace.trace(kind="llm")
    def ask(question: str) -> Any:
        nest(
            provider,
            {
                **TOLD,
                "gen_ai.input.messages": (
                    '[{"role": "user", "parts": [{"type": "text", "content": "2 + 2?"}]}]'
                ),
            },
        )
        return returned

    ask("2 + 2?")
    call = recorded.one()
    assert (call.name, call.model, call.output, call.input) == (
        "ask",
        "gpt-4o",
        returned,
        {"question": "2 + 2?"},
    )
    assert call.usage == Usage(input_tokens=9, output_tokens=2)
    assert [message.text for message in call.messages_in] == ["2 + 2?"]
    assert tokens(recorded) == (1, 9, 2)


def test_what_is_configured_again_with_the_same_provider_counts_once_too(recorded: Recorded) -> None:
    provider = TracerProvider()

    @llm_trace.trace(kind="llm")
    def ask(question: str) -> dict[str, Any]:
        nest(provider, TOLD)
        return ANSWER

    for number in (1, 2, 3):
        llm_trace.configure(recorded.path, tracer_provider=provider)
        ask("2 + 2?")
        assert tokens(recorded) == (number, 9 * number, 2 * number)


def test_a_function_that_asks_twice_keeps_both_calls_and_counts_each_once(recorded: Recorded) -> None:
    provider = configured(recorded)

    @llm_trace.trace(kind="llm")
    def ask(question: str) -> str:
        nest(provider, TOLD)
        nest(provider, {**TOLD, "gen_ai.usage.input_tokens": 20})
        llm_trace.update_current_call(usage={"input_tokens": 29, "output_tokens": 4})
        return "4"

    ask("2 + 2?")
    (function,) = recorded.calls(name="ask")
    assert (function.usage, function.metadata["total"]) == (
        None,
        {"usage": {"input_tokens": 29, "output_tokens": 4}},
    )
    assert tokens(recorded) == (3, 29, 4)


def test_of_two_requests_the_one_that_was_answered_is_the_functions(recorded: Recorded) -> None:
    provider = configured(recorded)

    @llm_trace.trace(kind="llm")
    def ask(question: str) -> dict[str, Any]:
        nest(provider, CHAT)  # failed
        nest(provider, TOLD)
        return ANSWER

    ask("2 + 2?")
    assert [call.name for call in by_name(recorded)] == ["ask", "level 0"]
    assert tokens(recorded) == (2, 9, 2)


@pytest.mark.parametrize("calls_of", [received, captured])
@pytest.mark.parametrize(
    "other",
    [{"openinference.span.kind": "AGENT"}, {"llm.token_count.prompt": 722}],
    ids=["agent", "other-tokens"],
)
def test_what_a_step_around_model_calls_reports_is_its_total(
    recorded: Recorded, other: dict[str, Any], calls_of: Any
) -> None:
    outer, inner = calls_of(recorded, OUTER | other, INNER)
    assert (outer.usage, outer.metadata["total"]["usage"]["output_tokens"]) == (None, 112)
    assert (inner.usage.input_tokens, inner.usage.output_tokens) == (721, 112)


def test_a_step_between_changes_nothing(recorded: Recorded) -> None:
    agent = {"gen_ai.operation.name": "invoke_agent", **USAGE}
    calls = captured(recorded, agent, {"traceloop.span.kind": "task"}, {"http.method": "POST"}, TOLD)
    assert [call.usage is not None for call in calls] == [False, False, True]


def test_two_instrumentations_side_by_side_tell_of_one_call(recorded: Recorded) -> None:
    provider = configured(recorded)
    tracers = [provider.get_tracer(name) for name in ("a", "b")]

    def both(answer: str) -> list[Span]:
        told = {**TOLD, "gen_ai.response.id": answer}
        return [tracer.start_span("chat", attributes=told) for tracer in tracers]

    with tracers[0].start_as_current_span("graph", attributes={"traceloop.span.kind": "workflow"}):
        for span in (*both("one"), *both("two")):
            span.end()
    assert sorted(call.kind for call in recorded.calls()) == ["chain", "llm", "llm"]
    assert tokens(recorded) == (2, 18, 4)


def say(answer: str) -> dict[str, Any]:
    """Return what a span tells of a request whose tokens nobody has counted."""
    return {
        **CHAT,
        "gen_ai.output.messages": json.dumps(
            [{"role": "assistant", "parts": [{"type": "text", "content": answer}]}]
        ),
    }


@pytest.mark.parametrize(
    ("answers", "number"),
    [(("yes", "yes"), 1), (("yes", "no"), 2), (("", ""), 2)],
    ids=["equal", "different", "silent"],
)
def test_without_counts_equal_words_prove_that_two_instrumentations_tell_of_one_call(
    recorded: Recorded, answers: tuple[str, str], number: int
) -> None:
    provider = configured(recorded)
    with provider.get_tracer("a").start_as_current_span("step", attributes={"http.method": "POST"}):
        spans = [
            provider.get_tracer(name).start_span("chat", attributes=say(answer))
            for name, answer in zip("ab", answers, strict=True)
        ]
        for span in spans:
            span.end()
    assert len([call for call in recorded.calls() if call.kind == "llm"]) == number


def test_requests_of_one_instrumentation_at_one_time_stay_apart(recorded: Recorded) -> None:
    provider = configured(recorded)
    tracer = provider.get_tracer("a")
    with tracer.start_as_current_span("graph", attributes={"traceloop.span.kind": "workflow"}):
        spans = [
            tracer.start_span("chat", attributes={**TOLD, "gen_ai.response.id": "cached"}) for _ in range(3)
        ]
        for span in spans:
            span.end()
    assert tokens(recorded) == (3, 27, 6)


def test_a_span_that_ends_after_the_one_around_it_is_merged_too(recorded: Recorded) -> None:
    provider = configured(recorded)
    outer = provider.get_tracer("a").start_span("outer", attributes=CHAT)
    inner = provider.get_tracer("b").start_span("inner", set_span_in_context(outer), attributes=TOLD)
    outer.end()
    inner.end()  # as of a stream that is read after the function has returned it
    call = recorded.one()
    assert (call.name, call.parent_id, call.usage) == ("outer", None, Usage(input_tokens=9, output_tokens=2))


def test_a_function_that_returned_before_its_request_ended_counts_once(recorded: Recorded) -> None:
    provider = configured(recorded)
    opened: list[Span] = []

    @llm_trace.trace(kind="llm")
    def ask() -> dict[str, Any]:
        opened.append(provider.get_tracer("a").start_span("chat", attributes=TOLD))
        return ANSWER

    ask()
    opened[0].end()
    assert tokens(recorded) == (1, 9, 2)


def test_a_read_between_the_two_ends_sees_the_inner_span_and_later_one_call(recorded: Recorded) -> None:
    provider = configured(recorded)
    tracer = provider.get_tracer("a")
    with tracer.start_as_current_span("outer", attributes=TOLD):
        with tracer.start_as_current_span("inner", attributes=TOLD) as span:
            inner = f"{span.get_span_context().span_id:016x}"
        assert recorded.one().name == "inner"
        assert delivered(recorded) == []  # it waits, for it may be the same
    assert recorded.one().name == "outer"
    assert [call["name"] for call in delivered(recorded)] == ["outer"]
    with llm_trace.open_store(recorded.path) as store:
        assert store.call(recorded.one().span_id).metadata["same"][0]["span_id"] == inner


def test_a_purged_call_leaves_nothing_of_the_spans_that_were_merged_into_it(recorded: Recorded) -> None:
    secret = '[{"role": "user", "parts": [{"type": "text", "content": "canary-7731"}]}]'
    (call,) = captured(recorded, TOLD, {**TOLD, "gen_ai.input.messages": secret})
    assert call.messages_in[0].text == "canary-7731"
    llm_trace.shutdown()
    purge(recorded.path, id=call.span_id)
    files = [path for path in recorded.path.parent.rglob("*") if path.is_file()]
    assert not [path for path in files if b"canary-7731" in path.read_bytes()]
