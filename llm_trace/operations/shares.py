"""Where the weight of an attribution lies: the share of a word, a line, a variable, a document, an
origin.

A share is the sum of the absolute scores of segments over that of all, 0 to 1: what supports an answer and
what speaks against it weigh alike. Nothing is guessed: where a share was not measured, it is not there.
"""

from __future__ import annotations

import math
import re
import string
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_trace.attribution.core.naming import shorten_text
from llm_trace.attribution.studies.template_parts import find_variables

if TYPE_CHECKING:
    from llm_trace.record import Attribution, Segment

TextSpan = tuple[int, int]
_AROUND = r"(?:(?!\s)[\W_])*+"
"""What is neither letter, digit nor space; possessive: going back over a megabyte of it is of no use."""


class MissingSignalError(LookupError):
    """What was asked about a call is not known; the message says why."""


class PromptWord(NamedTuple):
    """A run of characters without space, and where it stands in the prompt."""

    text: str
    """Without the punctuation around it."""
    start: int
    end: int


@dataclass(frozen=True)
class WeightShares:
    """The shares of one attribution; methods raise `MissingSignalError` where a share was not measured."""

    attribution: Attribution
    variables: Mapping[str, Any] = field(default_factory=dict)
    """Of the call's prompt, by name."""
    template: str | None = None
    """Of the call's prompt: says where the variables stand."""
    any_verdict: bool = False
    """Whether an attribution counts whose verdict is not `ok`, which is no evidence of what mattered."""

    @cached_property
    def weights(self) -> tuple[float, ...]:
        """The share of each segment, in their order."""
        verdict = self.attribution.verdict
        if verdict != "ok" and not self.any_verdict:
            raise MissingSignalError(f"the attribution is no evidence: {verdict}")
        sizes = [abs(value) for value in self.attribution.values]
        total = math.fsum(sizes)
        if not (total > 0 and math.isfinite(total)):
            raise MissingSignalError("no segment of the attribution has any weight")
        return tuple(size / total for size in sizes)

    @cached_property
    def words(self) -> tuple[PromptWord, ...]:
        """The words of the explained prompt."""
        runs = re.finditer(r"\S+", self.attribution.prompt)
        return tuple(PromptWord(trim_punctuation(run[0]), *run.span()) for run in runs)

    def measure_text(self, text: str) -> float:
        """Return the share of a word, or of words that follow each other, wherever they stand; 0 where they
        do not stand in the prompt. Case and punctuation around a word do not matter.
        """
        return self._sum_spans(self._find_text(text))

    def measure_words(self, words: Collection[str]) -> float:
        """Return the share of these words together, as `words` writes them."""
        return self._sum_spans([(word.start, word.end) for word in self.words if word.text in words])

    def measure_line(self, text: str) -> float:
        """Return the share of the lines of the prompt that a word or words stand in."""
        prompt = self.attribution.prompt
        spans = set()
        for start, end in self._find_text(text):
            after = prompt.find("\n", end)
            spans.add((prompt.rfind("\n", 0, start) + 1, len(prompt) if after < 0 else after))
        return self._sum_spans(sorted(spans))

    def measure_variable(self, name: str) -> float:
        """Return the share of a variable of the call's prompt."""
        own = [
            i for i, segment in enumerate(self.attribution.segments) if _is_named(segment, "variable", name)
        ]
        if own:
            return math.fsum(self.weights[i] for i in own)
        if name not in self.variables:
            raise MissingSignalError(f"the call's prompt has no variable {name!r}")
        return self._sum_spans(self._find_variable(name))

    def measure_chunk(self, name: str) -> float:
        """Return the share of a retrieved document, by its id; 0 where it was not in the prompt."""
        if not any(segment.kind == "chunk" for segment in self.attribution.segments):
            raise MissingSignalError("the attribution is not by chunk: attribute with segments='chunk'")
        return math.fsum(
            weight
            for segment, weight in zip(self.attribution.segments, self.weights, strict=True)
            if _is_named(segment, "chunk", name)
        )

    def measure_kind(self, kind: str) -> float:
        """Return the share of all segments of a kind, such as `chunk`."""
        pairs = zip(self.attribution.segments, self.weights, strict=True)
        return math.fsum(weight for segment, weight in pairs if segment.kind == kind)

    def measure_origin(self, origin: str) -> float:
        """Return the share of all segments with words of an origin, such as `tool`, `outside` or `user`."""
        pairs = list(zip(self.attribution.segments, self.weights, strict=True))
        if not any(segment.origin for segment, _ in pairs):
            raise MissingSignalError("the attribution does not say whose words its segments are")
        return math.fsum(weight for segment, weight in pairs if segment.origin == origin)

    def _find_text(self, text: str) -> list[TextSpan]:
        pattern = _compile_words(text)
        if pattern is None:
            raise MissingSignalError(f"{text!r} has no word to look for")
        folded, places = self._folded
        spans, at = [], 0
        while (run := pattern.search(folded, at)) is not None:  # not finditer: "a a" stands twice in "a a a"
            at = run.start() + 1
            if (start := _find_word_start(folded, run.start())) is not None:
                spans.append((places[start], places[run.end()]))
        if spans:
            return spans
        whole = " ".join(_fold_words(text))  # what is no run between spaces may be a segment: of Japanese
        return [stretch for segment in self._segments.get(whole, ()) for stretch in segment.stretches]

    @cached_property
    def _folded(self) -> tuple[str, Sequence[int]]:
        """The prompt without difference of case, and where each of its characters stands in the prompt."""
        prompt = self.attribution.prompt
        folded = prompt.casefold()
        if len(folded) == len(prompt):
            return folded, range(len(prompt) + 1)
        places = [i for i, character in enumerate(prompt) for _ in character.casefold()]  # "ß" becomes "ss"
        return folded, [*places, len(prompt)]

    @cached_property
    def _segments(self) -> Mapping[str, list[Segment]]:
        """The segments by their text."""
        segments: dict[str, list[Segment]] = defaultdict(list)
        for segment in self.attribution.segments:
            segments[trim_punctuation(segment.text).casefold()].append(segment)
        return dict(segments)

    def _find_variable(self, name: str) -> list[TextSpan]:
        prompt, value = self.attribution.prompt, str(self.variables[name])
        count = prompt.count(value) if value.strip() else 0
        if count == 1:
            start = prompt.index(value)
            return [(start, start + len(value))]
        places = None if self.template is None else find_variables(self.template, prompt, self.variables)
        if places is not None and name in places:
            return places[name]
        if not value.strip():
            return []
        raise MissingSignalError(f"the variable {name!r} stands {count} times in the explained prompt")

    @cached_property
    def _ordered(self) -> tuple[list[int], list[int]] | None:
        """Where segments start and end; `None` where they are not one stretch each, one after the other."""
        segments = self.attribution.segments
        if any(segment.also for segment in segments):
            return None
        starts, ends = [s.start for s in segments], [s.end for s in segments]
        follow = all(end <= start for end, start in zip(ends, starts[1:], strict=False))
        return (starts, ends) if follow else None

    def _sum_spans(self, spans: Sequence[TextSpan]) -> float:
        """Return the share of the segments inside spans.

        Raises:
            MissingSignalError: a segment with weight lies inside in part only.
        """
        if len(spans) == 1 and self._ordered is not None:
            (start, end), (starts, ends) = spans[0], self._ordered
            first, after = bisect_right(ends, start), bisect_left(starts, end)
            if first < after and start <= starts[first] and ends[after - 1] <= end:
                return min(1.0, math.fsum(self.weights[first:after]))
        inside = bytearray(len(self.attribution.prompt))
        for start, end in spans:
            inside[start:end] = b"\1" * (end - start)
        total = []
        for segment, weight in zip(self.attribution.segments, self.weights, strict=True):
            if not weight or not any(inside.find(1, a, b) >= 0 for a, b in segment.stretches):
                continue
            if not self._is_inside(segment, inside):
                text = shorten_text(segment.text)
                raise MissingSignalError(f"the attribution weighs {text!r} as a whole: attribute by word")
            total.append(weight)
        return min(1.0, math.fsum(total))

    def _is_inside(self, segment: Segment, inside: bytearray) -> bool:
        """Say whether all that is no space or punctuation of a segment is marked."""
        if all(inside.find(0, a, b) < 0 for a, b in segment.stretches):
            return True
        prompt = self.attribution.prompt
        places = [i for a, b in segment.stretches for i in range(a, b) if not prompt[i].isspace()]
        letters = [i for i in places if prompt[i].isalnum()]
        return all(inside[i] for i in letters or places)


