"""What a model answered, and the file that keeps answers so that none is paid for twice."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from collections.abc import Mapping

_WAIT_S = 60.0


@dataclass(frozen=True)
class Answer:
    """One answer. A callable may return it in place of a `str` where it knows more than the text."""

    text: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    model: str | None = None
    """The model that answered, with its version or fingerprint: a change between calls is told."""
    tokens: tuple[tuple[str, float], ...] = ()
    """Tokens of a given response with their log-probabilities (nats), where that was asked for."""
    refused: bool = False
    """The provider would not answer this prompt; the text is empty."""


class Answers:
    """Answers by a hash of model, parameters, messages and sample, written as they arrive, without prompts.

    Args:
        cache: a name, for a file in the user's cache folder, or the path of a file.
        identity: name and parameters of the model.

    Raises:
        AttributionError: the file cannot be used.
    """

    def __init__(self, cache: str | Path, identity: Mapping[str, Any]) -> None:
        self.path = place_of(cache)
        self._identity = identity
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._base = sqlite3.connect(
                self.path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
            )
            self.path.chmod(0o600)
            # a killed process loses nothing, and no write waits
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = NORMAL")
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answer TEXT) WITHOUT ROWID"
            )
        except (sqlite3.Error, OSError) as exc:
            raise self._unusable(exc) from exc

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def get(self, payload: Any, sample: int) -> Answer | None:
        """Return what was answered to the n-th sample of a prompt, if it was asked."""
        try:
            row = self._base.execute(
                "SELECT answer FROM answers WHERE key = ?", (self._key(payload, sample),)
            ).fetchone()
        except sqlite3.Error as exc:
            raise self._unusable(exc) from exc
        if row is None:
            return None
        fields = json.loads(row[0])
        return Answer(**{**fields, "tokens": tuple((text, logprob) for text, logprob in fields["tokens"])})

    def put(self, payload: Any, sample: int, answer: Answer) -> None:
        """Keep an answer."""
        try:
            self._base.execute(
                "INSERT OR IGNORE INTO answers VALUES (?, ?)",
                (self._key(payload, sample), json.dumps(asdict(answer))),
            )
        except sqlite3.Error as exc:
            raise self._unusable(exc) from exc

    def _key(self, payload: Any, sample: int) -> bytes:
        parts = json.dumps([self._identity, payload, sample], sort_keys=True, default=str)
        return hashlib.sha256(parts.encode()).digest()

    def _unusable(self, exc: Exception) -> AttributionError:
        return AttributionError(
            f"the answers in {str(self.path)!r} cannot be used ({exc}): name another cache or delete the file"
        )


def place_of(cache: str | Path) -> Path:
    """Return the file of a cache: a path, or a plain name in the user's cache folder."""
    path = Path(cache).expanduser()
    if isinstance(cache, Path) or path.suffix or len(path.parts) > 1:
        return path
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "llm_trace" / f"{cache}.sqlite"
