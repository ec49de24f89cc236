"""Scores as metrics: numbers as they are, the share of each label, and what of them cannot be compared."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llm_trace.comparison.facts import ASKED
from llm_trace.statistics.floats import Floats

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llm_trace.comparison.facts import Fact
    from llm_trace.stores.duckdb import Store

    Row = tuple[int, str, str]

LABELS = 10
"""Labels of a score that are compared, the most frequent."""
LARGEST = 1e100
"""The size up to which a number is compared: squares and sums of such are finite."""
_LAST = """, last AS (
    SELECT i, name, arg_max(value, {'time': time_ns, 'id': id}) AS value,
        arg_max(number, {'time': time_ns, 'id': id}) AS number
    FROM scores JOIN asked USING (span_id) WHERE {filter} GROUP BY i, name, source
)"""
_NUMBERS = (
    ASKED
    + _LAST.replace("{filter}", f"abs(number) <= {LARGEST}")
    + " SELECT i, name, avg(number) FROM last GROUP BY ALL ORDER BY name, i"
)
_OTHERS = (
    ASKED
    + _LAST.replace("{filter}", f"(number IS NULL OR abs(number) > {LARGEST})")
    + " SELECT i, name, CASE WHEN json_type(value) = 'VARCHAR' THEN value ->> '$' END FROM last"
    + " ORDER BY name, i, 3"
)


@dataclass(frozen=True)
class CallScores:
    """The scores of calls, and of the calls inside them."""

    values: dict[str, Floats]
    """Metric to (calls,), NaN where a call has none: a score's name, or `NAME: LABEL` for a label's share."""
    labels: dict[str, str]
    """Of metrics that are the share of a label, the score that it is a label of."""
    notes: tuple[str, ...]
    """What could not be taken."""


def average_scores(store: Store, calls: Sequence[Fact]) -> CallScores:
    """Return the scores of the calls: of all calls inside the mean, the latest word of each source."""
    every = [(i, span) for i, call in enumerate(calls) for span in (call.span_id, *call.inside)]
    spans = " ".join([span for _, span in every])
    numbers = _convert_numbers(
        ((every[i][0], name, x) for i, name, x in store.fetch(_NUMBERS, spans)), len(calls)
    )
    labels: dict[str, list[tuple[int, str]]] = defaultdict(list)
    odd: Counter[str] = Counter()
    for i, name, label in store.fetch(_OTHERS, spans):
        if label is None:
            odd[name] += 1
        else:
            labels[name].append((every[i][0], label))
    values, of = dict(numbers), dict[str, str]()
    notes = [
        f"{name}: {count:,} {'value is' if count == 1 else 'values are'} no number that can be compared, "
        f"such as NaN, infinity or one beyond {LARGEST:g}, and {'does' if count == 1 else 'do'} not count"
        for name, count in odd.items()
    ]
    for name, rows in labels.items():
        frequent = Counter(label for _, label in rows).most_common(LABELS)
        shares = {f"{name}: {label}": _share(rows, label, len(calls)) for label, _ in sorted(frequent)}
        values |= shares
        of |= dict.fromkeys(shares, name)
        if (known := len({label for _, label in rows})) > LABELS:
            notes.append(f"{name} has {known:,} labels: the {LABELS} most frequent are compared")
    return CallScores(values, of, tuple(notes))


def _convert_numbers(rows: Iterable[tuple[int, str, float]], count: int) -> dict[str, Floats]:
    numbers: dict[str, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
    for i, name, value in rows:
        numbers[name][0].append(i)
        numbers[name][1].append(value)
    return {
        name: compute_group_means(np.array(at), np.array(values), count)
        for name, (at, values) in numbers.items()
    }


def _share(rows: Sequence[tuple[int, str]], label: str, count: int) -> Floats:
    """Return which share of each call's labels is this one, (calls,)."""
    return compute_group_means(
        np.array([i for i, _ in rows]), np.array([float(x == label) for _, x in rows]), count
    )


def compute_group_means(groups: NDArray[np.int64], values: Floats, count: int) -> Floats:
    """Return the mean of each group's values, NaN for groups that have none; NaN values do not count."""
    known = ~np.isnan(values)
    sums = np.bincount(groups[known], values[known], minlength=count)
    sizes = np.bincount(groups[known], minlength=count)
    return np.asarray(np.divide(sums, sizes, out=np.full(count, np.nan), where=sizes > 0))
