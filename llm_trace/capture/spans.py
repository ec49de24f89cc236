"""Calls that are not functions, and additions to the call that is running."""

from __future__ import annotations

import math
import re
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from llm_trace.capture import failures, slots
from llm_trace.capture.callspan import CallSpan, current_call
from llm_trace.capture.context import finished_call
from llm_trace.capture.endings import fail_call, finish_call
from llm_trace.capture.ids import make_id
from llm_trace.capture.inspection import parse_kind
from llm_trace.capture.labels import to_mapping, to_tags
from llm_trace.capture.spec import FunctionSpec
from llm_trace.errors import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from llm_trace.capture.protocols import CallRecorder
    from llm_trace.record import Call, Kind, ScoreSource


class span:  # noqa: N801  # reads as a function: `with span("retrieve") as s`
    """Record a block of code as a call; `with` and `async with`.

    The handle's `set(output=…, usage=…, …)` adds what is known later; `span_id` and `trace_id` name the call
    (empty strings where nothing is recorded).

    Args:
        name: name of the call.
        kind: as in `trace`.
        fields: `input`, `output`, `model`, `usage`, `params`, `tags`, `metadata`, `session`, `user`,
            `provider`, `cost_usd` …
    """

    def __init__(self, name: str, kind: Kind = "chain", **fields: Any) -> None:
        tags = to_tags(fields.pop("tags", ()))
        metadata = to_mapping("metadata", fields.pop("metadata", None))
        self._spec = FunctionSpec(
            name,
            parse_kind(kind),
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
        recorder = slots.recorder or slots.start_recorder()
        if recorder is None:
            return self
        value = self._input
        self._spec.bind = lambda: value if isinstance(value, dict) else {"input": value}
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
            finish_call(call, None)
        else:
            fail_call(call, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


def update_current_call(**fields: Any) -> None:
    """Set fields of the call that is running: `model`, `provider`, `params`, `output`, `usage`, `cost_usd`,
    `metadata`, `tags` …

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
        call: a `Call`, a span, a `span_id` or an object that has one, such as OpenTelemetry's `SpanContext`;
            where not given the running call, or when none is running, the outermost one that returned last
            in this thread or task.
        comment: why.
        source: who says so: `human`, `code` or `model`.

    Raises:
        ConfigurationError: what is given is no score, such as a value of `None` or NaN, which would be lost.
        NotFoundError: there is no such call, so the score would be lost.
    """
    recorder = slots.recorder or slots.start_recorder()
    if recorder is None:
        return
    event = {"event": "score", "id": make_id(), "name": name, "value": _read_score(name, value)}
    if source not in _SOURCES:
        raise ConfigurationError(f"log_score({name!r}): source={source!r} is none of {', '.join(_SOURCES)}")
    span_id, place = _read_target(_find_scored(recorder, call))
    span_id = _check_span_id(name, call, span_id)
    if not span_id:
        return  # sampling left the call out
    try:
        event |= {"span_id": span_id, "source": source, "time_ns": time.time_ns()}
        event |= {"comment": comment if isinstance(comment, str) else str(comment)} if comment else {}
        recorder.event(event | {key: part for key, part in place.items() if part is not None})
    except Exception as exc:
        failures.note("log_score", exc)


_SOURCES = ("human", "code", "model")
_SPAN_ID = re.compile("[0-9a-f]{16}")


def _read_score(name: Any, value: Any) -> float | bool | str:
    """Return a score's value as JSON has it.

    Raises:
        ConfigurationError: its name is no text, or the value neither a finite number nor a yes, no or label.
    """
    if not isinstance(name, str) or not name.strip():
        raise ConfigurationError(f"log_score({name!r}, …): the name of a score is a text that is not empty")
    try:
        plain = value.item() if hasattr(value, "item") else value  # numpy and torch scalars
        if isinstance(plain, str):
            return plain
        if math.isfinite(number := float(plain)):
            return plain if isinstance(plain, int | float) else number
    except (TypeError, ValueError, OverflowError, RuntimeError):
        pass  # said below
    raise ConfigurationError(
        f"log_score({name!r}, {value!r}): a score is a finite number, a yes or no, or a label; log none "
        f"where there is none"
    )


def _read_target(target: Any) -> tuple[Any, dict[str, Any]]:
    """Return the span id of what is to be scored, `None` where it has none, and where its trace is known."""
    if isinstance(target, str):
        return target, {}
    place = {name: getattr(target, name, None) for name in ("trace_id", "start_ns")}
    try:
        span_id = target.span_id
    except AttributeError:
        return None, {}
    if isinstance(place["trace_id"], int):
        place["trace_id"] = f"{place['trace_id']:032x}"
    if isinstance(span_id, int):  # OpenTelemetry's, 0 where there is no span
        span_id = f"{span_id:016x}" if span_id else None
    return span_id, place


def _check_span_id(name: str, call: Any, span_id: Any) -> str:
    """Return the id of the call to score; an empty text where sampling left it out.

    Args:
        call: what was given, `None` where nothing was.

    Raises:
        NotFoundError: there is no call, or what is given is none.
    """
    if span_id is None and call is None:
        raise NotFoundError(
            f"log_score({name!r}) has no call to score: pass call=, as none is running and none returned "
            "before in this thread or task"
        )
    digits = "" if span_id is None else str(span_id).lower()
    if span_id is None or (digits and not _SPAN_ID.fullmatch(digits)):
        raise NotFoundError(
            f"log_score({name!r}) cannot score {call!r}: pass a Call, a span or a span id (16 hex digits)"
        )
    return digits


def _find_scored(recorder: CallRecorder, call: Any) -> Any:
    if isinstance(call, span):
        return call._call or ""
    if call is not None:
        return call
    if (running := current_call()) is not None:
        return running
    last = finished_call.get()
    return last if last is not None and last.recorder is recorder else None


__all__ = ["log_score", "span", "update_current_call"]
