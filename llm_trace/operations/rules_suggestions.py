"""Rules proposed from attributions of wrong against right answers, each confirmed on calls held out."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_trace.errors import ConfigurationError
from llm_trace.lazy_names import check_library
from llm_trace.operations.labels import read_labels
from llm_trace.operations.rates import bound_rate
from llm_trace.operations.rules_facts import KnownCall, read_known_calls
from llm_trace.operations.rules_record import SuggestedRule, Suggestions
from llm_trace.operations.shares import MissingSignalError
from llm_trace.record import Run, ScoreSource
from llm_trace.rendering.formatting import count_things

if TYPE_CHECKING:
    from llm_trace.operations.rules_candidates import Flags, RuleCandidate
    from llm_trace.stores.duckdb import Store

LABEL = "correct"
CANDIDATES = 8
FEWEST = 10
"""Wrong calls, and right ones, below which nothing is proposed."""


class CheckedCase(NamedTuple):
    """A call that is known to be right or wrong, with its attribution."""

    known: KnownCall
    wrong: bool


def suggest_rules(
    run: str | Run | None = None,
    *,
    store: str | os.PathLike[str] | Store | None = None,
    label: str = LABEL,
    source: ScoreSource = "human",
    candidates: int = CANDIDATES,
    confidence: float = 0.95,
    seed: int = 0,
    **filters: Any,
) -> Suggestions:
    """Return rules that tell wrong answers from right ones by where the weight lies; none applies itself.

    Half of the calls, drawn by chance, propose: shares of variables, lines, words and numbers above or below
    a threshold, one or two together. The other half tests each proposal once. Calls of one session, or else
    with one question, stay together, and one of each is tested: what repeats proves nothing twice.

    Args:
        run: whose calls; all calls if absent.
        store: a path or an open store; by default what `LLM_TRACE_STORE` names.
        label: a score that says right or wrong (true, false) of a call or of the call around it.
        source: who gave it.
        candidates: how many proposals are tested.
        confidence: that none of the confirmed ones is there by chance.
        seed: of the draw.
        filters: as `Store.calls` takes them.

    Raises:
        ConfigurationError: fewer than ten wrong or ten right calls have an attribution that is evidence.
    """
    check_library("scipy", "suggest_rules")
    from llm_trace.operations.rules_candidates import find_candidates, list_features

    if not 1 <= candidates <= 100:
        raise ConfigurationError(f"candidates={candidates!r} cannot be tested: give 1 to 100")
    cases, left_out = _read_cases(store, run, label, source, filters)
    training, other = split_cases(cases, seed)
    held_out = draw_one_of_each(other, seed)
    if len(held_out) < len(other):
        left_out["another of its session or question is tested"] = len(other) - len(held_out)
    wrong = flag_calls([case.wrong for case in training])
    features = list_features([case.known.shares for case in training])
    tested = find_candidates(features, wrong, candidates)
    rules = confirm_candidates(tested, held_out, confidence)
    return Suggestions(
        rules=tuple(rules),
        candidates=len(tested),
        training=len(training),
        held_out=len(held_out),
        wrong=sum(case.wrong for case in cases),
        left_out=left_out,
        label=label,
        confidence=confidence,
        seed=seed,
    )


def _read_cases(
    store: str | os.PathLike[str] | Store | None,
    run: str | Run | None,
    label: str,
    source: ScoreSource,
    filters: dict[str, Any],
) -> tuple[list[CheckedCase], dict[str, int]]:
    from llm_trace.stores.duckdb import Store, open_store

    opened = store if isinstance(store, Store) else open_store(store or _get_default())
    calls = opened.calls(run=run, **{"kind": "llm", "limit": None, "order": "oldest", **filters})
    known = read_known_calls(opened, calls)
    labels = read_labels(known, label, source)
    cases: list[CheckedCase] = []
    left_out: dict[str, int] = defaultdict(int)
    for call in known:
        if (right := labels.right.get(call.call.span_id)) is None:
            tied = call.call.span_id in labels.tied
            left_out["as many say right as wrong" if tied else f"no score {label!r} by {source}"] += 1
            continue
        try:
            _ = call.shares.weights
        except MissingSignalError as exc:
            left_out[str(exc)] += 1
            continue
        cases.append(CheckedCase(call, not right))
    _check_enough(cases, left_out, label, source)
    return cases, dict(left_out)


def _get_default() -> str:
    return os.environ.get("LLM_TRACE_STORE", "llm_trace.duckdb")


def _check_enough(cases: Sequence[CheckedCase], left_out: dict[str, int], label: str, source: str) -> None:
    wrong = sum(case.wrong for case in cases)
    if wrong >= FEWEST and len(cases) - wrong >= FEWEST:
        return
    reasons = "; ".join(
        f"{count_things(count, 'call')} left out: {reason}" for reason, count in left_out.items()
    )
    raise ConfigurationError(
        f"{wrong:,} wrong and {len(cases) - wrong:,} right of {count_things(len(cases), 'call')} with an "
        f"attribution and a score {label!r} by {source}; {FEWEST} of each are needed to learn from"
        + (f" ({reasons})" if reasons else "")
        + ": llm-trace annotate scores, llm-trace attribute explains"
    )


def split_cases(cases: Sequence[CheckedCase], seed: int) -> tuple[list[CheckedCase], list[CheckedCase]]:
    """Return two halves, each with about as many wrong calls; what belongs together stays together."""
    groups: dict[str, list[CheckedCase]] = defaultdict(list)
    for case in cases:
        groups[_find_group(case)].append(case)
    shuffled = list(groups.values())
    random.Random(seed).shuffle(shuffled)
    shuffled.sort(key=lambda group: any(case.wrong for case in group))  # stable: each kind is dealt in turn
    halves: tuple[list[CheckedCase], list[CheckedCase]] = ([], [])
    for number, group in enumerate(shuffled):
        halves[number % 2].extend(group)
    return halves


def draw_one_of_each(cases: Sequence[CheckedCase], seed: int) -> list[CheckedCase]:
    """Return one call of each session or question, drawn by chance, in the order of the sessions."""
    groups: dict[str, list[CheckedCase]] = defaultdict(list)
    for case in cases:
        groups[_find_group(case)].append(case)
    rng = random.Random(seed)
    return [rng.choice(group) for group in groups.values()]


def _find_group(case: CheckedCase) -> str:
    call, attribution = case.known.call, case.known.attribution
    return call.session or (attribution.prompt if attribution else call.span_id)


def flag_calls(values: Sequence[bool]) -> Flags:
    import numpy as np

    return np.array(values, dtype=bool)


def confirm_candidates(
    tested: Sequence[RuleCandidate], held_out: Sequence[CheckedCase], confidence: float
) -> list[SuggestedRule]:
    """Return the candidates that hold on calls held out, asked as a rule file would ask them."""
    from llm_trace.operations.rules_candidates import compute_p_values
    from llm_trace.operations.rules_conditions import compile_condition
    from llm_trace.statistics.multiple_tests import correct_holm

    if not tested:
        return []
    conditions = [compile_condition(candidate.text) for candidate in tested]
    fired = [[c.evaluate(case.known).answer == "fires" for case in held_out] for c in conditions]
    wrong = flag_calls([case.wrong for case in held_out])
    p_values = correct_holm(compute_p_values(_flag_rows(fired), wrong))
    rules = []
    for candidate, flags, p_value in zip(tested, fired, p_values, strict=True):
        hits = sum(flag and case.wrong for flag, case in zip(flags, held_out, strict=True))
        if p_value > 1 - confidence:
            continue
        rules.append(
            SuggestedRule(
                name=_name_rule(candidate),
                when=candidate.text,
                p_value=float(p_value),
                precision=bound_rate(hits, sum(flags), confidence),
                recall=bound_rate(hits, int(wrong.sum()), confidence),
                fires=bound_rate(sum(flags), len(flags), confidence),
            )
        )
    return sorted(rules, key=lambda rule: (rule.p_value, rule.when))


def _flag_rows(rows: Sequence[Sequence[bool]]) -> Flags:
    import numpy as np

    return np.array(rows, dtype=bool)


def _name_rule(candidate: RuleCandidate) -> str:
    """Return a name in words: `much weight on 'broken', little on numbers`."""
    words = {">": "much weight on", "<": "little weight on"}
    return ", ".join(f"{words[bound.sign]} {_describe(bound.feature)}" for bound in candidate.bounds)


def _describe(feature: str) -> str:
    function, _, rest = feature.partition("(")
    literal = rest.removesuffix(")")
    kinds = {"share_of_variable": f"the variable {literal}", "share_of_line": f"the line of {literal}"}
    return "numbers" if function == "share_matching" else kinds.get(function, literal)
