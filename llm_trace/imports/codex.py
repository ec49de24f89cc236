"""Sessions of Codex CLI (`~/.codex/sessions/**/rollout-*.jsonl`): turns with their model calls and tools.

A model call ends where the file counts its tokens (`token_count`); what was written since the one before
it is what it answered.
Source: openai/codex, codex-rs/protocol/src/protocol.rs and models.rs, as of August 2026.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import orjson

from llm_trace import semconv
from llm_trace.imports import Imported, LeftOut, Origin
from llm_trace.imports.transcripts import Line, Transcript, read_lines
from llm_trace.imports.values import make_span_id, make_trace_id
from llm_trace.semconv.values import get_field, list_fields, list_mappings, load_container

NAME = "codex"
WHOLE_FILE = True
_TYPES = ("session_meta", "response_item", "event_msg", "turn_context", "compacted")
_BEGINS = {"function_call": "arguments", "custom_tool_call": "input", "local_shell_call": "action"}
"""Items that ask for a tool, and where they have its arguments."""
_ENDS = ("function_call_output", "custom_tool_call_output")
_ALONE = {"web_search_call": "action", "tool_search_call": "arguments"}
_REPEATED = (
    "user_message", "agent_message", "agent_reasoning", "agent_reasoning_raw_content", "task_started",
    "task_complete", "turn_started", "turn_complete",
)  # fmt: skip
"""Events that say again what items say, or nothing."""


def recognises(record: Any) -> bool:
    """Say whether a file that begins with this line is a session."""
    return (
        isinstance(record, dict) and record.get("type") in _TYPES and isinstance(record.get("payload"), dict)
    )


def calls(record: Any, origin: Origin) -> Iterator[Imported | LeftOut]:
    """Yield the turns of a session, and what is inside them."""
    del origin
    session = _Session()
    for line in read_lines(record, "timestamp"):
        session.take(line)
    yield from session.build()


class _Session:
    """What was read of a file so far."""

    def __init__(self) -> None:
        self.transcript = Transcript(NAME)
        self.left_out: Counter[str] = Counter()
        self.meta: dict[str, Any] = {}
        self.model: str | None = None
        self.asked: list[Any] = []
        """Items that the next call of the model is made with."""
        self.answered: list[Any] = []
        """Items that the model has answered since its last call."""
        self.results: list[Any] = []
        """What tools gave before the answer that asked for them was counted."""
        self.began_ns = self.last_ns = 0
        self.totals: Any = None

    def take(self, line: Line) -> None:
        """Read a line."""
        kind, payload = str(line.fields.get("type")), line.fields.get("payload")
        if not isinstance(payload, dict):
            self.left_out[kind] += 1
        elif kind == "session_meta":
            self.meta = self.meta or payload  # that of the session which this one was forked from follows it
        elif kind == "turn_context":
            self.model = payload.get("model") or self.model
        elif kind == "compacted":
            self.asked = [{"type": "message", "role": "user", "content": payload.get("message")}]
        elif kind == "response_item":
            self._take_item(line, payload)
        elif kind == "event_msg":
            self._take_event(line, payload)
        else:
            self.left_out[kind] += 1

    def build(self) -> Iterator[Imported | LeftOut]:
        """Yield what was read; an answer without a count of its tokens is a call all the same."""
        if self.answered:
            self._end_answer(self.last_ns, None)
        yield from self.transcript.list_calls()
        for kind, number in self.left_out.items():
            yield LeftOut(kind, number)

    def _take_item(self, line: Line, item: dict[str, Any]) -> None:
        kind = str(item.get("type"))
        self.last_ns = line.at_ns
        if kind in _ENDS:
            self._end_tool(line, item)
        elif kind == "message" and item.get("role") in ("user", "system", "developer"):
            self._take_message(line, item)
        else:
            self.began_ns = self.began_ns or line.at_ns
            self.answered.append(item)
            if kind in _BEGINS or kind in _ALONE:
                self._begin_tool(line, item, {**_BEGINS, **_ALONE}[kind], over=kind in _ALONE)
        self.transcript.touch(line.at_ns)

    def _take_message(self, line: Line, item: dict[str, Any]) -> None:
        self.asked.append(item)
        text = _get_text(item)
        if item.get("role") != "user" or text.lstrip().startswith(("<", "# AGENTS.md")):
            return  # instructions and surroundings, which Codex says for itself
        self.transcript.begin_turn(
            {
                **self._build_common(),
                "span_id": make_span_id(NAME, "turn", _derive_key(line, item)),
                "name": "codex",
                "kind": "agent",
                "start_ns": line.at_ns,
                "end_ns": line.at_ns,
                "status": "ok",
                "input": {"messages": [{"role": "user", "content": text}]},
            }
        )
        self.began_ns = line.at_ns

    def _take_event(self, line: Line, event: dict[str, Any]) -> None:
        kind, info = str(event.get("type")), list_fields(event.get("info"))
        self.transcript.touch(line.at_ns)
        if kind == "token_count":
            if info and info.get("total_token_usage") != self.totals:  # said again with each rate limit
                self.totals = info.get("total_token_usage")
                self._end_answer(line.at_ns, info.get("last_token_usage") or info.get("total_token_usage"))
        elif kind in ("turn_aborted", "error", "stream_error"):
            self._fail_turn(kind, event)
        elif kind not in _REPEATED:
            self.left_out[kind] += 1

    def _fail_turn(self, kind: str, event: dict[str, Any]) -> None:
        if self.transcript.turn is None:
            return
        if kind == "turn_aborted":
            self.transcript.turn["status"] = "cancelled"
        elif kind == "error":
            message = event.get("message")
            self.transcript.turn |= {"status": "error", "error": {"type": kind, "message": str(message)}}

    def _end_answer(self, at_ns: int, counts: Any) -> None:
        first = self.answered[0] if self.answered else {"type": "nothing", "at": at_ns}
        own = str(get_field(first, "id", "call_id") or _digest([at_ns, first]))
        raw = dict(list_fields(counts))
        usage = {
            "prompt_tokens": raw.get("input_tokens"), "completion_tokens": raw.get("output_tokens"),
            "cached_tokens": raw.get("cached_input_tokens"),
            "cache_write_tokens": raw.get("cache_write_input_tokens"),
            "reasoning_tokens": raw.get("reasoning_output_tokens"),
        }  # fmt: skip
        text = "\n".join(_get_text(item) for item in self.answered if item.get("type") == "message")
        self.transcript.add_answer(own)
        call = {
            **self._build_common(),
            "span_id": make_span_id(NAME, "answer", own),
            "name": "codex.response",
            "kind": "llm",
            "start_ns": min(self.began_ns or at_ns, at_ns),
            "end_ns": at_ns,
            "status": "ok",
            "model": self.model,
            "provider": self.meta.get("model_provider"),
            "usage": semconv.usage({name: count for name, count in usage.items() if count is not None}),
            "input": {"input": list(self.asked)},
            "output": {"object": "response", "output": list(self.answered)} if self.answered else None,
        }
        self.transcript.set_answer(own, call, text)
        self.asked += [*self.answered, *self.results]
        self.answered, self.results, self.began_ns = [], [], 0

    def _begin_tool(self, line: Line, item: dict[str, Any], place: str, *, over: bool) -> None:
        own = str(get_field(item, "call_id", "id") or _digest(item))
        self.transcript.begin_tool(
            own,
            {
                **self._build_common(),
                "span_id": make_span_id(NAME, "tool", own),
                "name": str(item.get("name") or item["type"]),
                "kind": "tool",
                "start_ns": line.at_ns,
                "end_ns": line.at_ns,
                "status": "ok",
                "input": load_container(item.get(place)),
                **({"output": item.get("status")} if over else {}),
            },
        )

    def _end_tool(self, line: Line, item: dict[str, Any]) -> None:
        (self.results if self.answered else self.asked).append(item)
        output = load_container(item.get("output"))
        code = get_field(get_field(output, "metadata"), "exit_code")
        text = get_field(output, "output", "content")
        failed = f"exit code {code}" if isinstance(code, int) and code else None
        if get_field(output, "success") is False:
            failed = str(text)
        self.transcript.end_tool(
            str(item.get("call_id")), line.at_ns, output if text is None else text, failed
        )
        if not self.answered:
            self.began_ns = line.at_ns

    def _build_common(self) -> dict[str, Any]:
        git = list_fields(self.meta.get("git"))
        known = {
            "cwd": self.meta.get("cwd"), "git_branch": git.get("branch"),
            "git_commit": git.get("commit_hash"), "version": self.meta.get("cli_version"),
        }  # fmt: skip
        session = str(self.meta.get("id") or self.meta.get("session_id") or "")
        return {
            "trace_id": make_trace_id(NAME, "session", session),
            "session": session or None,
            "metadata": {name: value for name, value in known.items() if value},
        }


def _derive_key(line: Line, item: dict[str, Any]) -> str:
    return str(item.get("id") or _digest([line.fields.get("timestamp"), item]))


def _digest(value: Any) -> str:
    return sha256(orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _get_text(item: dict[str, Any]) -> str:
    content = item.get("content")
    if isinstance(content, str):
        return content
    return "\n".join(str(piece["text"]) for piece in list_mappings(content) if "text" in piece)
