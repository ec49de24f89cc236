"""Where the files of a lake's tables are: a folder, or a bucket that only deltalake speaks with."""

from __future__ import annotations

import os
import shutil
import threading
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_trace.stores.lake.delta import explain_errors

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SCHEME = "lake"
_CHUNK = 4 << 20


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
                self._upload(source, place)
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

    def _upload(self, source: Path, place: str) -> None:
        if self._remote is None:
            self._remote = _open_handler(self.root)
        target = self._remote._handler.open_output_stream(place, None)  # noqa: SLF001
        with source.open("rb") as file:
            while chunk := file.read(_CHUNK):
                target.write(chunk)
        target.close()


def open_bucket(root: str) -> Any:
    """Return a bucket as a file system of pyarrow, reached as deltalake reaches it."""
    import pyarrow.fs

    return pyarrow.fs.PyFileSystem(_open_handler(root))


def _open_handler(root: str) -> Any:
    """Return what deltalake reaches a bucket by; its stream for writing does not take pyarrow's buffers
    (deltalake 1.6 with pyarrow 26), so that files are written to the handler inside.
    """
    from deltalake.fs import DeltaStorageHandler

    return DeltaStorageHandler(root)


def _register(connection: DuckDBPyConnection, root: str) -> None:
    """Make a bucket known to DuckDB, in place of the one that it read before."""
    if _SCHEME in connection.list_filesystems():
        connection.unregister_filesystem(_SCHEME)
    connection.register_filesystem(_make_class()(open_bucket(root)))


class BucketFile:
    """A file of a bucket that several threads of DuckDB read at a time, each at its own place.

    Args:
        source: is read by one at a time; it is closed when nobody has it any more.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._size = source.size()
        self._lock = threading.Lock()
        self._place = threading.local()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, for this thread."""
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._size}[whence]
        self._place.at = begin + offset
        return self.tell()

    def tell(self) -> int:
        """Return where this thread is."""
        return int(getattr(self._place, "at", 0))

    def read(self, count: int = -1) -> bytes:
        """Return the next bytes, all that are left if no count is given."""
        with self._lock:
            self._source.seek(self.tell())
            data: bytes = self._source.read(self._size - self.tell() if count < 0 else count)
        self._place.at = self.tell() + len(data)
        return data

    def close(self) -> None:
        """Leave it open: another thread may read it."""


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

        def modified(self, *_: Any, **__: Any) -> datetime:
            """Return the same time of all: files of a lake never change."""
            return datetime.fromtimestamp(0, UTC)

        def _open(self, path: str, *_: Any, **__: Any) -> Any:
            return BucketFile(self._bucket.open_input_file(self._strip_protocol(path)))

    return BucketFiles
