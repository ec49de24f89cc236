"""Ids and times of other tools as ours."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import orjson

OWN_ANNOTATION = "llm_trace.attribution"
"""Name of what llm_trace writes onto spans of other platforms: no score of theirs, when it comes back."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_SPAN, _NO_TRACE = "0" * 16, "0" * 32


def make_span_id(source: str, *parts: object) -> str:
    """Return 16 hex digits for an id of `source`; one that is a span id already stays as it is."""
    return _make_id(16, _NO_SPAN, source, parts)


def make_trace_id(source: str, *parts: object) -> str:
    """Return 32 hex digits for an id of `source`; one that is a trace id or a UUID already stays as it is."""
    return _make_id(32, _NO_TRACE, source, parts)


def _make_id(digits: int, invalid: str, source: str, parts: tuple[object, ...]) -> str:
    text = str(parts[0]).lower().removeprefix("0x") if len(parts) == 1 else ""
    plain = text.replace("-", "") if len(text) == 36 else text
    if re.fullmatch(rf"[0-9a-f]{{{digits}}}", plain) and plain != invalid:
        return plain
    return sha256("\0".join((source, *map(str, parts))).encode("utf-8", "surrogatepass")).hexdigest()[:digits]


def list_source_ids(call: Mapping[str, Any], own: object, trace: object) -> dict[str, str]:
    """Return the ids that a call has at its source, without those that it has here as well."""
    ids = {"id": (own, call["span_id"]), "trace": (trace, call["trace_id"])}
    return {name: str(source) for name, (source, ours) in ids.items() if source and str(source) != ours}


def parse_nanoseconds(value: Any) -> int | None:
    """Return a time in Unix nanoseconds: ISO 8601 (UTC without a zone), or a number by its magnitude.

    `None` for what is no time.
    """
    if isinstance(value, datetime):
        return _count_since_epoch(value)
    if isinstance(value, str):
        try:
            return _count_since_epoch(datetime.fromisoformat(value))
        except (ValueError, OverflowError):
            return int(value) if re.fullmatch(r"[0-9]{19}", value) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 2**63:
        return None
    factor = next((f for top, f in ((1e11, 10**9), (1e14, 10**6), (1e17, 10**3)) if value < top), 1)
    return round(value * factor) if isinstance(value, float) else value * factor


def find_first_time(record: Mapping[str, Any], names: Collection[str]) -> int | None:
    """Return the first of a record's values that is a time, as Unix nanoseconds."""
    return next((at for name in names if (at := parse_nanoseconds(record.get(name))) is not None), None)


def get_seconds(record: Mapping[str, Any]) -> float | None:
    """Return how long a record says that something took."""
    for names, unit in (
        (("latency_ms", "latencyMs", "duration_ms", "durationMs"), 1e-3),
        (("latency", "duration"), 1.0),
    ):
        for name in names:
            try:
                return float(record[name]) * unit
            except (KeyError, TypeError, ValueError):
                continue
    return None


def _count_since_epoch(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1) * 1000


def list_left_over(record: Mapping[str, Any], read: Collection[str]) -> dict[str, Any]:
    """Return what a record says under names that were not read, without what is empty."""
    return {
        name: value for name, value in record.items() if name not in read and value not in (None, "", [], {})
    }


def parse_json(data: bytes) -> Any:
    """Return what JSON says; the slower parser takes what the fast one refuses: NaN, integers beyond 64 bits.

    Raises:
        ValueError: neither takes it.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            return json.loads(data)
        except RecursionError as exc:
            raise ValueError("nested too deeply") from exc
