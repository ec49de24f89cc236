"""`llm-trace import`: data exports of ChatGPT and Claude come with their branches, tools and thoughts."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from llm_trace.record import Call
from tests.conftest import Recorded
from tests.helpers.import_toys import bring
from tests.imports.test_tools import spoken

TALK = "0197a000-0000-7000-8000-000000000001"
BEGIN = 1_777_629_600
"""2026-05-01T10:00:00Z, in seconds."""


def node(own: str, parent: str | None, role: str, content: Any, at: float, **fields: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": [content]} if isinstance(content, str) else content
    author = {"role": role, "name": fields.pop("name", None), "metadata": {}}
    message = {
        "id": own, "author": author, "create_time": BEGIN + at, "update_time": None, "content": content,
        "status": "finished_successfully", "recipient": fields.pop("recipient", "all"), "metadata": fields,
    }  # fmt: skip
    return {"id": own, "message": message, "parent": parent, "children": []}


def chatgpt() -> dict[str, Any]:
    """Return a conversation: an answer that was asked for again, thoughts, a tool, a picture."""
    code = {"content_type": "code", "language": "python", "text": "print(6*7)"}
    thoughts = {"content_type": "thoughts", "thoughts": [{"summary": "Maths", "content": "I compute."}]}
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://file-1"}
    asked = {"content_type": "multimodal_text", "parts": [picture, "And this?"]}
    nodes = [
        {"id": "root", "message": None, "parent": None, "children": []},
        node("system", "root", "system", "", 0),
        node("ask", "system", "user", "6*7?", 1),
        node("first", "ask", "assistant", "No idea.", 2, model_slug="gpt-4o"),
        node("think", "ask", "assistant", thoughts, 3, model_slug="o3"),
        node("code", "think", "assistant", code, 4, recipient="python", model_slug="o3"),
        node("run", "code", "tool", {"content_type": "execution_output", "text": "42"}, 5, name="python"),
        node("second", "run", "assistant", "42.", 6, model_slug="o3"),
        node("more", "second", "user", asked, 7),
        node("third", "more", "assistant", "A cat.", 9),
    ]
    return {
        "title": "Maths", "create_time": BEGIN, "update_time": BEGIN + 10.0, "conversation_id": TALK,
        "current_node": "third", "default_model_slug": "gpt-5", "gizmo_id": "g-1",
        "mapping": {each["id"]: each for each in nodes},
    }  # fmt: skip


def by_answer(store: Recorded) -> dict[str, Call]:
    """Return the model's calls by what was answered."""
    answers = [call for call in store.calls() if call.kind == "llm"]
    return {spoken(call)[1][0][1]: call for call in answers}


def test_every_answer_of_chatgpt_has_the_messages_on_its_own_branch(
    recorded: Recorded, tmp_path: Path
) -> None:
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([chatgpt()]), encoding="utf-8")
    [report] = bring(recorded, path)
    assert (report["format"], report["calls"], report["broken"]) == ("chatgpt", 6, 0)
    assert report["left_out"] == {"message without words": 1}
    assert report["not_understood"] == {"gizmo_id": 1}
    answers = by_answer(recorded)
    assert {text: (call.model, call.metadata["shown"]) for text, call in answers.items()} == {
        "No idea.": ("gpt-4o", False), "": ("o3", True), "42.": ("o3", True), "A cat.": ("gpt-5", True),
    }  # fmt: skip
    assert spoken(answers["No idea."])[0] == [("user", "6*7?")]
    assert [role for role, _ in spoken(answers["42."])[0]] == ["user", "assistant", "assistant", "tool"]
    assert answers["42."].start_ns == (BEGIN + 5) * 10**9
    assert answers["42."].duration_ns == 10**9
    (asked,) = answers[""].messages_out
    assert [part.type for part in asked.parts] == ["reasoning", "tool_call"]
    (last,) = answers["A cat."].messages_in[-1:]
    assert [part.type for part in last.parts] == ["uri", "text"]


def test_a_conversation_is_a_trace_with_its_tools(recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([chatgpt()]), encoding="utf-8")
    bring(recorded, path)
    calls = recorded.calls()
    assert {(call.trace_id, call.session) for call in calls} == {(TALK.replace("-", ""), TALK)}
    (around,) = [call for call in calls if call.parent_id is None]
    assert (around.name, around.kind, around.duration_ns) == ("Maths", "chain", 10 * 10**9)
    assert {call.parent_id for call in calls if call is not around} == {around.span_id}
    (tool,) = [call for call in calls if call.kind == "tool"]
    assert (tool.name, tool.input, tool.output, tool.status) == ("python", "print(6*7)", "42", "ok")
    [again] = bring(recorded, path)
    assert (again["calls"], again["known"]) == (0, 6)


