"""From pairs of calls to arrays of values, clusters and slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from llm_trace.comparison import measures
from llm_trace.comparison.judge import PairTable
from llm_trace.comparison.missing import Failures, count_failures
from llm_trace.comparison.records import Better
from llm_trace.comparison.scores import LARGEST, average_scores, compute_group_means
from llm_trace.errors import ConfigurationError
from llm_trace.statistics.clusters import count_effective_clusters
from llm_trace.statistics.scales import find_scale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from llm_trace.comparison.dataset import Dataset
    from llm_trace.comparison.measures import Embed
    from llm_trace.comparison.pairs import Paired, Pairs
    from llm_trace.record import Call
    from llm_trace.statistics.floats import Floats
    from llm_trace.stores.duckdb import Store

    Measure = Callable[[Call, Call], tuple[float, float]]
    Metrics = Sequence[str | Measure] | Mapping[str, Measure]

LEAST, MOST = 5, 20
"""Pairs that a slice must have; slices of one kind that are compared, the largest."""
DESCRIBED = ("output_changed", "output_similarity")
HIGHER: Better = "higher"
LOWER: Better = "lower"
_READ = 500


@dataclass(frozen=True)
class TableRequest:
    """What of the pairs is wanted."""

    metrics: Metrics | None
    slices: tuple[str, ...]
    """`tag`, or a place of a call."""
    places: tuple[str, ...]
    """What stands in `Fact.wanted`, in order."""
    dataset: Dataset | None
    """What the pairs are examples of."""
    lower: frozenset[str]
    embed: Embed | None
    confidence: float
    seed: int

    @property
    def names(self) -> set[str]:
        """The metrics that were asked for by name."""
        return {m for m in self.metrics or () if isinstance(m, str)} - set(self.functions)

    @property
    def functions(self) -> dict[str, Measure]:
        """The metrics that are functions."""
        if isinstance(self.metrics, Mapping):
            return dict(self.metrics)
        return {m.__name__: m for m in self.metrics or () if not isinstance(m, str)}

    def wants(self, name: str) -> bool:
        """Whether a metric is to be compared."""
        return not self.metrics or name in self.names


def build_table(store: Store, matched: Paired, request: TableRequest) -> PairTable:
    """Return the values to be judged.

    Raises:
        ConfigurationError: a metric that was asked for by name is on neither side.
    """
    pairs = matched.pairs
    texts, hashes = measures.read_outputs(store, pairs.calls)
    expected = _as_expected(store, pairs, request)
    scores = average_scores(store, pairs.calls)
    judged = {**scores.values, **expected}
    better: dict[str, Better] = dict.fromkeys((*scores.values, *expected, *request.functions), HIGHER)
    for name in scores.labels:
        del better[name]
    better |= measures.DIRECTIONS | dict.fromkeys(request.lower, LOWER)
    scales = {name: find_scale(column[~np.isnan(column)], share=True) for name, column in judged.items()}
    failures: dict[str, Failures] = {}
    for name, column in judged.items():
        judged[name], failures[name] = count_failures(
            column, pairs.calls, pairs.group, scales[name], better.get(name)
        )
    values = {**judged, **measures.read_numbers(pairs.calls), **texts}
    known = (*values, *DESCRIBED)
    unknown = sorted(request.names - {*known, *scores.labels.values()})
    if unknown:
        raise ConfigurationError(
            f"no call has a metric {unknown[0]!r}: there are {', '.join(known)}; "
            "scores come from log_score or `llm-trace annotate`"
        )
    tested = {
        name: _pair_values(pairs, column)
        for name, column in values.items()
        if request.wants(name) or request.wants(scores.labels.get(name, name))
    }
    tested |= {
        name: _measure_pairs(store, pairs, name, function) for name, function in request.functions.items()
    }
    described = _describe_pairs(store, pairs, hashes, request)
    return PairTable(
        pairs.spans, tested, described, _number_clusters(pairs), better, request.confidence, request.seed,
        scales, matched.unfinished, failures, scores.labels, scores.notes,
    )  # fmt: skip


def _pair_values(pairs: Pairs, values: Floats) -> Floats:
    """Return (calls,) as (2, pairs): the mean of a's and of b's calls, NaN where none has a value."""
    return np.ascontiguousarray(compute_group_means(pairs.group, values, 2 * len(pairs)).reshape(-1, 2).T)


def _describe_pairs(
    store: Store, pairs: Pairs, hashes: Sequence[int | None], request: TableRequest
) -> dict[str, Floats]:
    described: dict[str, Floats] = {}
    if request.wants("output_changed"):
        described["output_changed"] = measures.measure_changed(pairs, hashes)
    if request.wants("output_similarity"):
        described["output_similarity"] = measures.measure_similarities(store, pairs, request.embed)
    return described


def _as_expected(store: Store, pairs: Pairs, request: TableRequest) -> measures.Values:
    """Return whether each output is the one that its example expects, where the dataset knows that of any."""
    known = {e.id: e.expected for e in request.dataset or () if e.expected is not None}
    expected = [known.get(pairs.keys[group // 2]) for group in pairs.group.tolist()]
    return {"as_expected": measures.as_expected(store, pairs.calls, expected)} if known else {}


def _measure_pairs(store: Store, pairs: Pairs, name: str, function: Measure) -> Floats:
    """Return what a user's function gives for the first calls of each pair."""
    rows = []
    for begin in range(0, len(pairs), _READ):
        part = pairs.spans[begin : begin + _READ]
        ids = ", ".join(f"'{span}'" for spans in part for span in spans)
        calls = {call.span_id: call for call in store.calls(where=f"span_id IN ({ids})", limit=None)}
        rows += [_check_values(name, function(calls[a], calls[b])) for a, b in part]
    return np.array(rows, dtype=float).T


