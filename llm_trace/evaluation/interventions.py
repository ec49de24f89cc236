"""Changes of an answer that show what a judge reads: those that must not matter, and those that must."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

FILLERS = (
    "This answer was written with the question above in mind.",
    "What is said here is meant to be read as a whole.",
    "It may be taken together with whatever else is at hand.",
    "Nothing in these lines adds to what stands above.",
    "The wording could be different and the sense would stay.",
    "The reader is invited to go through it once more.",
)
"""Sentences without content."""
NAMES = ("GPT-5", "Llama 3 8B")
"""A name that a judge may think much of, and one that it may not."""
CONTENT = ("words", "answer")
"""Effects that a judge which reads the answer must show."""
Lengthen = Callable[[str, Random], str]


class Shown(NamedTuple):
    """What a judge is shown: one answer, or one beside its rival."""

    number: int
    """Of the case, from 0."""
    answer: str
    """The answer that is changed, and whose score is looked at."""
    rival: str | None = None
    is_first: bool = True
    """Whether it stands before its rival."""


def lengthen(answer: str, random: Random) -> str:
    """Return an answer with sentences that say nothing: at least three, and half its length."""
    fillers = random.sample(FILLERS, len(FILLERS))
    sentences = fillers[:3]
    while sum(map(len, sentences)) < len(answer) / 2:
        sentences.append(fillers[len(sentences) % len(fillers)])
    return " ".join([answer, *sentences])


def shuffle_words(answer: str, random: Random) -> str:
    """Return the words of an answer in another order."""
    words = answer.split()
    return " ".join(random.sample(words, len(words)))


def sign(answer: str, name: str) -> str:
    """Return an answer with the name of the model that wrote it before it."""
    return f"{name}:\n{answer}"


def exchange(answers: Sequence[str], random: Random) -> list[str]:
    """Return for each answer that of another question: each is used once, none stays in its place."""
    order = random.sample(range(len(answers)), len(answers))
    following = dict(zip(order, [*order[1:], *order[:1]], strict=True))
    return [answers[following[number]] for number in range(len(answers))]


def list_interventions(
    cases: Sequence[Shown], names: Sequence[str], lengthen: Lengthen, random: Random
) -> dict[str, list[tuple[Shown, Shown]]]:
    """Return by effect what a judge is shown before and after each change, where it changes anything."""
    changes: defaultdict[str, list[tuple[Shown, Shown]]] = defaultdict(list)
    others = exchange([case.answer for case in cases], random)
    for case, other in zip(cases, others, strict=True):
        longer = case._replace(answer=lengthen(case.answer, random))
        rival = case if case.rival is None else case._replace(rival=lengthen(case.rival, random))
        changes["length"].append((rival, longer))
        if case.rival is not None:
            changes["position"].append((case._replace(is_first=False), case._replace(is_first=True)))
        for name in names[1:]:
            signed = _sign_both(case, name, names[0]), _sign_both(case, names[0], name)
            changes[f"{names[0]} over {name}"].append(signed)
        changes["words"].append((case, case._replace(answer=shuffle_words(case.answer, random))))
        changes["answer"].append((case, case._replace(answer=other)))
    return {
        name: [(before, after) for before, after in pairs if before != after]
        for name, pairs in changes.items()
    }


def _sign_both(case: Shown, ours: str, theirs: str) -> Shown:
    rival = None if case.rival is None else sign(case.rival, theirs)
    return case._replace(answer=sign(case.answer, ours), rival=rival)
