"""The pairs of a comparison one by one: what was asked, both answers, and both values of each metric."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.comparison.facts import ASKED, find_times
from llm_trace.comparison.measures import TEXT
from llm_trace.errors import NotFoundError
from llm_trace.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from llm_trace.comparison.judge import PairTable
    from llm_trace.comparison.records import PairOutcome
    from llm_trace.stores.duckdb import Store

_TEXTS = f"""{ASKED}, picked AS MATERIALIZED (
    SELECT span_id, input, output, error_type, status, messages_in[-1] AS in_id, messages_out[-1] AS out_id
    FROM calls JOIN asked USING (span_id) WHERE start_ns BETWEEN ? AND ?
), last AS MATERIALIZED (
    SELECT id, text FROM messages
    WHERE id IN (SELECT in_id FROM picked UNION ALL SELECT out_id FROM picked)
)
SELECT c.span_id, coalesce(asking.text, CAST(c.input AS TEXT)), coalesce({TEXT}, c.error_type, c.status)
FROM picked c LEFT JOIN last m ON m.id = c.out_id LEFT JOIN last asking ON asking.id = c.in_id"""


class AnswerPair(Record):
    """An input with both answers to it."""

    a: str
    """Span id of the first call in a."""
    b: str
    input: str
    """What a was asked: the last message, or the arguments as JSON."""
    input_b: str
    """What b was asked; in a replay with something changed not the same."""
    output_a: str
    """The answer, of a failed call the exception's name."""
    output_b: str
    slices: tuple[str, ...]
    values: dict[str, tuple[float | None, float | None]]
    """Metric to its value in a and in b."""


class OutcomeCount(Record):
    """How many pairs got worse and better in a metric that has a good direction."""

    metric: str
    worse: int
    better: int


def read_texts(store: Store, spans: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return by span id what was asked and answered."""
    ids = " ".join(spans)
    rows = store.fetch(_TEXTS, ids, *find_times(store, ids))
    return {span: (asked or "", answer or "") for span, asked, answer in rows}


@dataclass(frozen=True)
class PairsAtHand:
    """The pairs of a comparison, where their calls are, and their values."""

    address: str
    """Of the store."""
    spans: tuple[tuple[str, str], ...]
    table: PairTable = field(compare=False, repr=False)
    slices: Mapping[str, NDArray[np.bool_]] = field(compare=False, repr=False)

    def count_outcomes(self, part: str | None = None) -> list[OutcomeCount]:
        """Return of each metric with a good direction how many pairs got worse and better.

        Raises:
            NotFoundError: there is no such slice.
        """
        rows = self._find_members(part)
        gains = {name: self._measure_gains(name)[rows] for name in self._list_directed()}
        return [
            OutcomeCount(metric=name, worse=int((gain < 0).sum()), better=int((gain > 0).sum()))
            for name, gain in gains.items()
        ]

    def choose(self, outcome: PairOutcome, metric: str | None, part: str | None) -> list[int]:
        """Return the numbers of pairs; of those that got worse or better the largest change first.

        Raises:
            NotFoundError: there is no such slice or metric.
        """
        rows = self._find_members(part)
        if outcome == "all":
            return [int(i) for i in np.flatnonzero(rows)]
        if outcome == "other":
            changed = self.table.described.get("output_changed", np.zeros(len(rows)))
            return [int(i) for i in np.flatnonzero(rows & (changed > 0))]
        if metric not in self._list_directed():
            known = ", ".join(self._list_directed())
            raise NotFoundError(f"no metric {metric!r} gets better or worse here: there are {known}")
        gain = self._measure_gains(metric) * (-1 if outcome == "worse" else 1)
        return [int(i) for i in np.argsort(-gain, kind="stable") if rows[i] and gain[i] > 0]

    def read(self, store: Store, numbers: Sequence[int]) -> list[AnswerPair]:
        """Return pairs by their numbers, with what was asked and answered."""
        texts = read_texts(store, [span for i in numbers for span in self.spans[i]])
        return [self._build(i, texts) for i in numbers]

    def _build(self, i: int, texts: dict[str, tuple[str, str]]) -> AnswerPair:
        a, b = self.spans[i]
        return AnswerPair(
            a=a,
            b=b,
            input=texts[a][0],
            input_b=texts[b][0],
            output_a=texts[a][1],
            output_b=texts[b][1],
            slices=tuple(name for name, rows in self.slices.items() if rows[i]),
            values={name: (_read(v[0, i]), _read(v[1, i])) for name, v in self.table.tested.items()},
        )

    def _find_members(self, part: str | None) -> NDArray[np.bool_]:
        if part is None:
            return np.ones(len(self.spans), dtype=bool)
        if part not in self.slices:
            known = ", ".join(self.slices) or "none: name one by slices="
            raise NotFoundError(f"no slice {part!r} was compared: there are {known}")
        return self.slices[part]

    def _list_directed(self) -> list[str]:
        return [name for name in self.table.tested if name in self.table.better]

    def _measure_gains(self, metric: str) -> NDArray[np.float64]:
        """Return by pair how much better b is; NaN where a value is missing."""
        a, b = self.table.tested[metric]
        gains: NDArray[np.float64] = a - b if self.table.better[metric] == "lower" else b - a
        return gains


def _read(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
