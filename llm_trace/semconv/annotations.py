"""Scores and attributions that our own exporter sent as spans, as events again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_trace.semconv.values import load_container

if TYPE_CHECKING:
    from llm_trace.semconv.completed_span import EndedSpan

_CALL = "llm_trace.call.span_id"
_ATTRIBUTION = "llm_trace.attribution."
_EVALUATION = "gen_ai.evaluation."
_NESTED = ("segments", "faithfulness", "groups", "settings")
_ENVELOPE = ("method", "config_hash", "status", "error")


def parse_annotation(span: EndedSpan) -> dict[str, Any] | None:
    """Return the event that a span about a call stands for, `None` for a span that is a call itself."""
    attributes = span.attributes
    if not isinstance(attributes.get(_CALL), str):
        return None
    same = {"id": span.span_id, "span_id": attributes[_CALL], "time_ns": span.end_ns}
    if isinstance(attributes.get(_EVALUATION + "name"), str):
        return {"event": "score", **same, **_score(attributes)}
    if isinstance(attributes.get(_ATTRIBUTION + "method"), str):
        return {"event": "attribution", **same, **_parse_attribution(attributes)}
    return None


def _score(attributes: Mapping[str, Any]) -> dict[str, Any]:
    number, label = attributes.get(_EVALUATION + "score.value"), attributes.get(_EVALUATION + "score.label")
    value = label == "True" if label in ("True", "False") and number is not None else number
    score = {
        "name": attributes[_EVALUATION + "name"],
        "value": label if value is None else value,
        "source": attributes.get("llm_trace.score.source"),
        "comment": attributes.get(_EVALUATION + "explanation"),
    }
    return {name: value for name, value in score.items() if value is not None}


def _parse_attribution(attributes: Mapping[str, Any]) -> dict[str, Any]:
    start = len(_ATTRIBUTION)
    fields = {name[start:]: value for name, value in attributes.items() if name.startswith(_ATTRIBUTION)}
    fields |= {name: load_container(fields[name]) for name in _NESTED if name in fields}
    envelope = {name: fields.pop(name) for name in _ENVELOPE if name in fields}
    return {**envelope, "attribution": {**fields, "method": envelope["method"]}}
