"""Log records of coding agents as calls: a user's turn, with the model calls and the tools inside it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from llm_trace import semconv
from llm_trace.bounded_dict import BoundedDict
from llm_trace.collect.ids import derive_id
from llm_trace.collect.logs import LogRecord
from llm_trace.semconv import names
from llm_trace.semconv.agents import DURATIONS, SESSIONS, TURNS, AgentEvent, find_role, read_agent_event
from llm_trace.semconv.completed_span import EndedSpan
from llm_trace.semconv.shapes import CallDict
from llm_trace.semconv.values import get_first_value, get_number

_MOST = 10_000
"""Turns, and requests without their answer, that are known at a time."""
_SILENT_NS = 600 * 10**9
"""A turn of which nothing came for so long is over: no agent says when one is."""
_DETAILS = "gen_ai.client.inference.operation.details"


class AgentCall(NamedTuple):
    """A call, or the part of it that is known."""

    part: Literal["start", "end", "whole"]
    call: CallDict


@dataclass
class _Turn:
    """What a user asked for, until the next question or a long silence."""

    call: CallDict
    last_ns: int
    """When something of it came last, by a clock of this process."""


@dataclass
class _Batch:
    """The calls of one request of a sender; what belongs to one of them is added before it is written."""

    spans: list[EndedSpan] = field(default_factory=list)
    begun: list[AgentCall] = field(default_factory=list)
    ended: dict[str, _Turn] = field(default_factory=dict)


class AgentCalls:
    """Puts the events of coding agents together, those of several requests too.

    Args:
        clock: tells nanoseconds that pass.
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._turns: OrderedDict[str, _Turn] = OrderedDict()
        """Turns that are not over, by span id."""
        self._begun: BoundedDict[str, None] = BoundedDict(2 * _MOST)
        """Span ids of turns, those that are over too."""
        self._current: OrderedDict[tuple[str, str], str] = OrderedDict()
        """Span id of the latest turn of each session."""
        self._requests: BoundedDict[tuple[str, ...], tuple[LogRecord, AgentEvent]] = BoundedDict(_MOST)
        """Requests of which the outcome has not come."""

    def read(self, records: Iterable[LogRecord]) -> tuple[list[AgentCall], list[LogRecord]]:
        """Return the calls that the records tell of, and the records that are no event of an agent's call."""
        batch, others = _Batch(), []
        for record in sorted(records, key=_get_place):
            details = record.name == _DETAILS and "event.timestamp" in record.attributes
            role = "answer" if details else find_role(record.name, record.attributes)
            if role is None:
                others.append(record)
                continue
            event = read_agent_event(record.name, role, record.attributes)
            if details and not self._add_details(record, event, batch):
                others.append(record)
            elif not details:
                self._take(record, event, batch)
        calls = [AgentCall("whole", semconv.ended_call(span)) for span in batch.spans]
        for item in calls:
            self._extend_turn(item.call, batch)
        ends = [AgentCall("end", turn.call) for turn in batch.ended.values()]
        return [*batch.begun, *calls, *ends], others

    def close(self, *, silent_only: bool = False) -> Iterator[AgentCall]:
        """Yield the ends of the turns that are open, or of those that have been silent for long."""
        for span_id, turn in list(self._turns.items()):
            if not silent_only or self._clock() - turn.last_ns > _SILENT_NS:
                yield AgentCall("end", self._turns.pop(span_id).call)

    def _take(self, record: LogRecord, event: AgentEvent, batch: _Batch) -> None:
        if event.role == "turn":
            if record.span_id is None:
                self._open(record, event, record.time_ns, batch)
            else:
                batch.spans.append(
                    _build_span(record, event, record.time_ns, self._find_place(record, event, batch))
                )
        elif event.role == "request":
            self._requests[_get_request_key(event)] = record, event
        elif event.role != "answer" or not _add_answer(event, batch):
            place = self._find_place(record, event, batch)
            batch.spans.append(self._build(record, event, place))

    def _open(self, record: LogRecord, event: AgentEvent, start_ns: int, batch: _Batch) -> None:
        """Begin a turn, unless it has begun before; it ends the one before it."""
        session = _get_session(event)
        span_id = derive_id(16, *session, _get_turn(record, event))
        if span_id in self._begun:
            return
        self._end(self._current.get(session, ""), batch)
        place = derive_id(32, *session, _get_turn(record, event)), None
        call = semconv.ended_call(_build_span(record, event, start_ns, place)) | {"span_id": span_id}
        self._turns[span_id] = _Turn(call, self._clock())
        self._current[session] = span_id
        self._begun[span_id] = None
        batch.begun.append(AgentCall("start", call))
        if len(self._current) > _MOST:
            self._end(self._current.popitem(last=False)[1], batch)

    def _end(self, span_id: str, batch: _Batch) -> None:
        if (turn := self._turns.pop(span_id, None)) is not None:
            batch.ended[span_id] = turn

    def _find_place(self, record: LogRecord, event: AgentEvent, batch: _Batch) -> tuple[str, str | None]:
        """Return trace and parent of a call: the span that the record names, else the turn."""
        if record.trace_id is not None:
            return record.trace_id, record.span_id
        session = _get_session(event)
        named = get_first_value(event.attributes, TURNS)
        wanted = "" if named is None else derive_id(16, *session, str(named))
        current = self._current.get(session, "")
        if named is not None and wanted not in self._begun and current not in self._turns:
            begin = record.time_ns - _get_duration(event)
            self._open(record, AgentEvent(event.agent, "turn", _keep_identity(event), None), begin, batch)
        if wanted in self._begun:
            return derive_id(32, *session, str(named)), wanted
        if (turn := self._turns.get(current)) is not None:
            return turn.call["trace_id"], turn.call["span_id"]
        return derive_id(32, *session), None

    def _build(self, record: LogRecord, event: AgentEvent, place: tuple[str, str | None]) -> EndedSpan:
        """Return a call, with what the request before it brought: its input, and when it began."""
        start = record.time_ns - _get_duration(event)
        if event.role == "model":
            before, asked = self._requests.pop(_get_request_key(event), (None, None))
            if before is not None and asked is not None:
                event.attributes.update({k: v for k, v in asked.attributes.items() if k == names.OI_INPUT})
                if start == record.time_ns:
                    start = before.time_ns - _get_duration(asked)
        return _build_span(record, event, min(start, record.time_ns), place)

    def _add_details(self, record: LogRecord, event: AgentEvent, batch: _Batch) -> bool:
        """Add OpenTelemetry's record to the agent's own of the same moment; say whether there is one."""
        moment = (_get_session(event)[1], event.attributes["event.timestamp"])
        for span in reversed(batch.spans):
            attributes = span.attributes
            if (_find_session(attributes), attributes.get("event.timestamp")) == moment:
                assert isinstance(attributes, dict)
                attributes |= {
                    name: value
                    for name, value in record.attributes.items()
                    if name.startswith(names.GEN_AI) and not name.startswith(names.USAGE)
                }
                return True
        return any(
            (_find_session(asked.attributes), asked.attributes.get("event.timestamp")) == moment
            for _, asked in self._requests.values()
        )

    def _extend_turn(self, call: CallDict, batch: _Batch) -> None:
        span_id = call.get("parent_id") or ""
        turn = self._turns.get(span_id) or batch.ended.get(span_id)
        if turn is None:
            return
        turn.last_ns = self._clock()
        turn.call["end_ns"] = max(turn.call["end_ns"], call["end_ns"])
        if call["kind"] == "llm":
            turn.call["status"] = call["status"]
            if call["status"] == "error":
                turn.call["error"] = call.get("error")
            elif call.get("output") is not None:
                turn.call |= {
                    "output": call["output"],
                    "messages_out": call.get("messages_out"),
                    "error": None,
                }


