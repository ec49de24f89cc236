"""Failures of telemetry itself: counted always, logged once a kind, never raised."""

from __future__ import annotations

import logging
from collections import Counter

_log = logging.getLogger("llm_trace")
counts: Counter[str] = Counter()
"""Failures by place and exception, as `flush()` and `llm-trace doctor` report them."""


def note(place: str, exc: BaseException) -> None:
    """Count a failure; the first of its kind is logged (its type only: a message may hold content)."""
    key = f"{place}: {type(exc).__name__}"
    counts[key] += 1
    if counts[key] == 1:
        _log.warning("llm_trace failed in %s; the traced program is not affected", key)
        _log.debug("llm_trace failure in %s", place, exc_info=exc)
