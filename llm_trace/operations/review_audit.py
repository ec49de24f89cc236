"""Whether the review log and the reviews in the store are what was written: nothing changed, dropped, moved
or cut off.

Each review stands twice: its record in the store has the digest of its own content and all that its line in
the log is made of; the line has the digest, and the hash of the line before. Whoever can write to only one of
the two cannot change anything unseen. Whoever can write to both can write a whole new history: against that
helps only a head (`COUNT:HASH`) that somebody else has kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from llm_trace.errors import ConfigurationError
from llm_trace.operations.log import Operation, read_operations
from llm_trace.operations.review_chain import (
    ChainHead,
    ChainLine,
    ReviewChain,
    digest_record,
    hash_line,
    name_log,
)
from llm_trace.operations.reviews import build_line, finish_writing
from llm_trace.record import Record
from llm_trace.rendering.formatting import count_things
from llm_trace.stores.duckdb import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from llm_trace.stores.duckdb import Store

_NO_HASH = "0" * 64
"""In the head of a log that has not begun."""
_COUNTS = ("entries", "whole", "purged")
PURGED = "purged"
"""What a record's `gone` says that `llm_trace.purge` has emptied."""


class ReviewAudit(Record):
    """What a verification of the review log came to."""

    log: str
    """The file."""
    entries: int
    """Reviews that the log has, with those of imported logs."""
    imported: int = 0
    """Of these, in logs of other stores that lie beside this one as `<store>.reviews.NAME.jsonl`."""
    whole: int
    """Of these, reviews whose record is in the store as it was written."""
    purged: int
    """Of these, reviews of calls that were purged: their place is proven, their content is gone."""
    head: str
    """`COUNT:HASH` to keep elsewhere: with it everything up to here can be proven later."""
    expected: str | None = None
    """The head that was asked for."""
    problems: tuple[str, ...]
    """What was changed, dropped, moved or cut off, and where; empty where nothing was."""

    @property
    def is_proven(self) -> bool:
        """Whether nothing was changed, dropped, moved or cut off."""
        return not self.problems


def verify_reviews(path: Path, *, log: Path | None = None, expected: str | None = None) -> ReviewAudit:
    """Return what speaks against the review log of a store.

    Args:
        path: the store.
        log: the file of the log, where it does not lie beside the store.
        expected: a head that was printed earlier, as `COUNT:HASH`: the log must still have it.

    Raises:
        ConfigurationError: `expected` is no head.
        StoreNotFoundError: there is no store.
    """
    head = None if expected is None else parse_head(expected)
    chain = ReviewChain(path)
    with chain.hold():
        if log is None:
            finish_writing(chain, path)
        with open_store(path) as store:
            records = read_operations(store, kind="review")
            moved = _read_moved(store)
        lines = _read_lines(log or chain.path)
        others = {} if log else {each: _read_lines(each) or [] for each in chain.list_imported()}
    names = {name_log(each[0]) for each in others.values() if each}
    ours = [record for record in records if record.body.get("log") not in names]
    audit = _Audit(str(log or chain.path), lines, ours, moved, alone=log is not None).build(head)
    imported = [
        _Audit(str(each), rows, records, moved, alone=True).build(None) for each, rows in others.items()
    ]
    return _join(audit, imported)


def _join(audit: ReviewAudit, imported: Sequence[ReviewAudit]) -> ReviewAudit:
    """Return an audit with those of imported logs."""
    sums = {name: sum(getattr(each, name) for each in (audit, *imported)) for name in _COUNTS}
    problems = (f"{each.log}: {problem}" for each in imported for problem in each.problems)
    sums["imported"] = sum(each.entries for each in imported)
    return audit.model_copy(update={**sums, "problems": (*audit.problems, *problems)})


def audit_reviews(lines: Sequence[bytes], records: Sequence[Operation]) -> ReviewAudit:
    """Return what speaks against the lines of a log and the records of a store.

    Args:
        lines: with their ends, as `readlines` gives them.
        records: the operations of kind `review`.
    """
    return _Audit("the log", list(lines), records, {}, alone=False).build(None)


def parse_head(text: str) -> tuple[int, str]:
    """Return the count and the hash of a head.

    Raises:
        ConfigurationError: it is none.
    """
    count, _, digest = text.strip().partition(":")
    is_hash = len(digest) == 64 and set(digest.lower()) <= set("0123456789abcdef")
    if not (count.isascii() and count.isdigit() and len(count) < 16 and is_hash):
        raise ConfigurationError(
            f"{text!r} is no head of a review log: give COUNT:HASH as llm-trace review --verify prints it"
        )
    return int(count), digest.lower()


def _read_lines(path: Path) -> list[bytes] | None:
    """Return the lines of a log with their ends; `None` where there is no log."""
    try:
        with path.open("rb") as file:
            return file.readlines()
    except FileNotFoundError:
        return None


def _read_moved(store: Store) -> dict[str, str]:
    """Return which calls of reviews have become part of another call since, and of which."""
    query = """SELECT span_id, kept FROM _same WHERE span_id IN
               (SELECT body ->> '$.review.span_id' FROM operations WHERE kind = 'review')"""
    return dict(store.fetch(query))


