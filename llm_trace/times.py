"""Points in time as people type them: `2h` ago, `3d` ago, or ISO 8601."""

from __future__ import annotations

import email.utils
import re
import time
from datetime import UTC, datetime

from llm_trace.errors import ConfigurationError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def parse_retry_after(header: str) -> float | None:
    """Return the seconds that a `Retry-After` header, perhaps a date, asks for; None where it has none."""
    try:
        if header.strip().replace(".", "", 1).isdigit():
            return float(header)
        return email.utils.parsedate_to_datetime(header).timestamp() - time.time()
    except (ValueError, TypeError, IndexError):
        return None


def parse_seconds(text: str) -> float:
    """Return how long a text such as `30d` is, in seconds.

    Raises:
        ConfigurationError: it is none.
    """
    match = _AGO.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(f"{text!r} is no length of time: give 45s, 30m, 2h, 3d or 1w")
    return float(match[1]) * _SECONDS[match[2]]


def format_moment(ns: int) -> str:
    """Return Unix nanoseconds as ISO 8601 in UTC, to the millisecond, as platforms read it."""
    return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_moment(text: str, now_ns: int | None = None) -> int:
    """Return Unix nanoseconds of `2h` (ago) or of an ISO 8601 time, which is local where it names no zone.

    Raises:
        ConfigurationError: it is neither.
    """
    if _AGO.fullmatch(text.strip()):
        return (time.time_ns() if now_ns is None else now_ns) - int(parse_seconds(text) * 1e9)
    try:
        moment = datetime.fromisoformat(text.strip())
        return int(moment.replace(microsecond=0).timestamp()) * 10**9 + moment.microsecond * 1000
    except (ValueError, OverflowError):
        message = f"{text!r} is no time: give 30m, 2h, 3d (ago), or ISO 8601 such as 2026-11-21T09:30"
        raise ConfigurationError(message) from None
