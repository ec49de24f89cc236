"""The keyed hash by which a replay finds a call whose input was masked; the key is never in the store."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Container
from pathlib import Path

from llm_trace.spool.paths import get_store_path

_LENGTH = 32
_ADDRESS = re.compile(rb'("repr":"<[^"]* at )0x[0-9a-fA-F]+')
_MODULE = re.compile(rb'("__type__":")[^"\\]*\.(?=[^".\\]+")')


class InputKey:
    """Hashes canonical inputs (`Encoder.canonical`), 32 hex digits each.

    Args:
        path: the file with the key, readable by its owner only; made at the first use. `None` hashes without
            a key, for inputs that are recorded as they are.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._key: bytes | None = None if path else b""

    def __call__(self, data: bytes) -> str:
        """Return the hash of an input.

        Raises:
            OSError: the key cannot be read or made.
        """
        if self._key is None and self._path is not None:
            self._key = _read_or_make(self._path)
        return hashlib.blake2b(data, digest_size=16, key=self._key or b"").hexdigest()


def compute_identity(data: bytes, types: Container[str] = ()) -> bytes:
    """Return by what a value is known again: its canonical JSON less object addresses and class modules.

    Args:
        types: of the value; where it holds a dict with a key `__type__` of the user's own, modules stay.
    """
    if b" at 0x" in data:
        data = _ADDRESS.sub(rb"\1", data)
    return data if b'"__type__"' not in data or "dict" in types else _MODULE.sub(rb"\1", data)


def get_key_file(store: str | os.PathLike[str]) -> Path:
    """Return where the key of a store lies: `<store>.key` beside it."""
    path = get_store_path(store)
    return path.with_name(path.name + ".key")


def _read_or_make(path: Path) -> bytes:
    """Return the key; of processes that make it at once, the first one's counts."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        fresh.unlink(missing_ok=True)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(fd, os.urandom(_LENGTH))
            os.fsync(fd)
        finally:
            os.close(fd)
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_bytes()
