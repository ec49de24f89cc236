"""What stands beside a comparison's table: how pairs were made and counted, and what weakens the findings."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.comparison.words import format_number
from llm_trace.rendering.formatting import count_things
from llm_trace.statistics.clusters import count_effective_clusters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llm_trace.comparison.judge import PairTable
    from llm_trace.comparison.pairs import Paired, Pairs

FEW_PAIRS = 30
"""Below this, bounds cover less often than they say."""
FEW_CLUSTERS = 10


def list_notes(pairs: Pairs, table: PairTable) -> tuple[str, ...]:
    """Return how the pairs were made and counted."""
    return tuple(_iter_notes(pairs, table))


def _iter_notes(pairs: Pairs, table: PairTable) -> Iterator[str]:
    if pairs.repeated == 1:
        yield "1 input was asked several times: it counts once, with the mean of its calls"
    elif pairs.repeated:
        yield (
            f"{pairs.repeated:,} inputs were asked several times: each counts once, with the mean of its "
            "calls"
        )
    if table.clusters is not None:
        yield f"pairs of one session count as dependent: {len(np.unique(table.clusters)):,} sessions"
    for name, failures in table.failures.items():
        for side, calls in zip("ab", failures.calls, strict=True):
            if calls and name in table.tested:
                yield (
                    f"{name}: {count_things(calls, 'call')} of {side} failed without it and count as the "
                    f"worst, {format_number(failures.value)}"
                )
    yield from table.remarks


def list_warnings(matched: Paired, table: PairTable, tried: int) -> tuple[str, ...]:
    """Return what weakens the findings."""
    weak = [
        *_warn_too_few(matched.pairs, table),
        *_warn_alike(matched),
        *_warn_one_sided(table),
        *_warn_missing(table),
    ]
    if tried > 1:
        weak.append(
            f"{tried} different comparisons were made on these inputs: the best of several looks better "
            "than it is. Confirm it on inputs that were not used yet."
        )
    return tuple(weak)


def _warn_too_few(pairs: Pairs, table: PairTable) -> Iterator[str]:
    if len(pairs) < FEW_PAIRS:
        yield (
            f"Only {count_things(len(pairs), 'pair')}: below {FEW_PAIRS} the bounds cover the truth less "
            "often than they say."
        )
    if table.clusters is not None and (worth := count_effective_clusters(table.clusters)) < FEW_CLUSTERS:
        largest = float(np.unique(table.clusters, return_counts=True)[1].max() / len(pairs))
        yield (
            f"The sessions tell as much as {format_number(worth)} of equal size (the largest holds "
            f"{largest:.0%} of the pairs): from fewer than {FEW_CLUSTERS} the bounds are not to be relied on."
        )
    for side, calls in zip("ab", pairs.firsts, strict=True):
        if (
            table.clusters is None
            and len(pairs) > 1
            and len({call.session for call in calls}) == 1
            and calls[0].session
        ):
            yield (
                f"All pairs of {side} are of one session, {calls[0].session!r}: the bounds take them to be "
                "independent."
            )


def _warn_alike(matched: Paired) -> Iterator[str]:
    """Return what to do where calls look alike that may have been asked different things."""
    hint = "name what tells them apart by by=/--by, such as input.question or metadata.example"
    if matched.blank:
        names, calls = ", ".join(matched.blank), sum(matched.blank.values())
        yield (
            f"{count_things(calls, 'call')} of {names} recorded no input and count as the same: {hint}, or "
            "record it (span(…, input=…))."
        )
    elif len(matched.pairs) == 1 and len(matched.pairs.calls) > 2:
        yield f"All calls have the same input and count as one pair: if they do not mean the same, {hint}."


def _warn_one_sided(table: PairTable) -> Iterator[str]:
    sides: dict[str, set[str]] = defaultdict(set)
    for name, values in table.tested.items():
        known = [side for side, own in zip("ab", values, strict=True) if not np.isnan(own).all()]
        if len(known) == 1:
            sides[table.labels.get(name, name)].add(known[0])
    for name, known_in in sides.items():
        if len(known_in) == 2:
            yield f"{name} has numbers or labels in one of a and b that the other has not: score both alike."
            continue
        have, lack = ("a", "b") if "a" in known_in else ("b", "a")
        warning = f"{name} is known in {have} and not in {lack}"
        scored = name in {table.labels.get(metric, metric) for metric in table.scales}
        advice = (
            f"score {lack} as well (log_score, or llm-trace annotate --csv)"
            if scored
            else "it is not compared"
        )
        yield f"{warning}: {advice}."


def _warn_missing(table: PairTable) -> Iterator[str]:
    seen: dict[str, tuple[int, int]] = {}
    for name in table.scales.keys() & table.tested.keys():
        lacks = np.isnan(table.tested[name])
        if not lacks.all(axis=1).any():
            only = lacks[:, ~lacks.all(axis=0)].sum(axis=1)
            seen[table.labels.get(name, name)] = (int(only[1]), int(only[0]))
    for name, (in_a, in_b) in sorted(seen.items()):
        if in_a or in_b:
            counts = " and ".join(
                f"{count_things(n, 'pair')} only in {side}" for side, n in (("a", in_a), ("b", in_b)) if n
            )
            yield f"{name} is known of {counts}: the bounds allow for any value there, score these as well."
    for side, n in zip("ab", table.unfinished, strict=True):
        if n:
            other = "ab"["ba".index(side)]
            yield (
                f"{count_things(n, 'input')} that {side} finished {'was' if n == 1 else 'were'} begun by "
                f"{other} and not finished: the bounds allow for any outcome there."
            )
