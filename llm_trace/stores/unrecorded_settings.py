"""The settings of attributions that were stored before records held them, read from what their words say."""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Mapping
from typing import Any

_NAMED = ("token", "word", "phrase", "sentence", "line", "paragraph", "message")
_UNITS = ("nats", "probability", "logit")


def parse_settings(stored: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the settings that a record's words say exactly, `None` where one of them is ambiguous.

    A budget was not recorded: where it ended the sampling, what was spent stands for it.
    """
    try:
        segments = _parse_segments(stored)
        target = _parse_target(str(stored["target"]), str(stored["response"]))
        baseline = _parse_baseline(str(stored["baseline"]))
    except (_AmbiguousError, KeyError, TypeError):
        return None
    if stored.get("unit", "nats") not in _UNITS:
        return None
    budget = {"evaluations": stored.get("passes")} if stored.get("stopped") == "budget" else None
    return {
        "method": stored["method"],
        "segments": segments,
        "target": target,
        "baseline": baseline,
        "unit": stored.get("unit", "nats"),
        "confidence": stored.get("confidence") or 0.95,
        "seed": stored.get("seed") or 0,
        "budget": budget,
    }


class _AmbiguousError(ValueError):
    """The words may mean several things."""


def _parse_segments(stored: Mapping[str, Any]) -> Any:
    """Return the name of the segmentation; of others the spans, which are the same for this prompt."""
    if any(str(note).startswith("hierarchy:") for note in stored.get("notes", ())):
        return "hierarchy"
    kinds = {segment.get("kind", "word") for segment in stored["segments"]}
    if len(kinds) == 1 and (kind := kinds.pop()) in _NAMED:
        return kind
    return [[segment["start"], segment["end"], segment.get("name")] for segment in stored["segments"]]


def _parse_target(words: str, response: str) -> str | int | None:
    if words == "the whole response":
        return None
    if token := re.fullmatch(r"token (\d+)", words):
        return int(token[1])
    text = _parse_literal(words)
    if response.find(text) != response.rfind(text):
        raise _AmbiguousError(words)
    return text


def _parse_baseline(words: str) -> str:
    if words.startswith("text: "):
        return _parse_literal(words.removeprefix("text: "))
    if words in ("delete", "delete (token ids)"):
        return "delete"
    if words.startswith("mask: "):
        return "mask"
    raise _AmbiguousError(words)


def _parse_literal(words: str) -> str:
    try:
        text = literal_eval(words)
    except (ValueError, SyntaxError) as exc:
        raise _AmbiguousError(words) from exc
    if not isinstance(text, str):
        raise _AmbiguousError(words)
    return text
