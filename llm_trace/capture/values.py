"""Turn any Python value into bounded, honest JSON; the common case in one pass of a C encoder.

JSON-like data is kept as data. Everything else becomes `{"__type__": …}` with what can be said of it;
whatever was cut carries `truncated`. Nothing here raises for a value that cannot be represented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from llm_trace.capture.objects import is_model
from llm_trace.capture.plain_values import dump_plain
from llm_trace.capture.state import get_instance_dict, identify
from llm_trace.capture.walk import MAX_ITEMS, Limits, Walk
from llm_trace.semconv.extract_messages import extract_instructions

if TYPE_CHECKING:
    from collections.abc import Collection

    from llm_trace.capture.redaction import Redactor

_SIMPLE = identify(str, int, bool, type(None))


class ValueEncoder:
    """Encodes values within `limits`, masked by `redact`."""

    def __init__(self, redact: Redactor | None = None, limits: Limits | None = None) -> None:
        self.redact = redact
        self.limits = limits or Limits()

    def encode(self, value: Any) -> bytes:
        """Return the JSON of a value; bounded, masked, never an exception."""
        if self.redact is None and type(value) is str and len(value) <= MAX_ITEMS:
            return self._encode_simple(value)
        if self.redact is None and not self._is_large(value) and (data := self._dump(value)) is not None:
            return data
        return self.dump(self.to_masked_json(value))

    def encode_event(self, fields: dict[str, Any]) -> bytes:
        """Return the JSON of an event: our names and ids as they are, all else bounded and masked."""
        if self.redact is None and (data := self._dump(fields)) is not None:
            return data
        return self.dump(Walk(self.redact, self.limits).convert_fields(fields))

    def loses_text(self, value: Any) -> bool:
        """Return whether the record of a value tells less of its texts than it seems to: lone surrogates
        in keys and messages.
        """
        walk = Walk(None, self.limits)
        walk.value(value, 0)
        return walk.lossy

    def mask_text(self, text: str) -> str:
        """Return a text as it is written, masked."""
        return Walk(self.redact, self.limits).redact_text(text)

    def canonical(self, value: Any) -> bytes:
        """Return the JSON by which replay knows a value again: keys sorted, not redacted, bounded."""
        if not self._is_large(value) and (data := self._dump(value, orjson.OPT_SORT_KEYS)) is not None:
            return data
        return orjson.dumps(self.to_unmasked_json(value), None, orjson.OPT_SORT_KEYS)

    def encode_arguments(self, arguments: dict[str, Any]) -> tuple[bytes, list[Any] | None]:
        """Return the JSON of a call's arguments and, apart, the messages of the lists of messages in them.

        Where a list was cut out its place holds `{"$messages": [a, b]}` (docs/spool-format.md). A system
        prompt beside the first list goes before it.
        """
        if self.redact is not None:
            arguments = self.to_masked_json(arguments)
        elif _check_simple(arguments):
            return self._encode_simple(arguments), None
        messages: list[Any] = []
        places: set[int] = set()
        cut = _cut_messages(arguments, messages, places, depth=2)
        encode = self.encode if self.redact is None else self.dump
        simple = self.redact is None and _check_simple(cut, places)
        data = self._encode_simple(cut) if simple else encode(cut)
        if messages and data.count(b'"$messages"') != len(places):  # the user's own data has such a key
            return encode(arguments), None
        return data, messages or None

    def _encode_simple(self, value: Any) -> bytes:
        """Return the JSON of a text, or of a dict of simple values; the common case."""
        try:
            data = orjson.dumps(value)
            if len(data) <= self.limits.string:
                return data
        except TypeError:  # big integers, lone surrogates
            pass
        return self.dump(self.to_masked_json(value))

    def encode_bodies(self, bodies: list[Any], *, plain: bool = False) -> bytes:
        """Return the JSON of numbered messages (already masked), each bounded by itself; `plain`: they hold
        nothing but dicts, texts and integers.
        """
        data: bytes | None
        if plain:
            try:
                if len(data := orjson.dumps(bodies)) <= self.limits.string:
                    return data
            except TypeError:  # lone surrogates
                pass
        if (data := self._dump(bodies)) is not None:
            return data
        share = Limits(self.limits.string, max(self.limits.event // max(len(bodies), 1), 1000))
        return orjson.dumps([Walk(None, share).value(body, 0) for body in bodies])

    def dump(self, plain: Any) -> bytes:
        """Return the JSON of what `to_masked_json` returned."""
        try:
            return orjson.dumps(plain)
        except (TypeError, RecursionError) as exc:
            return orjson.dumps({"__type__": type(plain).__qualname__, "unrepresentable": str(exc)})

    def to_masked_json(self, value: Any) -> Any:
        """Return the value as JSON types within the limits, every string redacted once."""
        return Walk(self.redact, self.limits).convert_masked(value)

    def to_unmasked_json(self, value: Any) -> Any:
        """Return the value as JSON types, not redacted yet: for what is put together before it is encoded."""
        return Walk(None, self.limits).value(value, 0)

    def _dump(self, value: Any, option: int = 0) -> bytes | None:
        """Return the JSON of a value, or `None` where it takes the pass in Python: it would be longer than
        the limit, JSON does not have some of it, or some of it cannot be read.
        """
        try:
            data = dump_plain(value, option)
        except Exception:  # the pass in Python meets it too, and says so where it stands
            return None
        return data if len(data) <= self.limits.string else None

    def _is_large(self, value: Any) -> bool:
        """Return whether encoding at full length may be expensive; looks one level deep only."""
        cls = type(value)
        if cls is str:
            return len(value) > self.limits.string
        if cls is dict:
            for item in value.values():
                if (type(item) is str or type(item) is list) and len(item) > MAX_ITEMS:
                    return True
            return len(value) > MAX_ITEMS
        return cls is list and len(value) > MAX_ITEMS


def _cut_messages(
    values: dict[str, Any], messages: list[Any], places: set[int], depth: int
) -> dict[str, Any]:
    """Return the arguments with lists of messages replaced by references, and add those to `messages`.

    Args:
        places: takes the identity of each reference.
    """
    out = values
    for key, value in values.items():
        cls = type(value)
        if (cls is list or cls is tuple) and value and _is_message(value[0]) and all(map(_is_message, value)):
            if not messages:
                messages.extend(extract_instructions(values))
            start = len(messages)
            messages.extend(value)
            new: Any = {"$messages": [start, len(messages)]}
            places.add(id(new))
        elif cls is dict and depth > 1 and len(value) < 50:
            new = _cut_messages(value, messages, places, depth - 1)
            if new is value:
                continue
        else:
            continue
        out = {**out, key: new}
    return out


def _check_simple(values: dict[str, Any], places: Collection[int] = ()) -> bool:
    """Return whether all values are short texts, integers, truth values, `None` or at one of the places."""
    for value in values.values():
        cls = type(value)
        if (id(cls) not in _SIMPLE and id(value) not in places) or (cls is str and len(value) > MAX_ITEMS):
            return False
    return True


def _is_message(value: Any) -> bool:
    if type(value) is dict:
        return type(value.get("role")) is str
    return is_model(type(value)) and type(get_instance_dict(value).get("role")) is str
