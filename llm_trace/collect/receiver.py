"""Spans that came in, as calls in the spool."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace import semconv
from llm_trace.capture.finished import write_finished
from llm_trace.semconv.about import event_about
from llm_trace.semconv.ended import EndedSpan
from llm_trace.semconv.privacy import call_without_content

if TYPE_CHECKING:
    from llm_trace.capture.values import Encoder
    from llm_trace.spool.writer import SpoolWriter


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
class Limits:
    """What one request may bring."""

    body: int = 32 << 20
    """Bytes, after decompression."""
    spans: int = 50_000
    attributes: int = 4_096
    """Of one span; attributes of its events included."""


@dataclass(frozen=True)
class Receiver:
    """Writes spans to a spool.

    Args:
        spool: where they go.
        encoder: bounds and masks what is written.
        limits: what one request may bring.
        genai_only: leave out spans that tell of no model, tool or agent.
        capture_content: without it no prompts, answers or error messages are kept.
    """

    spool: SpoolWriter
    encoder: Encoder
    limits: Limits = Limits()
    genai_only: bool = False
    capture_content: bool = True

    def take(self, spans: Iterable[tuple[str, EndedSpan | str]]) -> Taken:
        """Write the spans, each given with its name; one that cannot be read is given as the reason.

        Raises:
            SpoolFullError: the spool cannot be written; spans before it are there, and repeats do no harm.
        """
        taken = Taken()
        for name, span in spans:
            reason = span if isinstance(span, str) else self._too_much(span, taken)
            if reason:
                taken.reject(name, reason)
            elif isinstance(span, EndedSpan):
                taken.spans += 1
                self._keep(span)
        return taken

    def _too_much(self, span: EndedSpan, taken: Taken) -> str:
        if taken.spans >= self.limits.spans:
            return f"more than {self.limits.spans:,} spans in a request: send smaller batches"
        count = len(span.attributes) + sum(len(event["attributes"]) for event in span.events)
        if count > self.limits.attributes:
            return f"{count:,} attributes, more than {self.limits.attributes:,}"
        return ""

    def _keep(self, span: EndedSpan) -> None:
        if self.genai_only and not semconv.is_genai_span(span.attributes):
            return
        if not self._written(span, event_about(span)):
            raise SpoolFullError(
                f"{str(self.spool.folder)!r} cannot be written: free some room, the sender tries again"
            )

    def _written(self, span: EndedSpan, event: dict[str, Any] | None) -> bool:
        if event is not None:
            return self._written_event(event)
        call = semconv.ended_call(span)
        kept = call if self.capture_content else call_without_content(call)
        return write_finished(self.spool, self.encoder, kept)

    def _written_event(self, event: dict[str, Any]) -> bool:
        """Write a score or an attribution; the latter is all content, a score's comment is."""
        if not self.capture_content:
            if event["event"] == "attribution":
                return True
            event = {name: value for name, value in event.items() if name != "comment"}
        return self.spool.write(self.encoder.encode(event)[:-1])
