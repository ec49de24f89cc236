"""Files of other tools, as calls of the store.

A file is read as records: a JSON document is one, a JSON array or JSON Lines one per element, CSV and Parquet
one (a dict) per row. An importer is a module of this package, listed in `llm_trace.imports.formats.FORMATS`,
with three names:

    NAME: str
        what `--format` calls it
    def recognises(record: Any) -> bool
        whether a file that begins with this record is of this format
    def calls(record: Any, origin: Origin) -> Iterator[Imported | Said | Broken | LeftOut]
        the calls in one record; pure: no file, clock or randomness

Of some formats only the whole file makes sense: with `WHOLE_FILE = True` the list of all records is one.

`calls` raises `ValueError` with the reason for a record that cannot be read, and yields `Broken` for a part
that stands by itself: both go to a file beside the source. Ids are derived from the source's own
(`llm_trace.imports.values.make_span_id`), so that importing twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


class Origin:
    """Where a record stands; gives ids and times to records that have none.

    Args:
        key: the key, or what computes it when it is first asked for.
        time_ns: when the file was last changed.
    """

    def __init__(self, key: str | Callable[[], str], time_ns: int) -> None:
        self._key = key
        self.time_ns = time_ns

    @cached_property
    def key(self) -> str:
        """Hex digest of the record's content and of how many equal ones stand before it in its file."""
        return self._key if isinstance(self._key, str) else self._key()


@dataclass(frozen=True)
class Imported:
    """One call of a record, with what belongs to it."""

    call: dict[str, Any]
    """Fields by the names of `llm_trace.record.Call`; span, trace, `name` and `start_ns` are required."""
    unknown: dict[str, Any] = field(default_factory=dict)
    """What no field of a call has room for; kept under `metadata["import"]`, reported by its keys."""
    scores: tuple[dict[str, Any], ...] = ()
    """Fields by the names of `llm_trace.record.Score`; `name` and `value` are required."""
    run: dict[str, Any] | None = None
    """Fields of `llm_trace.record.Run` of the call's run, where the source has one."""
    prompt: dict[str, Any] | None = None
    """`name`, `version` and `template` of the call's prompt, where the source has its text."""
    ids: dict[str, str] = field(default_factory=dict)
    """`id` and `trace` of the call at its source, where ours are derived from them."""
    again: bool = False
    """The call comes from a store: its row stays as it was, nothing is cut out, merged or noted."""


@dataclass(frozen=True)
class Said:
    """A score, attribution, run or prompt by itself; its call is elsewhere in the file, or stored already."""

    event: dict[str, Any]
    """As the spool has it (docs/spool-format.md); its `id` makes repeats harmless."""


@dataclass(frozen=True)
class Broken:
    """A part of a record that cannot be read, while the rest can."""

    part: Any
    """As the source has it."""
    reason: str


@dataclass(frozen=True)
class LeftOut:
    """Lines of a session that are no part of a call."""

    kind: str
    """What they are."""
    number: int
