"""Points in time as people type them: `2h` ago, `3d` ago, or ISO 8601."""

import re
import time

import typer

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def parse_seconds(text: str, option: str) -> float:
    """Return how long a text such as `30d` is, in seconds.

    Raises:
        typer.BadParameter: it is none.
    """
    match = _AGO.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(
            f"{text!r} is no length of time: give 45s, 30m, 2h, 3d or 1w", param_hint=option
        )
    return float(match[1]) * UNITS[match[2]]


def parse_moment(text: str | None, option: str, now_ns: int | None = None) -> int | None:
    """Return Unix nanoseconds of `2h` (ago) or of an ISO 8601 time, which is local where it names no zone.

    Raises:
        typer.BadParameter: it is neither.
    """
    if text is None:
        return None
    if _AGO.fullmatch(text.strip()):
        return (time.time_ns() if now_ns is None else now_ns) - int(parse_seconds(text, option) * 1e9)
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        message = f"{text!r} is no time: give 30m, 2h, 3d (ago), or ISO 8601 such as 2026-11-21T09:30"
        raise typer.BadParameter(message, param_hint=option) from None
    return int(moment.replace(microsecond=0).timestamp()) * 10**9 + moment.microsecond * 1000
