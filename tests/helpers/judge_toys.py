"""Models that judge, scripted: by what is right, by length, by position or by a name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

from llm_trace.evaluation import Instance

QUALITY = re.compile(r"worth (\d)")
"""What the scripted judges read of an answer: how many of its facts are right, of 5."""


def make_answer(number: int, quality: int) -> tuple[str, Instance]:
    """Return an answer of a quality from 1 to 5, and the instance it answers."""
    instance = Instance(id=f"q/{number}", scenario="q", input={"question": f"What of case {number}?"})
    return f"Case {number} is settled and worth {quality} of five points to us.", instance


def make_answers(n: int, seed: int = 0) -> list[tuple[str, Instance]]:
    """Return answers of different qualities."""
    random = Random(seed)
    return [make_answer(number, random.randint(1, 5)) for number in range(n)]


def read_quality(answer: str) -> int:
    """Return the quality of an answer; the worst where its words say nothing."""
    match = QUALITY.search(answer)
    return int(match[1]) if match else 1


def write_grade(grade: Any, **fields: Any) -> str:
    """Return what a judge writes."""
    return json.dumps({"grade": grade, **fields})


def read_answers(prompt: str) -> list[str]:
    """Return the answers in a judge's prompt."""
    return re.findall(r"<answer>\n(.*?)\n</answer>", prompt, re.DOTALL)


def grade_by_quality(prompt: str) -> str:
    """Grade by what is right, to the letter."""
    return write_grade(read_quality(read_answers(prompt)[0]), reason="as its points say")


def compare_by(key: Callable[[str], float]) -> Callable[[str], str]:
    """Return a model that prefers the answer for which a function is larger, and the first where equal."""

    def compare(prompt: str) -> str:
        first, second = (key(each) for each in read_answers(prompt))
        return json.dumps({"better": "A" if first >= second else "B"})

    return compare


def judge_by(trait: Callable[[str], float], *, reads: bool = True) -> Callable[[str, Instance], float]:
    """Return a scorer that adds a trait of the answer to its quality, with noise of its own."""

    def judge(answer: str, instance: Instance) -> float:
        noise = Random(f"{answer} {instance.id}").uniform(-0.1, 0.1)
        quality = (read_quality(answer) - 1) / 8 if reads else 0.3
        return min(1.0, max(0.0, 0.1 + quality + trait(answer) + noise))

    return judge


def prefer_by(trait: Callable[[str], float], *, first: float = 0.0) -> Callable[[str, str, Instance], float]:
    """Return what says which of two answers is better, by quality, a trait and the position."""

    def prefer(one: str, other: str, instance: Instance) -> float:
        noise = Random(f"{one} {other}").uniform(-0.5, 0.5)
        lead = (read_quality(one) - read_quality(other)) / 4 + trait(one) - trait(other)
        return float(lead + first + noise > 0)

    return prefer