def _add_answer(event: AgentEvent, batch: _Batch) -> bool:
    """Add an answer's text to the model call of its batch that has none; say whether there is one."""
    wanted = event.attributes.get(names.RESPONSE_ID)
    for span in reversed(batch.spans):
        attributes = span.attributes
        if attributes.get(names.OWN_KIND) != "llm" or _find_session(attributes) != _get_session(event)[1]:
            continue
        known = attributes.get(names.RESPONSE_ID)
        if known == wanted:
            assert isinstance(attributes, dict)
            attributes |= {
                name: event.attributes[name]
                for name in (names.OI_OUTPUT, names.OUTPUT_MESSAGES, "message.uuid")
                if name in event.attributes
            }
            return True
    return False


def _build_span(
    record: LogRecord, event: AgentEvent, start_ns: int, place: tuple[str, str | None]
) -> EndedSpan:
    tool = event.attributes.get(names.TOOL_NAME) if event.role in ("tool", "decision") else None
    return EndedSpan(
        trace_id=place[0],
        span_id=derive_id(16, *_get_session(event), record.name, _get_identity(record, event)),
        parent_id=place[1],
        name=str(tool or record.name),
        start_ns=start_ns,
        end_ns=record.time_ns,
        attributes=event.attributes,
        failed=event.error is not None,
        message=event.error or None,
        scope=record.scope,
        resource=record.resource,
    )


def _get_place(record: LogRecord) -> tuple[int, float]:
    """Return where a record stands: an agent's own number tells events of one millisecond apart."""
    return record.time_ns, get_number(record.attributes.get("event.sequence")) or 0.0


def _get_session(event: AgentEvent) -> tuple[str, str]:
    return event.agent, _find_session(event.attributes)


def _find_session(attributes: Any) -> str:
    return str(get_first_value(attributes, SESSIONS) or "")


def _get_turn(record: LogRecord, event: AgentEvent) -> str:
    """Return what tells a turn from others of its session: its id, or when it began."""
    named = get_first_value(event.attributes, TURNS)
    return str(record.time_ns if named is None else named)


def _get_identity(record: LogRecord, event: AgentEvent) -> str:
    """Return what is the same when a sender tries again, and differs from all other events."""
    wanted = ("event.sequence", names.RESPONSE_ID, "gen_ai.tool.call.id", "event.timestamp")
    return "\0".join(str(event.attributes.get(name, "")) for name in wanted) + str(record.time_ns)


def _get_duration(event: AgentEvent) -> int:
    """Return how long something took, in nanoseconds."""
    return round(1e6 * (get_number(get_first_value(event.attributes, DURATIONS)) or 0.0))


def _get_request_key(event: AgentEvent) -> tuple[str, ...]:
    attributes = event.attributes
    return (*_get_session(event), *(str(attributes.get(name, "")) for name in ("query_source", "prompt_id")))


def _keep_identity(event: AgentEvent) -> dict[str, Any]:
    """Return what an event says of the turn that it is in, for a turn whose beginning did not come."""
    identifying = (*SESSIONS, *TURNS, names.CONVERSATION, "user.id", "user.email")
    return {names.OWN_KIND: "agent"} | {k: v for k, v in event.attributes.items() if k in identifying}
