"""Calls collected in memory, for a cassette."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import orjson

from llm_trace.replays.tape import Taped
from llm_trace.spool.messages import fill_messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.capture.values import ValueEncoder


class Collector:
    """A sink for events that keeps calls.

    Args:
        encoder: encodes messages, as the recorder's own does.
    """

    def __init__(self, encoder: ValueEncoder) -> None:
        self._encoder = encoder
        self.phase: str | None = None
        """Of a test, in which calls begin now."""
        self._calls: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def write(
        self,
        event: bytes,
        messages: Sequence[Any] | None = None,
        *,
        field: bytes = b"messages_in",  # noqa: ARG002  # a sink's signature
        sync: bool = False,  # noqa: ARG002
    ) -> bool:
        """Take one event, a JSON object without its closing brace."""
        fields = orjson.loads(event + b"}")
        if fields["event"] in ("start", "end"):
            if messages:
                bodies = orjson.loads(self._encoder.encode_bodies(list(messages)))
                fields["input"] = fill_messages(fields["input"], bodies)
            with self._lock:
                self._calls.setdefault(fields["span_id"], {"phase": self.phase}).update(fields)
        return True

    def calls(self) -> list[Taped]:
        """Return the calls in the order of their starts."""
        with self._lock:
            calls = sorted(self._calls.values(), key=lambda call: call["start_ns"])
        return [_build_taped(call) for call in calls]


def _build_taped(call: dict[str, Any]) -> Taped:
    return Taped(
        span_id=call["span_id"],
        parent_id=call.get("parent_id"),
        name=call["name"],
        kind=call["kind"],
        input=call.get("input"),
        output=call.get("output"),
        status=call.get("status", "open"),
        error=call.get("error"),
        rebuild=call.get("rebuild") or {},
        start_ns=call["start_ns"],
        end_ns=call.get("end_ns"),
        model=call.get("model"),
        usage=call.get("usage"),
        phase=call["phase"],
    )
