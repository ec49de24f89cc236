"""Sessions of Claude Code (`~/.claude/projects/*/*.jsonl`): turns, model calls, tools and sub-agents.

The format is Claude Code's own and changes between versions (code.claude.com/docs/en/sessions). Source: lines
    that versions 1.0 to 2.1.233 wrote, as public descriptions of 2025 and 2026 show them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from llm_trace import semconv
from llm_trace.imports import Imported, LeftOut, Origin
from llm_trace.imports.transcripts import Line, Transcript, read_lines
from llm_trace.imports.values import make_span_id, make_trace_id
from llm_trace.semconv.values import list_fields, list_mappings

NAME = "claude_code"
WHOLE_FILE = True
_TALK = ("user", "assistant")
_SYNTHETIC = "<synthetic>"


def recognises(record: Any) -> bool:
    """Say whether a file that begins with this line is a session."""
    if not isinstance(record, dict):
        return False
    if isinstance(record.get("sessionId"), str) and isinstance(kind := record.get("type"), str):
        return kind == kind.lower() and "projectHash" not in record
    return record.get("type") in ("summary", "file-history-snapshot") and bool(
        {"leafUuid", "messageId"} & record.keys()
    )


def calls(record: Any, origin: Origin) -> Iterator[Imported | LeftOut]:
    """Yield the turns of a session, and what is inside them."""
    del origin
    session = _Session()
    for line in read_lines(record, "timestamp"):
        session.take(line)
    yield from session.build()
    for kind, number in session.left_out.items():
        yield LeftOut(kind, number)


@dataclass
class _Answer:
    """One message of the model, which stands in a line for each of its blocks."""

    lines: list[Line]
    asked: list[dict[str, Any]]
    began_ns: int

    @property
    def message(self) -> dict[str, Any]:
        """The message put together, with the usage of the line that counts most: early ones are estimates."""
        messages = [list_fields(line.fields["message"]) for line in self.lines]
        blocks: list[Any] = []
        for message in messages:
            content = message.get("content")
            new = content if isinstance(content, list) else [{"type": "text", "text": str(content)}]
            blocks += [block for block in new if block not in blocks]
        reports = [list_fields(message.get("usage")) for message in messages]
        usage = max(reports, key=lambda report: report.get("output_tokens") or 0)
        stop = next((m["stop_reason"] for m in reversed(messages) if m.get("stop_reason")), None)
        return {**messages[-1], "content": blocks, "usage": usage, "stop_reason": stop}


@dataclass
class _Session:
    """What was read of a file so far."""

    left_out: Counter[str] = field(default_factory=Counter)
    talk: list[Line] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    def take(self, line: Line) -> None:
        """Keep a line of the conversation; count another."""
        fields = line.fields
        if fields.get("type") not in _TALK or not isinstance(fields.get("message"), dict):
            self.left_out[str(fields.get("type") or "line without a type")] += 1
        elif fields.get("uuid") not in self._seen:  # a resumed session repeats what came before
            self._seen.add(str(fields.get("uuid") or line.number))
            self.talk.append(line)

    def build(self) -> Iterator[Imported]:
        """Yield the calls: the main conversation's, and those of sub-agents that ran within it."""
        prompts: dict[str, str] = {}
        main = [line for line in self.talk if not _get_agent(line)]
        yield from _Conversation(main, None, prompts).build()
        agents = dict.fromkeys(agent for line in self.talk if (agent := _get_agent(line)))
        for agent in agents:
            lines = [line for line in self.talk if _get_agent(line) == agent]
            yield from _Conversation(lines, agent, prompts).build()


def _get_agent(line: Line) -> str | None:
    """Return which sub-agent a line is of: by its id, in old files by the first line of its chain."""
    if not line.fields.get("isSidechain"):
        return None
    return str(line.fields.get("agentId") or "sidechain")


