"""Changed inputs that a test should have: where a word that mattered is gone the answer must flip, where
words that did not matter are gone it must not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import log
from typing import Any, NamedTuple

from llm_trace.call_parts import Record
from llm_trace.errors import ConfigurationError
from llm_trace.evaluation.expressions import FieldPath
from llm_trace.record import Attribution

DECISIVE = 0.5
"""Share of the strongest effect from which a word counts as one that mattered."""
IDLE = 0.05
"""Share of it up to which a word counts as one that did not."""
LIKELY = log(0.5)
"""Log-probability of an answer below which another one is given, where the full one is known."""


class Mutant(Record):
    """An input with words taken out, and what must become of the answer."""

    words: tuple[str, ...]
    input: dict[str, Any]
    flips: bool
    """Whether the answer must become another one, or must stay."""

    @property
    def name(self) -> str:
        """What is gone, such as `without 75`."""
        return f"without {' '.join(self.words)}"


class InputWord(NamedTuple):
    """A segment of the prompt that stands in a text of the input."""

    segment: int
    place: FieldPath
    start: int
    """In that text."""
    end: int
    text: str


def make_mutants(attribution: Attribution, arguments: Mapping[str, Any], *, most: int = 6) -> list[Mutant]:
    """Return mutants of an input, at most half of them such that the answer must flip, strongest word first.

    A word mattered whose effect for the answer can be told from none and is half of the strongest at least;
    where the record says how likely the answer was, only if without the word another answer is likelier.
    Words that stand in for each other go together. The answer must stay without what spoke against it, and
    without words of less than a twentieth of the strongest effect, chosen evenly over the text.

    Args:
        attribution: of the right answer, for a prompt that holds texts of the input.
        arguments: the input.
        most: mutants.

    Raises:
        ConfigurationError: no word of the prompt stands in the input, or none of them mattered.
    """
    words = {word.segment: word for word in find_input_words(attribution, arguments)}
    if not words:
        raise ConfigurationError(
            "no part of the attribution's prompt stands in the input: give the input it was made of"
        )
    largest = max(abs(attribution.values[i]) for i in words)
    groups = [group for group in attribution.groups if all(i in words for i in group)]
    grouped = {i for group in attribution.groups for i in group}
    single = [(i,) for i in _sort_decisive(attribution, words) if i not in grouped]
    flips = [*single, *groups][: max(1, most // 2)]
    opposed = [i for i in _sort_against(attribution, words) if i not in grouped]
    if not flips and not opposed:
        raise ConfigurationError(
            "no word of the input made a difference that can be told from none: explain the right answer "
            "with another method or a larger budget"
        )
    changed = {words[i].text for group in flips for i in group}
    idle = _list_idle(attribution, [word for word in words.values() if word.text not in changed], largest)
    left = most - len(flips)
    against = opposed[: (left + 1) // 2]
    stays = [(i,) for i in (*against, *_spread(idle, left - len(against)))]
    return [
        _take_out([words[i] for i in group], arguments, flips=flip)
        for flip, chosen in ((True, flips), (False, stays))
        for group in chosen
    ]


def _sort_decisive(attribution: Attribution, words: Mapping[int, InputWord]) -> list[int]:
    """Return the words that spoke for the answer, the strongest first; of equal ones the strongest."""
    values, full = attribution.values, attribution.full if attribution.unit == "nats" else None
    least = max(DECISIVE * max(values[i] for i in words), _find_floor(attribution))
    chosen = [
        i
        for i in words
        if values[i] >= least
        and values[i] > 0
        and attribution.stands_out(i)
        and (full is None or full < LIKELY or full - values[i] < LIKELY)
    ]
    first = {
        words[i].text: i for i in sorted(chosen, key=lambda i: values[i])
    }  # of equal words the strongest
    return sorted(first.values(), key=lambda i: -values[i])


def _sort_against(attribution: Attribution, words: Mapping[int, InputWord]) -> list[int]:
    """Return the words that spoke against the answer, the strongest first: without them it must stay too."""
    values, least = attribution.values, max(_find_floor(attribution), 1e-9)
    chosen = [i for i in words if -values[i] >= least and attribution.stands_out(i)]
    first = {words[i].text: i for i in sorted(chosen, key=lambda i: -values[i])}
    return sorted(first.values(), key=lambda i: values[i])


def _find_floor(attribution: Attribution) -> float:
    """Return the least effect that counts: where units are known, one that halves or doubles the odds."""
    return -LIKELY if attribution.unit == "nats" else 0.0


def _list_idle(attribution: Attribution, words: Sequence[InputWord], largest: float) -> list[int]:
    """Return the words that did not matter, of equal ones the first."""
    grouped = {i for group in attribution.groups for i in group}
    weak = [
        w for w in words if abs(attribution.values[w.segment]) <= IDLE * largest and w.segment not in grouped
    ]
    return sorted({word.text: word.segment for word in reversed(weak)}.values())


def _spread(indices: Sequence[int], count: int) -> list[int]:
    """Return so many of them, evenly from the first to the last."""
    if count >= len(indices):
        return list(indices)
    return [indices[(2 * k + 1) * len(indices) // (2 * count)] for k in range(count)]


def find_input_words(attribution: Attribution, arguments: Mapping[str, Any]) -> Iterator[InputWord]:
    """Yield the segments that stand in a text of the input, which the prompt holds once."""
    texts = sorted(list_texts(arguments), key=lambda item: -len(item[1]))
    taken: list[tuple[int, int]] = []
    for place, text in texts:
        begin = attribution.prompt.find(text)
        end = begin + len(text)
        if begin < 0 or any(begin < e and s < end for s, e in taken):
            continue
        taken.append((begin, end))
        for i, segment in enumerate(attribution.segments):
            if begin <= segment.start < segment.end <= end and not segment.also and segment.text.strip():
                yield InputWord(i, place, segment.start - begin, segment.end - begin, segment.text.strip())


def list_texts(value: Any, place: FieldPath = ()) -> Iterator[tuple[FieldPath, str]]:
    """Yield the texts of an input with their places."""
    if isinstance(value, str):
        if value.strip():
            yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from list_texts(item, (*place, key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from list_texts(item, (*place, number))


def _take_out(words: Sequence[InputWord], arguments: Mapping[str, Any], *, flips: bool) -> Mutant:
    changed: Any = dict(arguments)
    for word in sorted(words, key=lambda each: -each.start):  # from the last: offsets before it stay true
        changed = _replace(changed, word.place, lambda text, w=word: delete_word(text, w.start, w.end))
    return Mutant(words=tuple(word.text for word in words), input=changed, flips=flips)


def _replace(value: Any, place: FieldPath, edit: Any) -> Any:
    if not place:
        return edit(value)
    first, *rest = place
    if isinstance(value, Mapping):
        return {k: _replace(item, tuple(rest), edit) if k == first else item for k, item in value.items()}
    return [_replace(item, tuple(rest), edit) if n == first else item for n, item in enumerate(value)]


def delete_word(text: str, start: int, end: int) -> str:
    """Return a text less a word and one adjoining blank."""
    if text[end : end + 1] == " ":
        end += 1
    elif start and text[start - 1] == " ":
        start -= 1
    return text[:start] + text[end:]
