"""What an exception of a model's client means: wait, try again, the prompt was refused, or give up."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any, Literal

Meaning = Literal["limited", "retry", "refused", "fatal"]
_LIMITED, _AGAIN, _REFUSED = (
    frozenset((429, 503, 529)),
    frozenset((408, 409, 425, 500, 502, 504)),
    frozenset((400, 403, 413, 422)),
)


class RefusedError(Exception):
    """Raise it in a callable where the provider will not answer this prompt; it counts as an empty answer."""


def classify_failure(exc: Exception) -> Meaning:
    """Return what to do after an exception: by its HTTP status, else by the names of its classes."""
    if isinstance(exc, RefusedError):
        return "refused"
    status = get_status(exc)
    if status is not None:
        if status in _LIMITED:
            return "limited"
        return "retry" if status in _AGAIN else "refused" if status in _REFUSED else "fatal"
    names = " ".join(kind.__name__ for kind in type(exc).__mro__)
    if "RateLimit" in names:
        return "limited"
    return "retry" if any(word in names for word in ("Timeout", "Connection", "TransportError")) else "fatal"


def get_status(exc: Exception) -> int | None:
    """Return the HTTP status of an exception, as httpx, OpenAI, Anthropic and requests give it."""
    for holder in _list_holders(exc):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int):
            return status
    return None


def _list_holders(exc: Exception) -> tuple[Any, Any]:
    """Return where a client's exception may keep status and headers: itself, and the server's response."""
    return exc, getattr(exc, "response", None)


def retry_after(exc: Exception, now_s: float | None = None) -> float | None:
    """Return the seconds that the server asks to wait, by `retry-after-ms` or `Retry-After`."""
    own, replied = (getattr(holder, "headers", None) for holder in _list_holders(exc))
    headers = {str(name).lower(): str(value) for name, value in dict(replied or own or {}).items()}
    try:
        if "retry-after-ms" in headers:
            return float(headers["retry-after-ms"]) / 1000
        wait = headers.get("retry-after")
        if wait is None:
            return None
        if wait.replace(".", "", 1).isdecimal():
            return float(wait)
        at = parsedate_to_datetime(wait).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, at - (time.time() if now_s is None else now_s))