def _check_values(name: str, values: Any) -> Floats:
    """Return what a user's function gave for a pair as (2,)."""
    try:
        numbers = np.array(values, dtype=float)
    except (TypeError, ValueError, OverflowError):
        numbers = np.empty(0)
    if numbers.shape != (2,) or (np.abs(numbers) > LARGEST).any():
        raise ConfigurationError(
            f"metric {name!r} returned {values!r} for a pair of calls: return two numbers, the value of a's "
            f"call and that of b's, none beyond {LARGEST:g}; NaN where there is no value"
        )
    return numbers


def _number_clusters(pairs: Pairs) -> NDArray[np.int64] | None:
    """Return each pair's session as a number, or `None` where sessions tell nothing: one, or one a pair.

    Where the sessions of a and b group pairs differently, those count that leave fewer independent.
    """
    a, b = ([call.session for call in side] for side in pairs.firsts)
    grouped = [_number_sessions(a, b), _number_sessions(b, a)]
    telling = [numbers for numbers in grouped if 1 < len(np.unique(numbers)) < len(pairs)]
    return min(telling, key=count_effective_clusters, default=None)


def _number_sessions(sessions: Sequence[str | None], others: Sequence[str | None]) -> NDArray[np.int64]:
    """Return a number for each pair's session, else of the other side's; a pair without is alone."""
    named: dict[str, int] = {}
    keys = (
        f"0{own}" if own else f"1{other}" if other else f"2{i}"
        for i, (own, other) in enumerate(zip(sessions, others, strict=True))
    )
    return np.array([named.setdefault(key, len(named)) for key in keys], dtype=np.int64)


def build_slices(pairs: Pairs, request: TableRequest) -> dict[str, NDArray[np.bool_]]:
    """Return which pairs share a tag or a value, for those that some but not all pairs have."""
    slices: dict[str, NDArray[np.bool_]] = {}
    for name in request.slices:
        members: dict[str, list[int]] = {}
        for i, values in enumerate(_list_values(pairs, name, request)):
            for value in values:
                members.setdefault(f"{name} {value}", []).append(i)
        large = sorted(
            (s for s, rows in members.items() if LEAST <= len(rows) < len(pairs)),
            key=lambda s: -len(members[s]),
        )
        for label in large[:MOST]:
            slices[label] = np.isin(np.arange(len(pairs)), members[label])
    return slices


def _list_values(pairs: Pairs, name: str, request: TableRequest) -> Iterator[Sequence[str]]:
    """Return for each pair the slices that it is in; a tag of one side only is what is compared."""
    if name == "tag":
        tags = cache(lambda text: frozenset(orjson.loads(text or "[]")))
        for key, a, b in zip(pairs.keys, *pairs.firsts, strict=True):
            example = request.dataset.with_id(key).tags if request.dataset else ()
            yield sorted((tags(a.tags) & tags(b.tags)).union(example))
        return
    at = request.places.index(name)
    for call in pairs.firsts[0]:
        value = call.wanted[at]
        yield () if value is None else (value,)
