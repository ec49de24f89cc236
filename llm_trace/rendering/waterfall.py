"""A trace as a tree over time: its calls each below the one around it, with their bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


LEAST, LEAST_ENDLESS = 3, 40
"""How long a bar is at least, in thousandths: of a call, and of one without an end, which fades out."""


class TimedSpan(Protocol):
    """What a tree needs of a call; `llm_trace.record.Call` is one."""

    @property
    def span_id(self) -> str: ...

    @property
    def parent_id(self) -> str | None: ...

    @property
    def start_ns(self) -> int: ...

    @property
    def end_ns(self) -> int | None: ...

    @property
    def first_token_ns(self) -> int | None: ...


S = TypeVar("S", bound=TimedSpan)


@dataclass(frozen=True)
class WaterfallLine(Generic[S]):
    """A call in the tree."""

    row: S
    depth: int
    left: float
    """Where its bar begins, in thousandths of the trace."""
    width: float
    """A call without an end lasts until the last that is known of its trace; every bar can be seen."""
    silent: float
    """How much of its bar passed before the first token of a stream."""
    critical: bool
    """Whether the trace would have ended sooner had this call."""


def arrange_lines(rows: Sequence[S]) -> list[WaterfallLine[S]]:
    """Return the calls of a trace, each below the one around it, in the order of their starts."""
    if not rows:
        return []
    begin = min(row.start_ns for row in rows)
    scale = 1000 / max(measure_duration(rows), 1)
    critical = _find_critical(rows)
    return [
        WaterfallLine(
            row,
            depth,
            *_place_bar(row, begin, scale),
            round(max((row.first_token_ns or row.start_ns) - row.start_ns, 0) * scale, 2),
            row.span_id in critical,
        )
        for row, depth in _walk_tree(rows)
    ]


def _place_bar(row: TimedSpan, begin: int, scale: float) -> tuple[float, float]:
    """Return where a bar begins and how long it is, in thousandths."""
    least = LEAST if row.end_ns is not None else LEAST_ENDLESS
    left = min(round((row.start_ns - begin) * scale, 2), 1000 - least)
    if row.end_ns is None:
        return left, round(1000 - left, 2)
    return left, max(round((row.end_ns - row.start_ns) * scale, 2), least)


def measure_duration(rows: Sequence[TimedSpan]) -> int:
    """Return the nanoseconds from the first start to the last end."""
    return max(map(_get_end, rows)) - min(row.start_ns for row in rows)


def _get_end(row: TimedSpan) -> int:
    return row.start_ns if row.end_ns is None else row.end_ns


def _group_children(rows: Sequence[S]) -> dict[str | None, list[S]]:
    """Return the calls by the call around them; those around which none is known stand under `None`."""
    known = {row.span_id for row in rows}
    children: dict[str | None, list[S]] = {}
    for row in rows:
        parent = row.parent_id if row.parent_id in known and row.parent_id != row.span_id else None
        children.setdefault(parent, []).append(row)
    return children


def _walk_tree(rows: Sequence[S]) -> Iterator[tuple[S, int]]:
    """Yield the calls with their depths; those whose parents go in a circle come last, as roots."""
    children, seen = _group_children(rows), set[str]()
    for root in (*children.get(None, ()), *rows):
        stack = [(root, 0)]
        while stack:
            row, depth = stack.pop()
            if row.span_id in seen:
                continue
            seen.add(row.span_id)
            yield row, depth
            stack += [(child, depth + 1) for child in reversed(children.get(row.span_id, ()))]


def _find_critical(rows: Sequence[TimedSpan]) -> set[str]:
    """Return the calls that the end of a trace waited for: of each, the child that ended last, and before
    that one began the child that had ended last, and so on.
    """
    children = _group_children(rows)
    roots = children.get(None, ())
    critical: set[str] = set()
    stack = [max(roots, key=_get_end)] if roots else []
    while stack:
        row = stack.pop()
        if row.span_id in critical:
            continue
        critical.add(row.span_id)
        moment = _get_end(row)
        for child in sorted(children.get(row.span_id, ()), key=_get_end, reverse=True):
            if _get_end(child) <= moment:
                stack.append(child)
                moment = child.start_ns
    return critical
