"""Where the files of a lake's tables are: a folder, or a bucket that only deltalake speaks with."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_trace.stores.lake.delta import explain_errors

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SCHEME = "lake"


class LakeStorage:
    """Puts files into a table's folder, and lets DuckDB read them.

    Args:
        root: the lake.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.is_local = "://" not in root
        self._remote: Any = None

    def put(self, source: Path, place: str) -> None:
        """Copy a file to a place below the root; one that is there already is written anew."""
        with explain_errors(self.root):
            if not self.is_local:
                with source.open("rb") as file, self._open_remote().open_output_stream(place) as target:
                    shutil.copyfileobj(file, target, 1 << 20)
                return
            path = Path(self.root) / place
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}.part")
            shutil.copyfile(source, part)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(path)

    def locate(self, place: str) -> str:
        """Return what DuckDB finds a file by."""
        return str(Path(self.root) / place) if self.is_local else f"{_SCHEME}://{place}"

    def attach(self, connection: DuckDBPyConnection) -> None:
        """Let a connection read the files."""
        if not self.is_local:
            _register(connection, self.root)

    def _open_remote(self) -> Any:
        if self._remote is None:
            self._remote = open_bucket(self.root)
        return self._remote


def open_bucket(root: str) -> Any:
    """Return a bucket as a file system of pyarrow, reached as deltalake reaches it."""
    import pyarrow.fs
    from deltalake.fs import DeltaStorageHandler

    return pyarrow.fs.PyFileSystem(DeltaStorageHandler(root))


def _register(connection: DuckDBPyConnection, root: str) -> None:
    """Make a bucket known to DuckDB, in place of the one that it read before."""
    if _SCHEME in connection.list_filesystems():
        connection.unregister_filesystem(_SCHEME)
    connection.register_filesystem(_make_class()(open_bucket(root)))


@cache
def _make_class() -> Any:
    """Return the class of file systems for DuckDB, which takes only those of fsspec."""
    from fsspec import AbstractFileSystem

    class BucketFiles(AbstractFileSystem):  # type: ignore[misc]
        """Reads what a bucket has."""

        protocol = _SCHEME
        cachable = False

        def __init__(self, bucket: Any) -> None:
            super().__init__()
            self._bucket = bucket

        def glob(self, path: str, *_: Any, **__: Any) -> list[str]:
            """Return the path itself: the log says which files there are."""
            return [self._strip_protocol(path)]

        def exists(self, *_: Any, **__: Any) -> bool:
            """Return true: the log says so."""
            return True

        def info(self, path: str, **__: Any) -> dict[str, Any]:
            """Return how large a file is."""
            place = self._strip_protocol(path)
            return {"name": place, "size": self._bucket.get_file_info(place).size, "type": "file"}

        def _open(self, path: str, *_: Any, **__: Any) -> Any:
            return self._bucket.open_input_file(self._strip_protocol(path))

    return BucketFiles
