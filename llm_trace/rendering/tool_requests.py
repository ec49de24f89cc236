"""The tools that a model asked for in its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.call_parts import Message

_DECISIONS = ("tool_call", "server_tool_call")


@dataclass(frozen=True)
class ToolRequest:
    """A tool that a model asked for."""

    name: str
    arguments: Any


def list_requests(messages: Sequence[Message]) -> tuple[ToolRequest, ...]:
    """Return the tools that messages of a model ask for."""
    parts = [part for message in messages for part in message.parts if part.type in _DECISIONS]
    return tuple(
        ToolRequest(str(fields.get("name") or "tool"), fields.get("arguments"))
        for fields in (part.model_dump(mode="json") for part in parts)
    )
