"""Small questions about calls by their ids, for who does not need the calls themselves."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from llm_trace.stores.rows import UNKNOWN, build_attribution, build_score_record, parse_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from llm_trace.record import Attribution, Score
    from llm_trace.stores.duckdb import Store

_GUARD = """
    CASE WHEN metadata ->> '$.guard.action' = 'block' THEN 'blocked'
         WHEN metadata ->> '$.guard.asked' = 'true' THEN 'asked about' END"""
_COLUMNS = (
    "span_id", "parent_id", f"coalesce(name, '{UNKNOWN}')", "kind", "status", "start_ns", "end_ns", "model",
    "input_tokens", "output_tokens", "cost_usd", "first_token_ns",
    "TRY_CAST(metadata ->> '$.retries' AS INT)", "session", _GUARD,
)  # fmt: skip


@dataclass(frozen=True)
class TreeRow:
    """A call of a trace without its texts."""

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
    first_token_ns: int | None = None
    resent: int | None = None
    """How often the library that made the call sent its request again."""
    session: str | None = None
    guard: str | None = None
    """`blocked` or `asked about`, where the guard of a tool did not let it run by itself."""


def find_newest_trace(store: Store) -> str | None:
    """Return the trace of the call that began last; `None` in an empty store."""
    return _find_text(store, "SELECT trace_id FROM calls ORDER BY start_ns DESC LIMIT 1")


def find_beginning(store: Store, text: str) -> list[tuple[str, str]]:
    """Return (span, trace) of calls whose id begins so, one call for each trace that does; at most 5 each."""
    query = """
        (SELECT span_id, trace_id FROM calls WHERE starts_with(span_id, $1) LIMIT 5)
        UNION (SELECT any_value(span_id), trace_id FROM calls
               WHERE starts_with(trace_id, $1) GROUP BY trace_id LIMIT 5)"""
    return [(str(row[0]), str(row[1] or "")) for row in store.fetch(query, text)]


def read_trace_rows(store: Store, trace_id: str, most: int) -> tuple[TreeRow, ...]:
    """Return the first calls of a trace by start."""
    query = (
        f"SELECT {', '.join(_COLUMNS)} FROM calls WHERE trace_id = ? ORDER BY start_ns, span_id LIMIT {most}"
    )
    return tuple(TreeRow(*row) for row in store.fetch(query, trace_id))


def count_trace(store: Store, trace_id: str) -> int:
    """Return how many calls a trace has."""
    ((count,),) = store.fetch("SELECT count(*) FROM calls WHERE trace_id = ?", trace_id)
    return int(count)


def find_explained(store: Store, rows: Sequence[TreeRow]) -> str | None:
    """Return a call that has an attribution; `None` where none has."""
    query = "SELECT span_id FROM attributions WHERE span_id IN (SELECT unnest(?)) LIMIT 1"
    return _find_text(store, query, [row.span_id for row in rows])


def find_run_name(store: Store, run: str | None) -> str | None:
    """Return the name of a run; `None` where the store has no such run."""
    return _find_text(store, "SELECT name FROM runs WHERE id = ?", run)


def _find_text(store: Store, query: str, *values: object) -> str | None:
    """Return the first column of a query's first row; `None` where there is no row."""
    rows = store.fetch(query, *values)
    return str(rows[0][0]) if rows else None


def choose_call(store: Store, rows: Sequence[TreeRow]) -> str:
    """Return the call of a trace that has an attribution, else that failed, else that asked a model, else the
    first.
    """
    if (explained := find_explained(store, rows)) is not None:
        return explained
    failed = [row for row in rows if row.status not in ("ok", "open")]
    models = [row for row in rows if row.kind == "llm"]
    return (failed[-1:] or models or list(rows))[0].span_id


def list_attributed(store: Store, span_ids: Sequence[str], method: str, config_hash: str) -> set[str]:
    """Return which of the calls have an attribution of just this kind."""
    query = """
        SELECT span_id FROM attributions
        WHERE status = 'ok' AND method = ? AND config_hash = ? AND list_contains(?, span_id)"""
    return {str(row[0]) for row in store.fetch(query, method, config_hash, list(span_ids))}


