"""Write each message of a conversation once per spool file, however often it is resent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

_KNOWN_BYTES = 8 << 20

LOST: dict[str, Any] = {"role": "unknown", "content": None, "$lost": True}
"""Stands for a message whose line was lost."""

EncodeBodies = Callable[[list[dict[str, Any]]], bytes]
"""Turns `[{"n": number, "body": message}, …]` into JSON."""


class MessageTable:
    """The messages that a file holds already, by number."""

    def __init__(self, encode: EncodeBodies) -> None:
        self._encode = encode
        self._next = 0
        self.clear()

    def clear(self) -> None:
        """Forget what the file holds; later events give the text anew, under new numbers."""
        self._known: dict[tuple[str, str] | bytes, int] = {}
        self._bytes = 0

    def fields(self, name: bytes, messages: Sequence[Any]) -> tuple[bytes, ...]:
        """Return the pieces of `,"<name>":[ranges],"messages":[new bodies]` for a list of messages (dicts with a `role`)."""
        if self._bytes > _KNOWN_BYTES:
            self.clear()
        known, numbers, fresh = self._known, [], []
        for message in messages:
            key: tuple[str, str] | bytes
            if type(message) is dict and len(message) == 2 and type(content := message.get("content")) is str:
                key = (
                    message["role"],
                    content,
                )  # a text's hash is kept with it, so resending it costs nothing
            else:
                key = content = self._encode([message])
            number = known.get(key)
            if number is None:
                number = known[key] = self._next
                self._next = number + 1
                self._bytes += len(content) + 200
                fresh.append({"n": number, "body": message})
            numbers.append(number)
        fields = b',"%b":%b' % (name, _ranges(numbers))
        return (fields, b',"messages":', self._encode(fresh)) if fresh else (fields,)


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


def filled(data: Any, messages: Sequence[Any] | None) -> Any:
    """Return an input or output with the call's messages where `{"$messages": [a, b]}` stands for them."""
    if messages is None:
        return data
    if isinstance(data, list):
        return [filled(item, messages) for item in data]
    if not isinstance(data, dict):
        return data
    if len(data) == 1 and isinstance(place := data.get("$messages"), list) and len(place) == 2:
        return list(messages[place[0] : place[1]])
    return {key: filled(item, messages) for key, item in data.items()}
