"""Turn any Python value into bounded, honest JSON; the common case in one pass of a C encoder.

JSON-like data is kept as data. Everything else becomes `{"__type__": …}` with what can be said of it; whatever was cut
carries `truncated`. Nothing here raises for a value that cannot be represented.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from llm_trace.capture.forms import SMALL_BYTES, describe, shorten
from llm_trace.semconv.find import instructions

if TYPE_CHECKING:
    from llm_trace.capture.redaction import Redactor

_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS
_MAX_DEPTH = 60
_SIMPLE = frozenset([str, int, bool, type(None)])
_MAX_ITEMS = 100_000
REDACTION_FAILED = "[redaction failed]"


@dataclass(frozen=True)
class Limits:
    """How much of a value is kept."""

    string: int = 1_000_000
    """Bytes per string."""
    event: int = 8_000_000
    """Bytes per event."""


def _undescribable(value: Any, exc: BaseException) -> dict[str, Any]:
    return {"__type__": type(value).__qualname__, "unrepresentable": type(exc).__name__}


def _default(value: Any) -> Any:
    try:
        return describe(value)
    except Exception as exc:
        return _undescribable(value, exc)


class Encoder:
    """Encodes values within `limits`, masked by `redact`."""

    def __init__(self, redact: Redactor | None = None, limits: Limits = Limits()) -> None:
        self.redact = redact
        self.limits = limits

    def encode(self, value: Any) -> bytes:
        """Return the JSON of a value; bounded, masked, never an exception."""
        if self.redact is None and type(value) is str and len(value) <= _MAX_ITEMS:
            return self._encode_simple(value)
        if self.redact is None and not self._is_large(value):
            try:
                data = orjson.dumps(value, _default, _OPTIONS)
            except (TypeError, RecursionError):  # keys, big integers, lone surrogates, cycles
                return self.dump(self.plain(value))
            if len(data) <= self.limits.string and not (b"null" in data and _has_nonfinite(value)):
                return data
        return self.dump(self.plain(value))

    def canonical(self, value: Any) -> bytes:
        """Return the JSON of a value by which replay knows it again: keys sorted, not redacted, within the limits."""
        if not self._is_large(value):
            try:
                data = orjson.dumps(value, _default, _OPTIONS | orjson.OPT_SORT_KEYS)
                if len(data) <= self.limits.string and not (b"null" in data and _has_nonfinite(value)):
                    return data
            except (TypeError, RecursionError):
                pass
        return orjson.dumps(self.unmasked(value), _default, orjson.OPT_SORT_KEYS)

    def encode_arguments(self, arguments: dict[str, Any]) -> tuple[bytes, list[Any] | None]:
        """Return the JSON of a call's arguments and, apart, the messages of the lists of messages in them.

        Where a list was cut out its place holds `{"$messages": [a, b]}` (docs/spool-format.md). A system prompt beside the
        first list goes before it.
        """
        if self.redact is not None:
            arguments = self.plain(arguments)
        elif _are_simple(arguments):
            return self._encode_simple(arguments), None
        messages: list[Any] = []
        cut = _cut_messages(arguments, messages, depth=2)
        encode = self.encode if self.redact is None else self.dump
        data = encode(cut)
        if messages and data.count(b'"$messages"') != _count_cuts(cut):  # the user's own data has such a key
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
        return self.dump(self.plain(value))

    def encode_bodies(self, bodies: list[Any]) -> bytes:
        """Return the JSON of numbered messages (already masked), each bounded by itself."""
        try:
            data = orjson.dumps(bodies, _default, _OPTIONS)
            if len(data) <= self.limits.string:
                return data
        except (TypeError, RecursionError):
            pass
        share = Limits(self.limits.string, max(self.limits.event // max(len(bodies), 1), 1000))
        return orjson.dumps([_Walk(None, share).value(body, 0) for body in bodies])

    def dump(self, plain: Any) -> bytes:
        """Return the JSON of what `plain` returned."""
        try:
            return orjson.dumps(plain, _default, _OPTIONS)
        except (TypeError, RecursionError) as exc:
            return orjson.dumps({"__type__": type(plain).__qualname__, "unrepresentable": str(exc)})

    def plain(self, value: Any) -> Any:
        """Return the value as JSON types within the limits, every string redacted once."""
        return _Walk(self.redact, self.limits).value(value, 0)

    def unmasked(self, value: Any) -> Any:
        """Return the value as JSON types, not redacted yet: for what is put together before it is encoded."""
        return _Walk(None, self.limits).value(value, 0)

    def _is_large(self, value: Any) -> bool:
        """Return whether encoding at full length may be expensive; looks one level deep only."""
        cls = type(value)
        if cls is str:
            return len(value) > self.limits.string
        if cls is dict:
            for item in value.values():
                if (type(item) is str or type(item) is list) and len(item) > _MAX_ITEMS:
                    return True
            return len(value) > _MAX_ITEMS
        return cls is list and len(value) > _MAX_ITEMS


class _Walk:
    """One pass over a value in Python: redacts, cuts, breaks cycles."""

    def __init__(self, redact: Redactor | None, limits: Limits) -> None:
        self.redact = redact
        self.masks_key = getattr(redact, "masks_key", None)
        self.mask = getattr(redact, "mask", "[redacted]")
        self.limits = limits
        self.left = limits.event // 2  # an event holds an input or an output, and JSON escapes take room
        self.parents: set[int] = set()

    def value(self, value: Any, depth: int) -> Any:
        if value is None or value is True or value is False:
            return value
        if isinstance(value, str):
            return self.text(value)
        cls = type(value)
        if cls is int:
            return value if -(1 << 63) <= value < (1 << 64) else {"__type__": "int", "value": _digits(value)}
        if cls is float:
            return value if math.isfinite(value) else {"__type__": "float", "value": str(value)}
        if depth > _MAX_DEPTH or self.left <= 0:
            return {"__type__": cls.__qualname__, "truncated": True}
        if id(value) in self.parents:
            return {"__type__": cls.__qualname__, "cycle": True}
        self.parents.add(id(value))
        try:
            return self.container(value, depth)
        except Exception as exc:
            return _undescribable(value, exc)
        finally:
            self.parents.discard(id(value))

    def container(self, value: Any, depth: int) -> Any:
        if type(value) is dict:
            return self.mapping(value, depth)
        if type(value) in (list, tuple):
            return self.items(value, depth)
        if self.redact is not None and isinstance(
            value, (bytes, bytearray, memoryview)
        ):  # base64 would hide a secret
            text = bytes(value[:SMALL_BYTES]).decode("utf-8", "replace")
            return self.mapping({"__type__": type(value).__name__, "length": len(value), "text": text}, depth)
        return self.value(describe(value), depth + 1)

    def mapping(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for number, (key, item) in enumerate(islice(value.items(), _MAX_ITEMS)):
            if self.left <= 0:
                return out | {"__type__": "dict", "truncated": len(value) - number}
            name = _key(key)
            if name in out:
                name = f"{name} ({type(key).__name__})"
            masked = self.masks_key is not None and item is not None and self.masks_key(name)
            kept = self.redacted(name)
            self.left -= len(kept) + 6
            out[kept] = self.mask if masked else self.value(item, depth + 1)
        return (
            out
            if len(value) <= _MAX_ITEMS
            else out | {"__type__": "dict", "truncated": len(value) - _MAX_ITEMS}
        )

    def items(self, value: Sequence[Any], depth: int) -> list[Any]:
        out: list[Any] = []
        for number, item in enumerate(islice(value, _MAX_ITEMS)):
            if self.left <= 0:
                return [*out, {"__type__": "list", "truncated": len(value) - number}]
            self.left -= 2
            out.append(self.value(item, depth + 1))
        return (
            out
            if len(value) <= _MAX_ITEMS
            else [*out, {"__type__": "list", "truncated": len(value) - _MAX_ITEMS}]
        )

    def text(self, value: str) -> Any:
        text = self.redacted(str.__str__(value))
        limit = max(min(self.limits.string, self.left), 0)
        try:
            size = len(text) if text.isascii() else len(text.encode())
        except UnicodeEncodeError:  # lone surrogates are no UTF-8
            kept = text[:limit].encode("utf-8", "backslashreplace").decode()
            self.left -= len(kept)
            return {"__type__": "str", "encoding": "backslashreplace", "value": kept}
        self.left -= min(size, limit) + 3
        if size <= limit:
            return text
        kept = text.encode()[:limit].decode("utf-8", "ignore")
        return {"__type__": "str", "truncated": len(text), "value": kept}

    def redacted(self, text: str) -> str:
        if self.redact is None:
            return text
        try:
            masked = self.redact(text)
        except Exception:
            return REDACTION_FAILED
        return masked if isinstance(masked, str) else REDACTION_FAILED


def _key(key: Any) -> str:
    if isinstance(key, str):
        return str.__str__(key)
    if key is None or isinstance(key, (bool, int, float)):
        return str(key)
    try:
        return shorten(repr(key), 200)
    except Exception:
        return type(key).__qualname__


def _digits(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # longer than sys.get_int_max_str_digits()
        return hex(value)[:1000]


def _cut_messages(values: dict[str, Any], messages: list[Any], depth: int) -> dict[str, Any]:
    """Return the arguments with lists of messages replaced by references, and add those to `messages`."""
    out = values
    for key, value in values.items():
        cls = type(value)
        if (cls is list or cls is tuple) and value and _is_message(value[0]) and all(map(_is_message, value)):
            if not messages:
                messages.extend(instructions(values))
            start = len(messages)
            messages.extend(value)
            new: Any = {"$messages": [start, len(messages)]}
        elif cls is dict and depth > 1 and len(value) < 50:
            new = _cut_messages(value, messages, depth - 1)
            if new is value:
                continue
        else:
            continue
        out = {**out, key: new}
    return out


def _are_simple(values: dict[str, Any]) -> bool:
    """Return whether all values are short texts, integers, truth values or `None`."""
    for value in values.values():
        cls = type(value)
        if cls not in _SIMPLE or (cls is str and len(value) > _MAX_ITEMS):
            return False
    return True


def _is_message(value: Any) -> bool:
    if type(value) is dict:
        return type(value.get("role")) is str
    return hasattr(type(value), "model_dump") and type(getattr(value, "role", None)) is str


def _count_cuts(value: Any) -> int:
    if type(value) is not dict:
        return 0
    return 1 if value.keys() == {"$messages"} else sum(map(_count_cuts, value.values()))


def _has_nonfinite(value: Any, depth: int = 0) -> bool:
    if type(value) is float:
        return not math.isfinite(value)
    if depth > 20:
        return False
    if type(value) is dict:
        return any(_has_nonfinite(v, depth + 1) for v in value.values())
    return type(value) in (list, tuple) and any(_has_nonfinite(v, depth + 1) for v in value)
