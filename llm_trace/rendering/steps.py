"""What an agent did, step by step: what a model decided, which tool ran with what, and what came back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from llm_trace.rendering.guards import GuardNote, describe_guard
from llm_trace.rendering.media import name_media
from llm_trace.rendering.tool_requests import ToolRequest, list_requests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_trace.rendering.shapes import ShownCall

_AROUND = ("chain", "agent")
"""Kinds of calls that hold steps and are none; an agent inside another one is a step."""


@dataclass(frozen=True)
class AgentStep:
    """One step; what it took and gave are JSON values, with media by name and size."""

    span_id: str
    kind: str
    name: str
    model: str | None
    status: str
    start_ns: int
    duration_ns: int | None
    first_token_ns: int | None
    """Nanoseconds from its start to the first chunk of its answer."""
    cost_usd: float | None
    text: str | None
    """What a model said."""
    requests: tuple[ToolRequest, ...]
    """The tools that a model asked for."""
    input: Any
    """What anything but a model was given; `None` for models."""
    output: Any
    """What anything but a model gave, or a model that said no text and asked for no tool."""
    error: str | None
    attempt: int
    """2 for the first try after a failure with the same input, then 3 ..."""
    resent: int
    """How often the library that made the call sent its request again."""
    guard: GuardNote | None = None
    """What a tool's guard found, where it did not let the tool run by itself."""


class KindOfSpan(Protocol):
    """What is asked of a call to know whether it is a step."""

    @property
    def span_id(self) -> str: ...

    @property
    def parent_id(self) -> str | None: ...

    @property
    def kind(self) -> str: ...


S = TypeVar("S", bound=KindOfSpan)


def choose_steps(rows: Sequence[S]) -> list[S]:
    """Return the calls of a trace that are steps: what is neither chain nor agent, and the agents inside
    others; all calls where there is none.
    """
    agents = {row.span_id for row in rows if row.kind == "agent"}
    parents = {row.span_id: row.parent_id for row in rows}
    steps = [
        row
        for row in rows
        if row.kind not in _AROUND or (row.kind == "agent" and _has_agent_around(row, parents, agents))
    ]
    return steps or list(rows)


def is_agent_trace(rows: Sequence[KindOfSpan]) -> bool:
    """Return whether somebody acted in a trace: an agent or a tool, in more than one step."""
    return any(row.kind in ("agent", "tool") for row in rows) and len(choose_steps(rows)) > 1


def _has_agent_around(row: KindOfSpan, parents: Mapping[str, str | None], agents: set[str]) -> bool:
    above = row.parent_id
    for _ in parents:  # no more levels than calls: parents may go in a circle
        if above is None or above == row.span_id or above in agents:
            return above in agents and above != row.span_id
        above = parents.get(above)
    return False


def describe_step(call: ShownCall, attempt: int = 1) -> AgentStep:
    """Return a call as a step."""
    asks = bool(call.kind == "llm" or call.messages_out)
    text, requests = _read_decision(call) if asks else (None, ())
    first = call.first_token_ns
    retries, guard = call.metadata.get("retries"), describe_guard(call)
    return AgentStep(
        span_id=call.span_id,
        kind=call.kind,
        name=call.name,
        model=call.model,
        status=call.status,
        start_ns=call.start_ns,
        duration_ns=call.duration_ns,
        first_token_ns=None if first is None else first - call.start_ns,
        cost_usd=call.cost_usd,
        text=text,
        requests=requests,
        input=None if asks else name_media(call.input),
        output=None if text or requests else name_media(call.output),
        error=None if call.error is None else f"{call.error.type}: {call.error.message or ''}".rstrip(": "),
        attempt=attempt,
        resent=retries if isinstance(retries, int) else 0,
        guard=guard if guard is not None and guard.objected else None,
    )


def _read_decision(call: ShownCall) -> tuple[str | None, tuple[ToolRequest, ...]]:
    """Return what a model said and the tools that it asked for."""
    requests = tuple(
        ToolRequest(request.name, name_media(request.arguments))
        for request in list_requests(call.messages_out)
    )
    text = "\n".join(message.text for message in call.messages_out if message.text)
    return text or (call.output if isinstance(call.output, str) and not requests else None), requests
