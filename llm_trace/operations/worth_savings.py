"""What running alone and shorter prompts have saved, and what optimized ones have gained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_trace.operations.log import read_operations
from llm_trace.operations.worth_errors import NOT_ACTED, count_alone
from llm_trace.operations.worth_figures import Figure, FigureUnit, leave_unknown
from llm_trace.rendering.formatting import count_things
from llm_trace.stores.prompt_use import read_input_cost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.operations.log import Operation
    from llm_trace.operations.worth_errors import DecidedCall
    from llm_trace.statistics.independent import ClusteredSample
    from llm_trace.stores.duckdb import Store

_TIME, _MONEY = "Reviewers' time that calls which ran alone did not take", "What that time would have cost"
_DIET = "Input tokens saved by shorter prompts"
_BETTER = "Better grades by optimized prompts"
_USES = "SELECT count(*) FROM calls WHERE prompt_name = ? AND prompt_version = ? AND start_ns >= ?"
_READ = """
    SELECT input_tokens FROM calls
    WHERE prompt_name = ? AND prompt_version = ? AND input_tokens IS NOT NULL AND start_ns {} ?"""


def measure_automation(
    decided: Sequence[DecidedCall], review_time: Figure, hourly_usd: float | None
) -> list[Figure]:
    """Return what people did not have to look at.

    Args:
        review_time: the mean seconds of a review.
        hourly_usd: what an hour of a reviewer costs.
    """
    alone = count_alone(decided)
    if not any(each.acted for each in decided):
        return [leave_unknown("savings", _TIME, "seconds", NOT_ACTED)]
    if review_time.value is None:
        why = f"{count_things(alone, 'call')} ran alone; how long a review takes is not known: none was timed"
        return [leave_unknown("savings", _TIME, "seconds", why, alone)]
    words = (
        f"{count_things(alone, 'call')} ran alone, at the mean time of "
        f"{count_things(review_time.n, 'timed review')}"
    )
    time = _scale(review_time, alone, "seconds", _TIME, words)
    if hourly_usd is None:
        why = "say what an hour of a reviewer costs: llm-trace worth --hourly USD"
        return [time, leave_unknown("savings", _MONEY, "usd", why, alone)]
    return [time, _scale(time, hourly_usd / 3600, "usd", _MONEY, f"at ${hourly_usd:,.2f} an hour")]


def measure_diets(store: Store, prompt: str | None, confidence: float) -> list[Figure]:
    """Return what prompts that a diet has shortened have saved since they are in use."""
    notes = [n for n in read_operations(store, kind="note", subject=prompt) if n.body.get("what") == "diet"]
    pairs = {(n.subject, str(n.body.get("version")), str(n.body.get("shorter"))): n.time_ns for n in notes}
    if not pairs:
        why = "no diet was made of a prompt: llm-trace diet"
        return [leave_unknown("savings", _DIET, "tokens", why)]
    return [
        figure
        for (name, long, short), since in pairs.items()
        for figure in _measure_diet(store, name, (long, short), since, confidence)
    ]


def measure_optimizations(store: Store, prompt: str | None) -> list[Figure]:
    """Return by how much answers are better since templates are in use that an optimization found."""
    notes = [
        n for n in read_operations(store, kind="note", subject=prompt) if n.body.get("what") == "optimize"
    ]
    if not notes:
        return [leave_unknown("errors", _BETTER, "points", "no prompt was optimized: llm-trace optimize")]
    winners = {(n.subject, str(n.body.get("winner"))): n for n in notes if n.body.get("status") == "better"}
    if not winners:
        why = f"no template was shown to be better in {count_things(len(notes), 'optimization')}"
        return [leave_unknown("errors", _BETTER, "points", why, len(notes))]
    return [_measure_winner(store, note) for note in winners.values()]


def _measure_winner(store: Store, note: Operation) -> Figure:
    body, name = note.body, f"{_BETTER}, prompt {note.subject}"
    ((calls,),) = store.sql(_USES, note.subject, str(body.get("winner")), note.time_ns).fetchall()
    if not calls:
        why = "the template that was shown to be better is not in use yet"
        return leave_unknown("errors", name, "points", why)
    return Figure(
        topic="errors", name=name, value=body["gain"], low=body["low"], high=body["high"], unit="points",
        n=calls, words=f"mean grade on untouched examples; {count_things(calls, 'call')} of the winner since",
    )  # fmt: skip


def _measure_diet(
    store: Store, prompt: str, versions: tuple[str, str], since_ns: int, confidence: float
) -> list[Figure]:
    from llm_trace.statistics.independent import bound_difference

    title = f"{_DIET}, prompt {prompt}"
    before = _read_tokens(store, prompt, versions[0], "<", since_ns)
    after = _read_tokens(store, prompt, versions[1], ">=", since_ns)
    if before is None or after is None:
        which = "the shorter version is not in use yet" if after is None else "no call of the version before"
        return [leave_unknown("savings", title, "tokens", f"{which}, or reports no tokens")]
    calls = len(after.values)
    mean = bound_difference(before, after, confidence, share=False)
    low, high = (None if bound is None else bound * calls for bound in (mean.low, mean.high))
    words = (
        f"{count_things(calls, 'call')} of the shorter version, with {mean.value:,.1f} tokens less each, on "
        f"average"
    )
    tokens = Figure(
        topic="savings", name=title, value=mean.value * calls, low=low, high=high, unit="tokens",
        n=calls + len(before.values), words=words,
    )  # fmt: skip
    name, cost = (
        f"What these tokens would have cost, prompt {prompt}",
        read_input_cost(store, prompt, versions[1]),
    )
    if cost.usd is None or not cost.tokens:
        return [tokens, leave_unknown("savings", name, "usd", "no price is known for the model", calls)]
    return [tokens, _scale(tokens, cost.usd / cost.tokens, "usd", name, "at the mean price of what was read")]


def _read_tokens(store: Store, prompt: str, version: str, side: str, since_ns: int) -> ClusteredSample | None:
    import numpy as np

    from llm_trace.statistics.independent import ClusteredSample

    rows = store.fetch(_READ.format(side), prompt, version, since_ns)
    values = np.array([row[0] for row in rows], dtype=np.float64)
    return ClusteredSample(values, np.arange(len(values))) if rows else None


def _scale(figure: Figure, factor: float, unit: FigureUnit, name: str, words: str) -> Figure:
    low, high = (None if bound is None else bound * factor for bound in (figure.low, figure.high))
    return Figure(
        topic="savings", name=name, value=(figure.value or 0.0) * factor, low=low, high=high,
        unit=unit, n=figure.n, words=words,
    )  # fmt: skip
