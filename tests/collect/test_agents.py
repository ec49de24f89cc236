"""What coding agents send as log records and metrics becomes turns with their model calls and tools."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from llm_trace.collect.json_logs import iter_json_logs
from llm_trace.collect.receiver import Receiver
from llm_trace.record import Call, Usage
from llm_trace.semconv.completed_span import EndedSpan
from tests.conftest import Recorded
from tests.helpers.agent_toys import BEGIN, SECOND, SESSION, Event, build_json_logs, claude, send_logs
from tests.helpers.cli_toys import invoke

TURN: list[Event] = [
    claude(0.0, "user_prompt", 1, prompt="Fix the test", prompt_length=12),
    claude(
        2.0, "api_request", 2, model="claude-sonnet-5", cost_usd=0.0123, cost_usd_micros=12300,
        duration_ms=1500, input_tokens=4, output_tokens=120, cache_read_tokens=9000,
        cache_creation_tokens=500, request_id="req_1", query_source="repl_main_thread",
    ),
    claude(2.0, "assistant_response", 3, response="I run it.", model="claude-sonnet-5", request_id="req_1"),
    claude(2.1, "tool_decision", 4, tool_name="Bash", tool_use_id="toolu_1", decision="accept"),
    claude(
        4.1, "tool_result", 5, tool_name="Bash", tool_use_id="toolu_1", success="false", duration_ms="2000",
        error_type="ShellError", tool_input='{"command":"pytest"}',
    ),
    claude(4.2, "tool_decision", 6, tool_name="Edit", tool_use_id="toolu_2", decision="reject"),
    claude(
        5.0, "api_error", 7, model="claude-sonnet-5", error="Overloaded", status_code=529, duration_ms=700,
        attempt=3, request_id="req_2",
    ),
    claude(
        7.0, "api_request", 8, model="claude-sonnet-5", cost_usd=0.002, duration_ms=1000, input_tokens=7,
        output_tokens=20, cache_read_tokens=9500, cache_creation_tokens=0, request_id="req_3",
    ),
    claude(7.0, "assistant_response", 9, response="Done.", model="claude-sonnet-5", request_id="req_3"),
]  # fmt: skip


def read_tree(recorded: Recorded) -> tuple[Call, list[Call]]:
    """Return the turn, and what is inside it by its beginning."""
    calls = sorted(recorded.calls(), key=lambda call: (call.start_ns, call.end_ns or 0))
    (turn,) = (call for call in calls if call.parent_id is None)
    inner = [call for call in calls if call is not turn]
    assert {(call.trace_id, call.parent_id) for call in inner} == {(turn.trace_id, turn.span_id)}
    return turn, inner


def send_as_protobuf(client: httpx.Client, events: list[Event]) -> None:
    send_logs(str(client.base_url), events)


def send_as_json(client: httpx.Client, events: list[Event]) -> None:
    answer = client.post("/v1/logs", json=build_json_logs(events))
    assert answer.status_code == 200


@pytest.mark.parametrize("send", [send_as_protobuf, send_as_json], ids=["protobuf", "json"])
def test_a_turn_of_claude_code_is_an_agent_call_with_its_model_calls_and_tools_in_order(
    client: httpx.Client, receiver: Receiver, recorded: Recorded, send: Any
) -> None:
    send(client, TURN)
    send(client, TURN)  # the sender tries again
    assert recorded.calls(kind="agent")[0].status == "open"
    receiver.close()
    turn, inner = read_tree(recorded)
    assert [(call.kind, call.name, call.status) for call in inner] == [
        ("llm", "claude_code.api_request", "ok"),
        ("tool", "Bash", "error"),
        ("tool", "Edit", "error"),
        ("llm", "claude_code.api_error", "error"),
        ("llm", "claude_code.api_request", "ok"),
    ]
    first, bash, edit, failed, last = inner
    assert {call.session for call in (turn, *inner)} == {SESSION}
    assert (turn.kind, turn.status, turn.messages_in[0].text, turn.output) == (
        "agent",
        "ok",
        "Fix the test",
        "Done.",
    )
    assert (turn.start_ns, turn.end_ns) == (BEGIN, BEGIN + 7 * SECOND)
    assert (first.start_ns, first.end_ns) == (BEGIN + SECOND // 2, BEGIN + 2 * SECOND)
    assert (first.model, first.output, first.cost_usd) == ("claude-sonnet-5", "I run it.", 0.0123)
    assert first.usage == Usage(
        input_tokens=9504, output_tokens=120, cache_read_tokens=9000, cache_write_tokens=500
    )
    assert (bash.input, bash.error and bash.error.type) == ({"command": "pytest"}, "ShellError")
    assert (edit.error and edit.error.type) == "rejected"
    assert (failed.error and failed.error.message, failed.usage) == ("Overloaded", None)
    assert last.usage == Usage(
        input_tokens=9507, output_tokens=20, cache_read_tokens=9500, cache_write_tokens=0
    )


@pytest.mark.parametrize("cut", [1, 2, 5], ids=["before the answer", "before its text", "within the tools"])
def test_a_turn_that_comes_in_two_requests_is_the_same(
    client: httpx.Client, receiver: Receiver, recorded: Recorded, cut: int
) -> None:
    send_as_json(client, TURN[:cut])
    send_as_json(client, TURN[cut:])
    receiver.close()
    turn, inner = read_tree(recorded)
    assert (turn.end_ns, turn.output) == (BEGIN + 7 * SECOND, "Done.")
    assert [call.output for call in inner if call.kind == "llm"] == ["I run it.", None, "Done."]
    assert sum(call.cost_usd or 0 for call in inner) == pytest.approx(0.0143)
    assert sum(call.usage.output_tokens or 0 for call in inner if call.usage) == 140


def test_the_next_question_ends_a_turn(client: httpx.Client, recorded: Recorded) -> None:
    send_as_protobuf(client, [*TURN, claude(60.0, "user_prompt", 10, prompt="Thanks", prompt__id="prompt-2")])
    newest, first = recorded.calls(kind="agent")
    assert (first.status, first.end_ns) == ("ok", BEGIN + 7 * SECOND)
    assert (newest.status, newest.messages_in[0].text) == ("open", "Thanks")
    assert newest.trace_id != first.trace_id


def test_records_without_a_prompt_are_in_a_turn_all_the_same(
    client: httpx.Client, receiver: Receiver, recorded: Recorded
) -> None:
    send_as_json(client, TURN[1:3])
    receiver.close()
    turn, (model,) = read_tree(recorded)
    assert (turn.kind, turn.input, turn.start_ns, model.kind) == ("agent", None, BEGIN + SECOND // 2, "llm")


def test_events_that_are_no_call_are_counted_by_name_in_the_answer(
    client: httpx.Client, recorded: Recorded
) -> None:
    hooks = [claude(1.0 + i, "hook_execution_start", 20 + i) for i in range(2)]
    answer = client.post(
        "/v1/logs", json=build_json_logs([*TURN[:1], *hooks, claude(9.0, "plugin_loaded", 30)])
    )
    assert answer.json()["partialSuccess"] == {
        "rejectedLogRecords": "3",
        "errorMessage": "what tells of no call was not kept: 2 x claude_code.hook_execution_start, "
        "1 x claude_code.plugin_loaded",
    }
    assert len(recorded.calls()) == 1
    shown = invoke(recorded.path, "doctor", "--json").stdout
    assert "2 x claude_code.hook_execution_start, 1 x claude_code.plugin_loaded" in shown


def test_redacted_prompts_are_no_prompts(client: httpx.Client, recorded: Recorded) -> None:
    send_as_protobuf(client, [claude(0.0, "user_prompt", 1, prompt="<REDACTED>", prompt_length=12)])
    call = recorded.one()
    assert (call.input, call.messages_in, call.session) == (None, (), SESSION)
    assert "REDACTED" in str(call.metadata)


CODEX = {"conversation.id": SESSION, "model": "gpt-5.6", "app.version": "0.154.0"}


def test_a_turn_of_codex_has_its_tokens_once_and_its_tools_output(
    client: httpx.Client, receiver: Receiver, recorded: Recorded
) -> None:
    events: list[Event] = [
        (0.0, "codex.user_prompt", {**CODEX, "prompt": "List the files", "prompt_length": "14"}),
        (1.0, "codex.api_request", {**CODEX, "duration_ms": "900", "http.response.status_code": 200}),
        (1.5, "codex.sse_event", {**CODEX, "event.kind": "response.output_item.done", "duration_ms": "3"}),
        (2.0, "codex.sse_event", {
            **CODEX, "event.kind": "response.completed", "input_token_count": "1000",
            "output_token_count": "50", "cached_token_count": 800, "reasoning_token_count": 30,
            "tool_token_count": "1050",
        }),
        (3.0, "codex.tool_result", {
            **CODEX, "tool_name": "shell", "call_id": "call_1", "arguments": '{"command":["ls"]}',
            "duration_ms": "400", "success": "true", "output": "README.md",
        }),
    ]  # fmt: skip
    send_logs(str(client.base_url), events, service="codex_cli_rs", named=True)
    receiver.close()
    turn, (model, tool) = read_tree(recorded)
    assert (turn.messages_in[0].text, turn.session) == ("List the files", SESSION)
    assert (model.start_ns, model.end_ns) == (BEGIN + SECOND // 10, BEGIN + 2 * SECOND)
    assert (model.kind, model.model) == ("llm", "gpt-5.6")
    assert model.usage == Usage(
        input_tokens=1000, output_tokens=50, cache_read_tokens=800, reasoning_tokens=30
    )
    assert (tool.name, tool.input, tool.output) == ("shell", {"command": ["ls"]}, "README.md")


def test_a_turn_of_gemini_cli_has_what_both_of_its_records_tell_of_a_call(
    client: httpx.Client, receiver: Receiver, recorded: Recorded
) -> None:
    common = {"session.id": SESSION, "prompt_id": f"{SESSION}########0"}
    moment = {"event.timestamp": "2026-09-21T14:13:23.000Z"}
    contents = '[{"role":"user","parts":[{"text":"Say hello"}]}]'
    said = '{"candidates":[{"content":{"role":"model","parts":[{"text":"Hello"}]},"finishReason":"STOP"}]}'
    events: list[Event] = [
        (0.0, "gemini_cli.user_prompt", {**common, "prompt": "Say hello", "prompt_length": 9}),
        (1.0, "gemini_cli.api_request", {**common, "model": "gemini-3-pro", "request_text": contents}),
        (3.0, "gemini_cli.api_response", {
            **common, **moment, "model": "gemini-3-pro", "duration_ms": 2000, "input_token_count": 100,
            "output_token_count": 10, "cached_content_token_count": 60, "thoughts_token_count": 5,
            "tool_token_count": 0, "total_token_count": 115, "response_text": said, "status_code": 200,
        }),
        (3.0, "gen_ai.client.inference.operation.details", {
            "session.id": SESSION, **moment, "gen_ai.provider.name": "gcp.gemini",
            "gen_ai.response.id": "r-1", "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 10,
            "gen_ai.request.temperature": 0.5,
        }),
        (4.0, "gemini_cli.tool_call", {
            **common, "function_name": "read_file", "function_args": '{"path":"a"}', "duration_ms": 30,
            "success": True, "decision": "accept",
        }),
        (5.0, "gemini_cli.api_error", {
            **common, "model": "gemini-3-pro", "error.message": "quota", "status_code": 429,
            "duration_ms": 90,
        }),
    ]  # fmt: skip
    send_logs(str(client.base_url), events, service="gemini-cli", named=True)
    receiver.close()
    turn, (model, tool, failed) = read_tree(recorded)
    assert (turn.status, turn.messages_in[0].text) == ("error", "Say hello")
    assert [m.text for m in (*model.messages_in, *model.messages_out)] == ["Say hello", "Hello"]
    assert (model.provider, model.params, model.start_ns) == (
        "gcp.gemini", {"temperature": 0.5}, BEGIN + SECOND,
    )  # fmt: skip
    assert model.usage == Usage(input_tokens=100, output_tokens=15, cache_read_tokens=60, reasoning_tokens=5)
    assert (tool.name, tool.input, tool.status) == ("read_file", {"path": "a"}, "ok")
    assert (failed.error and failed.error.message) == "quota"


def test_what_a_turn_that_is_over_still_sends_is_its_own(
    client: httpx.Client, receiver: Receiver, recorded: Recorded
) -> None:
    late = claude(70.0, "tool_result", 11, tool_name="Bash", tool_use_id="toolu_9", success="true")
    following = claude(60.0, "user_prompt", 10, prompt="Thanks", prompt__id="prompt-2")
    send_as_json(client, [TURN[0], following, late])
    receiver.close()
    first = next(call for call in recorded.calls(kind="agent") if call.messages_in[0].text == "Fix the test")
    assert recorded.calls(kind="tool")[0].parent_id == first.span_id


def build_spans() -> list[tuple[str, EndedSpan]]:
    """Return what the traces of Claude Code tell of the same turn."""
    common = {"session.id": SESSION, "user.id": "someone"}

    def build(number: int, parent: int | None, name: str, begin: float, end: float, **own: Any) -> EndedSpan:
        return EndedSpan(
            "ab" * 16, f"{number:016x}", None if parent is None else f"{parent:016x}", name,
            BEGIN + round(begin * SECOND), BEGIN + round(end * SECOND), common | own,
            scope="com.anthropic.claude_code.tracing",
        )  # fmt: skip

    model = build(
        2, 1, "claude_code.llm_request", 0.5, 2.0, model="claude-sonnet-5", request_id="req_1",
        input_tokens=4, output_tokens=120, cache_read_tokens=9000, cache_creation_tokens=500, ttft_ms=300,
        stop_reason="tool_use", **{"gen_ai.system": "anthropic", "gen_ai.response.id": "req_1"},
    )  # fmt: skip
    tool = build(3, 1, "claude_code.tool", 2.1, 4.1, tool_name="Bash", tool_use_id="toolu_1")
    turn = build(1, None, "claude_code.interaction", 0.0, 7.0, user_prompt="Fix the test")
    return [(span.name, span) for span in (model, tool, turn)]


@pytest.mark.parametrize("order", ["spans first", "logs first", "turn by turn"])
def test_logs_and_traces_of_one_turn_are_counted_once(
    receiver: Receiver, recorded: Recorded, order: str
) -> None:
    events = [TURN[i] for i in (1, 2, 4)]
    logs = list(iter_json_logs(build_json_logs(events, span=f"{1:016x}")))
    spans = build_spans()
    if order == "turn by turn":
        steps: list[Any] = [logs[:1], spans[:1], logs[1:2], spans[1:2], logs[2:], spans[2:]]
    else:
        steps = [spans, logs] if order == "spans first" else [logs, spans]
    for step in (*steps, *steps):
        if len(step[0]) == 2:
            receiver.take(step)
        else:
            receiver.take_logs(step)
    receiver.close()
    turn, (model, tool) = read_tree(recorded)
    assert (turn.kind, turn.messages_in[0].text, turn.session) == ("agent", "Fix the test", SESSION)
    assert (model.kind, model.model, model.output, model.cost_usd) == (
        "llm", "claude-sonnet-5", "I run it.", 0.0123,
    )  # fmt: skip
    assert model.usage == Usage(
        input_tokens=9504, output_tokens=120, cache_read_tokens=9000, cache_write_tokens=500
    )
    assert model.first_token_ns == BEGIN + 8 * SECOND // 10
    assert (tool.kind, tool.status, tool.input) == ("tool", "error", {"command": "pytest"})


def test_logs_of_a_run_that_a_program_began_are_inside_its_span(
    receiver: Receiver, recorded: Recorded
) -> None:
    receiver.take_logs(iter_json_logs(build_json_logs(TURN, span="cd" * 8)))
    receiver.take([("review", EndedSpan("ab" * 16, "cd" * 8, None, "review", BEGIN, BEGIN + 9 * SECOND, {}))])
    outer, inner = read_tree(recorded)
    assert (outer.name, outer.kind) == ("review", "chain")
    assert [call.kind for call in inner] == ["agent", "llm", "tool", "tool", "llm", "llm"]
