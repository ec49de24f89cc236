"""From what a user types as an id to a call and its trace."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from llm_trace.errors import NotFoundError

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store

MOST = 2000
"""Calls of a trace that are read to draw its tree."""
_COLUMNS = (
    "span_id", "parent_id", "name", "kind", "status", "start_ns", "end_ns", "model", "input_tokens",
    "output_tokens", "cost_usd",
)  # fmt: skip


@dataclass(frozen=True)
class TreeRow:
    """A call as the tree shows it, without its texts."""

    span_id: str
    parent_id: str | None
    name: str
    kind: str
    status: str
    start_ns: int
    end_ns: int | None
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None


@dataclass(frozen=True)
class CallInTrace:
    """A trace and the call of it that is meant."""

    trace_id: str
    span_id: str
    rows: tuple[TreeRow, ...]
    """The first calls of the trace by start, at most `MOST`."""
    calls: int
    """How many it has."""


def find_call(store: "Store", identity: str) -> CallInTrace:
    """Return the trace of `last`, of a span or trace id, or of the beginning of one that is unique.

    Of a trace that call is meant that has an attribution, else that failed, else that asked a model, else the
    first.

    Raises:
        NotFoundError: there is none.
        typer.BadParameter: several begin so.
    """
    if identity == "last":
        newest = store.sql("SELECT trace_id FROM calls ORDER BY start_ns DESC LIMIT 1").fetchone()
        if newest is None:
            raise NotFoundError(f"the store {str(store.path)!r} has no calls yet")
        return _trace(store, str(newest[0]), None)
    text = identity.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{1,32}", text):
        raise typer.BadParameter(
            f"{identity!r} is no id: give a span or trace id, its beginning, or last", param_hint="ID"
        )
    matches = _find_matches(store, text)
    if not matches:
        raise NotFoundError(f"no call or trace begins with {identity!r}: llm-trace ls lists the newest calls")
    exact = [m for m in matches if text in m]
    if len({m[0] for m in exact or matches}) > 1:
        examples = ", ".join(sorted(m[0] if m[0].startswith(text) else m[1] for m in matches)[:4])
        raise typer.BadParameter(f"several begin with {identity!r}: {examples} …", param_hint="ID")
    span_id, trace_id = (exact or matches)[0]
    return _trace(store, trace_id, span_id if span_id.startswith(text) else None)


def _find_matches(store: "Store", text: str) -> list[tuple[str, str]]:
    """Return (span, trace) of calls whose id begins so, one call for each trace that does."""
    query = """
        (SELECT span_id, trace_id FROM calls WHERE starts_with(span_id, $1) LIMIT 5)
        UNION (SELECT any_value(span_id), trace_id FROM calls
               WHERE starts_with(trace_id, $1) GROUP BY trace_id LIMIT 5)"""
    return [(str(row[0]), str(row[1] or "")) for row in store.sql(query, text)]


def _trace(store: "Store", trace_id: str, span_id: str | None) -> CallInTrace:
    query = (
        f"SELECT {', '.join(_COLUMNS)} FROM calls WHERE trace_id = ? ORDER BY start_ns, span_id LIMIT {MOST}"
    )
    rows = tuple(TreeRow(*row) for row in store.sql(query, trace_id))
    count: Any = len(rows)
    if len(rows) == MOST:
        (count,) = store.sql("SELECT count(*) FROM calls WHERE trace_id = ?", trace_id).fetchone() or (MOST,)
    return CallInTrace(trace_id, span_id or _choose_meant(store, trace_id, rows), rows, int(count))


def _choose_meant(store: "Store", trace_id: str, rows: tuple[TreeRow, ...]) -> str:
    explained = store.sql(
        "SELECT span_id FROM attributions SEMI JOIN (SELECT span_id FROM calls WHERE trace_id = ?) USING "
        "(span_id) LIMIT 1",
        trace_id,
    ).fetchone()
    if explained is not None:
        return str(explained[0])
    failed = [row for row in rows if row.status not in ("ok", "open")]
    models = [row for row in rows if row.kind == "llm"]
    return (failed[-1:] or models or list(rows))[0].span_id
