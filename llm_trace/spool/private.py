"""Files that only their owner reads: they hold prompts and answers."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def open_private(path: Path, mode: str, **options: Any) -> IO[Any]:
    """Open a file as `open` does; one that is made now has mode 0600, one that is there keeps its own."""
    return open(path, mode, opener=_open_private, **options)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o600)