class _Conversation:
    """The lines of one agent.

    Args:
        lines: in the order of the file.
        agent: the sub-agent's id, None for the main conversation.
        prompts: the prompt of each sub-agent that was begun, and its call's id; filled by the main one.
    """

    def __init__(self, lines: list[Line], agent: str | None, prompts: dict[str, str]) -> None:
        self.lines = lines
        self.agent = agent
        self.prompts = prompts
        self.history: list[dict[str, Any]] = []
        self.transcript = Transcript(NAME)

    def build(self) -> Iterator[Imported]:
        """Yield the calls in their order; a turn ends with its last line."""
        answers: dict[str, _Answer] = {}
        before_ns: int | None = None
        for line in self.lines:
            fields = line.fields
            message = list_fields(fields["message"])
            if fields["type"] == "user":
                self._take_user(line, message)
            else:
                own = str(message.get("id") or fields.get("uuid"))
                if own not in answers:
                    began = line.at_ns if before_ns is None else min(before_ns, line.at_ns)
                    answers[own] = _Answer([], list(self.history), began)
                    self.transcript.add_answer(own)
                answers[own].lines.append(line)
                self._take_answer(line, message, own, answers[own])
            self.transcript.touch(line.at_ns)
            before_ns = line.at_ns
        yield from self.transcript.list_calls()

    def _take_user(self, line: Line, message: dict[str, Any] | Any) -> None:
        results = [
            block for block in list_mappings(message.get("content")) if block.get("type") == "tool_result"
        ]
        result = list_fields(line.fields.get("toolUseResult"))
        for block in results:
            self._end_tool(line, block, result)
        if line.fields.get("isCompactSummary"):
            self.history = []
        elif not results and not line.fields.get("isMeta"):
            self._begin_turn(line, message)
        self.history.append({"role": "user", "content": message.get("content")})

    def _begin_turn(self, line: Line, message: Any) -> None:
        fields = line.fields
        text = _get_text(message.get("content"))
        parent = None
        if self.agent is not None:
            if self.transcript.turn is not None and self.agent != "sidechain":
                return  # what the main conversation says to a sub-agent that runs
            parent = make_span_id(NAME, "task", self.agent) if self.agent != "sidechain" else None
            parent = self.prompts.get(text, parent) if self.agent == "sidechain" else parent
        self.transcript.begin_turn(
            {
                **self._build_common(line),
                "span_id": make_span_id(NAME, "turn", fields.get("uuid")),
                "parent_id": parent,
                "name": "claude_code" if self.agent is None else f"sub-agent {self.agent}",
                "kind": "agent",
                "start_ns": line.at_ns,
                "end_ns": line.at_ns,
                "status": "ok",
                "input": {"messages": [{"role": "user", "content": message.get("content")}]},
            }
        )

    def _take_answer(self, line: Line, message: Any, own: str, answer: _Answer) -> None:
        whole = answer.message
        failed = bool(line.fields.get("isApiErrorMessage"))
        model = message.get("model")
        text = _get_text(whole["content"])
        call = {
            **self._build_common(answer.lines[0]),
            "span_id": make_span_id(NAME, "message", own),
            "name": "claude_code.message",
            "kind": "llm",
            "start_ns": answer.began_ns,
            "end_ns": line.at_ns,
            "status": "error" if failed else "ok",
            "input": {"messages": answer.asked},
            "output": None if failed else whole,
            "model": None if model == _SYNTHETIC else model,
            "provider": "anthropic",
            "usage": None if failed else semconv.usage(whole["usage"]),
        }
        if failed:
            call["error"] = {"type": str(line.fields.get("error") or "api_error"), "message": text}
        self.transcript.set_answer(own, call, text)
        for block in list_mappings(message.get("content")):
            if block.get("type") == "tool_use":
                self._begin_tool(line, block)
        if self.history and self.history[-1].get("id") == own:
            self.history.pop()
        self.history.append({"role": "assistant", "content": whole["content"], "id": own})

    def _begin_tool(self, line: Line, block: Any) -> None:
        self.transcript.begin_tool(
            str(block.get("id")),
            {
                **self._build_common(line),
                "span_id": make_span_id(NAME, "tool", block.get("id")),
                "name": str(block.get("name") or "tool"),
                "kind": "tool",
                "start_ns": line.at_ns,
                "end_ns": line.at_ns,
                "status": "ok",
                "input": block.get("input"),
            },
        )

    def _end_tool(self, line: Line, block: Any, result: Any) -> None:
        own = str(block.get("tool_use_id"))
        output = block.get("content")
        failed = bool(block.get("is_error"))
        call = self.transcript.end_tool(own, line.at_ns, output, _get_text(output) if failed else None)
        if call is None:
            return
        if result.get("agentId"):  # the file of the sub-agent names it by this id
            call["span_id"] = make_span_id(NAME, "task", str(result["agentId"]))
        prompt = list_fields(call.get("input")).get("prompt")
        if isinstance(prompt, str):
            self.prompts[prompt] = call["span_id"]

    def _build_common(self, line: Line) -> dict[str, Any]:
        fields = line.fields
        session = fields.get("sessionId")
        known = {"cwd": "cwd", "git_branch": "gitBranch", "version": "version", "request_id": "requestId"}
        metadata = {ours: fields[theirs] for ours, theirs in known.items() if fields.get(theirs)}
        if self.agent is not None:
            metadata["agent"] = self.agent
        return {
            "trace_id": make_trace_id(NAME, "session", session),
            "session": None if session is None else str(session),
            "metadata": metadata,
        }


def _get_text(content: Any) -> str:
    """Return what a message says in words."""
    if isinstance(content, str):
        return content
    texts = [block.get("text") for block in list_mappings(content) if block.get("type") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str))
