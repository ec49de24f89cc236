"""The store: ask for calls, runs, prompts, attributions and scores, or in SQL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from llm_trace.errors import NotFoundError, StoreError, StoreNotFoundError
from llm_trace.record import Call, Run
from llm_trace.record_lists import Attributions, Calls, PromptVersions, Runs, ScoreRecords, Trace
from llm_trace.spool.files import list_spool_files
from llm_trace.spool.losses import list_noted_losses
from llm_trace.spool.paths import get_spool_dir, get_store_path, is_lake_address
from llm_trace.stores import paging, rows
from llm_trace.stores.calls import find_in_order, list_columns, pick_calls, read_at, read_calls
from llm_trace.stores.catch_up import catch_up
from llm_trace.stores.connection import Database
from llm_trace.stores.filters import Filter, Moment, Order, slice_in_order
from llm_trace.stores.lake.database import LakeDatabase
from llm_trace.stores.paging import Page
from llm_trace.stores.parquet import MAKE_CHOSEN, read_event_lines, write_parquet
from llm_trace.stores.prompt_versions import read_prompt_versions
from llm_trace.stores.search import search
from llm_trace.stores.selection import fill_chosen, select_calls
from llm_trace.stores.sql_store import SqlStore
from llm_trace.stores.summary import Summary, summarize_calls
from llm_trace.stores.totals import Totals, sum_calls

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from duckdb import DuckDBPyConnection

    from llm_trace.stores.search import Match

TIMEOUT = 60.0
REMEMBERED = 200
"""Calls of an order that are remembered."""


def open_store(path: str | os.PathLike[str] = "llm_trace.duckdb", *, timeout: float = TIMEOUT) -> Store:
    """Return the store at `path`, with every call that returned before now.

    Args:
        path: the DuckDB file, whose spool is the folder beside it; or the address of a lake, `delta://…`.
        timeout: seconds to wait for another process that ingests or holds the file.

    Raises:
        StoreNotFoundError: there is neither a store nor a spool with files.
        StoreLockedError: another process held it longer than the time-out.
        StoreVersionError: written by a newer llm_trace.
    """
    if isinstance(path, str) and is_lake_address(path):
        return _open_lake(path, timeout)
    absolute = get_store_path(path)
    folder = get_spool_dir(absolute)
    database = Database(absolute, folder, timeout)
    if not (database.exists() or list_spool_files(folder) or list_noted_losses(folder)):
        raise StoreNotFoundError(
            f"there is no store at {str(absolute)!r} and no spool beside it: pass the path that "
            f"configure(store=…) was given"
        )
    store = Store(database)
    store.ingest()
    return store


def _open_lake(address: str, timeout: float) -> Store:
    database = LakeDatabase(address, timeout)
    store = Store(database)
    store.ingest()
    if not database.exists():
        raise StoreNotFoundError(
            f"there is no lake at {address!r}, and nothing on this machine that is to go there: pass the "
            f"address that configure(store=…) or `llm-trace ship --to` was given"
        )
    return store


class Store(SqlStore):
    """Answers from one DuckDB file, which is held only while a query runs, or from a lake; also a context
    manager.

    Made by `open_store`. What is logged later is seen after `ingest()`. Threads may share it.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.pending = 0
        """Bytes of the spool that could not be ingested because store or spool cannot be written."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _repr_html_(self) -> str:
        """Return what the store holds for notebooks: the totals, the newest runs and calls."""
        from llm_trace.stores.html import render_store

        return render_store(self.path, self.summary(), self.runs()[:5], self.calls(limit=10))

    def close(self) -> None:
        """End the use of the store; there is nothing open between queries, so this cannot fail."""

    def ingest(self) -> None:
        """Bring in what was logged since; `pending` says what is missing where the store is read-only."""
        if self.is_held:
            raise StoreError("the store is held by this thread: ingest() before hold(), or after it")
        self.pending = catch_up(self._database).bytes

    def calls(
        self,
        *,
        run: str | Run | None = None,
        name: str | None = None,
        kind: str | None = None,
        model: str | None = None,
        tag: str | None = None,
        session: str | None = None,
        user: str | None = None,
        status: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        text: str | None = None,
        where: str | Filter | None = None,
        limit: int | None = 100,
        offset: int = 0,
        order: Order = "newest",
        brief: bool = False,
    ) -> Calls:
        """Return the calls that match all that is given, newest first unless another order is asked for.

        Args:
            run: id or name of a run, or the run.
            tag: one of the call's tags.
            since: start at or after: a datetime or ISO 8601 (local time where it has no zone), a date, a
                timedelta (so long ago), Unix seconds as a float or nanoseconds as an int.
            until: start before.
            text: occurs in the prompt or the answer, in any case.
            where: a condition in SQL over the columns of `calls`, as `"cost_usd > 0.1 AND 'prod' IN tags"`;
                a `Filter` has its values apart.
            limit: the most calls to return; `None` for all.
            offset: how many calls to pass over first.
            order: newest, oldest, slowest, dearest or largest (most tokens) first; what has no end, no cost
                or no tokens comes last.
            brief: leave out what no table shows, which is faster: documents, parameters, metadata, code,
                tracebacks, what costs rest on.
        """
        part = slice_in_order(order, limit, offset)
        filters: dict[str, Any] = {
            "name": name,
            "kind": kind,
            "model": model,
            "session": session,
            "user": user,
        }
        filters |= {"status": status, "tag": tag, "since": since, "until": until, "where": where}
        with self._query() as connection:
            chosen = select_calls(connection, run, filters)
            if text:
                most = None if limit is None or order != "newest" else limit + offset
                return Calls(read_at(connection, search(connection, chosen, text, most), part, brief=brief))
            if limit is None:
                query = f"SELECT {list_columns(brief=brief)} FROM calls WHERE {chosen.sql} {part}"
                return Calls(read_calls(connection, query, chosen.values, brief=brief))
            matches = self._find_in_order(connection, chosen, order, limit, offset)
            return Calls(read_at(connection, matches, slice_in_order(order, limit, 0), brief=brief))

    def _find_in_order(
        self, connection: DuckDBPyConnection, chosen: Filter, order: Order, limit: int, offset: int
    ) -> list[Match]:
        """Return what `find_in_order` does; of an order that every call is looked at for, the first few
        hundred are remembered, since who asks for the first page asks for the next ones.
        """
        if order == "newest" or limit + offset > REMEMBERED or chosen.is_volatile:
            return find_in_order(connection, chosen, order, limit, offset)
        first: list[Match] = self._memo.get(
            ("order", chosen, order), lambda: find_in_order(connection, chosen, order, REMEMBERED, 0)
        )
        return first[offset : offset + limit]

    def pages(
        self, columns: str, *, size: int, limit: int | None = None, text: str | None = None, **filters: Any
    ) -> Iterator[Page]:
        """Yield columns of matching calls, newest first, a page at a time; the file is free between pages.

        Args:
            columns: expressions in SQL over the columns of `calls`; those of `llm_trace.stores.paging.TALK`
                follow them.
            size: calls a page, about.
            limit: the most calls to yield.
            filters: as `calls` takes them.
        """
        run, until, left = filters.pop("run", None), paging.LAST, limit
        while left is None or left > 0:
            with self._query() as connection:
                chosen = select_calls(connection, run, filters)
                page_size = size if left is None or text else min(size, left)
                window = paging.read_window(connection, chosen, text, columns, until, page_size)
                page = Page(
                    window.rows[:left],
                    paging.load_bodies(connection, paging.list_spoken_ids(window.rows[:left])),
                )
            if page.rows:
                yield page
            if window.until is None:
                return
            until, left = window.until, None if left is None else left - len(page.rows)

    def summary(self, *, bars: int = 0, text: str | None = None, **filters: Any) -> Summary:
        """Return what the calls that match come to: how many, how long, tokens, cost.

        Args:
            bars: over how many equal stretches of time to count them.
            filters: as `calls` takes them.
        """
        run = filters.pop("run", None)
        with self._query() as connection:
            chosen = select_calls(connection, run, filters)
            return self._memo.get(
                None if chosen.is_volatile else ("summary", chosen, text, bars),
                lambda: summarize_calls(connection, chosen, text, bars),
            )

    def run_totals(self, runs: Sequence[str]) -> dict[str, Totals]:
        """Return what the calls of each run come to, by its id; runs without any number are left out."""
        chosen = Filter(f"run IN ({', '.join('?' * len(runs))})" if runs else "false", tuple(runs))
        with self._query() as connection:
            return self._memo.get(("runs", chosen), lambda: sum_calls(connection, chosen, "run", within=True))

    def call(self, span_id: str) -> Call:
        """Return one call.

        Raises:
            NotFoundError: the store has no call of that id.
        """
        with self._query() as connection:
            matches = pick_calls(connection, "span_id = ?", span_id)
        if not matches:
            raise NotFoundError(
                f"no call {span_id!r} in {str(self.path)!r}: `store.calls()` lists the newest"
            )
        return matches[0]

    def pick(self, span_ids: Sequence[str], starts: Sequence[int] | None = None) -> Calls:
        """Return the calls of these ids in the order of their starts; ids that are unknown are left out.

        Args:
            starts: when each began, in nanoseconds, where that is known: else every call is looked at.
        """
        with self._query() as connection:
            if starts is None:
                return Calls(pick_calls(connection, "span_id IN (SELECT unnest(?))", list(span_ids)))
            matches = list(zip(span_ids, starts, strict=True))
            return Calls(read_at(connection, matches, "ORDER BY start_ns, span_id"))

    def trace(self, trace_id: str) -> Trace:
        """Return the calls of a trace in the order of their starts; none where the id is unknown."""
        with self._query() as connection:
            return Trace(pick_calls(connection, "trace_id = ?", trace_id))

    def runs(self) -> Runs:
        """Return the runs, newest first."""
        return Runs(map(rows.build_run, self.fetch_dicts("SELECT * FROM runs ORDER BY start_ns DESC, id")))

    def prompts(self, *, halfway: bool = False) -> PromptVersions:
        """Return the versions of each prompt, by name and number, with the calls that used them.

        Args:
            halfway: also those with part of a change that only `bisect` asked with; their numbers are last.
        """
        with self._query() as connection:
            key = "prompts, halfway too" if halfway else "prompts"
            return PromptVersions(
                self._memo.get(key, lambda: read_prompt_versions(connection, halfway=halfway))
            )

    def attributions(self, span_id: str) -> Attributions:
        """Return the attributions of a call, oldest first; those that failed are in the table only."""
        query = "SELECT * FROM attributions WHERE span_id = ? AND status = 'ok' ORDER BY time_ns, id"
        attributions = (rows.build_attribution(row) for row in self.fetch_dicts(query, span_id))
        return Attributions(attribution for attribution in attributions if attribution is not None)

    def scores(self, span_id: str) -> ScoreRecords:
        """Return the scores of a call, oldest first."""
        query = "SELECT * FROM scores WHERE span_id = ? ORDER BY time_ns, id"
        return ScoreRecords(rows.build_score_record(row) for row in self.fetch_dicts(query, span_id))

    def to_parquet(
        self,
        folder: str | os.PathLike[str],
        *,
        limit: int | None = None,
        text: str | None = None,
        **filters: Any,
    ) -> list[Path]:
        """Write each table to `<folder>/<table>.parquet`, ids as text, JSON as text; return the files.

        With filters, which are those of `calls`, only the calls that match and what belongs to them.
        """
        place = Path(os.path.abspath(os.path.expanduser(folder)))
        run, some = filters.pop("run", None), bool(limit or text or filters)
        with self._query() as connection:
            if not some and run is None:
                return write_parquet(connection, place)
            fill_chosen(connection, select_calls(connection, run, filters), text, limit)
            return write_parquet(connection, place, chosen=True)

    def event_lines(self, span_ids: Sequence[str] | None = None) -> list[str]:
        """Return the runs, prompts, scores and attributions as events of the spool's format, JSON lines.

        Args:
            span_ids: only what belongs to these calls; everything if absent.
        """
        with self._query() as connection:
            if span_ids is not None:
                connection.execute(f"{MAKE_CHOSEN} AS SELECT unnest(?) AS span_id", [list(span_ids)])
            return list(read_event_lines(connection, chosen=span_ids is not None))
