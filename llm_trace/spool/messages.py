"""Write each message of a conversation once per spool file, however often it is resent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import orjson

_KNOWN_BYTES = 8 << 20
_POSITIONS = 10**9
"""No call has as many messages."""

LOST: dict[str, Any] = {"role": "unknown", "content": None, "$lost": True}
"""Stands for a message whose line was lost."""


class EncodeBodies(Protocol):
    """Turns `[{"n": number, "body": message}, …]` into JSON; `plain`: nothing in it but JSON's own types."""

    def __call__(self, bodies: list[dict[str, Any]], *, plain: bool = False) -> bytes: ...


def encode_plain(bodies: list[dict[str, Any]], *, plain: bool = True) -> bytes:  # noqa: ARG001
    """Encode bodies that are JSON already."""
    return orjson.dumps(bodies)


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
        """Return the pieces of `,"<name>":[ranges],"messages":[new bodies]` for a list of messages."""
        if self._bytes > _KNOWN_BYTES:
            self.clear()
        known, numbers, fresh, plain = self._known, [], [], True
        for message in messages:
            key: tuple[str, str] | bytes
            if (
                type(message) is dict
                and len(message) == 2
                and type(content := message.get("content")) is str
                and type(role := message.get("role")) is str
            ):
                key = role, content  # a text's hash is kept with it, so resending it costs nothing
            else:
                key, plain = self._encode([message]), False
            if (number := known.get(key)) is None:
                number = known[key] = self._next
                self._next = number + 1
                fresh.append({"n": number, "body": message})
            numbers.append(number)
        fields = b',"%b":%b' % (name, _encode_ranges(numbers))
        if not fresh:
            return (fields,)
        bodies = self._encode(fresh, plain=plain)
        self._bytes += len(bodies) + 200 * len(fresh)
        return fields, b',"messages":', bodies


def _encode_ranges(numbers: list[int]) -> bytes:
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


class MessagePlaces:
    """The messages for the places of one value: together no more messages than there are.

    Whoever cuts lists out gives each message one place, so this bounds a value that was made to be huge, and
    changes no other.

    Args:
        messages: the call's, in order.
    """

    def __init__(self, messages: Sequence[Any]) -> None:
        self._messages, self._left = messages, len(messages)

    def find(self, begin: Any, end: Any) -> range | None:
        """Return the positions that a place stands for, `None` where it is to stay as it is."""
        if not (type(begin) is type(end) is int and 0 <= begin < _POSITIONS and 0 <= end < _POSITIONS):
            return None
        positions = range(len(self._messages))[begin:end]
        if len(positions) > self._left:
            return None
        self._left -= len(positions)
        return positions


def fill_messages(data: Any, messages: Sequence[Any] | None) -> Any:
    """Return an input or output with the call's messages where `{"$messages": [a, b]}` stands for them."""
    return data if messages is None else _fill(data, messages, MessagePlaces(messages))


def _fill(data: Any, messages: Sequence[Any], places: MessagePlaces) -> Any:
    if isinstance(data, list):
        return [_fill(item, messages, places) for item in data]
    if not isinstance(data, dict):
        return data
    if len(data) == 1 and isinstance(place := data.get("$messages"), list) and len(place) == 2:
        positions = places.find(*place)
        return data if positions is None else [messages[i] for i in positions]
    return {key: _fill(item, messages, places) for key, item in data.items()}
