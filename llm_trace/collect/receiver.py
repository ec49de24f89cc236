"""Spans and log records that came in, as calls in the spool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llm_trace import semconv
from llm_trace.bounded_dict import BoundedDict
from llm_trace.capture.completed_calls import encode_finished_call, encode_open_call
from llm_trace.capture.merger import Merger
from llm_trace.collect.agents import AgentCall, AgentCalls
from llm_trace.collect.joins import AgentCallJoiner
from llm_trace.collect.left_out import add_left_out
from llm_trace.collect.logs import LogRecord, build_accounts, is_evaluation, is_genai
from llm_trace.collect.metered import MeteredTokens
from llm_trace.collect.points import DataPoint
from llm_trace.semconv.agents import find_agent
from llm_trace.semconv.annotations import build_evaluation_score, list_evaluations, parse_annotation
from llm_trace.semconv.completed_span import EndedSpan
from llm_trace.semconv.privacy import call_without_content, drop_event_content
from llm_trace.spool.writer import SpoolLine

if TYPE_CHECKING:
    from llm_trace.capture.values import ValueEncoder
    from llm_trace.spool.writer import SpoolWriter

_MOST_IDS = 100_000
"""Span ids that are known at a time, about 20 MB."""
_MOST_NAMES = 8
_AT_ONCE = 2_000
"""Events that are held in memory before they are written."""


class SpoolFullError(Exception):
    """The spool takes nothing just now; the sender keeps its spans and tries again."""


@dataclass
class Taken:
    """What became of a request's spans."""

    spans: int = 0
    rejected: int = 0
    reason: str = ""
    """Why the first of the rejected was."""

    def reject(self, name: str, reason: str) -> None:
        """Count a span that is no call."""
        self.rejected += 1
        self.reason = self.reason or f"span {name!r}: {reason}"


@dataclass
class TakenRecords:
    """What became of a request's log records or data points."""

    left_out: Counter[str] = field(default_factory=Counter)
    """Those that tell of no call, by the name of their event or metric."""

    def check_read(self, record: LogRecord | None) -> bool:
        """Say whether a record could be read, and count it where not."""
        if record is None:
            self.left_out["unreadable"] += 1
        return record is not None

    @property
    def reason(self) -> str:
        """What was left out, in words; the most frequent first."""
        most = ", ".join(f"{count:,} x {name}" for name, count in self.left_out.most_common(_MOST_NAMES))
        more = len(self.left_out) - _MOST_NAMES
        return f"what tells of no call was not kept: {most}" + (f" and {more} more" * (more > 0))


@dataclass(frozen=True)
class RequestLimits:
    """What one request may bring, and all of them together."""

    body: int = 32 << 20
    """Bytes, after decompression."""
    at_once: int = 256 << 20
    """Bytes of bodies that are being received, of all senders together."""
    spans: int = 50_000
    attributes: int = 4_096
    """Of one span; attributes of its events and links included."""


