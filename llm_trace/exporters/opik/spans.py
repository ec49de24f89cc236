"""A tree of calls as Opik keeps it: a trace, a span for each call, and ids that are the same each time."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from llm_trace.exporters.attribution_payload import build_searchable, record
from llm_trace.exporters.opik.usage import build_opik_usage, get_opik_provider

if TYPE_CHECKING:
    from llm_trace.exporters.protocol import Event
    from llm_trace.exporters.trees import CallPlace, Tree
    from llm_trace.semconv.shapes import CallFields

_TYPES = {"llm": "llm", "tool": "tool", "guardrail": "guardrail"}


def make_uuid7(start_ns: int, name: str) -> str:
    """Return a version 7 UUID with a time's milliseconds, its other bits from a name: always the same."""
    bits = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")
    bits = (start_ns // 1_000_000 & (1 << 48) - 1) << 80 | bits & (1 << 80) - 1
    bits = bits & ~(0xF << 76) | 0x7 << 76  # version
    bits = bits & ~(0x3 << 62) | 0x2 << 62  # variant
    return str(uuid.UUID(int=bits))


def format_moment(time_ns: int | None) -> str | None:
    """Return a time as RFC 3339 in UTC, with microseconds."""
    if time_ns is None:
        return None
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


def trace_of(tree: Tree, project: str) -> dict[str, Any]:
    """Return the body of a trace: what its root says."""
    root = tree.root
    return _drop_absent(
        {
            **_build_shared(root, project),
            "id": make_uuid7(root["start_ns"], tree.key),
            "metadata": _build_context(root),
            "thread_id": root.get("session"),
        }
    )


def build_spans(tree: Tree, project: str) -> list[dict[str, Any]]:
    """Return the bodies of the spans, in order of their start."""
    trace = make_uuid7(tree.root["start_ns"], tree.key)
    starts = {c["span_id"]: c["start_ns"] for c in tree.calls}
    return [_build_span(tree, call, trace, starts, project) for call in tree.calls]


def _build_span(
    tree: Tree, call: CallFields, trace: str, starts: Mapping[str, int], project: str
) -> dict[str, Any]:
    parent = None if call is tree.root else str(call.get("parent_id"))
    attributions = tree.attributions.get(call["span_id"], ())
    return _drop_absent(
        {
            **_build_shared(call, project),
            "id": make_uuid7(call["start_ns"], call["span_id"]),
            "trace_id": trace,
            "parent_span_id": None if parent is None else make_uuid7(starts[parent], parent),
            "type": _TYPES.get(call.get("kind", ""), "general"),
            "metadata": _build_details(call) | build_explained_metadata(attributions),
            "model": call.get("model"),
            "provider": get_opik_provider(call),
            "usage": build_opik_usage(call),
            "total_estimated_cost": call.get("cost_usd"),
        }
    )


def build_explained_metadata(found: Sequence[CallFields]) -> dict[str, Any]:
    """Return the metadata that attributions give: what a search finds, and the whole record."""
    return (
        {"attribution": build_searchable(found[-1]), "attributions": [dict(a) for a in found]}
        if found
        else {}
    )


def build_explanation(event: Event, place: CallPlace, project: str) -> dict[str, Any]:
    """Return the body of a span below the call, for an attribution that came after its call was sent.

    A change of the call's own span would replace its metadata.

    Raises:
        LookupError: nobody says when the trace began, so its id is not known.
    """
    data = event.data
    if place.tree_start_ns is None:
        raise LookupError(f"the trace of call {data['span_id']!r} was sent by an earlier process")
    made_ns = int(data.get("time_ns") or place.start_ns)
    return {
        "project_name": project,
        "id": make_uuid7(place.start_ns, event.id),
        "trace_id": make_uuid7(place.tree_start_ns, place.key),
        "parent_span_id": make_uuid7(place.start_ns, data["span_id"]),
        "name": "attribution",
        "type": "general",
        "start_time": format_moment(made_ns - round(float(data.get("seconds") or 0.0) * 1e9)),
        "end_time": format_moment(made_ns),
        "input": {"prompt": data["prompt"]},
        "output": {"summary": record(data).summary()},
        "metadata": build_explained_metadata([data]),
        "source": "sdk",
    }


def build_score(event: Event, entity: str, project: str) -> dict[str, Any]:
    """Return the body of a feedback score; a score in words is a category."""
    value = event.data["value"]
    score = {
        "id": entity,
        "project_name": project,
        "name": str(event.data["name"]),
        "category_name": value if isinstance(value, str) else None,
        "value": 1.0 if isinstance(value, str) else float(value),
        "reason": event.data.get("comment"),
        "source": "sdk",
    }
    return _drop_absent(score)


def _build_shared(call: CallFields, project: str) -> dict[str, Any]:
    first = call.get("first_token_ns")
    return {
        "project_name": project,
        "name": str(call["name"]),
        "start_time": format_moment(call["start_ns"]),
        "end_time": format_moment(call.get("end_ns")),
        "input": _as_dict(call.get("input"), "input"),
        "output": _as_dict(call.get("output"), "output"),
        "tags": list(call.get("tags") or ()) or None,
        "error_info": _describe_error(call),
        "ttft": None if first is None else (first - call["start_ns"]) / 1e6,
        "source": "sdk",
    }


def _as_dict(value: Any, name: str) -> dict[str, Any] | None:
    if value is None:
        return None
    return dict(value) if isinstance(value, Mapping) else {name: value}


def _describe_error(call: CallFields) -> dict[str, Any] | None:
    """Return why a call has no whole answer; one that did not end has no exception to show."""
    error = call.get("error")
    if error:
        return {
            "exception_type": str(error["type"]),
            "message": error.get("message"),
            "traceback": error.get("traceback") or "",
        }
    status = call.get("status")
    return None if status in (None, "ok") else {"exception_type": str(status), "traceback": ""}


def _build_context(call: CallFields) -> dict[str, Any]:
    """Return the user's metadata and who called; the user's own wins over a name of ours."""
    context = {"user": call.get("user"), "run": call.get("run"), "llm_trace_id": call["trace_id"]}
    return _drop_absent(context) | dict(call.get("metadata") or {})


def _build_details(call: CallFields) -> dict[str, Any]:
    details = {
        "kind": call.get("kind"),
        "params": call.get("params") or None,
        "prompt": call.get("prompt"),
        "replay_of": call.get("replay_of"),
        "llm_trace_span_id": call["span_id"],
    }
    return _drop_absent(details) | _build_context(call)


def _drop_absent(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if value is not None}
