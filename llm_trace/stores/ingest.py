"""Bring the spool into the store, exactly once. `python -m llm_trace.stores.ingest PATH` does it in a process
of its own.

How far each file has been read is written in the transaction that writes its rows, and a file is deleted only
after that: killed at any moment, the next ingest goes on where the last transaction ended.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from llm_trace.errors import LLMTraceError, StoreError, StoreVersionError
from llm_trace.spool.files import (
    FORMAT,
    SpoolFile,
    find_live_writers,
    is_needed,
    list_spool_files,
    read_positions_of_others,
    remove_stale,
)
from llm_trace.spool.losses import take_losses
from llm_trace.spool.paths import get_spool_dir, get_store_path
from llm_trace.stores.connection import Database
from llm_trace.stores.failure import clear_failure, note_failure
from llm_trace.stores.instances import lend
from llm_trace.stores.load import Load, SliceError
from llm_trace.stores.locks import Deadline, lock_path
from llm_trace.stores.merge import Fold
from llm_trace.stores.migrations import migrate
from llm_trace.stores.progress import IngestProgress
from llm_trace.stores.scrub import finish_purges, list_unfinished_purges
from llm_trace.stores.slices import SpoolSlice, Unread, iter_slices
from llm_trace.stores.staging import Staged, Staging

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from duckdb import DuckDBPyConnection

    from llm_trace.spool.losses import NotedLoss


@dataclass
class IngestReport:
    """What one ingest did."""

    lines: int = 0
    bad_lines: int = 0
    """Lines that are no events; they are in the spool's folder `quarantine`."""
    bytes: int = 0
    deleted: list[str] = field(default_factory=list)
    """Spool files that nobody needed any more."""
    seconds: float = 0.0

    def add(self, staged: Staged) -> None:
        """Count a slice that is in the store."""
        pieces = staged.part.pieces
        bad = len(staged.bad) + sum(len(piece.bad) for piece in pieces)
        self.lines += staged.part.lines + sum(len(piece.bad) for piece in pieces)
        self.bad_lines += bad
        self.bytes += staged.part.bytes


def ingest(path: str | os.PathLike[str], *, timeout: float = 60.0) -> IngestReport:
    """Fold all that the spool of the store at `path` holds by now, in this process.

    Raises:
        StoreLockedError: another process ingested or held the store until the time-out.
        StoreVersionError: the store, or a file of the spool, was written by a newer llm_trace; such a file is
            left as it is.
    """
    store = get_store_path(path)
    folder = get_spool_dir(store)
    started = time.perf_counter()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with lock_path(folder / "ingest.lock", Deadline(timeout)):
        report = ingest_alone(Database(store, folder, timeout))
    report.seconds = time.perf_counter() - started
    return report


def ingest_alone(database: Database) -> IngestReport:
    """Do what `ingest` does for a caller that holds `ingest.lock`."""
    try:
        report = _run(database)
    except LLMTraceError as exc:
        note_failure(database.lock_dir, exc)
        raise
    clear_failure(database.lock_dir)
    return report


def _run(database: Database) -> IngestReport:
    import duckdb

    try:
        return _Ingest(database).run()
    except (duckdb.Error, OSError) as exc:
        if isinstance(exc, StoreError):
            raise
        raise StoreError(f"{str(database.path)!r} cannot be ingested, its spool is kept: {exc}") from exc


