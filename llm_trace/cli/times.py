"""Points in time as options: what is none is a wrong use of the command."""

import typer

from llm_trace import times
from llm_trace.errors import ConfigurationError


def parse_seconds_option(text: str, option: str) -> float:
    """Return how long a text such as `30d` is, in seconds.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        return times.parse_seconds(text)
    except ConfigurationError as exc:
        raise typer.BadParameter(str(exc), param_hint=option) from None


def parse_moment_option(text: str | None, option: str, now_ns: int | None = None) -> int | None:
    """Return Unix nanoseconds of `2h` (ago) or of an ISO 8601 time, which is local where it names no zone.

    Raises:
        typer.BadParameter: it is neither.
    """
    try:
        return None if text is None else times.parse_moment(text, now_ns)
    except ConfigurationError as exc:
        raise typer.BadParameter(str(exc), param_hint=option) from None
