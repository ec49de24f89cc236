"""Scores that people give: from a CSV file, or one call after the other."""

from __future__ import annotations

import csv
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.capture.ids import make_id
from llm_trace.errors import ConfigurationError
from llm_trace.event_writer import EventWriter

if TYPE_CHECKING:
    from pathlib import Path

    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store

    Value = float | bool | str

NEEDED, ALLOWED = ("span_id", "name", "value"), ("span_id", "name", "value", "comment")
_WORDS: dict[str, bool] = {"y": True, "yes": True, "true": True, "n": False, "no": False, "false": False}


@dataclass(frozen=True)
class Given:
    """A score as somebody gave it."""

    span_id: str
    name: str
    value: Value
    comment: str | None = None
    id: str | None = None
    """16 hex digits; a score that is written again under its id counts once. Absent: a new one."""
    time_ns: int | None = None
    """When it was given; absent: now."""


def parse_score_value(text: str) -> Value:
    """Return a number, a yes or no (`y`, `no`, `true` …), or else the text as a label."""
    word = text.strip()
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    try:
        number = float(word)
    except ValueError:
        return word
    return number if math.isfinite(number) else word


def read_score_file(path: Path, store: Store) -> list[Given]:
    """Return the scores of a CSV file with the columns span_id, name, value and, if wanted, comment.

    Raises:
        ConfigurationError: a line that cannot be meant, named by its number; nothing is then to be imported.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_header(path, list(reader.fieldnames or ()))
            lines = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as exc:
        raise ConfigurationError(f"{str(path)!r} is no CSV file in UTF-8: {exc}") from exc
    known = {
        row[0]
        for row in store.fetch(
            "SELECT span_id FROM calls WHERE span_id IN (SELECT unnest(?))", _list_ids(lines)
        )
    }
    return [_parse_row(path, number, row, known) for number, row in lines]


def _list_ids(lines: list[tuple[int, dict[str, str]]]) -> list[str]:
    return [(row["span_id"] or "").strip() for _, row in lines]


def _check_header(path: Path, header: list[str]) -> None:
    missing = [name for name in NEEDED if name not in header]
    unknown = [name for name in header if name not in ALLOWED]
    if missing or unknown:
        what = (
            f"lacks the column {missing[0]!r}"
            if missing
            else f"has a column {unknown[0]!r} that means nothing here"
        )
        raise ConfigurationError(
            f"{str(path)!r}, line 1: it {what}; write {','.join(ALLOWED)} (comment may be left out)"
        )


def _parse_row(path: Path, number: int, row: dict[str, str], known: set[str]) -> Given:
    cells = {name: (row.get(name) or "").strip() for name in ALLOWED}
    wrong = None
    if None in row:  # csv keeps what is beyond the header there
        wrong = "it has more cells than the header: quote a comment with commas"
    elif any(not cells[name] for name in NEEDED):
        wrong = f"{next(name for name in NEEDED if not cells[name])} is empty"
    elif cells["span_id"] not in known:
        wrong = f"the store has no call {cells['span_id']!r}: `llm-trace ls --json` lists the ids"
    if wrong:
        raise ConfigurationError(f"{str(path)!r}, line {number}: {wrong}; nothing was imported")
    return Given(cells["span_id"], cells["name"], parse_score_value(cells["value"]), cells["comment"] or None)


def find_unscored(store: Store, calls: list[Call], name: str) -> list[Call]:
    """Return the calls that no person has given a score of that name, in their order."""
    done = {
        row[0] for row in store.fetch("SELECT span_id FROM scores WHERE name = ? AND source = 'human'", name)
    }
    return [call for call in calls if call.span_id not in done]


class ScoreWriter(EventWriter):
    """Writes scores of people to a store's spool."""

    def give(self, score: Given) -> None:
        """Write a person's score with its call, as `log_score` does.

        Raises:
            StoreError: the spool cannot be written, and the score is not kept.
        """
        time_ns = time.time_ns() if score.time_ns is None else score.time_ns
        event: dict[str, Any] = {"event": "score", "id": score.id or make_id()}
        event |= {"name": score.name, "value": score.value}
        event |= {"span_id": score.span_id, "source": "human", "time_ns": time_ns}
        event |= {"comment": score.comment} if score.comment else {}
        self.write(event, f"the score {score.name!r}")
