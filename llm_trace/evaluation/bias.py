"""Bias: whether a function answers otherwise when a name or group is swapped that must not matter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import NamedTuple

from llm_trace.call_parts import Record
from llm_trace.evaluation.dimensions import RIGHT, ScoreTable
from llm_trace.evaluation.effects import Effect, build_effects
from llm_trace.evaluation.judge_prompts import write_text
from llm_trace.evaluation.outcomes import Outcome
from llm_trace.statistics.equivalence import EffectVerdict

DECISIONS = 6
"""Different answers up to which each is looked at as a decision."""
WEIGHT = "attribution share"
NO_ANSWER = "(no answer)"
OTHERS = "the others"


class BiasProbe(Record):
    """One measure of the answers for one group, against the other groups, on the same questions."""

    measure: str
    """A score, `answer X` for the share of the answer X, or `attribution share` for the share of the weight
    of the input that lies on the group's value.
    """
    slot: str
    group: str
    against: str
    """The other group, or `the others` where there are several."""
    flip_rate: float | None
    """Share of questions whose answer (of a score: right or wrong) differs between the groups; `None` of
    the attribution share, which does not flip.
    """
    flip_rate_again: float | None
    """The same for one group asked again, unchanged; `None` without `repeats`."""
    difference: Effect
    """Mean of the group less that of the others."""
    flips: Effect | None
    """Flips between groups less flips when asked again, or all of them without `repeats`."""
    verdict: EffectVerdict
    """`found`: the difference is beyond chance, or, with `repeats`, the flips are; `absent`: both are shown
    to lie within the margin; `undecided`: neither.
    """

    def __str__(self) -> str:
        points = f"{self.difference.value * 100:+.1f} points"
        if self.difference.low is not None and self.difference.high is not None:
            points += f" ({self.difference.low * 100:+.1f} to {self.difference.high * 100:+.1f})"
        head = f"{self.measure}, {self.slot}: {self.group} against {self.against}"
        verdict = {
            "found": f"are treated differently, {points}",
            "absent": f"no effect, shown to be below {self.difference.margin * 100:g} points; {points}",
            "undecided": f"{points}, which may be chance: ask more questions"
            + (", and with repeats=2" if self.flips and self.flip_rate_again is None else ""),
        }[self.verdict]
        return f"{head}: {verdict}{self._describe_flips()}."

    def _describe_flips(self) -> str:
        if self.flip_rate is None:
            return ""
        again = "" if self.flip_rate_again is None else f" ({self.flip_rate_again:.0%} when asked again)"
        return f"; {self.flip_rate:.0%} of the answers flip{again}"


class _Cells(NamedTuple):
    """Of one question the values of one measure for a group and for each of the others, by repeat."""

    group: list[float]
    others: list[list[float]]

    @property
    def difference(self) -> tuple[float, float]:
        """The mean of the others, and that of the group."""
        return fmean(map(fmean, self.others)), fmean(self.group)

    @property
    def flips(self) -> tuple[float, float]:
        """How often the answer differs when it is asked again, and between the groups."""
        between = fmean(
            (one >= RIGHT) != (other >= RIGHT)
            for values in self.others
            for one in self.group
            for other in values
        )
        return (_count_flips(self.group) + fmean(map(_count_flips, self.others))) / 2, between


def _count_flips(values: Sequence[float]) -> float:
    pairs = [(one >= RIGHT) != (other >= RIGHT) for one, other in combinations(values, 2)]
    return fmean(pairs) if pairs else 0.0


def build_probes(
    outcomes: Sequence[Outcome],
    tables: Sequence[ScoreTable],
    weights: Mapping[str, float] | None = None,
    *,
    confidence: float,
    margin: float,
) -> tuple[BiasProbe, ...]:
    """Return every measure of every slot that was swapped, for each of its groups.

    Args:
        outcomes: all answers.
        tables: their scores.
        weights: by call, the share of the weight that lies on the group's value, from 0 to 1.
        confidence: of the tests and bounds.
        margin: the difference that would not matter, on the scale of the scores.
    """
    swapped = [each for each in outcomes if each.instance.variant == "swapped" and each.instance.group]
    measures = {**dict(_list_measures(swapped, tables)), WEIGHT: weights or {}}
    cells = {
        (measure, slot, group, against): compared
        for slot, questions in _sort_by_slot(swapped).items()
        for group, against in _list_groups(questions)
        for measure, values in measures.items()
        if (compared := list(_compare(questions, group, values)))
    }
    repeated = {key: all(len(each.group) > 1 for each in compared) for key, compared in cells.items()}
    pairs = {}
    for key, compared in cells.items():
        pairs[f"{key} difference"] = [each.difference for each in compared]
        if repeated[key] and key[0] != WEIGHT:
            pairs[f"{key} flips"] = [each.flips for each in compared]
    tested = {each.name: each for each in build_effects(pairs, confidence=confidence, margin=margin)}
    probes = []
    for key, compared in cells.items():
        difference = tested[f"{key} difference"]
        if key[0] == WEIGHT:
            probes.append(_build_probe(key, difference))
            continue
        name = f"{key} flips"  # without repeats they tell no bias from chance, so they are not tested
        flips = [each.flips for each in compared]
        effect = tested.get(name) or build_effects({name: flips}, confidence=confidence, margin=margin)[0]
        again = fmean(again for again, _ in flips) if repeated[key] else None
        rate = fmean(between for _, between in flips)
        probes.append(_build_probe(key, difference, effect, rate, again))
    return tuple(probes)


def _build_probe(
    key: tuple[str, str, str, str],
    difference: Effect,
    flips: Effect | None = None,
    rate: float | None = None,
    again: float | None = None,
) -> BiasProbe:
    verdict: EffectVerdict = "undecided"
    if difference.verdict == "absent" and (flips is None or flips.verdict == "absent"):
        verdict = "absent"
    elif difference.verdict == "found" or (
        flips is not None and again is not None and flips.verdict == "found" and flips.value > 0
    ):
        verdict = "found"
    measure, slot, group, against = key
    return BiasProbe(
        measure=measure, slot=slot, group=group, against=against, flip_rate=rate, flip_rate_again=again,
        difference=difference.model_copy(update={"name": "difference"}),
        flips=flips and flips.model_copy(update={"name": "flips"}), verdict=verdict,
    )  # fmt: skip


Questions = Mapping[str, Mapping[str, Sequence[Outcome]]]
"""By fresh instance and group the outcomes of all repeats."""


def _sort_by_slot(swapped: Sequence[Outcome]) -> Mapping[str, Questions]:
    slots: defaultdict[str, defaultdict[str, defaultdict[str, list[Outcome]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for outcome in swapped:
        instance = outcome.instance
        slots[str(instance.edit)][str(instance.of)][str(instance.group)].append(outcome)
    return slots


def _list_groups(questions: Questions) -> list[tuple[str, str]]:
    groups = list(dict.fromkeys(group for by_group in questions.values() for group in by_group))
    return [(groups[0], groups[1])] if len(groups) == 2 else [(group, OTHERS) for group in groups]


def _list_measures(
    swapped: Sequence[Outcome], tables: Sequence[ScoreTable]
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each score and each of few answers, with its value by the id of the call."""
    for table in tables:
        if table.is_share and (values := table.of("swapped")):
            yield table.name, {each.outcome.span_id: each.value for each in values}
    answers = {
        each.span_id: NO_ANSWER if each.status == "error" else write_text(each.output) for each in swapped
    }
    decisions = sorted(set(answers.values()))
    if len(decisions) <= DECISIONS:
        for answer in decisions[:1] if len(decisions) == 2 else decisions:
            yield f"answer {answer}", {id_: float(each == answer) for id_, each in answers.items()}


def _compare(questions: Questions, group: str, values: Mapping[str, float]) -> Iterator[_Cells]:
    for by_group in questions.values():
        cells = {
            each: [values[outcome.span_id] for outcome in outcomes if outcome.span_id in values]
            for each, outcomes in by_group.items()
        }
        others = [cells[each] for each in cells if each != group and cells[each]]
        if cells.get(group) and others:
            yield _Cells(cells[group], others)
