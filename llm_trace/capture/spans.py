"""Calls that are not functions, and additions to the call that is running."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from llm_trace.capture import failures, slots
from llm_trace.capture.callspan import FIELDS, CallSpan
from llm_trace.capture.context import current_call, finished_call
from llm_trace.capture.ids import new_id
from llm_trace.capture.labels import to_mapping, to_tags
from llm_trace.capture.spec import Spec, read_kind
from llm_trace.errors import NotFoundError

if TYPE_CHECKING:
    from llm_trace.capture.recorder import Recorder
    from llm_trace.record import Call, Kind, ScoreSource


class span:  # noqa: N801  # reads as a function: `with span("retrieve") as s`
    """Record a block of code as a call; `with` and `async with`.

    The handle's `set(output=…, usage=…, …)` adds what is known later; `span_id` and `trace_id` name the call (empty
    strings where nothing is recorded).

    Args:
        name: name of the call.
        kind: as in `trace`.
        fields: `input`, `output`, `model`, `usage`, `params`, `tags`, `metadata`, `session`, `user`, `provider`, `cost_usd` …
    """

    def __init__(self, name: str, kind: Kind = "chain", **fields: Any) -> None:
        tags = to_tags(fields.pop("tags", ()))
        metadata = to_mapping("metadata", fields.pop("metadata", None))
        self._spec = Spec(
            name,
            read_kind(kind),
            model=fields.pop("model", None),
            tags=tags,
            metadata=metadata,
            capture_input="input" in fields,
        )
        self._input = fields.pop("input", None)
        self._fields = fields
        self._call: CallSpan | None = None

    @property
    def span_id(self) -> str:
        """Id of the call, 16 hex digits."""
        return self._call.span_id if self._call is not None else ""

    @property
    def trace_id(self) -> str:
        """Id of the trace, 32 hex digits."""
        return self._call.trace_id if self._call is not None else ""

    def set(self, **fields: Any) -> None:
        """Set fields of the call, as `update_current_call` does."""
        if self._call is not None:
            self._call.set(**fields)

    def __enter__(self) -> Self:
        recorder = slots.recorder or slots.boot()
        if recorder is None:
            return self
        given = self._input
        self._spec.bind = lambda: given if isinstance(given, dict) else {"input": given}
        self._call = recorder.begin(self._spec, (), {})
        if self._fields:
            self.set(**self._fields)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        call = self._call
        if call is None:
            return
        if error is None:
            call.recorder.finish(call, None)
        else:
            call.recorder.fail(call, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


def update_current_call(**fields: Any) -> None:
    """Set fields of the call that is running: `model`, `provider`, `params`, `output`, `usage`, `cost_usd`, `metadata`, `tags` …

    Tags add up, metadata keys are merged, everything else is replaced. Does nothing where no call is running.
    """
    call = current_call()
    if call is not None:
        call.set(**fields)


def log_score(
    name: str,
    value: float | bool | str,
    *,
    call: Call | CallSpan | span | str | None = None,
    comment: str | None = None,
    source: ScoreSource = "code",
) -> None:
    """Record a feedback or metric value on a call.

    Args:
        name: name of the metric.
        value: a number, a yes or no, or a label.
        call: a `Call`, a span or a `span_id`; where not given the call that is running, or when none is, the outermost one
            that returned last in this thread or task.
        comment: why.
        source: who says so: `human`, `code` or `model`.

    Raises:
        NotFoundError: there is no such call, so the score would be lost.
    """
    recorder = slots.recorder or slots.boot()
    if recorder is None:
        return
    target = _find_scored(recorder, call)
    span_id = target if isinstance(target, str) else getattr(target, "span_id", None)
    if span_id is None:
        raise NotFoundError(
            f"log_score({name!r}) has no call to score: pass call=, as none is running and none returned before in this "
            "thread or task"
            if call is None
            else f"log_score({name!r}) cannot score {call!r}: pass a Call, a span or a span id"
        )
    if not span_id:
        return  # sampling left the call out
    try:
        item = getattr(value, "item", None)  # numpy and torch scalars
        event = {
            "event": "score",
            "id": new_id(),
            "span_id": span_id,
            "name": name,
            "value": item() if item else value,
        }
        event |= {"source": source, "time_ns": time.time_ns()} | ({"comment": comment} if comment else {})
        place = {key: getattr(target, key, None) for key in ("trace_id", "start_ns")}
        event |= {key: told for key, told in place.items() if told is not None}
        recorder.event(event)
    except Exception as exc:
        failures.note("log_score", exc)


def _find_scored(recorder: Recorder, call: Any) -> Any:
    if call is not None:
        return call
    if (running := current_call()) is not None:
        return running
    last = finished_call.get()
    return last if last is not None and last.recorder is recorder else None


__all__ = ["FIELDS", "log_score", "span", "update_current_call"]
