"""What is to be known of the lines of a spool file before DuckDB reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate

DEEPEST = 300
"""Levels of nesting that a line may have. Our writer ends at 254; Python's own reader fails at about 900."""
BLANK = b" \t\r"
_BRACE = ord("{")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


@dataclass(frozen=True)
class Measured:
    """Lines in a buffer."""

    lines: int
    longest: int
    """Bytes of the longest."""
    last: int
    """Where the last one begins."""
    odd: bool
    """Whether a line is blank (DuckDB skips it, which shifts row numbers) or may be nested too deeply."""


def measure_lines(buffer: bytearray, stop: int) -> Measured:
    """Measure the lines in the first `stop` bytes, the last of which ends a line."""
    lines = longest = start = last = 0
    odd = False
    while start < stop:
        end = buffer.find(b"\n", start, stop)
        length = end - start
        if length > longest:
            longest = length
        if length > DEEPEST and buffer.count(b"{", start, end) + buffer.count(b"[", start, end) > DEEPEST:
            odd = odd or is_deep(bytes(buffer[start:end]))
        elif buffer[start] != _BRACE and not buffer[start:end].strip(BLANK):
            odd = True
        lines += 1
        start, last = end + 1, start
    return Measured(lines, longest, last, odd)


def is_deep(line: bytes) -> bool:
    """Return whether a line of JSON is nested more than `DEEPEST` levels deep."""
    if line.count(b"{") + line.count(b"[") <= DEEPEST:
        return False
    brackets = _STRING.sub(b"", line).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > DEEPEST
