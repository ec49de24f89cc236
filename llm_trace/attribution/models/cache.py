"""Values on disk, by content: the same model, prompt and tokens are never computed twice."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.models.fingerprints import compute_fingerprint
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.attribution.models.causal import Forward
    from llm_trace.attribution.question.objective import Query, Tick

_AT_ONCE = 500
_WAIT_S = 60.0
_FILE = "values.sqlite"


class ValueCache:
    """Log-probabilities by a hash of model, token ids and query. No text is kept, only hashes and numbers.

    Any number of processes read and write it at once (SQLite).

    Args:
        path: of the file, made when absent; in a folder it is `values.sqlite`.
        fingerprint: of the model, see `compute_fingerprint`.

    Raises:
        AttributionError: the file is no such cache or cannot be written.
    """

    def __init__(self, path: str | Path, fingerprint: str) -> None:
        place = Path(path).expanduser()
        self.path = place / _FILE if place.is_dir() else place
        self.hits = 0
        self._model = fingerprint
        with self._open() as base:
            base.execute(
                "CREATE TABLE IF NOT EXISTS logprobs (key BLOB PRIMARY KEY, numbers BLOB) WITHOUT ROWID"
            )
        try:
            self.path.chmod(0o600)
        except OSError:  # another user's file that we may write
            pass

    def through(
        self, forward: Forward, prompts: Sequence[tuple[int, ...]], query: Query, tick: Tick
    ) -> NDArray[np.float64]:
        """Return what `forward` returns, computing only what is not known yet."""
        keys = [self._key(ids, query) for ids in prompts]
        known = self._read(keys)
        self.hits += len(known)
        missing = [i for i, key in enumerate(keys) if key not in known]
        for at in range(0, len(missing), _AT_ONCE):
            rows = missing[at : at + _AT_ONCE]
            fresh = forward([prompts[i] for i in rows], query, tick)
            computed = {keys[i]: row for i, row in zip(rows, fresh, strict=True)}
            self._write({key: row for key, row in computed.items() if np.isfinite(row).all()})
            known |= computed
        return np.stack([known[key] for key in keys])

    def _key(self, ids: tuple[int, ...], query: Query) -> bytes:
        parts = (self._model, ids, query.read, query.rows, query.ids)
        return hashlib.sha256(repr(parts).encode()).digest()

    def _read(self, keys: list[bytes]) -> dict[bytes, NDArray[np.float64]]:
        known: dict[bytes, NDArray[np.float64]] = {}
        with self._open() as base:
            for at in range(0, len(keys), _AT_ONCE):
                part = keys[at : at + _AT_ONCE]
                marks = ",".join("?" * len(part))
                rows = base.execute(f"SELECT key, numbers FROM logprobs WHERE key IN ({marks})", part)
                known |= {key: np.frombuffer(numbers, dtype="<f8") for key, numbers in rows}
        return known

    def _write(self, rows: dict[bytes, NDArray[np.float64]]) -> None:
        with self._open() as base:
            base.executemany(
                "INSERT OR IGNORE INTO logprobs VALUES (?, ?)",
                [(key, row.astype("<f8").tobytes()) for key, row in rows.items()],
            )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction: nothing is held meanwhile, nothing is inherited by a fork."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            base = sqlite3.connect(self.path, timeout=_WAIT_S)
            try:
                with base:
                    yield base
            finally:
                base.close()
        except (sqlite3.Error, OSError) as exc:
            raise AttributionError(
                f"the cache {str(self.path)!r} cannot be used ({exc}): name another file or delete it"
            ) from exc


def open_cache(
    path: str | Path | None, model: Any, hashed: Callable[[Any], str] = compute_fingerprint
) -> ValueCache | None:
    """Return the cache at a path, `None` without one."""
    return None if path is None else ValueCache(path, hashed(model))