@dataclass(frozen=True)
class _Audit:
    """What is compared: the lines of a log, and the records of a store."""

    path: str
    lines: list[bytes] | None
    records: Sequence[Operation]
    moved: dict[str, str]
    alone: bool
    """Whether records of other logs are somebody else's business."""

    def build(self, expected: tuple[int, str] | None) -> ReviewAudit:
        lines = self.lines or []
        log = name_log(lines[0]) if lines else ""
        ours = [record for record in self.records if record.body.get("log") == log]
        problems = [
            *self._check_file(len(self.records) - len(ours)),
            *_check_lines(lines),
            *(problem for record in ours for problem in _check_record(record, self.moved)),
            *_match_records(lines, ours),
            *_check_head(lines, expected),
        ]
        whole = [record for record in ours if not any(_check_record(record, self.moved))]
        purged = sum("gone" in record.body for record in whole)
        return ReviewAudit(
            log=self.path,
            entries=max(0, len(lines) - 1),
            whole=len(whole) - purged,
            purged=purged,
            head=str(ChainHead(log, max(0, len(lines) - 1), hash_line(lines[-1]) if lines else _NO_HASH)),
            expected=None if expected is None else f"{expected[0]}:{expected[1]}",
            problems=tuple(problems),
        )

    def _check_file(self, others: int) -> Iterator[str]:
        if self.lines is None and (self.records or self.alone):
            yield f"{self.path!r} is not there, and the store has {count_things(len(self.records), 'review')}"
        elif self.lines == []:
            yield f"{self.path!r} is empty"
        elif others and not self.alone:
            yield (
                f"the store has {count_things(others, 'review')} of another log than {self.path!r}: they "
                "came by an import (copy the log of their store to "
                f"{self.path.removesuffix('.jsonl')}.NAME.jsonl), or the log was replaced"
            )


def _check_lines(lines: Sequence[bytes]) -> Iterator[str]:
    """Yield what is wrong with the lines by themselves."""
    if lines and not lines[-1].endswith(b"\n"):
        yield f"line {len(lines)} has no end: it was cut"
    for number, raw in enumerate(lines[1:], start=2):
        line = _parse_line(raw)
        if line is None:
            yield f"line {number} is not as the log writes lines"
            continue
        if line.entry != number - 1:
            yield f"line {number} is entry {line.entry}: lines before it were dropped or moved"
        if line.before != hash_line(lines[number - 2]):
            yield f"line {number} does not follow the line before it, which was changed, dropped or moved"


def _parse_line(raw: bytes) -> ChainLine | None:
    """Return a line; `None` unless it is, byte for byte, what is written for its content."""
    try:
        line = ChainLine(**orjson.loads(raw))
        return line if line.encode() == raw else None
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, TypeError):
        return None


def _check_record(record: Operation, moved: dict[str, str]) -> Iterator[str]:
    """Yield what is wrong with a record by itself."""
    body, review = record.body, record.body.get("review")
    where = f"the review {record.id} (entry {body.get('entry')})"
    if "gone" in body:
        if body["gone"] != PURGED or set(body) != {"log", "entry", "before", "digest", "gone"}:
            yield f"{where} is neither whole nor purged"
    elif not isinstance(review, dict) or digest_record(body) != body.get("digest"):
        yield f"{where} was changed"
    elif record.subject != review.get("rating") or record.span_id not in (
        review.get("span_id"),
        moved.get(str(review.get("span_id"))),
    ):
        yield f"{where} was moved to another call or score"


def _match_records(lines: Sequence[bytes], records: Sequence[Operation]) -> Iterator[str]:
    """Yield where lines and records contradict each other."""
    by_entry: dict[Any, list[Operation]] = {}
    for record in records:
        by_entry.setdefault(_name_entry(record), []).append(record)
    for number, raw in enumerate(lines[1:], start=1):
        matches = by_entry.pop(number, [])
        if not matches:
            yield f"entry {number} has no review in the store: it was dropped there"
        elif len(matches) > 1:
            yield f"entry {number} has {len(matches)} reviews in the store"
        elif raw != _write_line(matches[0]):
            yield f"entry {number} and its review in the store contradict each other"
    last = max(0, len(lines) - 1)
    for entry in by_entry:
        yield f"the store has a review of entry {entry}, and the log ends with {last}: its end was cut off"


def _name_entry(record: Operation) -> Any:
    entry = record.body.get("entry")
    return entry if type(entry) is int else record.id


def _write_line(record: Operation) -> bytes | None:
    """Return the line that a record stands for; `None` where it was changed so that it stands for none."""
    try:
        return build_line(record).encode()
    except (LookupError, orjson.JSONEncodeError):
        return None


def _check_head(lines: Sequence[bytes], expected: tuple[int, str] | None) -> Iterator[str]:
    if expected is None or expected == (0, _NO_HASH):  # before the first review: nothing to contradict
        return
    count, digest = expected
    if count >= len(lines):
        yield f"the log has {max(0, len(lines) - 1)} entries and had {count} when that head was printed"
    elif hash_line(lines[count]) != digest:
        yield f"the log up to entry {count} is not the one that had the head {count}:{digest[:12]}…"
