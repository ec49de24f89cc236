"""What installed packages offer by entry points; looking takes 20 ms, so it is remembered."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

_Dates = list[tuple[str, int]]
_remembered: dict[str, tuple[_Dates, tuple[EntryPoint, ...]]] = {}
"""By group: what it had when the folders had these dates."""


def list_entry_points(group: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group as of now: it is looked again once a package was installed."""
    dates, points = _remembered.get(group, (None, ()))
    if dates != (now := _date_folders()):
        points = tuple(entry_points(group=group))
        _remembered[group] = now, points
    return points


def _date_folders() -> _Dates:
    """Return the folders in which packages are looked for, with when something last came or went there."""
    dates = []
    for folder in sys.path:
        try:
            dates.append((folder, Path(folder).stat().st_mtime_ns))
        except OSError:  # of a path that is not there
            continue
    return dates
