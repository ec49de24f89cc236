"""The log of comparisons, beside the store: how often the same inputs were used to choose between candidates.

One JSON line each in `<store>.spool/comparisons.jsonl`. It holds hashes and labels, no content.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, NamedTuple

from llm_trace.spool.paths import get_spool_dir

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from llm_trace.comparison.pairs import Pairs

SKETCH = 64
"""Hashes kept of a set; those that are least tell how much two sets overlap (Broder 1997)."""
SAME = 0.5
"""Overlap from which on two sets of inputs count as the same."""


class LoggedComparison(NamedTuple):
    """A comparison that was made."""

    calls: str
    """Stands for all calls of both sides."""
    inputs: list[str]
    """The least hashes of the inputs."""


def log_comparison(store: Path, labels: tuple[str, str], pairs: Pairs) -> int:
    """Log a comparison and return how many different ones were made on these inputs, this one included.

    A comparison of the same calls counts once, however often it is made. Where the log cannot be written,
    what is there still counts.
    """
    inputs = _make_sketch(pairs.keys)
    calls = _hash(" ".join([call.span_id for call in pairs.calls]))
    path = get_spool_dir(store) / "comparisons.jsonl"
    known = {line.calls for line in _read(path) if _measure_overlap(line.inputs, inputs) >= SAME}
    if calls not in known:
        _append(
            path,
            {"time_ns": time.time_ns(), "a": labels[0], "b": labels[1], "calls": calls, "inputs": inputs},
        )
    return len(known | {calls})


def _make_sketch(items: Iterable[str]) -> list[str]:
    return sorted(set(map(_hash, items)))[:SKETCH]


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _measure_overlap(a: list[str], b: list[str]) -> float:
    least = set(sorted({*a, *b})[:SKETCH])
    return len(least & set(a) & set(b)) / len(least) if least else 0.0


def _read(path: Path) -> list[LoggedComparison]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [entry for line in lines if (entry := _parse_line(line))]


def _parse_line(line: str) -> LoggedComparison | None:
    try:
        entry = json.loads(line)
        return LoggedComparison(str(entry["calls"]), list(map(str, entry["inputs"])))
    except (ValueError, TypeError, KeyError):  # the last line of a writer that was killed
        return None


def _append(path: Path, line: dict[str, object]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError:
        return  # a store that may only be read is compared all the same
