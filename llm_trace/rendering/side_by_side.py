"""Attributions of one call beside each other: a column each over the same segments, and where they agree."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from llm_trace.rendering.attribution_data import describe_segments
from llm_trace.rendering.heatmap import scale_of
from llm_trace.rendering.sentences import quote_segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llm_trace.rendering.scores import ScoredPrompt

LEAST, MOST = 8, 40
"""Segments of a table: those with a colour, the strongest first, and some more to see what has none."""
_NAMED = 3
_DETAILS = ("baseline", "target", "model", "unit")
"""What tells two attributions by one method apart, in this order."""
_UNSIGNED = ("saliency", "attention", "routes")
"""Methods that say how much and not in which direction."""


def describe_tables(attributions: Sequence[ScoredPrompt]) -> list[dict[str, Any]]:
    """Return a table for each prompt and segmentation that two attributions or more share.

    Args:
        attributions: newest first; of several that answer one question in one way the newest counts.
    """
    groups: dict[tuple[Any, ...], dict[tuple[Any, ...], ScoredPrompt]] = {}
    for attribution in attributions:
        places = tuple(tuple(segment.stretches) for segment in attribution.segments)
        question = (attribution.method, *(getattr(attribution, detail) for detail in _DETAILS))
        groups.setdefault((attribution.prompt, places), {}).setdefault(question, attribution)
    return [_describe_table(list(group.values())) for group in groups.values() if len(group) > 1]


def _describe_table(group: Sequence[ScoredPrompt]) -> dict[str, Any]:
    names = _name_columns(group)
    columns = [_describe_column(attribution) for attribution in group]
    n = len(group[0].segments)
    order = sorted(range(n), key=lambda i: -max(column[i]["bar"] for column in columns))
    telling = sum(any(column[i]["level"] for column in columns) for i in range(n))
    rows = order[: min(MOST, max(LEAST, telling))]
    return {
        "kind": group[0].segments[0].kind if n else "word",
        "columns": [
            {"name": name, "unit": a.unit, "verdict": a.verdict, "model": a.model}
            for name, a in zip(names, group, strict=True)
        ],
        "rows": [
            {"name": columns[0][i]["name"], "segment": i, "cells": [column[i] for column in columns]}
            for i in rows
        ],
        "segments": n,
        "agreement": write_agreement(group, names),
    }


def _describe_column(attribution: ScoredPrompt) -> list[dict[str, Any]]:
    """Return every segment's score, written with as many decimals as the largest needs for two digits."""
    decimals = max(0, 1 - math.floor(math.log10(scale_of(attribution))))
    return [
        segment | {"text": _write_score(segment["value"], decimals)}
        for segment in describe_segments(attribution)
    ]


def _write_score(value: float, decimals: int) -> str:
    text = f"{value:+.{decimals}f}"
    return text if float(text) else "0"


def _name_columns(group: Sequence[ScoredPrompt]) -> list[str]:
    """Return the methods, those that stand there twice with what tells them apart."""
    names = []
    for attribution in group:
        others = [a for a in group if a.method == attribution.method and a is not attribution]
        apart = [
            str(getattr(attribution, detail))[:30]
            for detail in _DETAILS
            if any(getattr(attribution, detail) != getattr(other, detail) for other in others)
        ]
        names.append(", ".join([attribution.method, *apart]))
    return names


def write_agreement(group: Sequence[ScoredPrompt], names: Sequence[str]) -> list[str]:
    """Return in plain sentences which segments matter to all of these attributions, and where they differ.

    What has a colour matters; those whose verdict says that they are no evidence have no say.
    """
    sure = [i for i, attribution in enumerate(group) if attribution.verdict == "ok"]
    doubted = [name for i, name in enumerate(names) if i not in sure]
    caution = [f"No evidence, so without a say here: {'; '.join(doubted)}."] if doubted else []
    if len(sure) < 2:
        return [*caution, "To see whether methods agree takes two that are evidence."]
    voices = [group[i] for i in sure]
    levels = [[segment["level"] for segment in describe_segments(voice)] for voice in voices]
    return [
        *_write_common(voices, levels),
        *_write_contradictions(voices, levels, [names[i] for i in sure]),
        *_write_single(voices, levels, [names[i] for i in sure]),
        *caution,
        *_write_meanings(voices),
    ]


