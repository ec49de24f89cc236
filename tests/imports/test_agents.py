"""Sessions of coding agents: each message once, tools with their results, sub-agents in their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llm_trace.record import Call, Usage
from tests.conftest import Recorded
from tests.helpers.import_toys import bring, write

SESSION = "0b1f7f6e-54a5-4c08-93b5-f2d6b9f4a001"
BEGIN = 1_777_629_600 * 10**9
"""2026-05-01T10:00:00Z."""


def at(second: int) -> str:
    return f"2026-05-01T10:00:{second:02d}.000Z"


def claude(
    kind: str, second: int, own: str, content: Any, message: Any = None, **more: Any
) -> dict[str, Any]:
    """Return a line of a session of Claude Code."""
    role = {"role": kind, "content": content, **(message or {})}
    return {
        "parentUuid": None, "isSidechain": False, "userType": "external", "cwd": "/work/app",
        "sessionId": SESSION, "version": "2.1.233", "gitBranch": "main", "type": kind, "message": role,
        "uuid": own, "timestamp": at(second), **more,
    }  # fmt: skip


def answer(second: int, own: str, uuid: str, block: Any, output: int, **more: Any) -> dict[str, Any]:
    """Return the line of one block of a model's message."""
    usage = {
        "input_tokens": 4, "cache_creation_input_tokens": 100, "cache_read_input_tokens": 9000,
        "output_tokens": output,
    }  # fmt: skip
    message = {
        "id": own, "type": "message", "model": "claude-sonnet-5", "stop_reason": more.pop("stop", None),
        "usage": usage,
    }  # fmt: skip
    return claude("assistant", second, uuid, [block], message, requestId=f"req_{own}", **more)


def result(second: int, uuid: str, tool: str, output: Any, told: Any = None, **more: Any) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": tool, "content": output, **more}
    return claude("user", second, uuid, [block], toolUseResult=told or {})


TASK = {"type": "tool_use", "id": "toolu_2", "name": "Agent", "input": {"prompt": "Look around"}}
CLAUDE = [
    {"type": "summary", "summary": "Fix the test", "leafUuid": "u9"},
    claude("user", 0, "u1", "Fix the test"),
    answer(2, "msg_1", "a1", {"type": "thinking", "thinking": "Hm", "signature": "x"}, 3),
    answer(3, "msg_1", "a2", {"type": "text", "text": "I run it."}, 3),
    answer(4, "msg_1", "a3", {
        "type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "pytest"},
    }, 120, stop="tool_use"),
    result(6, "u2", "toolu_1", "1 failed", is_error=True),
    answer(8, "msg_2", "a4", TASK, 30, stop="tool_use"),
    result(12, "u3", "toolu_2", [{"type": "text", "text": "Seen"}], {"agentId": "abc"}),
    answer(14, "msg_3", "a5", {"type": "text", "text": "Done."}, 20, stop="end_turn"),
    {"type": "file-history-snapshot", "messageId": "u1", "snapshot": {}},
    claude("user", 30, "u4", "Thanks"),
    claude("assistant", 31, "a6", [{"type": "text", "text": "API Error: Overloaded"}],
           {"id": "gone", "model": "<synthetic>"}, isApiErrorMessage=True, error="overloaded_error"),
]  # fmt: skip
AGENT = [
    claude("user", 8, "s1", "Look around", isSidechain=True, agentId="abc"),
    answer(10, "msg_s", "s2", {"type": "text", "text": "Seen"}, 7, isSidechain=True, agentId="abc"),
]


def by_name(store: Recorded) -> dict[str, list[Call]]:
    calls = sorted(store.calls(), key=lambda call: (call.start_ns, call.end_ns or 0))
    assert len({call.trace_id for call in calls}) == 1
    assert {call.session for call in calls} == {SESSION}
    return {name: [call for call in calls if call.name == name] for name in {call.name for call in calls}}