@lru_cache(maxsize=1024)
def _compile_words(text: str) -> re.Pattern[str] | None:
    """Return what finds words that follow each other in a folded prompt, whatever punctuation is around each;
    `None` where there is no word.

    What stands before the first word is left to `_find_word_start`: a pattern that begins with a letter is
    looked for fast.
    """
    words = [(word, _AROUND if word[0].isalnum() else "") for word in _fold_words(text)]
    if not words:
        return None
    (first, around), *rest = words
    begin = ("" if around else r"(?<!\S)") + re.escape(first) + around
    return re.compile(r"\s++".join([begin, *(a + re.escape(word) + a for word, a in rest)]) + r"(?!\S)")


def _find_word_start(folded: str, at: int) -> int | None:
    """Return where the run between spaces begins whose first letter stands at a place, if it is the first."""
    while at and not folded[at - 1].isspace():
        at -= 1
        if folded[at].isalnum():
            return None
    return at


def _fold_words(text: str) -> list[str]:
    return [trim_punctuation(word) for word in text.casefold().split()]


def trim_punctuation(word: str) -> str:
    """Return a word without what is no letter or digit around it; as it is where nothing else is left."""
    core = word.strip(string.punctuation)
    if core and core[0].isalnum() and core[-1].isalnum():
        return core
    start = next((i for i, character in enumerate(word) if character.isalnum()), None)
    if start is None:
        return word
    end = next(i for i in range(len(word), 0, -1) if word[i - 1].isalnum())
    return word[start:end]


def _is_named(segment: Segment, kind: str, name: str) -> bool:
    return segment.kind == kind and segment.name == name
