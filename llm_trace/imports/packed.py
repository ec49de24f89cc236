"""Read a gzipped file as far as it can be unpacked, and say why not further."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import Any


class Unpacked(io.RawIOBase):
    """The bytes that a gzipped file packs; they end where it is cut or damaged."""

    def __init__(self, path: Path) -> None:
        self._file = gzip.open(path)  # noqa: SIM115  closed by `close`
        self.damage = ""
        """Why there are no more bytes, once the last was read; empty where the file is whole."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer)
        try:
            data = self._file.read1(len(target))
        except EOFError:
            self.damage = "it ends before its gzip data do"
            return 0
        except (gzip.BadGzipFile, zlib.error) as exc:
            self.damage = f"its gzip data are damaged: {exc}"
            return 0
        target[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def find_damage(file: Any) -> str:
    """Return why an opened file could not be read to its end, empty where nothing is known against it."""
    return file.raw.damage if isinstance(file.raw, Unpacked) else ""
