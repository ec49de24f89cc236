"""Spans that came in, as calls in the spool."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llm_trace import semconv
from llm_trace.capture.completed_calls import encode_finished_call
from llm_trace.capture.merger import Merger
from llm_trace.collect.logs import LogRecord, build_accounts, is_evaluation, is_genai
from llm_trace.semconv.annotations import build_evaluation, list_evaluations, parse_annotation
from llm_trace.semconv.completed_span import EndedSpan
from llm_trace.semconv.privacy import call_without_content, drop_event_content
from llm_trace.spool.writer import SpoolLine

if TYPE_CHECKING:
    from llm_trace.capture.values import ValueEncoder
    from llm_trace.spool.writer import SpoolWriter

_MOST_IDS = 100_000
"""Span ids that are known at a time, about 20 MB."""
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
    _traces: OrderedDict[int, str] = field(default_factory=OrderedDict, init=False)
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

    def take_logs(self, records: Iterable[LogRecord | None]) -> int:
        """Write what log records say of the calls that they belong to; return how many say nothing of one.

        Raises:
            SpoolFullError: the spool cannot be written.
        """
        known = list(records)
        genai = [record for record in known if record is not None and is_genai(record)]
        evaluations = [record for record in known if record is not None and is_evaluation(record)]
        scores = [
            build_evaluation(record.span_id, record.time_ns, record.attributes) for record in evaluations
        ]
        lines = self._encode_scores(score for score in scores if score is not None)
        rejected = len(known) - len(genai) - len(lines)
        for account in build_accounts(genai):
            call = semconv.ended_call(account)
            call = self.merger.account(call if self.capture_content else call_without_content(call))
            lines += encode_finished_call(self.encoder, {**call, "inside": account.parent_id})
        self._write(lines)
        return rejected

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
        if len(self._traces) > _MOST_IDS:
            self._traces.popitem(last=False)
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