def test_a_session_of_claude_code_has_each_message_once_with_its_tools_and_sub_agents(
    tmp_path: Path, recorded: Recorded
) -> None:
    main, agent = write(tmp_path / "s.jsonl", *CLAUDE), write(tmp_path / "agent-abc.jsonl", *AGENT)
    reports = bring(recorded, agent, main)
    assert [(r["format"], r["calls"], r["broken"], r["cut"]) for r in reports] == [
        ("claude_code", 2, 0, None), ("claude_code", 8, 0, None),
    ]  # fmt: skip
    assert reports[1]["left_out"] == {"summary": 1, "file-history-snapshot": 1}
    calls = by_name(recorded)
    first, second = calls["claude_code"]
    (bash,), (task,), (sub,) = calls["Bash"], calls["Agent"], calls["sub-agent abc"]
    one, inner, two, three, failed = _order(calls["claude_code.message"])
    assert (first.kind, first.messages_in[0].text, first.output) == ("agent", "Fix the test", "Done.")
    assert (first.start_ns, first.end_ns) == (BEGIN, BEGIN + 14 * 10**9)
    assert first.metadata["cwd"] == "/work/app"
    assert first.metadata["git_branch"] == "main"
    assert {c.parent_id for c in (one, two, three, bash, task)} == {first.span_id}
    assert (one.start_ns, one.end_ns, one.model) == (BEGIN, BEGIN + 4 * 10**9, "claude-sonnet-5")
    assert one.usage == Usage(
        input_tokens=9104, output_tokens=120, cache_read_tokens=9000, cache_write_tokens=100
    )
    assert [part.type for part in one.messages_out[0].parts] == ["reasoning", "text", "tool_call"]
    assert [message.role for message in two.messages_in] == ["user", "assistant", "user"]
    assert (bash.status, bash.input, bash.output) == ("error", {"command": "pytest"}, "1 failed")
    assert (bash.start_ns, bash.end_ns) == (BEGIN + 4 * 10**9, BEGIN + 6 * 10**9)
    assert (sub.parent_id, sub.kind, inner.parent_id) == (task.span_id, "agent", sub.span_id)
    assert (second.status, failed.status, failed.model) == ("error", "error", None)
    assert failed.error is not None
    assert failed.error.message == "API Error: Overloaded"
    total = sum(c.usage.output_tokens or 0 for c in calls["claude_code.message"] if c.usage)
    assert total == 120 + 30 + 20 + 7


def _order(calls: list[Call]) -> list[Call]:
    """Return the calls by what they answered last: the first, the sub-agent's, then the others."""
    one, two, *rest = sorted(calls, key=lambda call: call.end_ns or 0)
    inner = next(call for call in (two, *rest) if call.metadata.get("agent"))
    others = [call for call in (two, *rest) if call is not inner]
    return [one, inner, *others]


def test_a_session_that_was_resumed_in_another_file_is_there_once(tmp_path: Path, recorded: Recorded) -> None:
    write(tmp_path / "a.jsonl", *CLAUDE[:9])
    resumed = [{**line, "sessionId": "another"} if "sessionId" in line else line for line in CLAUDE]
    write(tmp_path / "b.jsonl", *resumed)
    first, second, third = (bring(recorded, tmp_path / f"{name}.jsonl")[0] for name in "aba")
    assert [(r["calls"], r["known"]) for r in (first, second, third)] == [(6, 0), (2, 6), (0, 6)]


def test_a_last_line_that_is_not_whole_is_said_and_the_rest_is_there(
    tmp_path: Path, recorded: Recorded
) -> None:
    path = write(tmp_path / "s.jsonl", *CLAUDE[:9])
    path.write_text(path.read_text() + '{"type":"assistant","mess')
    (report,) = bring(recorded, path)
    assert (report["calls"], report["broken"], report["broken_file"]) == (6, 0, None)
    assert report["cut"].startswith("its last line is not whole")


def codex(second: int, kind: str, **payload: Any) -> dict[str, Any]:
    return {"timestamp": at(second), "type": kind, "payload": payload}


def said(second: int, role: str, text: str, own: str | None = None) -> dict[str, Any]:
    piece = {"type": "output_text" if role == "assistant" else "input_text", "text": text}
    return codex(second, "response_item", type="message", role=role, content=[piece], id=own)


