"""A small library of scorers; any function of (output, instance) is one too."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llm_trace.errors import MissingExtraError
from llm_trace.evaluation.grades import Grade
from llm_trace.evaluation.instances import Instance

_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+]?\.\d+")
_QUOTE = re.compile(r'"([^"]+)"|“([^”]+)”|«([^»]+)»|^> ?(.+)$', re.MULTILINE)


def exact(output: Any, instance: Instance) -> bool:
    """Return whether the output is what is expected; of texts, blanks around them do not count."""
    if isinstance(output, str) and isinstance(instance.expected, str):
        return output.strip() == instance.expected.strip()
    return bool(output == instance.expected)


def contains(output: Any, instance: Instance) -> bool:
    """Return whether the expected text stands in the output, in any case, as words of its own."""
    wanted = re.escape(str(instance.expected).strip())
    return re.search(rf"(?<!\w){wanted}(?!\w)", str(output), re.IGNORECASE) is not None


def numeric(tolerance: float = 0.0, *, relative: float = 1e-9) -> Callable[[Any, Instance], Grade]:
    """Return a scorer: is the number, or the last number in a text, the one that is expected?

    Args:
        tolerance: by how much it may differ.
        relative: by which share of the expected number it may differ.
    """

    def numeric(output: Any, instance: Instance) -> Grade:
        number, wanted = find_number(output), find_number(instance.expected)
        if wanted is None:
            raise ValueError(f"{instance.expected!r}, which is expected, is no number")
        if number is None:
            return Grade(value=False, comment="there is no number in the answer")
        right = math.isclose(number, wanted, rel_tol=relative, abs_tol=tolerance)
        return Grade(value=right, comment=f"the answer is {number:g}, expected is {wanted:g}")

    return numeric


def find_number(value: Any) -> float | None:
    """Return a number, or the last one in a text; `None` where there is none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value)
    numbers = _NUMBER.findall(str(value))
    return float(numbers[-1].replace(",", "")) if numbers else None


def matches(pattern: str, *, flags: int = 0) -> Callable[[Any, Instance], bool]:
    """Return a scorer: does a regular expression find something in the output?

    Args:
        pattern: `{expected}` in it stands for the expected text, as it is.
        flags: as of `re.compile`.
    """
    re.compile(pattern.replace("{expected}", ""), flags)

    def matches(output: Any, instance: Instance) -> bool:
        wanted = pattern.replace("{expected}", re.escape(str(instance.expected)))
        return re.search(wanted, str(output), flags) is not None

    return matches


def json_schema(schema: Mapping[str, Any]) -> Callable[[Any, Instance], Grade]:
    """Return a scorer: is the output, or the JSON that it spells, valid under a schema?

    Raises:
        MissingExtraError: jsonschema is not installed.
    """
    try:
        from jsonschema.validators import validator_for
    except ModuleNotFoundError as exc:
        raise MissingExtraError("json_schema() needs jsonschema: pip install jsonschema") from exc
    kind = validator_for(schema)
    kind.check_schema(schema)
    validator = kind(schema)

    def json_schema(output: Any, instance: Instance) -> Grade:  # noqa: ARG001
        try:
            value = json.loads(output) if isinstance(output, str) else output
        except ValueError as exc:
            return Grade(value=False, comment=f"no JSON: {exc}")
        error = next(iter(sorted(validator.iter_errors(value), key=lambda each: each.json_path)), None)
        return Grade(value=error is None, comment=f"{error.json_path}: {error.message}" if error else None)

    return json_schema


def similarity(
    embed: Callable[[list[str]], Sequence[Sequence[float]]] | None = None,
) -> Callable[[Any, Instance], float]:
    """Return a scorer: how much do the output and what is expected say the same, from 0 to 1?

    Args:
        embed: from texts to vectors, as of `compare`: their cosine; by default the letters are compared.
    """

    def similarity(output: Any, instance: Instance) -> float:
        from llm_trace.comparison.similarity import measure_similarity

        (value,) = measure_similarity([str(output)], [str(instance.expected)], embed)
        return min(1.0, max(0.0, value))

    return similarity


def cites(argument: str) -> Callable[[Any, Instance], Grade]:
    """Return a scorer: which share of the passages that the output quotes stands in a text that was given?

    Passages stand in quotation marks or on lines with `>`; blanks and case do not count. No passage scores 0.

    Args:
        argument: the argument of the function that holds the text, or a list of texts.
    """

    def cites(output: Any, instance: Instance) -> Grade:
        source = _fold(json.dumps(instance.input[argument], ensure_ascii=False).replace("\\n", " "))
        quotes = [next(filter(None, groups)) for groups in _QUOTE.findall(str(output))]
        if not quotes:
            return Grade(value=0.0, comment="nothing is quoted")
        wrong = [quote for quote in quotes if _fold(quote) not in source]
        comment = f"not in {argument}: {wrong[0]!r}" if wrong else None
        return Grade(value=1 - len(wrong) / len(quotes), comment=comment)

    return cites


def _fold(text: str) -> str:
    return " ".join(text.lower().replace('\\"', '"').split()).strip(" .,;:")
