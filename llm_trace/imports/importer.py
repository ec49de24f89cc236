"""Bring the calls of a file into the spool of a store, and say what was not understood."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import orjson
from pydantic import ValidationError

from llm_trace.capture.completed_calls import encode_finished_call, encode_stored_call
from llm_trace.capture.merger import Merger
from llm_trace.errors import StoreError
from llm_trace.imports import Broken, Imported, LeftOut, Origin, Said
from llm_trace.imports.files import FileRecord, iter_records
from llm_trace.imports.formats import Importer, detect_importer, load_importer
from llm_trace.record import Call
from llm_trace.semconv.privacy import call_without_content, drop_event_content
from llm_trace.spool.writer import SpoolLine

if TYPE_CHECKING:
    from llm_trace.capture.values import ValueEncoder
    from llm_trace.spool.writer import SpoolWriter

BATCH = 2_000
"""Calls that are looked up in the store at a time."""
MOST_LINES = 64
"""Events from which on they are written together."""

KnownCalls = Callable[[list[str]], set[str]]
"""Returns which of the ids are those of calls that the store has."""


@dataclass
class ImportReport:
    """What became of a file."""

    file: str
    format: str = ""
    records: int = 0
    calls: int = 0
    """Calls that are new."""
    known: int = 0
    """Calls that were in the store, or stand in the file twice; nothing of them was changed."""
    scores: int = 0
    not_understood: dict[str, int] = field(default_factory=dict)
    """Keys that no field of a call has room for, with counts; kept under `metadata["import"]`."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Lines of a session that are no part of a call, by what they are; nothing of them is kept."""
    broken: int = 0
    """Records that could not be read, and parts of records, such as one span of an export."""
    broken_file: str | None = None
    """Where the broken records are, with the reasons."""
    cut: str | None = None
    """Why the file could not be read to its end."""


@dataclass(frozen=True)
class ImportTarget:
    """Where imported calls go.

    Args:
        spool: the writer to the store's spool.
        encoder: bounds and masks what is written.
        known: tells which calls the store has.
        capture_content: without it no prompts, answers or error messages are kept.
        source: where the calls come from, where that is no file; kept with each.
    """

    spool: SpoolWriter
    encoder: ValueEncoder
    known: KnownCalls
    capture_content: bool = True
    source: str | None = None
    merger: Merger = field(default_factory=Merger, init=False)


def import_file(path: Path, target: ImportTarget, *, using: str | None = None) -> ImportReport:
    """Write the calls of a file that the store has not; broken records go to `<file>.rejected.jsonl`.

    Args:
        using: name of the format; found out from the content otherwise.

    Raises:
        ConfigurationError: the file is of no format that is known.
        StoreError: the spool cannot be written.
    """
    report = ImportReport(str(path))
    broken: list[FileRecord] = []
    batch: list[Imported | Said] = []
    for item in _import_file(path, using, report, broken):
        batch.append(item)
        if len(batch) == BATCH:
            _write(batch, target, report)
            batch = []
    _write(batch, target, report)
    _set_aside(path.with_name(path.name + ".rejected.jsonl"), broken, report, mode="w")
    return report


def import_records(
    records: Iterable[Any], target: ImportTarget, report: ImportReport, *, using: str, rejected: Path
) -> list[tuple[str, str]]:
    """Write the calls of records that come from elsewhere than a file, and add to what is reported.

    Args:
        using: name of their format.
        rejected: records that are broken are appended to this file.

    Returns:
        The (id, span id) of each score that came with them.

    Raises:
        StoreError: the spool cannot be written.
    """
    chosen, time_ns = load_importer(using), time.time_ns()
    seen: Counter[bytes] = Counter()
    broken: list[FileRecord] = []
    items: list[Imported | Said] = []
    for record in records:
        report.records += 1
        line = FileRecord(report.records, record)
        origin = Origin(partial(_compute_key, record, seen), time_ns)
        items += _import_record(chosen, line, origin, report, broken)
    scores = _write(items, target, report)
    _set_aside(rejected, broken, report, mode="a")
    return scores


def _import_file(
    path: Path, using: str | None, report: ImportReport, broken: list[FileRecord]
) -> Iterator[Imported | Said]:
    chosen: Importer | None = load_importer(using) if using else None
    session: list[FileRecord] = []
    seen: Counter[bytes] = Counter()
    time_ns = path.stat().st_mtime_ns
    for line in iter_records(path):
        if line.ends_file:
            report.cut = line.reason
            continue
        report.records += 1
        if line.reason:
            broken.append(line)
            continue
        chosen = chosen or detect_importer(line.record)
        report.format = chosen.NAME
        if getattr(chosen, "WHOLE_FILE", False):
            session.append(line)
        else:
            origin = Origin(partial(_compute_key, line.record, seen), time_ns)
            yield from _import_record(chosen, line, origin, report, broken)
    if chosen is not None and session:
        _note_cut(session, report, broken)
        whole = FileRecord(session[0].number, [line.record for line in session])
        yield from _import_record(chosen, whole, Origin("", time_ns), report, broken)


def _import_record(
    chosen: Importer, line: FileRecord, origin: Origin, report: ImportReport, broken: list[FileRecord]
) -> Iterator[Imported | Said]:
    try:
        items = _check_calls(chosen, line.record, origin)
    except ValueError as exc:
        broken.append(line._replace(text=_encode(line.record), reason=_describe_reason(exc)))
        return
    for item in items:
        if isinstance(item, Broken):
            broken.append(line._replace(text=_encode(item.part), reason=item.reason))
        elif isinstance(item, LeftOut):
            report.left_out[item.kind] = report.left_out.get(item.kind, 0) + item.number
        else:
            yield item


