"""A conversation of a chat application as a trace: in a call around it the model's answers and the tools."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from llm_trace.imports import Imported
from llm_trace.imports.transcripts import drop_absent
from llm_trace.imports.values import make_span_id, make_trace_id
from llm_trace.semconv.shapes import CallDict


@dataclass
class Conversation:
    """Collects the calls of one conversation.

    Args:
        format: the importer's name; the call around the conversation has it where there is no title.
        own: the conversation's id.
        title: as the application shows it.
        provider: whose models answer.
        start_ns, end_ns: when it began and when it was last changed.
    """

    format: str
    own: str
    title: str | None
    provider: str
    start_ns: int
    end_ns: int
    _calls: list[CallDict] = field(default_factory=list)

    def add_answer(
        self, own: tuple[object, ...], asked: list[dict[str, Any]], answer: dict[str, Any], **fields: Any
    ) -> None:
        """Add what the model said after a list of messages.

        Args:
            own: what the answer is known by in the file.
            **fields: `start_ns` and `end_ns`, and others of the call.
        """
        self._add(
            own, name=f"{self.format}.message", kind="llm", provider=self.provider,
            input={"messages": asked}, output=answer, **fields,
        )  # fmt: skip

    def add_tool(self, own: tuple[object, ...], name: str, **fields: Any) -> None:
        """Add a call of a tool that the application ran; arguments as for `add_answer`."""
        self._add(own, name=name, kind="tool", **fields)

    def _add(self, own: tuple[object, ...], **fields: Any) -> None:
        self._calls.append({"span_id": make_span_id(self.format, self.own, *own), "status": "ok", **fields})

    def build(self, rest: dict[str, Any]) -> Iterator[Imported]:
        """Yield the conversation, then what is in it; `rest` is what no field of a call has room for."""
        root = make_span_id(self.format, "conversation", self.own)
        metadata = {"title": self.title} if self.title else {}
        common = {
            "trace_id": make_trace_id(self.format, self.own),
            "session": self.own,
        }
        answers = [call for call in self._calls if call["kind"] == "llm"]
        around = {
            **common,
            "metadata": metadata,
            "span_id": root,
            "name": self.title or self.format,
            "kind": "chain",
            "start_ns": self.start_ns,
            "end_ns": max([self.start_ns, self.end_ns, *(call["end_ns"] for call in self._calls)]),
            "status": "ok",
            "input": {"messages": answers[0]["input"]["messages"]} if answers else None,
            "output": answers[-1]["output"] if answers else None,
        }
        yield Imported(drop_absent(around), rest)
        for call in self._calls:
            own = {"metadata": {**metadata, **call.get("metadata", {})}}
            yield Imported(drop_absent({**common, "parent_id": root, **call, **own}))
