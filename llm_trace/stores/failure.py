"""Why the last ingest failed: kept beside the spool, so that `llm-trace doctor` can say what is stuck."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from llm_trace.spool.private import open_private

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "ingest.failed"


def note_failure(folder: Path, exc: BaseException) -> None:
    """Keep the message of an ingest that failed; a disk that is full keeps none."""
    with contextlib.suppress(OSError), open_private(folder / _NAME, "w", encoding="utf-8") as file:
        file.write(str(exc))


def clear_failure(folder: Path) -> None:
    """Forget it: an ingest went through."""
    with contextlib.suppress(OSError):
        (folder / _NAME).unlink(missing_ok=True)


def read_failure(folder: Path) -> str | None:
    """Return the message, `None` where the last ingest went through."""
    try:
        return (folder / _NAME).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
