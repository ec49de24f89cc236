"""Write each message of a conversation once per spool file, however often it is resent.

Recognising a message must cost less than writing it: a long text is looked up by its length and its two ends and then compared
whole, which is several times cheaper than hashing it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

_KNOWN_BYTES = 8 << 20
_END = 24

EncodeBodies = Callable[[list[dict[str, Any]]], bytes]
"""Turns `[{"n": number, "body": message}, …]` into JSON."""


class MessageTable:
    """The messages that a file holds already, by number."""

    def __init__(self, encode: EncodeBodies) -> None:
        self._encode = encode
        self.clear()
        self._next = 0

    def clear(self) -> None:
        """Forget what the file holds; later events give the text anew, under new numbers."""
        self._by_ends: dict[Any, tuple[int, str]] = {}
        self._by_content: dict[Any, int] = {}
        self._bytes = 0

    def fields(self, name: bytes, messages: Sequence[Any]) -> bytes:
        """Return `,"<name>":[ranges],"messages":[new bodies]` for a list of messages (dicts with a `role`)."""
        if self._bytes > _KNOWN_BYTES:
            self.clear()
        runs: list[list[int]] = []
        fresh: list[dict[str, Any]] = []
        last = -2
        for message in messages:
            number = self._number(message)
            if number < 0:
                number = -1 - number
                fresh.append({"n": number, "body": message})
            if number == last + 1:
                runs[-1][1] = number
            else:
                runs.append([number, number])
            last = number
        fields = b',"%b":%b' % (name, repr(runs).replace(" ", "").encode())
        return fields + b',"messages":' + self._encode(fresh) if fresh else fields

    def _number(self, message: Any) -> int:
        """Return the number of a known message, or -1 - number for one that is numbered just now."""
        content = message.get("content") if type(message) is dict and len(message) == 2 else None
        if type(content) is not str:
            return self._exact(self._encode([message]), 0)
        key = (message["role"], len(content), content[:_END], content[-_END:])
        known = self._by_ends.get(key)
        if known is None:
            self._by_ends[key] = (self._next, content)
            return self._new(len(content))
        number, text = known
        return number if text == content else self._exact((message["role"], content), len(content))

    def _exact(self, key: Any, size: int) -> int:
        number = self._by_content.get(key)
        if number is not None:
            return number
        self._by_content[key] = self._next
        return self._new(size or len(key))

    def _new(self, size: int) -> int:
        self._bytes += size + 200
        self._next += 1
        return -self._next
