"""Whatever comes in, normalising it gives an answer that the vocabulary accepts, and no exception."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from llm_trace import semconv
from llm_trace.record import Call, Message, Usage

_KEYS_TEXT = """
role content parts type text name id messages system input output instructions contents choices message delta
index
finish_reason tool_calls function arguments function_call tool_call_id refusal reasoning reasoning_content
thinking
signature images audio source data media_type image_url url input_audio file file_data file_id tool_use_id
toolUse
toolResult functionCall functionResponse inlineData candidates usageMetadata promptTokenCount usage
prompt_tokens
input_tokens output_tokens cache_read_input_tokens cached_tokens prompt_tokens_details model kwargs body
config
response item output_index content_index content_block partial_json messageStart contentBlockStart
contentBlockDelta
contentBlockIndex start metadata event_type step interaction done outputText generation outputs generations
results
call_id item_id prompt document meta billed_units tokens summary encrypted_content stop_reason status object
response_metadata
lc chunk bytes logprobs error reasoningContent reasoningText executableCode tool_plan citations chat_history
"""
_KEYS = _KEYS_TEXT.split()
_VALUES_TEXT = """
assistant user tool message text tool_use tool_result thinking reasoning function_call function_call_output
image file
input_file image_url input_audio refusal tool_call_response message_start content_block_start
content_block_delta
message_delta text_delta input_json_delta citations_delta response.output_text.delta
response.output_item.added
response.completed message-start content-delta tool-call-delta step.delta interaction.completed
text-generation
AIMessageChunk chat.completion.chunk data:image/png;base64,AA {} [1] {"a":1 12 web_search_call x_tool_result
"""
_VALUES = _VALUES_TEXT.split()
_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.sampled_from(_VALUES)
)
json_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=4), inner, max_size=6),
    ),
    max_leaves=25,
)
mappings = st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=4), json_values, max_size=8)

_NAMES_TEXT = """
gen_ai.input.messages gen_ai.output.messages gen_ai.prompt gen_ai.prompt.0 gen_ai.prompt.0.role
gen_ai.prompt.x
gen_ai.prompt.0.content gen_ai.prompt.0.tool_calls.0.name gen_ai.completion.0.content gen_ai.request.model
gen_ai.request.top_p gen_ai.response.model gen_ai.response.finish_reasons gen_ai.usage.input_tokens
gen_ai.usage.output_tokens gen_ai.operation.name gen_ai.system gen_ai.system_instructions
gen_ai.conversation.id
gen_ai.tool.call.arguments gen_ai.response.time_to_first_chunk gen_ai.usage.cost openinference.span.kind
input.value
output.value llm.input_messages.0.message.role llm.input_messages.0.message.content
llm.output_messages.0.message
llm.input_messages.0.message.contents.0.message_content.type
llm.output_messages.0.message.tool_calls.0.tool_call.id
llm.input_messages.0.message.contents.0.message_content.image.image.url llm.token_count.prompt llm.cost.total
llm.invocation_parameters llm.prompts.0.prompt.text llm.prompt_template.template llm.prompt_template.variables
retrieval.documents.0.document.content metadata tag.tags traceloop.span.kind traceloop.entity.input session.id
traceloop.association.properties.user_id langfuse.observation.usage_details langfuse.observation.type
error.type
langfuse.observation.completion_start_time langfuse.observation.cost_details exception.type request_data
response_data llm_trace.params llm_trace.kind llm_trace.tags
"""
_NAMES = _NAMES_TEXT.split()
attributes = st.dictionaries(
    st.sampled_from(_NAMES),
    st.one_of(
        json_values,
        st.sampled_from(
            [
                '{"messages": [{"role": "user", "content": "hi"}]}', '[{"role": "user"', '[{"role": 5}]',
                "[[[]]]", "LLM", '"2025-01-01T00:00:00Z"', '"9999-99"', "chat", "tool", "NaN",
                '{"total": 1e999}', "[" * 9000,
            ],
        ),
    ),
    max_size=10,
)  # fmt: skip


@given(json_values)
@example({"function_call": {"role": None}})
def test_any_json_becomes_a_message_and_once_more_the_same(raw: Any) -> None:
    made = semconv.message(raw)
    Message(**made)
    again = semconv.message(made)
    assert repr(again) == repr(made)


@given(json_values | mappings)
def test_any_json_is_searched_for_messages(value: Any) -> None:
    for entry in [
        *semconv.messages_in(value),
        *semconv.messages_out(value),
        *semconv.messages_out(value, plain=True),
    ]:
        Message(**entry)


@given(json_values | mappings)
def test_any_json_is_asked_for_usage_and_fields(value: Any) -> None:
    told = semconv.usage(value)
    if told is not None:
        Usage(**told)
    semconv.request_fields(value)
    found = semconv.response_fields(value)
    assert set(found) <= {"model", "provider", "usage", "cost_usd", "finish_reason"}
    if "usage" in found:
        Usage(**found["usage"])


@given(st.lists(json_values | mappings, max_size=6))
def test_any_chunks_are_reduced_or_refused(chunks: list[Any]) -> None:
    reduced = semconv.reduce_stream(chunks)
    semconv.messages_out(reduced)
    semconv.response_fields(reduced)


def _call(**fields: Any) -> Call:
    return Call(trace_id="0" * 32, span_id="0" * 16, start_ns=1, **fields)


@given(
    attributes,
    st.lists(st.tuples(st.sampled_from(["gen_ai.choice", "gen_ai.user.message", "exception"]), attributes)),
)
def test_any_attributes_become_a_call_and_none_is_lost(told: dict[str, Any], events: list[Any]) -> None:
    made = semconv.call_fields("span", told, events)
    _call(**made)
    assert repr(made["metadata"]["otel"]["attributes"]) == repr(told)
    semconv.is_genai_span(told)


@given(mappings, json_values, json_values)
def test_any_call_becomes_attributes_that_opentelemetry_takes(
    fields: dict[str, Any], given: Any, made: Any
) -> None:
    call = {
        **fields,
        "kind": "llm",
        "input": given,
        "output": made,
        "params": fields,
        "usage": {"input_tokens": 1},
    }
    for name, value in semconv.span_attributes(call, content=True, openinference=True).items():
        assert isinstance(name, str)
        legal = isinstance(value, (str, bool, int, float))
        assert legal or (isinstance(value, list) and all(isinstance(entry, str) for entry in value))


_marked = st.integers(0, 10**6).map(lambda number: f"§{number}§")
_marked_values = st.recursive(
    _marked,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([k for k in _KEYS if k != "type"]), inner, max_size=5),
    ),
    max_leaves=12,
)


def _leaves(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set().union(*(_leaves(inner) for inner in value.values()))
    if isinstance(value, list):
        return set().union(*(_leaves(inner) for inner in value))
    return {value}


@given(_marked_values, st.sampled_from([*_VALUES, None]))
@example({"tool_call_id": "§1§", "call_id": "§2§", "id": "§3§"}, "tool_call_response")
@example({"tool_use_id": "§1§", "toolUseId": "§2§", "id": "§3§"}, "tool_result")
@example({"toolUseId": "§1§", "id": "§2§"}, "tool_use")
@example({"executableCode": {"code": "§1§", "output": "§2§"}}, None)
def test_nothing_of_the_content_is_lost(piece: Any, kind: str | None) -> None:
    typed = {**piece, "type": kind} if isinstance(piece, dict) and kind is not None else piece
    made = repr(semconv.message({"role": "user", "content": [typed]}))
    assert {leaf for leaf in _leaves(piece) if leaf not in made} == set()


@given(
    st.dictionaries(
        st.sampled_from([k for k in _KEYS if k not in ("type", "id", "index", "status", "object")]),
        _marked_values,
    )
)
def test_nothing_beside_the_content_is_lost(raw: dict[str, Any]) -> None:
    made = repr(semconv.message(raw))
    assert {leaf for leaf in _leaves(raw) if leaf not in made} == set()


def test_values_nested_deeper_than_python_goes_are_no_error() -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"tokens": deep, "message": deep, "delta": deep, "content": deep}
    semconv.usage(deep)
    semconv.message(deep)
    semconv.messages_in(deep)
    semconv.messages_out(deep)
    semconv.response_fields(deep)
    assert semconv.reduce_stream([{"choices": [{"delta": deep}]}]) is None
    semconv.span_attributes({"kind": "llm", "output": deep, "input": deep}, content=True, openinference=True)
    semconv.call_fields("span", {"gen_ai.prompt." + "0." * 5000: 1, "input.value": "[" * 100_000})
