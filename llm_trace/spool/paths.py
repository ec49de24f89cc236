"""Where the store of an address lies on this machine, and its spool."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from llm_trace.errors import ConfigurationError

_LAKE = re.compile(r"delta(?:\+[a-z0-9]+)?://")


def is_lake_address(store: object) -> bool:
    """Say whether a store is a lake for many machines (`delta://…`, `delta+s3://…`), not a DuckDB file."""
    return isinstance(store, str) and _LAKE.match(store) is not None


def find_lake_root(address: str) -> str:
    """Return where the tables of a lake are: an absolute folder, or the address of a bucket (`s3://…`).

    Raises:
        ConfigurationError: the address names no place.
    """
    scheme, _, place = address.partition("://")
    if not place.strip("/"):
        raise ConfigurationError(
            f"the lake {address!r} names no place: give delta://FOLDER or delta+s3://BUCKET/PREFIX"
        )
    if scheme == "delta":
        return os.path.abspath(os.path.expanduser(place))
    return f"{scheme.removeprefix('delta+')}://{place.rstrip('/')}"


def get_store_path(store: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a store's DuckDB file; of a lake, of what this machine has yet to ship.

    The latter is in `$XDG_STATE_HOME/llm_trace` (`~/.local/state/llm_trace`), one for each lake.
    """
    if not isinstance(store, str) or not is_lake_address(store):
        return Path(os.path.abspath(os.path.expanduser(store)))
    root = find_lake_root(store)
    digest = hashlib.sha256(root.encode()).hexdigest()[:12]
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", root.rpartition("/")[2]) or "lake"
    return Path(os.path.abspath(state)) / "llm_trace" / f"{name}-{digest}.duckdb"


def get_spool_dir(store: str | os.PathLike[str]) -> Path:
    """Return the folder `<store>.spool` beside the store, by absolute path."""
    path = get_store_path(store)
    return path.with_name(path.name + ".spool")
