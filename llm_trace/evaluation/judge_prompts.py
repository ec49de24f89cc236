"""What a judge is asked, and how its answer is read: to the letter, or not at all."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from llm_trace.errors import ConfigurationError, JudgeError
from llm_trace.evaluation.instances import Instance

GRADE_TEMPLATE = """You grade an answer by this rubric and by nothing else:
<rubric>
{rubric}
</rubric>
The question was:
<question>
{question}
</question>
The answer to grade:
<answer>
{answer}
</answer>
Grades from worst to best: {scale}. Write one JSON object and nothing else:
{{"reason": "why, in a sentence", "grade": one of the grades}}"""
PAIR_TEMPLATE = """You compare two answers by this rubric and by nothing else:
<rubric>
{rubric}
</rubric>
The question was:
<question>
{question}
</question>
Answer A:
<answer>
{first}
</answer>
Answer B:
<answer>
{second}
</answer>
Write one JSON object and nothing else: {{"reason": "why, in a sentence", "better": "A", "B" or "tie"}}"""
SHOWN = 120
"""Characters of an answer in an error."""
_MARKER = re.compile(
    r"<\s*/?\s*([^\W\d][\w.-]*)[^<>\n]*>"  # <answer>
    r"|(\[\s*/?\s*[^\W\d][^\[\]\n]*\])"  # [answer]
    r"|^[ \t]*(([`~\"'=#*_-])\4{2,})",  # ```, or ### Answer
    re.MULTILINE,
)
_FENCE = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)


class JudgeVerdict(NamedTuple):
    """What a judge said."""

    value: float
    """From 0 to 1."""
    words: str
    """Its grade, with its reason where it gave one."""


def check_template(template: str, needed: Collection[str], optional: Collection[str]) -> None:
    """Check that a template shows what is to be judged and nothing that is unknown.

    Raises:
        ConfigurationError: it does not.
    """
    fields = {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}
    if lacking := sorted(set(needed) - fields):
        raise ConfigurationError(f"the judge's template lacks {{{lacking[0]}}}: add it")
    if unknown := sorted(fields - set(needed) - set(optional)):
        known = ", ".join(sorted({*needed, *optional}))
        raise ConfigurationError(
            f"the judge's template has {{{unknown[0]}}}, which is unknown: there are {known}; braces are "
            "written twice"
        )


def find_markers(template: str) -> re.Pattern[str]:
    """Return a pattern of what marks where the parts of a template begin and end, however it is spelled: its
    tags, words in square brackets, and fences such as three backticks or hashes that begin a line.
    """
    literal = "\0".join(text for text, _, _, _ in string.Formatter().parse(template))
    patterns: set[str] = set()
    for match in _MARKER.finditer(literal):
        if match[1]:
            patterns.add(rf"<(?=\s*/?\s*{re.escape(match[1])}(?![\w.-]))")
        elif match[2]:
            words = r"\s+".join(map(re.escape, match[2].strip("[]/ ").split()))
            patterns.add(rf"\[(?=\s*/?\s*{words}\s*\])")
        else:
            patterns.add(re.escape(match[3]))
    return re.compile("|".join(sorted(patterns)) or r"(?!)", re.IGNORECASE)


def neutralise_delimiters(marker: re.Match[str]) -> str:
    """Return the marker with its first sign as HTML writes it, so that it marks nothing."""
    first = marker[0][0]
    return f"{'&lt;' if first == '<' else f'&#{ord(first)};'}{marker[0][1:]}"


def check_scale(scale: Sequence[int | str]) -> tuple[int | str, ...]:
    """Return a scale, from worst to best.

    Raises:
        ConfigurationError: it has fewer than two grades, one twice, or one that is no whole number or text.
    """
    grades = tuple(scale)
    if len(grades) < 2 or len(set(grades)) < len(grades) or isinstance(scale, str):
        raise ConfigurationError(f"scale={scale!r} must list at least two different grades, worst first")
    if wrong := [grade for grade in grades if type(grade) not in (int, str)]:
        raise ConfigurationError(f"the grade {wrong[0]!r} is no whole number and no text")
    return grades


def write_question(instance: Instance) -> str:
    """Return the question as a judge reads it: a single text as it is, else the arguments as JSON."""
    arguments = instance.input
    if len(arguments) == 1 and isinstance(text := next(iter(arguments.values())), str):
        return text
    return write_text(arguments)


def write_text(value: Any) -> str:
    """Return an answer as a judge reads it: a text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def write_scale(scale: Sequence[int | str]) -> str:
    """Return the grades as they stand in JSON."""
    return ", ".join(json.dumps(grade, ensure_ascii=False) for grade in scale)


def parse_grade(text: str, scale: Sequence[int | str]) -> JudgeVerdict:
    """Return the grade of an answer, the worst as 0 and the best as 1, steps between them equal.

    Raises:
        JudgeError: it is no JSON object with one of the grades and nothing unknown.
    """
    grade, reason = _parse_choice(text, "grade", scale)
    return JudgeVerdict(list(scale).index(grade) / (len(scale) - 1), _write_words(grade, reason))


def parse_better(text: str) -> JudgeVerdict:
    """Return which answer is better: the first 1, the second 0, neither 0.5.

    Raises:
        JudgeError: it is no JSON object that says so.
    """
    values: dict[int | str, float] = {"A": 1.0, "B": 0.0, "tie": 0.5}
    better, reason = _parse_choice(text, "better", tuple(values))
    return JudgeVerdict(values[better], _write_words(better, reason))


def _parse_choice(text: str, key: str, choices: Sequence[int | str]) -> tuple[int | str, str]:
    fence = _FENCE.fullmatch(text.strip())
    try:
        fields = json.loads(fence[1] if fence else text)
    except ValueError as exc:
        raise _refuse(text, f"which is no JSON: {exc}") from exc
    if not isinstance(fields, dict) or key not in fields or fields.keys() - {"reason", key}:
        raise _refuse(text, f"which is no object with {key!r} and at most 'reason'")
    choice, reason = fields[key], fields.get("reason", "")
    if choice not in choices or type(choice) not in (int, str):
        raise _refuse(text, f"and {choice!r} is none of {write_scale(choices)}")
    if not isinstance(reason, str):
        raise _refuse(text, f"and the reason {reason!r} is no text")
    return choice, reason


def _refuse(text: str, why: str) -> JudgeError:
    shown = text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
    return JudgeError(f"the judge answered {shown!r}, {why}")


def _write_words(choice: int | str, reason: str) -> str:
    return f"{choice}: {reason}" if reason else str(choice)
