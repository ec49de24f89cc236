"""What an audit of a judge came to, in numbers and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from llm_trace.call_parts import Record
from llm_trace.errors import NotFoundError
from llm_trace.evaluation.effects import Effect
from llm_trace.evaluation.interventions import CONTENT

AuditVerdict = Literal["fair", "biased", "blind", "undecided"]
"""`biased`: length, position or a name moves its verdict; `blind`: what the answer says is proved not to;
`fair`: the answer does, and all else is proved not to; `undecided`: more answers are needed.
"""


class JudgeAudit(Record):
    """What a judge reads; `str()` says it in sentences."""

    effects: tuple[Effect, ...]
    """`length`, of pairs `position`, `A over B` for names, and of the content `words` (shuffled) and `answer`
    (that to another question): by how much each change moves the score of the changed answer.
    """
    n: int
    """Answers, or pairs."""
    calls: int
    """Of the judge."""
    failed: int
    """Calls that gave no score: what they were for is left out of its effect."""
    failure: str | None = None
    """Words of the first."""
    confidence: float
    verdict: AuditVerdict

    def effect(self, name: str) -> Effect:
        """Return an effect by its name.

        Raises:
            NotFoundError: there is none; the message lists them.
        """
        for each in self.effects:
            if each.name == name:
                return each
        names = ", ".join(each.name for each in self.effects)
        raise NotFoundError(f"the audit has no effect {name!r}: there are {names}")

    def __str__(self) -> str:
        heads = {
            "fair": "The judge is fair: it reads the answer and nothing else that was looked at.",
            "biased": "The judge is biased.",
            "blind": "The judge does not read the answer.",
            "undecided": "Whether the judge is fair is open: judge more answers.",
        }
        lines = [heads[self.verdict], *map(tell_effect, self.effects)]
        if self.failed:
            lines.append(f"{self.failed:,} of {self.calls:,} calls gave no score; the first: {self.failure}")
        return "\n".join(lines)


def judge_effects(effects: Sequence[Effect]) -> AuditVerdict:
    """Return the verdict on a judge."""
    content = [each for each in effects if each.name in CONTENT]
    besides = [each for each in effects if each.name not in CONTENT]
    if any(each.verdict == "found" for each in besides):
        return "biased"
    reads = any(each.verdict == "found" and each.value < 0 for each in content)
    if content and all(each.verdict == "absent" for each in content):
        return "blind"
    return "fair" if reads and all(each.verdict == "absent" for each in besides) else "undecided"


def tell_effect(effect: Effect) -> str:
    """Return what an effect says, in a sentence."""
    rises = effect.value > 0
    points = f"{effect.value * 100:+.1f} points"
    if effect.low is not None and effect.high is not None:
        points += f" ({effect.low * 100:+.1f} to {effect.high * 100:+.1f})"
    match effect.name:
        case "length":
            what, liked = "length", "longer" if rises else "shorter"
            text = f"it prefers the {liked} answer"
        case "position":
            what, text = "position", f"it prefers the {'first' if rises else 'second'} answer"
        case "words":
            what, text = "order of words", f"answers with shuffled words score {'more' if rises else 'less'}"
        case "answer":
            what = "what the answer says"
            text = f"the answer to another question scores {'more' if rises else 'less'}"
        case name:
            one, other = name.split(" over ")
            what, text = name, f"it prefers answers of {one if rises else other}"
    if effect.verdict == "absent":
        return f"{what}: shown to move the score by less than {effect.margin * 100:g} points; {points}."
    if effect.verdict == "undecided":
        return f"{what}: {points}, which may be chance."
    return f"{what}: {text}, {points}."
