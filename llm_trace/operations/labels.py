"""What was said of calls: right or wrong, by a score of one name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from llm_trace.errors import ConfigurationError

if TYPE_CHECKING:
    from llm_trace.operations.rules_facts import KnownCall
    from llm_trace.record import ScoreSource

RIGHT = frozenset(("1", "1.0", "right", "correct", "true", "yes", "y", "pass", "passed", "ok", "good"))
WRONG = frozenset(("0", "0.0", "wrong", "incorrect", "false", "no", "n", "fail", "failed", "bad"))


class Labels(NamedTuple):
    """Which calls are right and which wrong."""

    right: Mapping[str, bool]
    """By span."""
    tied: tuple[str, ...]
    """Calls of which as many said right as wrong: they count for neither."""


def parse_label(value: float | str | bool) -> bool | None:
    """Return whether a score says right or wrong; `None` where it says neither."""
    word = str(value).strip().lower()
    return word in RIGHT if word in RIGHT or word in WRONG else None


def read_labels(calls: Iterable[KnownCall], label: str, source: ScoreSource = "human") -> Labels:
    """Return what most scores of a name say of each call: its own, or else those of the call around it.

    Raises:
        ConfigurationError: a score of that name is neither right nor wrong.
    """
    right: dict[str, bool] = {}
    tied: list[str] = []
    for known in calls:
        scores = [score for score in known.scores if score.name == label and score.source == source]
        votes = [_vote(label, s.value, s.span_id) for s in scores if s.span_id == scores[-1].span_id]
        for_right = sum(votes)
        if votes and 2 * for_right == len(votes):
            tied.append(known.call.span_id)
        elif votes:
            right[known.call.span_id] = 2 * for_right > len(votes)
    return Labels(right, tuple(tied))


def _vote(label: str, value: float | str | bool, span_id: str) -> bool:
    right = parse_label(value)
    if right is None:
        raise ConfigurationError(
            f"the score {label!r} of call {span_id} is {value!r}, which is neither right nor wrong: score it "
            f"true or false, or name another label"
        )
    return right
