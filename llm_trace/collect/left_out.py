"""What the receiver did not keep, by name, for `llm-trace doctor`."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from llm_trace.spool.private import open_private

_FILE = "collect-left-out.json"
_MOST = 200
"""Names that are counted one by one."""
_OTHERS = "others"


def add_left_out(folder: Path, counts: Mapping[str, int]) -> None:
    """Add to what was not kept, beside the spool; where that cannot be written the sender was told."""
    if not counts or not folder.is_dir():
        return
    total = read_left_out(folder)
    for name, count in counts.items():
        total[name if name in total or len(total) < _MOST else _OTHERS] += count
    fresh = folder / (_FILE + ".tmp")
    with contextlib.suppress(OSError):
        with open_private(fresh, "w", encoding="utf-8") as file:
            json.dump(total, file)
        fresh.replace(folder / _FILE)


def read_left_out(folder: Path) -> Counter[str]:
    """Return what was not kept, by the name of its event or metric."""
    try:
        counts = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Counter()
    return Counter({str(name): int(n) for name, n in counts.items()} if isinstance(counts, dict) else {})
