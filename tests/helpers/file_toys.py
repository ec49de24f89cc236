"""Everything that is in files."""

from __future__ import annotations

from pathlib import Path


def read_all_files(folder: Path) -> bytes:
    """Return every byte of every file below a folder."""
    return b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