def counted(second: int, total: int, last: int) -> dict[str, Any]:
    counts = [
        {"input_tokens": n, "cached_input_tokens": n // 2, "output_tokens": 10, "reasoning_output_tokens": 4}
        for n in (total, last)
    ]
    return codex(
        second, "event_msg", type="token_count",
        info={"total_token_usage": counts[0], "last_token_usage": counts[1]}, rate_limits={},
    )  # fmt: skip


CODEX = [
    codex(0, "session_meta", id=SESSION, cwd="/work/app", cli_version="0.154.0", model_provider="openai",
          git={"branch": "main", "commit_hash": "abc"}),
    said(0, "user", "<environment_context>…</environment_context>"),
    codex(1, "turn_context", model="gpt-5.6", cwd="/work/app"),
    said(1, "user", "List the files"),
    codex(1, "event_msg", type="user_message", message="List the files"),
    codex(3, "response_item", type="reasoning", id="rs_1", summary=[{"type": "summary_text", "text": "Hm"}]),
    codex(4, "response_item", type="function_call", name="shell", call_id="c1",
          arguments='{"command":["ls"]}'),
    counted(5, 1000, 1000),
    counted(5, 1000, 1000),
    codex(6, "response_item", type="function_call_output", call_id="c1",
          output='{"output":"README.md","metadata":{"exit_code":0}}'),
    said(8, "assistant", "One file.", "msg_1"),
    codex(8, "event_msg", type="agent_message", message="One file."),
    counted(9, 2200, 1200),
    codex(9, "event_msg", type="plan_update", plan=[]),
]  # fmt: skip


def test_a_session_of_codex_has_its_tokens_once_per_call_of_the_model(
    tmp_path: Path, recorded: Recorded
) -> None:
    path = write(tmp_path / "rollout-1.jsonl", *CODEX)
    (report,), (again,) = bring(recorded, path), bring(recorded, path)
    assert (report["format"], report["calls"], report["left_out"]) == ("codex", 4, {"plan_update": 1})
    assert (again["calls"], again["known"]) == (0, 4)
    calls = by_name(recorded)
    (turn,), (tool,) = calls["codex"], calls["shell"]
    first, second = calls["codex.response"]
    assert (turn.kind, turn.messages_in[0].text, turn.output) == ("agent", "List the files", "One file.")
    assert {call.parent_id for call in (first, second, tool)} == {turn.span_id}
    assert (first.model, first.provider, first.start_ns, first.end_ns) == (
        "gpt-5.6", "openai", BEGIN + 10**9, BEGIN + 5 * 10**9,
    )  # fmt: skip
    assert first.usage == Usage(
        input_tokens=1000, output_tokens=10, cache_read_tokens=500, reasoning_tokens=4
    )
    assert second.usage is not None
    assert second.usage.input_tokens == 1200
    assert [message.text for message in second.messages_out] == ["One file."]
    assert (tool.input, tool.output, tool.status) == ({"command": ["ls"]}, "README.md", "ok")
    assert turn.metadata["git_branch"] == "main"


def test_a_session_of_gemini_cli_is_read_whole_and_line_by_line(tmp_path: Path, recorded: Recorded) -> None:
    head = {"sessionId": SESSION, "projectHash": "p", "startTime": at(0), "lastUpdated": at(9)}
    tokens = {"input": 100, "output": 10, "cached": 60, "thoughts": 5, "tool": 0, "total": 115}
    tool = {
        "id": "t1", "name": "read_file", "args": {"path": "a"}, "status": "success", "timestamp": at(5),
        "result": [{"functionResponse": {"id": "t1", "name": "read_file", "response": {"output": "x"}}}],
    }  # fmt: skip
    messages = [
        {"id": "m1", "timestamp": at(1), "type": "user", "content": "Read a"},
        {"id": "m2", "timestamp": at(4), "type": "gemini", "content": "", "model": "gemini-3-pro",
         "tokens": tokens, "toolCalls": [tool], "thoughts": []},
        {"id": "m3", "timestamp": at(7), "type": "gemini", "content": "It says x.", "model": "gemini-3-pro",
         "tokens": {**tokens, "output": 20, "total": 125}},
        {"id": "m4", "timestamp": at(8), "type": "info", "content": "Update available"},
    ]  # fmt: skip
    lines = write(tmp_path / "s.jsonl", head, *messages[:2], *messages[1:], {"$set": {"summary": "read"}})
    whole = write(tmp_path / "s.json", {**head, "messages": messages})
    (report,), (again,) = bring(recorded, lines), bring(recorded, whole)
    assert (report["format"], report["calls"], report["left_out"]) == ("gemini_cli", 4, {"info": 1})
    assert (again["calls"], again["known"]) == (0, 4)
    calls = by_name(recorded)
    (turn,), (read,) = calls["gemini_cli"], calls["read_file"]
    first, second = calls["gemini_cli.message"]
    assert (turn.kind, turn.messages_in[0].text, turn.output) == ("agent", "Read a", "It says x.")
    assert {call.parent_id for call in (first, second, read)} == {turn.span_id}
    assert first.usage == Usage(input_tokens=100, output_tokens=15, cache_read_tokens=60, reasoning_tokens=5)
    assert (second.start_ns, second.messages_out[0].text) == (BEGIN + 5 * 10**9, "It says x.")
    assert (read.input, read.status, read.end_ns) == ({"path": "a"}, "ok", BEGIN + 5 * 10**9)


def test_a_sub_agent_in_the_same_file_is_inside_the_call_that_began_it(
    tmp_path: Path, recorded: Recorded
) -> None:
    inner = [{name: value for name, value in line.items() if name != "agentId"} for line in AGENT]
    lines = [*CLAUDE[:7], *inner, result(12, "u3", "toolu_2", "Seen")]
    bring(recorded, write(tmp_path / "s.jsonl", *lines))
    calls = by_name(recorded)
    (task,), (sub,) = calls["Agent"], calls["sub-agent sidechain"]
    assert (sub.parent_id, task.output) == (task.span_id, "Seen")
