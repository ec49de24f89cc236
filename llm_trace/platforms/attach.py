"""Read a platform's traces into the store, each once, and write onto its spans what was found out."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_trace.errors import StoreError
from llm_trace.exporters.attribution_payload import build_searchable
from llm_trace.imports.importer import ImportReport, ImportTarget, import_records
from llm_trace.platforms import Annotation, Platform
from llm_trace.platforms.addresses import PlatformAddress
from llm_trace.spool.private import open_private

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store

ANNOTATION = "llm_trace.attribution"
"""Name of the annotation that says which words made the model answer so."""
BATCH = 100


@dataclass
class AttachState:
    """How far a platform was read and which annotations stand there; a file beside the store.

    Args:
        path: the file.
    """

    path: Path
    cursor: str | None = None
    sent: set[str] = field(default_factory=set)

    def save(self) -> None:
        """Replace the file as a whole.

        Raises:
            StoreError: it cannot be written.
        """
        fresh = self.path.with_suffix(".new")
        text = json.dumps({"cursor": self.cursor, "sent": sorted(self.sent)})
        try:
            with open_private(fresh, "w", encoding="utf-8") as file:
                file.write(text)
            fresh.replace(self.path)
        except OSError as exc:
            raise StoreError(
                f"{str(self.path)!r} cannot be written ({exc.strerror}): free some room and attach again, "
                f"what was read is kept and comes once"
            ) from exc


def load_state(store: Path, address: PlatformAddress) -> AttachState:
    """Return what is known of a platform beside a store; nothing where it was never attached.

    Raises:
        StoreError: the file is damaged.
    """
    name = f"{store.name}.{address.scheme}-{sha256(str(address).encode()).hexdigest()[:12]}.json"
    path = store.with_name(name)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return AttachState(path, stored["cursor"], set(stored["sent"]))
    except FileNotFoundError:
        return AttachState(path)
    except (ValueError, KeyError, TypeError) as exc:
        raise StoreError(
            f"{str(path)!r} is damaged: remove it and attach again; all is read anew, and nothing comes twice"
        ) from exc


def read_new_traces(
    platform: Platform, state: AttachState, target: ImportTarget, *, advance: Callable[[int], None]
) -> ImportReport:
    """Write the calls that are new on a platform to the spool; the place is kept after each page.

    Killed in between, the last page is read again, and its calls are known by their ids.

    Args:
        advance: is told how many calls are new so far.
    """
    report = ImportReport(target.source or "", platform.importer)
    rejected = state.path.with_suffix(".rejected.jsonl")
    for page in platform.iter_pages(state.cursor):
        import_records(page.records, target, report, using=platform.importer, rejected=rejected)
        state.cursor = page.cursor
        state.save()
        advance(report.calls)
    return report


def write_annotations(
    platform: Platform, state: AttachState, store: Store, source: str, scores: Sequence[str]
) -> int:
    """Write the newest attribution of each call that came from a platform, and chosen scores, onto its spans.

    Args:
        source: the platform's address, as its calls have it.
        scores: names of scores that go there as well.

    Returns:
        How many were not there yet.
    """
    new = list(_iter_annotations(store, source, scores, state.sent))
    for start in range(0, len(new), BATCH):
        batch = new[start : start + BATCH]
        platform.annotate(batch)
        state.sent |= {annotation.id for annotation in batch}
        state.save()
    return len(new)


_CALLS = "(SELECT span_id, trace_id FROM calls WHERE metadata->>'$.import.from' = ?)"
_ATTRIBUTIONS = f"""
    SELECT a.id, a.span_id, c.trace_id, a.attribution FROM attributions a JOIN {_CALLS} c USING (span_id)
    WHERE a.status = 'ok'
    QUALIFY row_number() OVER (PARTITION BY a.span_id ORDER BY a.time_ns DESC, a.id DESC) = 1"""
_SCORES = f"""
    SELECT s.id, s.span_id, c.trace_id, s.name, s.value, s.comment, s.source
    FROM scores s JOIN {_CALLS} c USING (span_id) WHERE s.name IN (SELECT unnest(?)) ORDER BY s.time_ns, s.id
"""


def _iter_annotations(
    store: Store, source: str, scores: Sequence[str], sent: Container[str]
) -> Iterator[Annotation]:
    """Yield what was not sent; of what was, nothing is put into words again."""
    for own, span_id, trace_id, attribution in store.fetch(_ATTRIBUTIONS, source):
        if own in sent:
            continue
        stored = json.loads(attribution)
        details: dict[str, Any] = build_searchable(stored)
        verdict, summary = details["verdict"], details.pop("summary")
        yield Annotation(own, span_id, trace_id, ANNOTATION, verdict, summary, "code", details)
    for own, span_id, trace_id, name, value, comment, origin in (
        store.fetch(_SCORES, source, list(scores)) if scores else ()
    ):
        if own not in sent:
            yield Annotation(own, span_id, trace_id, name, json.loads(value), comment or "", origin, {})
