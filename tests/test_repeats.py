"""One model call that two instrumentations describe counts its tokens once.

The attributes are those that the Anthropic SDK and OpenInference write (recorded); only the counts are made equal.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import llm_trace
from llm_trace.capture.values import Encoder
from llm_trace.collect import protobuf
from llm_trace.collect.receiver import Receiver
from llm_trace.record import Call
from llm_trace.spool.paths import spool_dir
from llm_trace.spool.writer import SpoolWriter
from tests.conftest import Recorded
from tests.test_semconv_spans import ANTHROPIC_SDK, OPENINFERENCE_ANTHROPIC

INNER = ANTHROPIC_SDK
OUTER = {**OPENINFERENCE_ANTHROPIC, "llm.token_count.prompt": 721, "llm.token_count.completion": 112}


def nest(provider: TracerProvider, *levels: dict[str, Any]) -> None:
    """Make a span in a span, the first the outermost."""
    with ExitStack() as open_spans:
        for number, attributes in enumerate(levels):
            tracer = provider.get_tracer(f"instrumentation-{number}")
            open_spans.enter_context(tracer.start_as_current_span(f"level {number}", attributes=attributes))


def received(recorded: Recorded, *levels: dict[str, Any]) -> list[Call]:
    """Return the calls that `llm-trace collect` makes of spans, by level."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    nest(provider, *levels)
    body = encode_spans(exporter.get_finished_spans()).SerializeToString()
    with closing(SpoolWriter(spool_dir(recorded.path))) as spool:
        receiver = Receiver(spool, Encoder())
        for _ in range(2):  # the sender has not heard the answer, and tries again
            assert receiver.take(protobuf.spans(body)).rejected == 0
    return sorted(recorded.calls(), key=lambda call: call.name)


def captured(recorded: Recorded, *levels: dict[str, Any]) -> list[Call]:
    """Return the calls of spans that end in the user's own provider, by level."""
    provider = TracerProvider()
    llm_trace.configure(recorded.path, tracer_provider=provider)
    nest(provider, *levels)
    provider.shutdown()
    return sorted(recorded.calls(), key=lambda call: call.name)


@pytest.mark.parametrize("calls_of", [received, captured])
def test_the_outer_of_two_spans_of_one_model_call_is_a_chain_without_tokens(
    recorded: Recorded, calls_of: Any
) -> None:
    outer, inner = calls_of(recorded, OUTER, INNER)
    assert (inner.kind, inner.usage.input_tokens, inner.usage.output_tokens) == ("llm", 721, 112)
    assert (outer.kind, outer.usage, outer.metadata["repeats"]) == ("chain", None, inner.span_id)
    assert outer.model == inner.model
    assert outer.messages_out[0].text.startswith("The current weather")
    assert outer.metadata["otel"]["attributes"]["llm.token_count.prompt"] == 721


def test_of_three_that_tell_the_same_the_innermost_counts(recorded: Recorded) -> None:
    calls = received(recorded, OUTER, OUTER, INNER)
    assert [call.kind for call in calls] == ["chain", "chain", "llm"]
    assert [call.metadata.get("repeats") for call in calls] == [calls[2].span_id, calls[2].span_id, None]


@pytest.mark.parametrize(
    "other",
    [
        {"llm.token_count.prompt": 722},
        {"llm.response.model_name": "claude-haiku-4-5", "llm.model_name": "claude-haiku-4-5"},
        {"openinference.span.kind": "AGENT"},
    ],
    ids=["tokens", "model", "kind"],
)
def test_spans_that_tell_different_things_both_count(recorded: Recorded, other: dict[str, Any]) -> None:
    outer, inner = received(recorded, OUTER | other, INNER)
    assert "repeats" not in outer.metadata
    assert outer.usage is not None
    assert inner.usage is not None


def test_a_cost_that_only_the_outer_span_knows_is_kept(recorded: Recorded) -> None:
    outer, _ = received(recorded, OUTER | {"llm.cost.total": 0.25}, INNER)
    assert (outer.kind, outer.cost_usd) == ("chain", 0.25)


def test_a_cost_that_both_know_counts_once(recorded: Recorded) -> None:
    outer, inner = received(recorded, OUTER | {"llm.cost.total": 0.25}, INNER | {"gen_ai.usage.cost": 0.25})
    assert (outer.cost_usd, inner.cost_usd) == (None, 0.25)
