"""The judge sees what is wrong: each kind of mistake is planted in a call that is otherwise as it must be."""

from __future__ import annotations

from typing import Any

import pytest

from llm_trace.record import Call, Message, Part, Usage
from tests.rig.exchanges import read_exchanges
from tests.rig.judge import judge, list_faults
from tests.rig.oracle import read_facts
from tests.rig.telemetry import Telemetry

FACTS = read_facts(read_exchanges()["sample-openai-tools"])
CALL = Call(
    trace_id="0" * 32,
    span_id="0" * 16,
    name="chat",
    kind="llm",
    start_ns=1,
    status="ok",
    model="gpt-4o-2024-08-06",
    usage=Usage(input_tokens=55, output_tokens=17, cache_read_tokens=0, reasoning_tokens=0),
    messages_in=(Message(role="user", parts=(Part(type="text", content="How high is Huascarán?"),)),),
    messages_out=(
        Message(
            role="assistant",
            parts=(
                Part.model_validate({
                    "type": "tool_call", "id": "call_sample", "name": "get_height",
                    "arguments": {"mountain": "Huascarán"},
                }),
            ),
            finish_reason="tool_calls",
        ),
    ),
)  # fmt: skip


def _replace_out(**changes: Any) -> Call:
    (message,) = CALL.messages_out
    return CALL.model_copy(update={"messages_out": (message.model_copy(update=changes),)})


def _replace_in(**changes: Any) -> Call:
    (message,) = CALL.messages_in
    return CALL.model_copy(update={"messages_in": (message.model_copy(update=changes),)})


def test_a_call_that_is_as_in_the_payloads_has_no_fault() -> None:
    assert list_faults(judge(FACTS, [CALL])) == []


@pytest.mark.parametrize(
    ("fields", "call"),
    [
        (["input text"], _replace_in(role="system")),
        (["input text"], _replace_in(parts=(Part(type="text", content="How high is it?"),))),
        (["input media"], _replace_in(parts=(*CALL.messages_in[0].parts, Part(type="blob")))),
        (["output tool calls"], _replace_out(parts=())),
        (["output text"], _replace_out(parts=(*CALL.messages_out[0].parts, Part(type="text", content="!")))),
        (["output other"], _replace_out(parts=(*CALL.messages_out[0].parts, Part(type="unknown")))),
        (["finish reason"], _replace_out(finish_reason="stop")),
        (["model"], CALL.model_copy(update={"model": "gpt-3.5"})),
        (["input_tokens", "output_tokens"], CALL.model_copy(update={"usage": None})),
        (["cache_read_tokens"], CALL.model_copy(
            update={"usage": Usage(input_tokens=55, output_tokens=17, cache_read_tokens=5)})),
        (["status"], CALL.model_copy(update={"status": "error"})),
        (["kind"], CALL.model_copy(update={"kind": "chain"})),
    ],
    ids=[
        "role", "input text", "media", "tool call", "output text", "other part", "finish reason", "model",
        "no usage", "wrong count", "status", "kind",
    ],
)  # fmt: skip
def test_a_mistake_is_seen_in_its_field(fields: list[str], call: Call) -> None:
    results = judge(FACTS, [call])
    assert [result.field for result in results if result.verdict != "ok"] == fields


@pytest.mark.parametrize("calls", [[], [CALL, CALL]], ids=["none", "two"])
def test_an_exchange_must_be_one_call(calls: list[Call]) -> None:
    results = judge(FACTS, calls)
    assert [result.field for result in results if result.verdict != "ok"] == ["call"]


def test_what_an_instrumentation_did_not_send_is_not_held_against_the_reader() -> None:
    assert [result.verdict for result in judge(FACTS, [], Telemetry([]))] == ["not sent"]
