"""What attributions and answers say of each part of a prompt, and how much of it each part is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_trace.attribution.studies.template_parts import list_telling, study_template
from llm_trace.operations.diet_cases import (
    WHOLE,
    Case,
    RemovablePart,
    Removal,
    iter_chunks,
    list_pieces,
    list_template_parts,
    measure_tool,
)

if TYPE_CHECKING:
    from llm_trace.record import Attribution

LEAST = 10
"""Calls that a document or a tool must stand in, and explained calls that a part needs, to be judged."""


class Evidence(NamedTuple):
    """In how many calls a part was looked at, and in how many of these it mattered."""

    examined: int = 0
    mattered: int = 0

    @property
    def idle(self) -> bool:
        """Whether it never mattered over enough calls."""
        return self.examined >= LEAST and not self.mattered


def list_parts(template: str, cases: Sequence[Case]) -> dict[RemovablePart, int]:
    """Return what may go, and how many of the calls have it."""
    counts: Counter[RemovablePart] = Counter()
    for case in cases:
        counts.update(case.chunks.keys())
        counts.update({part for part, _ in case.tools})
    parts = {part: len(cases) for part in list_template_parts(template)}
    least = max(LEAST, len(cases) // 20)
    return parts | {
        part: n for part, n in sorted(counts.items()) if n >= (least if part.kind != "tool" else 1)
    }


def collect_evidence(
    template: str,
    cases: Sequence[Case],
    explained: Mapping[str, tuple[Attribution, Mapping[str, Any]]],
) -> dict[RemovablePart, Evidence]:
    """Return what is known of the parts: of tools whether they were called, of all others whether
    attributions told them from noise.

    Args:
        explained: attributions and the prompt's variables, by call.
    """
    evidence = _study_tools(cases)
    known = [case for case in cases if case.call.span_id in explained]
    study = study_template(template, [explained[case.call.span_id] for case in known])
    for part in list_template_parts(template):
        piece = study.parts[part.piece]
        evidence[part] = Evidence(piece.calls, piece.telling)
    for case in known:
        attribution, _ = explained[case.call.span_id]
        if attribution.verdict != "ok":
            continue
        telling = list_telling(attribution)
        matters: dict[RemovablePart, bool] = {}
        for part, place in iter_chunks(case.call, (attribution.prompt,)):
            tells = any(a < place.end and place.start < b for a, b in telling)
            matters[part] = matters.get(part, False) or tells
        for part, tells in matters.items():
            examined, mattered = evidence.get(part, Evidence())
            evidence[part] = Evidence(examined + 1, mattered + tells)
    return evidence


def _study_tools(cases: Iterable[Case]) -> dict[RemovablePart, Evidence]:
    evidence: dict[RemovablePart, Evidence] = {}
    for case in cases:
        called = case.called
        for part in {part for part, _ in case.tools}:
            examined, mattered = evidence.get(part, Evidence())
            evidence[part] = Evidence(examined + 1, mattered + (part.name in called))
    return evidence


def count_part(case: Case, template: str, part: RemovablePart) -> int:
    """Return how many characters of a call a part is."""
    if part.kind == "tool":
        return sum(measure_tool(tool) for each, tool in case.tools if each == part)
    if part.piece < 0:
        return sum(place.end - place.start for place in case.chunks.get(part, ()))
    if part.kind != "variable":
        return len(part.name)
    fields = [i for i, piece in enumerate(list_pieces(template)) if piece.kind == "variable"]
    start, end = case.filling.values[fields.index(part.piece)]
    return end - start


class Weights:
    """How many input tokens of a call the parts are, by their share of its characters.

    Args:
        cases: those that report their tokens count.
    """

    def __init__(self, template: str, cases: Iterable[Case]) -> None:
        self._template = template
        self._sizes = [
            (case, case.call.usage.input_tokens, max(1, case.count_characters(WHOLE, template)))
            for case in cases
            if case.call.usage is not None and case.call.usage.input_tokens is not None
        ]

    @property
    def tokens(self) -> float | None:
        """Mean input tokens of a call; `None` where no call reports them."""
        return self._average(lambda _, size: size)

    def weigh_part(self, part: RemovablePart) -> float | None:
        """Return the mean tokens of a part."""
        return self._average(lambda case, _: count_part(case, self._template, part))

    def weigh_removal(self, removal: Removal) -> float | None:
        """Return the mean tokens that a removal saves."""
        return self._average(lambda case, size: size - case.count_characters(removal, self._template))

    def _average(self, count: Any) -> float | None:
        if not self._sizes:
            return None
        shares = [tokens * count(case, size) / size for case, tokens, size in self._sizes]
        return float(sum(shares) / len(shares))
