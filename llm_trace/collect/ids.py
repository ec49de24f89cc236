"""Ids of calls that bring none: the same whenever a sender tries again."""

from __future__ import annotations

from hashlib import sha256


def derive_id(digits: int, *parts: str) -> str:
    """Return hexadecimal digits that stand for parts: 16 of a span, 32 of a trace."""
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:digits]