class _Ingest:
    """One pass over the spool."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.folder = database.lock_dir
        self.report = IngestReport()

    def run(self) -> IngestReport:
        remove_stale(self.folder)
        every = list_spool_files(self.folder)
        newer = [file for file in every if file.format > FORMAT]
        with tempfile.TemporaryDirectory(
            prefix="work-", dir=self.folder, ignore_cleanup_errors=True
        ) as scratch:
            self._fold_all([file for file in every if file.format <= FORMAT], every, Path(scratch))
        if newer:
            raise StoreVersionError(
                f"{str(newer[0].path)!r} has spool format {newer[0].format}, this llm_trace reads up to "
                f"{FORMAT}: "
                "run `pip install -U llm-trace`; the file was left as it is, everything else was ingested"
            )
        return self.report

    def _fold_all(self, files: list[SpoolFile], every: list[SpoolFile], scratch: Path) -> None:
        """Fold the files and put the store in order, by as many attempts as it takes."""
        import duckdb

        load = Load()
        while True:
            try:
                with lend("work", **load.settings(str(scratch))) as connection:
                    progress = self._attempt(connection, files, scratch, load)
                    if progress is not None:
                        self._finish(connection, files, every, progress)
                        return
            except SliceError as failed:
                if not load.shrink(failed.part, failed.__cause__):
                    raise failed.__cause__ or failed from None
            except duckdb.Error as exc:
                if not load.take_all_memory(exc):
                    raise

    def _attempt(
        self, connection: DuckDBPyConnection, files: list[SpoolFile], scratch: Path, load: Load
    ) -> IngestProgress | None:
        """Fold slices to the end of the files; return `None` where another connection should go on."""
        fold = Fold(connection)
        with self.database.writing(connection):
            migrate(connection)
            progress = IngestProgress(connection, self.folder)
            unread = [Unread(f, progress.position(f)) for f in files if progress.position(f) < f.size]
            for item in unread:
                if item.position:
                    fold.resume(item.file.name)
        staging, alone = Staging(connection), load.alone
        coming = _stage_parts(staging, iter_slices(unread, scratch, lambda: load.size, load.refused))
        with contextlib.closing(coming if alone else _iter_ahead(coming)) as ready:
            for staged in ready:
                with _blame_slice(staged.part), self.database.writing(connection):
                    connection.execute("BEGIN")
                    fold.fold(staged)
                    done = progress.advance(staged)
                    fold.keep_numbers([file.name for file in done])
                    connection.execute("COMMIT")
                self.report.add(staged)
                self._delete(done, progress)
                load.grow()
                if alone:
                    return None
        return progress

    def _finish(
        self,
        connection: DuckDBPyConnection,
        files: list[SpoolFile],
        every: list[SpoolFile],
        progress: IngestProgress,
    ) -> None:
        writers = find_live_writers(every)
        losses = take_losses(self.folder, writers)
        with self.database.writing(connection):
            connection.execute("BEGIN")
            _mark_interrupted(connection, writers)
            _keep_losses(connection, losses)
            progress.tidy(every)
            purges = list_unfinished_purges(connection)
            connection.execute("COMMIT")
        for loss in losses:
            loss.path.unlink(missing_ok=True)
        self._delete(files, progress)
        if purges:
            finish_purges(self.database, connection, purges)

    def _delete(self, files: list[SpoolFile], progress: IngestProgress) -> None:
        cursors = read_positions_of_others(self.folder)
        for file in files:
            if file.live or progress.position(file) < file.size or is_needed(file, cursors):
                continue
            if file.path.exists():
                file.path.unlink(missing_ok=True)
                self.report.deleted.append(file.name)


def _stage_parts(staging: Staging, parts: Iterator[SpoolSlice]) -> Generator[Staged]:
    for part in parts:
        with _blame_slice(part):
            staged = staging.stage(part)
        yield staged


@contextlib.contextmanager
def _blame_slice(part: SpoolSlice) -> Iterator[None]:
    """Say at which slice DuckDB failed."""
    import duckdb

    try:
        yield
    except duckdb.Error as exc:
        raise SliceError(part) from exc


def _iter_ahead(items: Iterator[Staged]) -> Generator[Staged]:
    """Yield the items, each made by another thread while the one before is in use."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


def _mark_interrupted(connection: DuckDBPyConnection, writers: set[str]) -> None:
    """Call what is open interrupted where its writer has gone."""
    rows = connection.execute("SELECT span_id, writer FROM _unfinished WHERE state = 'open'").fetchall()
    gone = [span_id for span_id, writer in rows if writer not in writers]
    if gone:
        connection.execute(
            "UPDATE calls SET status = 'interrupted' WHERE span_id IN (SELECT unnest(?))", [gone]
        )
        connection.execute(
            "UPDATE _unfinished SET state = 'interrupted' WHERE span_id IN (SELECT unnest(?))", [gone]
        )


def _keep_losses(connection: DuckDBPyConnection, losses: list[NotedLoss]) -> None:
    """Keep what notes say; one that is kept already was left by an ingest that died before it removed it."""
    for loss in losses:
        connection.execute(
            "INSERT INTO _lost SELECT ?, ?, ?, ? WHERE ? NOT IN (SELECT file FROM _lost)",
            [loss.path.name, loss.count, loss.reason, loss.time_ns, loss.path.name],
        )


def main(arguments: list[str]) -> int:
    """Ingest the store named first; print the report, or the error, as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m llm_trace.stores.ingest")
    parser.add_argument("path")
    parser.add_argument("--timeout", type=float, default=60.0)
    options = parser.parse_args(arguments)
    try:
        report = ingest(options.path, timeout=options.timeout)
    except LLMTraceError as exc:
        print(json.dumps({"error": type(exc).__name__, "message": str(exc)}))
        return 1
    print(json.dumps(asdict(report)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
