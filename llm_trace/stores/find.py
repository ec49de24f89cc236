"""From what a person types as an id to a call and its trace."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_trace.errors import ConfigurationError, NotFoundError
from llm_trace.stores.lookup import (
    choose_call,
    count_trace,
    find_beginning,
    find_newest_trace,
    read_trace_rows,
)

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store
    from llm_trace.stores.lookup import TreeRow

MOST = 2000
"""Calls of a trace that are read to draw its tree."""


@dataclass(frozen=True)
class CallInTrace:
    """A trace and the call of it that is meant."""

    trace_id: str
    span_id: str
    rows: tuple[TreeRow, ...]
    """The first calls of the trace by start, at most `MOST`."""
    calls: int
    """How many it has."""


def find_call(store: Store, identity: str) -> CallInTrace:
    """Return the trace of `last`, of a span or trace id, or of the beginning of one that is unique.

    Of a trace: the call that has an attribution, else that failed, else that asked a model, else the first.

    Raises:
        NotFoundError: there is none.
        ConfigurationError: it is no id, or several begin so.
    """
    if identity == "last":
        newest = find_newest_trace(store)
        if newest is None:
            raise NotFoundError(f"the store {str(store.path)!r} has no calls yet")
        return _find_in_trace(store, newest, None)
    text = identity.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{1,32}", text):
        raise ConfigurationError(f"{identity!r} is no id: give a span or trace id, its beginning, or last")
    matches = find_beginning(store, text)
    if not matches:
        raise NotFoundError(f"no call or trace begins with {identity!r}: llm-trace ls lists the newest calls")
    exact = [m for m in matches if text in m]
    if len({m[0] for m in exact or matches}) > 1:
        examples = ", ".join(sorted(m[0] if m[0].startswith(text) else m[1] for m in matches)[:4])
        raise ConfigurationError(f"several begin with {identity!r}: {examples} …")
    span_id, trace_id = (exact or matches)[0]
    return _find_in_trace(store, trace_id, span_id if span_id.startswith(text) else None)


def _find_in_trace(store: Store, trace_id: str, span_id: str | None) -> CallInTrace:
    rows = read_trace_rows(store, trace_id, MOST)
    count = count_trace(store, trace_id) if len(rows) == MOST else len(rows)
    return CallInTrace(trace_id, span_id or choose_call(store, rows), rows, count)
