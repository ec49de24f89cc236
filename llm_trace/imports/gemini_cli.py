"""Sessions of Gemini CLI (`~/.gemini/tmp/*/chats/session-*.json` and `.jsonl`): turns, model calls and tools.

Source: google-gemini/gemini-cli 0.56, packages/core/src/services/chatRecordingTypes.ts, 2026-08-21. A `.json`
    file is one object with its messages; a `.jsonl` file has them line by line, with changes (`$set`,
    `$rewindTo`) among them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from llm_trace import semconv
from llm_trace.imports import Imported, LeftOut, Origin
from llm_trace.imports.transcripts import Line, Transcript, read_lines
from llm_trace.imports.values import make_span_id, make_trace_id
from llm_trace.semconv.values import list_fields, list_mappings

NAME = "gemini_cli"
WHOLE_FILE = True
_FAILED = {"error": "error", "cancelled": "cancelled"}


def recognises(record: Any) -> bool:
    """Say whether a file that begins with this is a session."""
    return isinstance(record, dict) and {"sessionId", "projectHash"} <= record.keys()


def calls(record: Any, origin: Origin) -> Iterator[Imported | LeftOut]:
    """Yield the turns of a session, and what is inside them."""
    del origin
    session, messages, left_out = _read_session(record)
    reader = _Session(session)
    for line in read_lines(messages, "timestamp"):
        if line.fields.get("type") == "user":
            reader.begin_turn(line)
        elif line.fields.get("type") == "gemini":
            reader.take_answer(line)
        else:
            left_out[str(line.fields.get("type"))] += 1
    yield from reader.transcript.list_calls()
    for kind, number in left_out.items():
        yield LeftOut(kind, number)


def _read_session(records: Any) -> tuple[dict[str, Any], list[Any], Counter[str]]:
    """Return what a session says of itself, its messages as they stand at last, and what is neither."""
    session: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    left_out: Counter[str] = Counter()
    for record in records:
        fields = list_fields(record)
        if "$rewindTo" in fields:
            left_out["$rewindTo"] += 1  # what was taken back was paid for all the same
        elif "$set" in fields or "projectHash" in fields:
            changes = list_fields(fields.get("$set")) or fields
            session |= {name: value for name, value in changes.items() if name != "messages"}
            messages |= {str(m.get("id")): m for m in list_mappings(changes.get("messages"))}
        elif "id" in fields:
            messages[str(fields["id"])] = dict(fields)
        else:
            left_out["line without an id"] += 1
    return session, list(messages.values()), left_out


class _Session:
    """The calls of a session.

    Args:
        session: what it says of itself.
    """

    def __init__(self, session: dict[str, Any]) -> None:
        self.transcript = Transcript(NAME)
        self.history: list[dict[str, Any]] = []
        self.before_ns = 0
        own = str(session.get("sessionId") or "")
        known = {"project": session.get("projectHash"), "agent": session.get("kind")}
        self.common = {
            "trace_id": make_trace_id(NAME, "session", own),
            "session": own or None,
            "metadata": {name: value for name, value in known.items() if value not in (None, "main")},
        }

    def begin_turn(self, line: Line) -> None:
        """Begin a turn with what a user said."""
        message = {"role": "user", "parts": _read_parts(line.fields.get("content"))}
        self.transcript.begin_turn(
            {
                **self.common,
                "span_id": make_span_id(NAME, "turn", line.fields.get("id")),
                "name": "gemini_cli",
                "kind": "agent",
                "start_ns": line.at_ns,
                "end_ns": line.at_ns,
                "status": "ok",
                "input": {"contents": [message]},
            }
        )
        self.history.append(message)
        self.before_ns = line.at_ns

    def take_answer(self, line: Line) -> None:
        """Add a call of the model, and the tools that it asked for."""
        fields = line.fields
        own = str(fields.get("id"))
        tools = list_mappings(fields.get("toolCalls"))
        thoughts = [
            {"text": str(thought.get("description") or thought.get("subject") or ""), "thought": True}
            for thought in list_mappings(fields.get("thoughts"))
        ]
        asked = [
            {"functionCall": {"name": t.get("name"), "args": t.get("args"), "id": t.get("id")}} for t in tools
        ]
        parts = [*thoughts, *_read_parts(fields.get("content")), *asked]
        text = "\n".join(str(part["text"]) for part in _read_parts(fields.get("content")) if "text" in part)
        self.transcript.add_answer(own)
        call = {
            **self.common,
            "span_id": make_span_id(NAME, "answer", own),
            "name": "gemini_cli.message",
            "kind": "llm",
            "start_ns": min(self.before_ns or line.at_ns, line.at_ns),
            "end_ns": line.at_ns,
            "status": "ok",
            "model": fields.get("model"),
            "usage": _read_usage(list_fields(fields.get("tokens"))),
            "input": {"contents": list(self.history)},
            "output": {"candidates": [{"content": {"role": "model", "parts": parts}}]},
        }
        self.transcript.set_answer(own, call, text)
        self.transcript.touch(line.at_ns)
        self.history.append({"role": "model", "parts": parts})
        self.before_ns = line.at_ns
        self._take_tools(line, tools)

    def _take_tools(self, line: Line, tools: list[Any]) -> None:
        results = []
        for tool in tools:
            own = str(tool.get("id"))
            at_ns = (
                next(iter(read_lines([dict(tool)], "timestamp"))).at_ns
                if tool.get("timestamp")
                else line.at_ns
            )
            self.transcript.begin_tool(
                own,
                {
                    **self.common,
                    "span_id": make_span_id(NAME, "tool", own),
                    "name": str(tool.get("name") or "tool"),
                    "kind": "tool",
                    "start_ns": line.at_ns,
                    "end_ns": line.at_ns,
                    "status": "ok",
                    "input": tool.get("args"),
                },
            )
            failed = _FAILED.get(str(tool.get("status")))
            self.transcript.end_tool(own, at_ns, tool.get("result"), failed)
            self.transcript.touch(at_ns)
            self.before_ns = max(self.before_ns, at_ns)
            results += _read_parts(tool.get("result"))
        if results:
            self.history.append({"role": "user", "parts": results})


def _read_usage(tokens: Any) -> dict[str, int] | None:
    names = {
        "input": "promptTokenCount", "output": "candidatesTokenCount", "cached": "cachedContentTokenCount",
        "thoughts": "thoughtsTokenCount", "tool": "toolUsePromptTokenCount", "total": "totalTokenCount",
    }  # fmt: skip
    return semconv.usage({names[name]: count for name, count in tokens.items() if name in names})


def _read_parts(content: Any) -> list[dict[str, Any]]:
    """Return Gemini's parts, which may be text, a part or a list of both."""
    entries = content if isinstance(content, list) else [content]
    return [
        {"text": entry} if isinstance(entry, str) else dict(entry)
        for entry in entries
        if isinstance(entry, (str, dict)) and entry
    ]
