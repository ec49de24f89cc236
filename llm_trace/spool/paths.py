"""Where the spool of a store lies."""

from __future__ import annotations

import os
from pathlib import Path


def get_spool_dir(store: str | os.PathLike[str]) -> Path:
    """Return the folder `<store>.spool` beside the store, by absolute path."""
    path = Path(os.path.abspath(os.path.expanduser(store)))
    return path.with_name(path.name + ".spool")
