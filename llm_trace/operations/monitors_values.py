"""What monitors follow: values of calls, scores, attributions and decisions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from llm_trace.operations.shares import MissingSignalError, WeightShares
from llm_trace.stores.rows import build_attribution, parse_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from llm_trace.record import Attribution

MetricKind = Literal["errors", "refusals", "latency", "cost", "score", "weight", "verdict", "decision"]
_REFUSING = re.compile(
    r"\W*(?:(?:i[’']?m|i am|we[’']?re)?\s*(?:very |so |really )?sorry\b[^.!?\n]{0,60}?|unfortunately,?\s*|"
    r"i apologi[sz]e\b[^.!?\n]{0,60}?|as an ai\b[^.!?\n]{0,60}?)?"
    r"\b(?:i|we)\s*(?:[’']m|\s?am|\s?are)?\s*(?:can[’']?t|cannot|can not|won[’']?t|will not|"
    r"(?:not able|unable) to|must (?:decline|refuse)|have to decline)\b",
    re.IGNORECASE,
)
_FILTERED = ("content_filter", "refusal", "safety", "SAFETY", "PROHIBITED_CONTENT", "guardrail_intervened")


class WatchedMetric(NamedTuple):
    """What is followed."""

    kind: MetricKind
    of: str
    """The function, score, prompt or gate that it is of."""
    part: str = ""
    """The variable, segment or chunk; the label whose rate it is."""

    def __str__(self) -> str:
        return f"{self.kind} {self.of}{f'={self.part}' if self.part else ''}".strip()


class MetricReading(NamedTuple):
    """One value, or one label, with what was in force then."""

    metric: WatchedMetric
    value: float | str
    time_ns: int
    span_id: str
    prompt: str | None
    version: str | None
    """Of the prompt."""
    model: str | None
    method: str | None = None
    """Of an attribution."""


def make_reading(
    row: Sequence[Any], metric: WatchedMetric, value: float | str, method: str | None = None
) -> MetricReading:
    """Return a reading from a row of any source: id, time, call, function, prompt, version, model, …"""
    return MetricReading(metric, value, int(row[1]), str(row[2]), row[4], row[5], row[6], method)


def read_metrics(row: Sequence[Any]) -> Iterator[MetricReading]:
    """Yield what a call says of itself: error, refusal, latency, cost."""
    name, status, duration_ms, cost, answer, finish, refuses = row[3], *row[7:]
    yield make_reading(row, WatchedMetric("errors", name), float(status != "ok"))
    if status != "ok":
        return
    if answer is not None or finish is not None:
        refused = refuses or finish in _FILTERED or is_refusal(answer or "")
        yield make_reading(row, WatchedMetric("refusals", name), float(bool(refused)))
    if duration_ms is not None:
        yield make_reading(row, WatchedMetric("latency", name), float(duration_ms))
    if cost is not None:
        yield make_reading(row, WatchedMetric("cost", name), float(cost))


def is_refusal(answer: str) -> bool:
    """Whether an answer begins by declining, in English: "I'm sorry, but I can't …", "I am unable to …"."""
    return _REFUSING.match(answer) is not None


def read_score(row: Sequence[Any]) -> Iterator[MetricReading]:
    """Yield the number or label of a score."""
    name, number, value = row[7:]
    if number is not None:
        yield make_reading(row, WatchedMetric("score", name), float(number))
    elif isinstance(label := parse_value(value), str):
        yield make_reading(row, WatchedMetric("score", name), label)


def read_attribution(row: Sequence[Any], texts: Sequence[str]) -> Iterator[MetricReading]:
    """Yield the verdict, and of an attribution that is evidence the shares of its parts."""
    attribution = build_attribution({"span_id": row[2], "time_ns": row[1], "attribution": row[7]})
    if attribution is None:
        return
    of = row[4] or row[3]
    yield make_reading(row, WatchedMetric("verdict", of), attribution.verdict, attribution.method)
    variables = parse_value(row[8]) or {}
    shares = WeightShares(attribution, variables, row[9])
    for part, measure, key in _list_parts(attribution, variables, texts):
        try:
            share = float(getattr(shares, measure)(key))
        except MissingSignalError:
            continue
        yield make_reading(row, WatchedMetric("weight", of, part), share, attribution.method)


def _list_parts(
    attribution: Attribution, variables: dict[str, Any], texts: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    """Yield what to call each part, and the method of `WeightShares` that measures it with its argument."""
    for name in variables:
        yield name, "measure_variable", name
    for name in dict.fromkeys(s.name for s in attribution.segments if s.kind == "chunk" and s.name):
        yield name, "measure_chunk", name
    for text in texts:
        yield text, "measure_text", text


def read_decision(row: Sequence[Any]) -> Iterator[MetricReading]:
    """Yield what a gate or rule decided."""
    if row[8] is not None:
        yield make_reading(row, WatchedMetric("decision", row[7]), str(row[8]))
