"""Scores and attributions that our own exporter sent as spans, and evaluations of others, as events."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from llm_trace.semconv import names
from llm_trace.semconv.values import get_field, load_container

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


def list_evaluations(span: EndedSpan) -> list[dict[str, Any]]:
    """Return the scores that a span's events of evaluations (`gen_ai.evaluation.result`) stand for."""
    scores = [
        build_evaluation_score(span.span_id, get_field(event, "time_ns") or span.end_ns, event["attributes"])
        for event in span.events
        if get_field(event, "name") == names.EVALUATION_RESULT
    ]
    return [score for score in scores if score is not None]


def build_evaluation_score(
    span_id: str, time_ns: int, attributes: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the score that an evaluation of a span stands for, `None` where it came to none; its id is
    derived, so retries match.
    """
    if not isinstance(attributes.get(_EVALUATION + "name"), str):
        return None
    score = _score(attributes)
    if "value" not in score:  # the evaluator failed
        return None
    identity = sha256(f"{span_id}{score['name']}{time_ns}{score['value']}".encode()).hexdigest()[:16]
    return {"event": "score", "id": identity, "span_id": span_id, "time_ns": time_ns, **score}


def _score(attributes: Mapping[str, Any]) -> dict[str, Any]:
    number, label = attributes.get(_EVALUATION + "score.value"), attributes.get(_EVALUATION + "score.label")
    value = label == "True" if label in ("True", "False") and number is not None else number
    comment = attributes.get(_EVALUATION + "explanation")
    if value is number is not None and label is not None and not _is_number(label):
        comment = f"{label}: {comment}" if comment else label
    score = {
        "name": attributes[_EVALUATION + "name"],
        "value": label if value is None else value,
        "source": attributes.get("llm_trace.score.source"),
        "comment": comment,
    }
    return {name: value for name, value in score.items() if value is not None}


def _is_number(label: Any) -> bool:
    """Say whether a label is a number over again, as our own exporter writes whole ones."""
    return str(label).removeprefix("-").isdecimal()


def _parse_attribution(attributes: Mapping[str, Any]) -> dict[str, Any]:
    start = len(_ATTRIBUTION)
    fields = {name[start:]: value for name, value in attributes.items() if name.startswith(_ATTRIBUTION)}
    fields |= {name: load_container(fields[name]) for name in _NESTED if name in fields}
    envelope = {name: fields.pop(name) for name in _ENVELOPE if name in fields}
    return {**envelope, "attribution": {**fields, "method": envelope["method"]}}