def list_known(store: Store, span_ids: Sequence[str]) -> set[str]:
    """Return which of the spans the store has, as calls or within calls."""
    query = """
        SELECT span_id FROM (SELECT span_id FROM calls UNION ALL SELECT span_id FROM _same)
        WHERE span_id IN (SELECT unnest(?))"""
    return {str(row[0]) for row in store.fetch(query, list(span_ids))}


def list_ended(store: Store, since_ns: int, interrupted_since_ns: int) -> dict[str, int]:
    """Return the calls that ended since a time with their ends; interrupted ones count by their start."""
    query = """
        SELECT span_id, coalesce(end_ns, start_ns) FROM calls
        WHERE end_ns >= ? OR (status = 'interrupted' AND start_ns >= ?) ORDER BY 2"""
    return {str(row[0]): int(row[1]) for row in store.fetch(query, since_ns, interrupted_since_ns)}


def read_rows_about(
    store: Store, table: Literal["scores", "attributions"], span_ids: Iterable[str]
) -> list[dict[str, Any]]:
    """Return the rows of a table that are about calls, without what is NULL."""
    rows = store.fetch_dicts(f"SELECT * FROM {table} WHERE span_id IN (SELECT unnest(?))", list(span_ids))
    return [{name: item for name, item in row.items() if item is not None} for row in rows]


def read_scores(store: Store, span_ids: Iterable[str]) -> Mapping[str, list[Score]]:
    """Return the scores of calls, oldest first, by call; none of a call that has none."""
    query = "SELECT * FROM scores WHERE span_id IN (SELECT unnest(?)) ORDER BY time_ns, id"
    scores: defaultdict[str, list[Score]] = defaultdict(list)
    for row in store.fetch_dicts(query, list(span_ids)):
        score = build_score_record(row)
        scores[str(score.span_id)].append(score)
    return scores


def read_newest_attributions(
    store: Store, name: str, version: str, most: int
) -> list[tuple[Attribution, dict[str, Any]]]:
    """Return an attribution of each of a prompt version's newest explained calls, with the prompt's
    variables: the newest that is evidence, or else the newest.
    """
    query = """
        SELECT a.span_id, a.time_ns, a.attribution, c.prompt_variables
        FROM attributions a JOIN calls c USING (span_id)
        WHERE a.status = 'ok' AND c.prompt_name = ? AND c.prompt_version = ?
        QUALIFY row_number() OVER (
            PARTITION BY a.span_id ORDER BY a.attribution ->> '$.verdict' = 'ok' DESC, a.time_ns DESC) = 1
        ORDER BY c.start_ns DESC LIMIT ?"""
    pairs = []
    for span_id, time_ns, attribution, variables in store.fetch(query, name, version, most):
        row = {"span_id": span_id, "time_ns": time_ns, "attribution": attribution}
        if (record := build_attribution(row)) is not None:
            pairs.append((record, parse_value(variables) or {}))
    return pairs


def read_run_attributions(store: Store, run: str) -> list[tuple[list[str], Attribution]]:
    """Return the attributions of a run's calls, newest first, each with the call that it is of and those
    around it, innermost first.
    """
    query = """SELECT a.span_id, a.time_ns, a.attribution FROM attributions a JOIN calls c USING (span_id)
               WHERE a.status = 'ok' AND c.run = ? ORDER BY a.time_ns DESC, a.span_id"""
    rows = store.fetch(query, run)
    parents: dict[str, str | None] = {}
    if rows:
        parents = dict(store.fetch("SELECT span_id, parent_id FROM calls WHERE run = ?", run))
    pairs = []
    for span_id, time_ns, attribution in rows:
        record = build_attribution({"span_id": span_id, "time_ns": time_ns, "attribution": attribution})
        if record is not None:
            pairs.append((_list_above(span_id, parents), record))
    return pairs


def _list_above(span_id: str | None, parents: Mapping[str, str | None]) -> list[str]:
    above: list[str] = []
    while span_id is not None and span_id in parents and span_id not in above:
        above.append(span_id)
        span_id = parents[span_id]
    return above
