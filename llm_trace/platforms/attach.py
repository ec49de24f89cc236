"""Read a platform's traces into the store, each once, and write onto its spans what was found out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_trace.errors import StoreError
from llm_trace.exporters.attribution_payload import build_searchable
from llm_trace.imports.importer import ImportReport, ImportTarget, import_records
from llm_trace.imports.values import OWN_ANNOTATION
from llm_trace.operations.log import OperationLog
from llm_trace.platforms import Annotation, Platform, TracePage
from llm_trace.platforms.addresses import PlatformAddress
from llm_trace.spool.private import open_private

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store

BATCH = 100
"""Annotations in a request."""
READ = 1_000
"""Annotations that are read from the store at a time."""


@dataclass
class AttachState:
    """How far a platform was read; a file beside the store.

    Args:
        path: the file.
        refused: ids of annotations that the platform did not take; they are tried again in the next process.
    """

    path: Path
    cursor: str | None = None
    refused: set[str] = field(default_factory=set)

    def save(self) -> None:
        """Replace the file as a whole.

        Raises:
            StoreError: it cannot be written.
        """
        fresh = self.path.with_suffix(".new")
        try:
            with open_private(fresh, "w", encoding="utf-8") as file:
                file.write(json.dumps({"cursor": self.cursor}))
            fresh.replace(self.path)
        except OSError as exc:
            raise StoreError(
                f"{str(self.path)!r} cannot be written ({exc.strerror}): free some room and attach again, "
                f"what was read is kept and comes once"
            ) from exc


@dataclass(frozen=True)
class SendReport:
    """What became of annotations."""

    written: int
    refused: dict[str, str]
    """Why, by the annotation's id."""


def load_state(store: Path, address: PlatformAddress) -> AttachState:
    """Return what is known of a platform beside a store; nothing where it was never attached.

    Raises:
        StoreError: the file is damaged.
    """
    name = f"{store.name}.{address.scheme}-{sha256(str(address).encode()).hexdigest()[:12]}.json"
    path = store.with_name(name)
    try:
        return AttachState(path, json.loads(path.read_text(encoding="utf-8"))["cursor"])
    except FileNotFoundError:
        return AttachState(path)
    except (ValueError, KeyError, TypeError) as exc:
        raise StoreError(
            f"{str(path)!r} is damaged: remove it and attach again; all is read anew, and nothing comes twice"
        ) from exc


def read_new_traces(
    platform: Platform,
    state: AttachState,
    target: ImportTarget,
    store: Path,
    *,
    advance: Callable[[int], None],
) -> ImportReport:
    """Write the calls that are new on a platform to the spool; the place is kept after each page.

    Killed in between, the last page is read again, and its calls are known by their ids.

    Args:
        advance: is told how many calls are new so far.
    """
    source = target.source or ""
    report = ImportReport(source, platform.importer)
    rejected = state.path.with_suffix(".rejected.jsonl")
    with OperationLog(store) as log:
        for page in _iter_ahead(platform.iter_pages(state.cursor)):
            scores = import_records(page.records, target, report, using=platform.importer, rejected=rejected)
            for own, span_id in scores:  # they stand there already
                log.append("annotation", source, {"id": own}, span_id)
            state.cursor = page.cursor
            state.save()
            advance(report.calls)
    return report


def _iter_ahead(pages: Iterator[TracePage]) -> Iterator[TracePage]:
    """Yield pages, each while the next one is on its way; what fails on its way is raised in its turn."""
    ready: Queue[TracePage | Exception | None] = Queue(maxsize=1)

    def fetch() -> None:
        try:
            for page in pages:
                ready.put(page)
            ready.put(None)
        except Exception as exc:  # noqa: BLE001  it is raised by the reader
            ready.put(exc)

    Thread(target=fetch, name="llm_trace-attach", daemon=True).start()
    while (item := ready.get()) is not None:
        if isinstance(item, Exception):
            raise item
        yield item


def write_annotations(
    platform: Platform, state: AttachState, store: Store, source: str, scores: Sequence[str]
) -> SendReport:
    """Write the newest attribution of each call that came from a platform, and chosen scores, onto its spans.

    Args:
        source: the platform's address, as its calls have it.
        scores: names of scores that go there as well.
    """
    unsent = store.fetch(_UNSENT, source, list(scores))
    new = [_Unsent(*row) for row in unsent if row[0] not in state.refused]
    written = 0
    refused: dict[str, str] = {}
    with OperationLog(store.path) as log:
        for batch in _iter_batches(store, new):
            reasons = platform.annotate([annotation for annotation, _ in batch])
            for annotation, span_id in batch:
                if annotation.id not in reasons:
                    log.append("annotation", source, {"id": annotation.id}, span_id)
                    written += 1
            refused |= reasons
    if new:
        state.refused |= refused.keys()
        store.ingest()
    return SendReport(written, refused)


class _Unsent(NamedTuple):
    """A score or an attribution that does not stand on its platform yet."""

    id: str
    span_id: str
    start_ns: int


_UNSENT = """
    WITH own AS (SELECT span_id, start_ns FROM calls WHERE platform = $1)
    SELECT id, span_id, start_ns FROM (
        SELECT id, span_id, start_ns, time_ns FROM attributions JOIN own USING (span_id) WHERE status = 'ok'
        QUALIFY row_number() OVER (PARTITION BY span_id ORDER BY time_ns DESC, id DESC) = 1
        UNION ALL
        SELECT id, span_id, start_ns, time_ns FROM scores JOIN own USING (span_id)
        WHERE name IN (SELECT unnest($2)))
    WHERE id NOT IN (SELECT body ->> '$.id' FROM operations WHERE kind = 'annotation' AND subject = $1)
    ORDER BY time_ns, id"""
_BODIES = """
    WITH said AS (
        SELECT id, span_id, time_ns, NULL AS name, attribution AS value, NULL AS comment, 'code' AS source
        FROM attributions WHERE id IN (SELECT unnest($1))
        UNION ALL
        SELECT id, span_id, time_ns, name, value, comment, source FROM scores
        WHERE id IN (SELECT unnest($1)))
    SELECT s.*, coalesce(c.metadata ->> '$.import.id', s.span_id),
        coalesce(c.metadata ->> '$.import.trace', c.trace_id)
    FROM said s JOIN calls c USING (span_id)
    WHERE c.span_id IN (SELECT unnest($2)) AND c.start_ns IN (SELECT unnest($3))
    ORDER BY s.time_ns, s.id"""


def _iter_batches(store: Store, new: Sequence[_Unsent]) -> Iterator[list[tuple[Annotation, str]]]:
    """Yield annotations, each with the call that it is of."""
    for start in range(0, len(new), READ):
        ids, span_ids, starts = map(list, zip(*new[start : start + READ], strict=True))
        rows = [_build_annotation(*row) for row in store.fetch(_BODIES, ids, span_ids, starts)]
        for begin in range(0, len(rows), BATCH):
            yield rows[begin : begin + BATCH]


def _build_annotation(
    own: str, span_id: str, time_ns: int, name: str | None, value: str, comment: str | None,
    source: str, platform_span: str, platform_trace: str,
) -> tuple[Annotation, str]:  # fmt: skip
    """Return what is said of a call, an attribution in words, and the call."""
    stored = json.loads(value)
    ids = (own, platform_span, platform_trace)
    if name is not None:
        return Annotation(*ids, name, stored, comment or "", source, time_ns, {}), span_id
    details: dict[str, Any] = build_searchable(stored)
    verdict, summary = details["verdict"], details.pop("summary")
    return Annotation(*ids, OWN_ANNOTATION, verdict, summary, source, time_ns, details), span_id
