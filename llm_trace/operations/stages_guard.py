"""Asks a stage in the path of requests: what a decision means now."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from llm_trace.errors import LLMTraceError
from llm_trace.operations.stages import Stage, StageEffect, read_effect, read_stage
from llm_trace.stores.duckdb import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

REFRESH_S = 30.0
_TRUSTED = 10
"""Refreshes without success after which what was known counts no more."""


class StageGuard:
    """Says what a decision of a gate or rule means in its present stage; threads may share it.

    The stage is read anew in the background, so that a roll-back arrives within `refresh_s` seconds. Where it
    cannot be read for ten times as long, decisions are only noted.

    Args:
        store: the path of the store.
        subject: the name of the gate or rule.
        refresh_s: how old what is known of the stage may be.
        clock: seconds, monotonic.

    Raises:
        StoreError: the stage cannot be read at the beginning.
    """

    def __init__(
        self,
        store: str | os.PathLike[str],
        subject: str,
        *,
        refresh_s: float = REFRESH_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = os.fspath(store)
        self._subject = subject
        self._refresh_s = refresh_s
        self._clock = clock
        self._reading = threading.Lock()
        self.failure: str | None = None
        """Why the stage could not be read last, if so."""
        self._stage = self._read()
        self._read_at = clock()

    @property
    def stage(self) -> Stage:
        """What is known of the stage; shadow where nothing has been known for too long."""
        age = self._clock() - self._read_at
        if age >= self._refresh_s and self._reading.acquire(blocking=False):
            threading.Thread(target=self._refresh, name="llm-trace stage", daemon=True).start()
        if age >= self._refresh_s * _TRUSTED:
            return Stage(
                subject=self._subject, reason=f"its stage cannot be read: {self.failure or 'in time'}"
            )
        return self._stage

    def weigh(self, unit: str) -> StageEffect:
        """Return what a decision about a call means: `note`, `show` or `act`.

        Args:
            unit: what the share of traffic is drawn over: the call's trace, session or user.
        """
        try:
            return read_effect(self.stage, self._store, unit)
        except OSError as exc:  # without the key nobody knows who belongs to the share
            self.failure = str(exc)
            return "note"

    def refresh(self) -> Stage:
        """Read the stage now and return it.

        Raises:
            StoreError: it cannot be read.
        """
        self._stage, self._read_at, self.failure = self._read(), self._clock(), None
        return self._stage

    def _refresh(self) -> None:
        try:
            self.refresh()
        except (LLMTraceError, OSError) as exc:
            self.failure = str(exc)
        finally:
            self._reading.release()

    def _read(self) -> Stage:
        with open_store(self._store) as store:
            return read_stage(store, self._subject)
