"""Conditions that may tell wrong answers from right ones: shares of words, lines, variables and numbers.

Only what calls for training say counts here; whether it is true is tested on others (`rules_suggestions`).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from llm_trace.operations.shares import MissingSignalError, WeightShares, trim_punctuation

if TYPE_CHECKING:
    from llm_trace.statistics.floats import Floats

Sign = Literal[">", "<"]
_ABOVE: Sign = ">"
_BELOW: Sign = "<"
Flags = NDArray[np.bool_]
_Measure = Callable[[WeightShares], float]
_ShareOf = Callable[[WeightShares, str], float]
_NUMBER = "[0-9]+([.,][0-9]+)*"
_KNOWN = 0.9
"""Share of the calls for which a share must be known."""
_COMMON, _LEAST, _MOST_WORDS = 0.05, 5, 200
"""Words are looked at that stand in so large a share of the calls, in so many, the most frequent ones."""
_CUTS = np.linspace(0.02, 0.98, 25)
_PARTNERS = 12
"""Strongest bounds that are joined with others."""
_BETTER = 0.1
"""A second bound must lower the p-value to so much of it."""
_SAME = 0.8
"""Overlap (Jaccard) with a stronger candidate, above which a candidate says the same."""


@dataclass(frozen=True)
class Feature:
    """A share, as an expression of conditions, and its value in each call."""

    text: str
    values: Floats
    """NaN where it is not known."""


class Bound(NamedTuple):
    """A share above or below a threshold."""

    feature: str
    sign: Sign
    threshold: float

    def __str__(self) -> str:
        return f"{self.feature} {self.sign} {self.threshold:g}"


@dataclass(frozen=True)
class RuleCandidate:
    """One bound, or two that both hold."""

    bounds: tuple[Bound, ...]
    flags: Flags
    """On which calls for training it fires."""
    p_value: float
    """One-sided, of the calls for training: that it was chosen among many is not in it."""

    @property
    def text(self) -> str:
        """The condition."""
        return " && ".join(map(str, self.bounds))


def list_features(shares: Sequence[WeightShares]) -> list[Feature]:
    """Return the shares that can be told apart in calls: of variables, lines of the template, words, the most
    frequent first, and numbers; those that are known of nine in ten calls and differ.
    """
    variables = dict.fromkeys(name for each in shares for name in each.variables)
    asked: list[tuple[str, _ShareOf, str]]
    asked = [("share_of_variable", WeightShares.measure_variable, name) for name in variables]
    asked += [("share_of_line", WeightShares.measure_line, text) for text in _list_lines(shares)]
    asked += [("share", WeightShares.measure_text, word) for word in _list_words(shares)]
    measures: dict[str, _Measure] = {
        f"{function}({write_literal(text)})": partial(_ask, method, text) for function, method, text in asked
    }
    measures[f"share_matching('^{_NUMBER}$')"] = _measure_numbers
    features = (Feature(text, _measure(measure, shares)) for text, measure in measures.items())
    return [feature for feature in features if _is_telling(feature.values)]


def find_candidates(features: Sequence[Feature], wrong: Flags, most: int) -> list[RuleCandidate]:
    """Return the conditions that tell wrong from right best, the best first, none that says what a better one
    says.

    Args:
        features: of the calls.
        wrong: (n,) which calls are wrong.
        most: how many to return.
    """
    place = {feature.text: number for number, feature in enumerate(features)}

    def rank(candidate: RuleCandidate) -> tuple[float, int, list[int]]:
        """Put the simpler first among equals, then what stands first among the features."""
        bounds = candidate.bounds
        return candidate.p_value, len(bounds), [place[bound.feature] for bound in bounds]

    singles = sorted(_list_singles(features, wrong), key=rank)
    pairs = [pair for first in singles[:_PARTNERS] for pair in _list_pairs(first, singles, wrong)]
    candidates: list[RuleCandidate] = []
    for candidate in sorted([*singles, *pairs], key=rank):
        if len(candidates) == most or candidate.p_value > 0.05:
            break
        if all(_measure_overlap(candidate.flags, other.flags) < _SAME for other in candidates):
            candidates.append(candidate)
    return candidates


def write_literal(text: str) -> str:
    """Return a text as CEL writes it."""
    plain = text.isprintable() and "'" not in text and "\\" not in text
    return f"'{text}'" if plain else json.dumps(text, ensure_ascii=False)


def compute_p_values(flags: Flags, wrong: Flags) -> Floats:
    """Return for each row of flags the chance that so many wrong calls would be among the flagged ones by
    accident.

    Args:
        flags: (k, n) which of the calls each condition fires on.
        wrong: (n,) which of them are wrong.

    Source: Fisher's exact test, one-sided.
    """
    hits = (flags & wrong).sum(axis=1)
    return np.asarray(stats.hypergeom.sf(hits - 1, len(wrong), int(wrong.sum()), flags.sum(axis=1)))


def _ask(method: _ShareOf, text: str, shares: WeightShares) -> float:
    return method(shares, text)


def _measure_numbers(shares: WeightShares) -> float:
    return shares.measure_words({word.text for word in shares.words if _is_number(word.text)})


def _measure(measure: _Measure, shares: Iterable[WeightShares]) -> Floats:
    return np.array([_measure_one(measure, each) for each in shares])


def _measure_one(measure: _Measure, shares: WeightShares) -> float:
    try:
        return measure(shares)
    except MissingSignalError:
        return math.nan


def _is_telling(values: Floats) -> bool:
    known = values[~np.isnan(values)]
    return len(known) >= _KNOWN * len(values) and len(known) > 0 and float(np.ptp(known)) > 0.01


def _list_words(shares: Sequence[WeightShares]) -> list[str]:
    counts = Counter(word for each in shares for word in dict.fromkeys(w.text.casefold() for w in each.words))
    least = max(_LEAST, _COMMON * len(shares))
    words = (
        w for w, n in counts.most_common() if n >= least and any(map(str.isalnum, w)) and not _is_number(w)
    )
    return [word for _, word in zip(range(_MOST_WORDS), words, strict=False)]


def _list_lines(shares: Sequence[WeightShares]) -> list[str]:
    """Return the first words of lines that stand in nearly every prompt, enough to tell them apart."""
    lines = Counter(
        line for each in shares for line in set(each.attribution.prompt.splitlines()) if line.strip()
    )
    fixed = [line for line, n in lines.items() if n >= _KNOWN * len(shares)]
    beginnings = (_find_beginning(line, fixed) for line in fixed)
    return [beginning for beginning in beginnings if beginning is not None]


def _find_beginning(line: str, others: Sequence[str]) -> str | None:
    words = [trim_punctuation(word) for word in line.split()]
    for n in range(1, min(len(words), 4) + 1):
        beginning = words[:n]
        if sum(_contains(other, beginning) for other in others) == 1:
            return " ".join(beginning)
    return None


def _contains(line: str, words: Sequence[str]) -> bool:
    runs = [trim_punctuation(word).casefold() for word in line.split()]
    wanted, n = [word.casefold() for word in words], len(words)
    return any(runs[i : i + n] == wanted for i in range(len(runs) - n + 1))


def _is_number(word: str) -> bool:
    return re.fullmatch(_NUMBER, word) is not None


def _list_singles(features: Sequence[Feature], wrong: Flags) -> list[RuleCandidate]:
    """Return for each share and side the threshold that tells most."""
    candidates = []
    for feature in features:
        known = feature.values[~np.isnan(feature.values)]
        if not len(known):
            continue
        cuts = np.unique(np.round(np.quantile(known, _CUTS), 2))[:, None]
        for sign, flags in ((_ABOVE, feature.values > cuts), (_BELOW, feature.values < cuts)):
            p_values = compute_p_values(flags, wrong)
            best = int(np.argmin(p_values))
            bound = Bound(feature.text, sign, float(cuts[best, 0]))
            candidates.append(RuleCandidate((bound,), flags[best], float(p_values[best])))
    return candidates


def _list_pairs(first: RuleCandidate, singles: Sequence[RuleCandidate], wrong: Flags) -> list[RuleCandidate]:
    """Return what a bound tells together with a second one, where that is much more than either."""
    others = [single for single in singles if single.bounds[0].feature != first.bounds[0].feature]
    if not others:
        return []
    flags = np.array([other.flags for other in others]) & first.flags
    return [
        RuleCandidate((*first.bounds, *other.bounds), both, float(p_value))
        for other, both, p_value in zip(others, flags, compute_p_values(flags, wrong), strict=True)
        if p_value < _BETTER * min(first.p_value, other.p_value)
    ]


def _measure_overlap(a: Flags, b: Flags) -> float:
    return float((a & b).sum() / max(1, int((a | b).sum())))
