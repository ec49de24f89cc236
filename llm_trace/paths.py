"""A store by its path, without bringing its spool in."""

from pathlib import Path
from typing import TYPE_CHECKING

from llm_trace.errors import StoreNotFoundError
from llm_trace.spool.paths import get_spool_dir, get_store_path, is_lake_address

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store


def make_absolute(path: str) -> Path:
    """Return where a store lies; of a lake, where what this machine has yet to ship lies."""
    return get_store_path(path)


def find_existing(path: str) -> Path:
    """Return where a store lies that exists, or whose spool does; a lake is not looked for.

    Raises:
        StoreNotFoundError: neither is there.
    """
    from llm_trace.spool.files import list_spool_files

    place = make_absolute(path)
    if not is_lake_address(path) and not place.exists() and not list_spool_files(get_spool_dir(place)):
        raise StoreNotFoundError(
            f"there is no store at {str(place)!r} and no spool beside it: give --store the path that "
            f"configure() was given"
        )
    return place


def open_as_it_stands(path: Path, timeout: float = 5.0) -> "Store":
    """Return the store as it stands, with nothing ingested."""
    from llm_trace.stores.connection import Database
    from llm_trace.stores.duckdb import Store

    return Store(Database(path, get_spool_dir(path), timeout))