def _write_common(voices: Sequence[ScoredPrompt], levels: Sequence[Sequence[int]]) -> list[str]:
    n, who = len(voices[0].values), "Both" if len(voices) == 2 else f"All {len(voices)}"
    strongest = sorted(range(n), key=lambda i: -min(abs(row[i]) for row in levels))
    common = [i for i in strongest if all(row[i] for row in levels)]
    signed = [k for k, voice in enumerate(voices) if voice.method not in _UNSIGNED]
    sentences = []
    for sign, words in ((1, "for the answer"), (-1, "against it")):
        alike = [i for i in common if signed and all(levels[k][i] * sign > 0 for k in signed)]
        if alike:
            verb = "speaks" if len(alike) == 1 else "speak"
            sentences.append(f"{who} find that {_list_segments(voices[0], alike)} {verb} {words}.")
    if not signed and common:
        verb = "matters" if len(common) == 1 else "matter"
        sentences.append(f"{who} find that {_list_segments(voices[0], common)} {verb}.")
    idle = sum(not any(row[i] for row in levels) for i in range(n))
    if not common:
        sentences.append(f"Nothing matters to {who.lower()} of them.")
    return [*sentences, f"{idle:,} of {n:,} parts matter to none of them."] if idle else sentences


def _write_contradictions(
    voices: Sequence[ScoredPrompt], levels: Sequence[Sequence[int]], names: Sequence[str]
) -> list[str]:
    sentences = []
    signed = [k for k, voice in enumerate(voices) if voice.method not in _UNSIGNED]
    for i in range(len(voices[0].values)):
        sides = [[names[k] for k in signed if levels[k][i] * sign > 0] for sign in (1, -1)]
        if all(sides):
            sentences.append(
                f"They contradict each other about {_list_segments(voices[0], [i])}: it speaks for the "
                f"answer to {' and '.join(sides[0])}, against it to {' and '.join(sides[1])}."
            )
    more = len(sentences) - _NAMED
    return [*sentences[:_NAMED], f"They contradict each other about {more} more."] if more > 0 else sentences


def _write_single(
    voices: Sequence[ScoredPrompt], levels: Sequence[Sequence[int]], names: Sequence[str]
) -> list[str]:
    sentences = []
    for k, name in enumerate(names):
        others = [row for j, row in enumerate(levels) if j != k]
        single = [i for i, level in enumerate(levels[k]) if level and not any(row[i] for row in others)]
        single.sort(key=lambda i, row=levels[k]: -abs(row[i]))  # type: ignore[misc]
        if single:
            verb = "matters" if len(single) == 1 else "matter"
            sentences.append(f"Only to {name} {_list_segments(voices[k], single)} {verb}.")
    return sentences


def _write_meanings(voices: Sequence[ScoredPrompt]) -> Iterable[str]:
    units = sorted({voice.unit for voice in voices})
    if len(units) > 1:
        yield f"The scores are in {' and '.join(units)}: compare their order and side, not their size."
    if len({voice.target for voice in voices}) > 1:
        yield "They explain different parts of the answer."
    if len({voice.model for voice in voices}) > 1:
        yield "They were made with different models."


def _list_segments(scored: ScoredPrompt, places: Sequence[int]) -> str:
    names = [quote_segment(scored, i) for i in places[:_NAMED]]
    more = len(places) - len(names)
    *head, last = [*names, f"{more} more"] if more > 0 else names
    return f"{', '.join(head)} and {last}" if head else last
