"""What a judge reads: the answer, or its length, its position, or the name of the model that wrote it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random
from typing import Any

from llm_trace.errors import ConfigurationError
from llm_trace.evaluation.audit_record import JudgeAudit, judge_effects
from llm_trace.evaluation.effects import build_effects
from llm_trace.evaluation.grades import Scorer
from llm_trace.evaluation.instances import Instance
from llm_trace.evaluation.interventions import NAMES, Lengthen, Shown, lengthen, list_interventions
from llm_trace.evaluation.judge_prompts import write_text
from llm_trace.evaluation.outcomes import Outcome
from llm_trace.evaluation.ratings import rate_all

MARGIN = 0.1
"""Of a score from 0 to 1 the change that would not matter: less than half a grade of five."""
Prefer = Callable[[Any, Any, Instance], float | Awaitable[float]]
"""Takes two answers and the instance; returns 1 where the first is better, 0 where the second is."""
Rate = Callable[[Shown], Any]


def audit_judge(
    judge: Scorer,
    answers: Iterable[Outcome | tuple[Any, Instance]],
    *,
    names: Sequence[str] = NAMES,
    lengthen: Lengthen = lengthen,
    margin: float = MARGIN,
    confidence: float = 0.95,
    concurrency: int = 1,
    seed: int = 0,
) -> JudgeAudit:
    """Return what a judge that grades single answers reads of them.

    Each answer is judged as it is, longer without more content, with the name of each model before it, with
    its words shuffled, and with the answer to another question in its place.

    Args:
        judge: a `Judge`, or any scorer that gives one score from 0 to 1.
        answers: to judge, from an evaluation or with their instances; 60 to 100 different ones tell much.
        names: of models; the first is compared with each of the others.
        lengthen: makes an answer longer without content.
        margin: the change of the score that would not matter.
        confidence: of the bounds and, after Holm's correction for all tests, of what is found.
        concurrency: calls of the judge at a time.
        seed: of what is shuffled.

    Raises:
        ConfigurationError: there are fewer than two answers or names, or the judge gave no score at all.
    """
    pairs = [(each.output, each.instance) if isinstance(each, Outcome) else each for each in answers]
    cases = [Shown(number, write_text(output)) for number, (output, _) in enumerate(pairs)]

    def rate(shown: Shown) -> Any:
        return judge(shown.answer, pairs[shown.number][1])

    return _audit(rate, cases, names, lengthen, margin, confidence, concurrency, seed)


def audit_pair_judge(
    prefer: Prefer,
    pairs: Iterable[tuple[Any, Any, Instance]],
    *,
    names: Sequence[str] = NAMES,
    lengthen: Lengthen = lengthen,
    margin: float = MARGIN,
    confidence: float = 0.95,
    concurrency: int = 1,
    seed: int = 0,
) -> JudgeAudit:
    """Return what a judge that compares two answers reads of them.

    Each pair is judged in both orders and, in one of them in turn, with one of the answers longer, then the
    other, with the names of the models one way and the other, with the first answer's words shuffled, and
    with the answer to another question in its place.

    Args:
        prefer: returns which answer is better, in the order in which it is shown them: of a `PairJudge` it is
            `judge.prefer`.
        pairs: two answers to the same instance.
        names, lengthen, margin, confidence, concurrency, seed: as of `audit_judge`.

    Raises:
        ConfigurationError: there are fewer than two pairs or names, or the judge gave no score at all.
    """
    triples = list(pairs)
    cases = [
        Shown(number, write_text(first), write_text(second), is_first=number % 2 == 0)
        for number, (first, second, _) in enumerate(triples)
    ]

    def rate(shown: Shown) -> Any:
        first, second = (shown.answer, shown.rival) if shown.is_first else (shown.rival, shown.answer)
        return prefer(first, second, triples[shown.number][2])

    return _audit(rate, cases, names, lengthen, margin, confidence, concurrency, seed)


def _audit(
    rate: Rate, cases: Sequence[Shown], names: Sequence[str], lengthen: Lengthen, margin: float,
    confidence: float, concurrency: int, seed: int,
) -> JudgeAudit:  # fmt: skip
    if len(cases) < 2:
        raise ConfigurationError(f"an audit needs at least two answers, better 60, and not {len(cases)}")
    if len(set(names)) < max(2, len(names)):
        raise ConfigurationError(f"names={names!r} must list at least two different names")
    changes = list_interventions(cases, names, lengthen, Random(seed))
    shown = dict.fromkeys(each for pairs in changes.values() for pair in pairs for each in pair)
    ratings = rate_all({each: lambda each=each: rate(each) for each in shown}, concurrency)  # type: ignore[misc]
    if not ratings.scores:
        raise ConfigurationError(f"the judge gave no score at all; the first time: {ratings.failures[0]}")
    scores = {each: score if each.is_first else 1 - score for each, score in ratings.scores.items()}
    pairs = {
        name: [
            (scores[before], scores[after]) for before, after in changed if {before, after} <= scores.keys()
        ]
        for name, changed in changes.items()
    }
    effects = build_effects(pairs, confidence=confidence, margin=margin)
    return JudgeAudit(
        effects=effects, n=len(cases), calls=len(shown), failed=len(ratings.failures),
        failure=next(iter(ratings.failures), None), confidence=confidence, verdict=judge_effects(effects),
    )  # fmt: skip


__all__ = ["audit_judge", "audit_pair_judge"]
