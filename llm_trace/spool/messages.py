"""Write each message of a conversation once per spool file, however often it is resent.

Recognising a message must cost less than writing it: a long text is looked up by its length and its ends and then compared
whole, which is several times cheaper than hashing it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

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

    def fields(self, name: bytes, messages: Sequence[Any]) -> tuple[bytes, ...]:
        """Return the pieces of `,"<name>":[ranges],"messages":[new bodies]` for a list of messages (dicts with a `role`)."""
        if self._bytes > _KNOWN_BYTES:
            self.clear()
        fresh: list[dict[str, Any]] = []
        numbers = [self._number(message, fresh) for message in messages]
        fields = b',"%b":%b' % (name, _ranges(numbers))
        return (fields, b',"messages":', self._encode(fresh)) if fresh else (fields,)

    def _number(self, message: Any, fresh: list[dict[str, Any]]) -> int:
        """Return the message's number; one that is numbered just now is added to `fresh`."""
        content = message.get("content") if type(message) is dict and len(message) == 2 else None
        if type(content) is not str:
            return self._exact(self._encode([message]), message, fresh)
        key = (message["role"], len(content), content[:_END], content[-_END:])
        known = self._by_ends.get(key)
        if known is None:
            number = self._next
            self._by_ends[key] = (number, content)
            self._next = number + 1
            self._bytes += len(content) + 200
            fresh.append({"n": number, "body": message})
            return number
        number, text = known
        return number if text == content else self._exact((message["role"], content), message, fresh)

    def _exact(self, key: Any, message: Any, fresh: list[dict[str, Any]]) -> int:
        number = self._by_content.get(key)
        if number is None:
            number = self._by_content[key] = self._next
            self._next += 1
            self._bytes += len(key if type(key) is bytes else key[1]) + 200
            fresh.append({"n": number, "body": message})
        return number


def _ranges(numbers: list[int]) -> bytes:
    """Return runs of consecutive numbers as JSON, `[[first,last],…]`."""
    first, last = numbers[0], numbers[-1]
    if last - first + 1 == len(numbers) and numbers == list(range(first, last + 1)):
        return b"[[%d,%d]]" % (first, last)
    runs = [[first, first]]
    for number in numbers[1:]:
        if number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return orjson.dumps(runs)