def _note_cut(session: list[FileRecord], report: ImportReport, broken: list[FileRecord]) -> None:
    """Say where the last line of a session is not whole: its agent was writing it."""
    if broken and broken[-1].number > session[-1].number:
        report.cut = f"its last line is not whole ({broken.pop().reason})"


def _check_calls(chosen: Importer, record: Any, origin: Origin) -> list[Imported | Said | Broken | LeftOut]:
    """Return the calls of a record and its broken parts.

    Raises:
        ValueError: nothing of the record is taken, and why.
    """
    items = list(chosen.calls(record, origin))
    if len(items) == 1:
        _check_call(items[0])
        return items
    return [_check_part(item) for item in items]


def _check_part(item: Imported | Said | Broken | LeftOut) -> Imported | Said | Broken | LeftOut:
    """Return a part of a record, a call that cannot be read as broken: the others are good without it."""
    try:
        _check_call(item)
    except ValueError as exc:
        return Broken(cast("Imported", item).call, _describe_reason(exc))
    return item


def _check_call(item: Imported | Said | Broken | LeftOut) -> None:
    if isinstance(item, Imported) and not item.again:
        Call.model_validate(item.call)


def _compute_key(record: Any, seen: Counter[bytes]) -> str:
    """Return the key of a record's origin; records of equal content are asked for it in their order."""
    content = sha256(_encode(record).encode("utf-8", "surrogatepass"))
    digest = content.digest()
    content.update(b"%d" % seen[digest])
    seen[digest] += 1
    return content.hexdigest()


def _encode(value: Any) -> str:
    try:
        return orjson.dumps(
            value, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
        ).decode()
    except TypeError:  # integers beyond 64 bits, lone surrogates
        return json.dumps(value, default=str, sort_keys=True)


def _describe_reason(exc: ValueError) -> str:
    if isinstance(exc, ValidationError):
        first = exc.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(exc)


def _write(batch: list[Imported | Said], target: ImportTarget, report: ImportReport) -> list[tuple[str, str]]:
    """Write what the store has not; return the (id, span id) of the scores."""
    scores = []
    ids = [item.call["span_id"] for item in batch if isinstance(item, Imported)]
    known = target.known(ids) if ids else set()
    lines: list[SpoolLine] = []
    for item in batch:
        if isinstance(item, Imported):
            lines += _encode_call(item, target, report, known)
        for event in _iter_events(item, target.capture_content):
            if event["event"] == "score":
                report.scores += 1
                scores.append((event["id"], event["span_id"]))
            lines.append(SpoolLine(target.encoder.encode_event(event)[:-1]))
        if len(lines) >= MOST_LINES:
            _write_lines(lines, target)
            lines = []
    _write_lines(lines, target)
    return scores


def _encode_call(
    item: Imported, target: ImportTarget, report: ImportReport, known: set[str]
) -> Sequence[SpoolLine]:
    """Return the events of a call; none of one that is known."""
    span_id = item.call["span_id"]
    if not item.again:
        item = replace(item, call=target.merger.whole(item.call))
    if span_id in known:
        report.known += 1
        return ()
    report.calls += 1
    for name in item.unknown:
        report.not_understood[name] = report.not_understood.get(name, 0) + 1
    known.add(span_id)
    encode = encode_stored_call if item.again else encode_finished_call
    return encode(target.encoder, _call(item, target, report.format))


def _write_lines(lines: Sequence[SpoolLine], target: ImportTarget) -> None:
    """Append events to the spool.

    Raises:
        StoreError: it takes none.
    """
    if lines and not target.spool.write_all(lines):
        raise StoreError(
            f"{str(target.spool.folder)!r} cannot be written: free some room and import again, what is "
            f"there stays as it is"
        )


def _call(item: Imported, target: ImportTarget, name: str) -> dict[str, Any]:
    if item.again:
        return item.call if target.capture_content else call_without_content(item.call)
    origin: dict[str, Any] = {"format": name} | ({"from": target.source} if target.source else {}) | item.ids
    whole = origin | ({"rest": item.unknown} if item.unknown else {})
    call = {**item.call, "metadata": {**(item.call.get("metadata") or {}), "import": whole}}
    if target.capture_content:
        return call
    reduced = call_without_content(call)
    return {**reduced, "metadata": {**reduced["metadata"], "import": origin}}


def _iter_events(item: Imported | Said, content: bool) -> Iterable[dict[str, Any]]:
    """Yield the events beside the call: its run, its prompt's template, its scores."""
    if isinstance(item, Said):
        event = item.event if content else drop_event_content(item.event)
        if event is not None:
            yield event
        return
    if item.run is not None:
        yield {"event": "run", **item.run}
    if item.prompt is not None and content:
        yield {"event": "prompt", "time_ns": item.call["start_ns"], **item.prompt}
    span_id = item.call["span_id"]
    for score in item.scores:
        score_event = {
            "event": "score",
            "span_id": span_id,
            "time_ns": item.call["start_ns"],
            "source": "code",
            **score,
        }
        score_event.setdefault("id", sha256(f"{span_id} {score['name']}".encode()).hexdigest()[:16])
        yield score_event


def _set_aside(beside: Path, broken: list[FileRecord], report: ImportReport, *, mode: str) -> None:
    report.broken += len(broken)
    if not broken:
        return
    with beside.open(mode, encoding="utf-8", errors="backslashreplace") as file:
        for line in broken:
            file.write(_encode({"line": line.number, "reason": line.reason, "text": line.text}) + "\n")
    report.broken_file = str(beside)