@dataclass(frozen=True)
class Receiver:
    """Writes spans to a spool.

    Args:
        spool: where they go.
        encoder: bounds and masks what is written.
        limits: what requests may bring.
        genai_only: leave out spans that tell of no model, tool or agent.
        capture_content: without it no prompts, answers or error messages are kept.
    """

    spool: SpoolWriter
    encoder: ValueEncoder
    limits: RequestLimits = RequestLimits()
    genai_only: bool = False
    capture_content: bool = True
    merger: Merger = field(default_factory=Merger, init=False)
    agents: AgentCalls = field(default_factory=AgentCalls, init=False)
    metered: MeteredTokens = field(default_factory=MeteredTokens, init=False)
    joiner: AgentCallJoiner = field(default_factory=AgentCallJoiner, init=False)
    _traces: BoundedDict[int, str] = field(default_factory=lambda: BoundedDict(_MOST_IDS), init=False)
    """The trace of each span that came lately, by its id."""

    def take(self, spans: Iterable[tuple[str, EndedSpan | str]]) -> Taken:
        """Write the spans, each given with its name; one that cannot be read is given as the reason.

        Raises:
            SpoolFullError: the spool cannot be written; spans before it are there, and repeats do no harm.
        """
        taken = Taken()
        lines: list[SpoolLine] = []
        for name, span in spans:
            reason = span if isinstance(span, str) else self._too_much(span, taken) or self._twice(span)
            if reason:
                taken.reject(name, reason)
            elif isinstance(span, EndedSpan):
                taken.spans += 1
                lines += self._lines(span)
            if len(lines) >= _AT_ONCE:
                self._write(lines)
                lines = []
        self._write(lines)
        return taken

    def take_logs(self, records: Iterable[LogRecord | None]) -> TakenRecords:
        """Write what log records say of calls: of those whose span they name, and of coding agents.

        Raises:
            SpoolFullError: the spool cannot be written.
        """
        taken = TakenRecords()
        known = [record for record in records if taken.check_read(record)]
        calls, others = self.agents.read(record for record in known if record is not None)
        lines = [line for call in calls for line in self._encode_agent_call(call)]
        for account in build_accounts(record for record in others if is_genai(record)):
            fields = semconv.ended_call(account)
            fields = self.merger.account(fields if self.capture_content else call_without_content(fields))
            lines += encode_finished_call(self.encoder, {**fields, "inside": account.parent_id})
        for record in (record for record in others if not is_genai(record)):
            scored = self._encode_score(record)
            taken.left_out.update([record.name[:100] or "without a name"] * (not scored))
            lines += scored
        lines += self._end_turns(silent_only=True)
        self._write(lines)
        add_left_out(self.spool.folder, taken.left_out)
        return taken

    def _encode_score(self, record: LogRecord) -> list[SpoolLine]:
        """Return what an evaluation of a call came to, as an event; none for other records."""
        if record.span_id is None or not is_evaluation(record):
            return []
        score = build_evaluation_score(record.span_id, record.time_ns, record.attributes)
        return [] if score is None else self._encode_scores([score])

    def take_metrics(self, points: Iterable[DataPoint | None]) -> TakenRecords:
        """Write what metrics of coding agents tell of tokens and cost, where nothing else does.

        Raises:
            SpoolFullError: the spool cannot be written.
        """
        calls, left_out = self.metered.read(points)
        lines: list[SpoolLine] = []
        for call in calls:
            reduced = call if self.capture_content else call_without_content(call)
            lines += encode_finished_call(self.encoder, reduced)
        self._write(lines)
        add_left_out(self.spool.folder, left_out)
        return TakenRecords(left_out)

    def close(self) -> None:
        """Write the ends of the turns of coding agents that are open."""
        self._write(list(self._end_turns()))

    def _end_turns(self, *, silent_only: bool = False) -> Iterator[SpoolLine]:
        for call in self.agents.close(silent_only=silent_only):
            yield from self._encode_agent_call(call)

    def _encode_agent_call(self, item: AgentCall) -> Sequence[SpoolLine]:
        call = item.call if self.capture_content else call_without_content(item.call)
        if item.part == "whole":
            agent = find_agent(str(call["name"]), None, {})
            call = self.metered.note(agent, self.joiner.join(self.merger.whole(call)))
        if item.part == "start":
            return (encode_open_call(self.encoder, call),)
        start, end = encode_finished_call(self.encoder, call)
        return (end,) if item.part == "end" else (start, end)

    def _too_much(self, span: EndedSpan, taken: Taken) -> str:
        if taken.spans >= self.limits.spans:
            return f"more than {self.limits.spans:,} spans in a request: send smaller batches"
        beside = (*span.events, *span.links)
        count = len(span.attributes) + sum(len(entry["attributes"]) for entry in beside)
        if count > self.limits.attributes:
            return f"{count:,} attributes, more than {self.limits.attributes:,}"
        return ""

    def _twice(self, span: EndedSpan) -> str:
        """Note the span's id; say where another trace has it, as a store by span ids confuses them."""
        known = self._traces.setdefault(int(span.span_id, 16), span.trace_id)
        if known == span.trace_id:
            return ""
        return f"its id {span.span_id} is that of a span in trace {known} too: make ids at random"

    def _lines(self, span: EndedSpan) -> Sequence[SpoolLine]:
        """Return the events that a span becomes."""
        if self.genai_only and not semconv.is_genai_span(span.attributes):
            self.merger.pass_over(span.span_id, span.parent_id)
            return ()
        if (event := parse_annotation(span)) is not None:
            return self._encode_scores([event])
        call = semconv.ended_call(span)
        call = self.merger.whole(call if self.capture_content else call_without_content(call))
        if (agent := find_agent(span.name, span.scope, span.attributes)) is not None:
            call = self.metered.note(agent, self.joiner.join(call))
        return *encode_finished_call(self.encoder, call), *self._encode_scores(list_evaluations(span))

    def _encode_scores(self, events: Iterable[dict[str, Any]]) -> list[SpoolLine]:
        """Return the lines of what is said about calls; of what is all content none where that is not
        captured.
        """
        reduced = events if self.capture_content else map(drop_event_content, events)
        return [SpoolLine(self.encoder.encode_event(event)[:-1]) for event in reduced if event is not None]

    def _write(self, lines: list[SpoolLine]) -> None:
        if lines and not self.spool.write_all(lines):
            raise SpoolFullError(
                f"{str(self.spool.folder)!r} cannot be written: free some room, the sender tries again"
            )
