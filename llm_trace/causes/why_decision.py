"""What was decided, and whether a rerun decides the same."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llm_trace import semconv
from llm_trace.attribution.models.questions import pick_tool_calls
from llm_trace.comparison.similarity import measure_similarity
from llm_trace.replays.tape import make_canonical

if TYPE_CHECKING:
    from llm_trace.replays.branch import LiveCall
    from llm_trace.replays.forking import Rerun
    from llm_trace.replays.tape import Tape, Taped

ALIKE = 0.8
"""Share of common character trigrams from which two answers count as the same."""


@dataclass(frozen=True)
class ModelDecision:
    """A decision of a model in a run."""

    call: Taped
    """What is explained: a call of a tool, or of the model itself."""
    deciding: Taped
    """The call of the model that decided it."""
    tape: Tape

    @property
    def is_tool(self) -> bool:
        """Whether a tool's call is explained."""
        return self.call.span_id != self.deciding.span_id

    def describe(self) -> str:
        """Return it in words."""
        if self.is_tool:
            arguments = self.call.input if isinstance(self.call.input, dict) else {}
            shown = ", ".join(f"{name}={json.dumps(value)}" for name, value in arguments.items())
            return f"{self.call.name.rpartition('.')[2]}({shown})"
        requests = _list_requests(self.deciding.output)
        if requests:
            return f"the request for {' and '.join(str(request['name']) for request in requests)}"
        return f"the answer {_read_text(self.deciding.output)[:60]!r}"

    def watch(self) -> RerunWatch:
        """Return what looks on while one rerun is made, and ends it once the decision is known."""
        between = {
            (call.name, self.tape.key_of(call))
            for call in self.tape.calls.values()
            if call.kind == "tool" and self.deciding.start_ns < call.start_ns < self.call.start_ns
        }
        within = (c.span_id for c in self.tape.calls.values() if self.deciding in self.tape.around(c))
        return RerunWatch(frozenset((self.deciding.span_id, *within)), between)

    def find_error(self, rerun: Rerun) -> str | None:
        """Return in words how the model's call failed that decides in a rerun; `None` where it did not."""
        event = next((call.event for call in rerun.calls if call.altered), {})
        if event.get("status") != "error":
            return None
        error = event.get("error") or {}
        return f"{str(error.get('type')).rpartition('.')[2]}: {error.get('message')}"

    def is_same(self, rerun: Rerun, watch: RerunWatch) -> bool:
        """Return whether a rerun decided the same: the tool with its arguments, or an answer alike."""
        if self.is_tool:
            key = self.tape.key_of(self.call)
            return any((call.name, call.key) == (self.call.name, key) for call in watch.asked)
        event = next((call.event for call in rerun.calls if call.altered), {})
        if event.get("status") != "ok":
            return False
        then, now = _list_requests(self.deciding.output), _list_requests(event.get("output"))
        if then or now:
            return make_canonical(then) == make_canonical(now)
        texts = _read_text(self.deciding.output), _read_text(event.get("output"))
        return measure_similarity([texts[0]], [texts[1]])[0] >= ALIKE


@dataclass
class RerunWatch:
    """Looks on while a rerun is made."""

    inside: frozenset[str]
    """The recorded deciding call and those inside it: what these make is a part of the decision."""
    between: set[tuple[str, str]]
    """Tools that were called between the deciding call and what it decided: they answer from the record."""
    asked: list[LiveCall] = field(default_factory=list)
    """What was asked after the deciding call."""

    def __call__(self, call: LiveCall) -> bool:
        """Return whether the rerun ends before a call."""
        if call.altered or call.scope in self.inside:
            return False
        self.asked.append(call)
        return (call.name, call.key) not in self.between


def _list_requests(output: Any) -> list[dict[str, Any]]:
    """Return the tools that an answer asks for, with their arguments."""
    if isinstance(output, str):
        return []
    calls = pick_tool_calls(semconv.messages_out(output))
    return [{"name": call.get("name"), "arguments": call.get("arguments")} for call in calls]


def _read_text(output: Any) -> str:
    if isinstance(output, str):
        return output
    parts = [part for message in semconv.messages_out(output) for part in message.get("parts", ())]
    texts = [part["content"] for part in parts if part.get("type") == "text" and part.get("content")]
    return "\n".join(map(str, texts)) or json.dumps(output)