def test_messages_in_a_circle_are_set_aside_and_said(recorded: Recorded, tmp_path: Path) -> None:
    talk = chatgpt()
    talk["mapping"]["ask"]["parent"] = "third"
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([talk, chatgpt()]), encoding="utf-8")
    [report] = bring(recorded, path)
    assert (report["calls"], report["broken"]) == (6, 1)
    assert "are their own ancestors" in Path(report["broken_file"]).read_text(encoding="utf-8")


def claude() -> dict[str, Any]:
    """Return a conversation: a file, thoughts, a tool that fails, and a question that was written anew."""
    blocks = [
        {"type": "thinking", "thinking": "I look.", "start_timestamp": "2026-05-01T10:00:02Z"},
        {"type": "tool_use", "id": "t1", "name": "web_search", "input": {"q": "refunds"}, "display": {}},
        {
            "type": "tool_result", "tool_use_id": "t1", "name": "web_search", "is_error": True,
            "content": [{"type": "text", "text": "no network"}],
            "start_timestamp": "2026-05-01T10:00:03Z", "stop_timestamp": "2026-05-01T10:00:05Z",
        },
        {"type": "text", "text": "I cannot look.", "stop_timestamp": "2026-05-01T10:00:06Z", "flags": None},
    ]  # fmt: skip
    attached = {"file_name": "policy.txt", "file_type": "txt", "extracted_content": "30 days."}
    messages = [
        {
            "uuid": "m1", "sender": "human", "created_at": "2026-05-01T10:00:01Z", "text": "May I?",
            "content": [{"type": "text", "text": "May I?"}], "attachments": [attached], "files": [],
        },
        {
            "uuid": "m2", "sender": "assistant", "created_at": "2026-05-01T10:00:02Z", "text": "…",
            "content": blocks, "parent_message_uuid": "m1",
        },
        {
            "uuid": "m3", "sender": "human", "created_at": "2026-05-01T10:01:00Z", "text": "Or so?",
            "content": [{"type": "text", "text": "Or so?"}],
            "parent_message_uuid": "00000000-0000-4000-8000-000000000000",
        },
        {
            "uuid": "m4", "sender": "assistant", "created_at": "2026-05-01T10:01:01Z", "text": "So.",
            "content": [], "parent_message_uuid": "m3",
        },
    ]  # fmt: skip
    return {
        "uuid": TALK, "name": "Refunds", "created_at": "2026-05-01T10:00:00Z", "summary": "About refunds.",
        "updated_at": "2026-05-01T10:02:00Z", "account": {"uuid": "a"}, "chat_messages": messages,
    }  # fmt: skip


def test_what_claude_says_between_two_tools_is_a_call(recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps([claude()]), encoding="utf-8")
    [report] = bring(recorded, path)
    assert (report["format"], report["calls"], report["broken"]) == ("claude_chat", 5, 0)
    assert report["not_understood"] == {"summary": 1}
    answers = by_answer(recorded)
    assert answers.keys() == {"", "I cannot look.", "So."}
    (request,) = answers[""].messages_out
    assert [part.type for part in request.parts] == ["reasoning", "tool_call"]
    assert [part.type for part in answers[""].messages_in[0].parts] == ["text", "blob"]
    assert [message.role for message in answers["I cannot look."].messages_in] == [
        "user",
        "assistant",
        "user",
    ]
    assert answers["I cannot look."].end_ns == (BEGIN + 6) * 10**9
    assert spoken(answers["So."])[0] == [("user", "Or so?")]
    (tool,) = [call for call in recorded.calls() if call.kind == "tool"]
    assert (tool.name, tool.input, tool.status) == ("web_search", {"q": "refunds"}, "error")
    assert (tool.start_ns, tool.duration_ns) == ((BEGIN + 3) * 10**9, 2 * 10**9)
    assert tool.error is not None
    assert tool.error.message == "no network"


def test_the_zip_of_an_export_is_read_as_it_came(recorded: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("user.json", "{}")
        archive.writestr("conversations-000.json", json.dumps([chatgpt()]))
        archive.writestr(
            "conversations-001.json", json.dumps([{**chatgpt(), "conversation_id": "other-talk"}])
        )
    [report] = bring(recorded, path)
    assert (report["format"], report["records"], report["calls"]) == ("chatgpt", 2, 12)
    assert {call.session for call in recorded.calls()} == {TALK, "other-talk"}
