"""One pass over any Python value: to JSON types within limits, without cycles, secrets masked."""

from __future__ import annotations

import datetime
import math
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import orjson

from llm_trace.capture.command_secrets import find_secret_arguments
from llm_trace.capture.content import HASH, hash_bytes
from llm_trace.capture.json_forms import SMALL_BYTES, describe, shorten
from llm_trace.capture.objects import get_qualified_name
from llm_trace.capture.pieces import Kept, mask_texts
from llm_trace.capture.redaction import MASK, Redaction
from llm_trace.capture.state import identify

if TYPE_CHECKING:
    from llm_trace.capture.redaction import Redactor

MAX_DEPTH = 60
_BYTES = (bytes, bytearray, memoryview)
_NATIVE = identify(datetime.datetime, datetime.date, datetime.time, uuid.UUID)
"""Types that orjson writes as texts."""
_PLAIN = identify(str, int, float, bool, type(None))
_MAX_ARGUMENTS = 1_000
MAX_ITEMS = 100_000
"""Items that are kept of one list or dict."""
REDACTION_FAILED = "[redaction failed]"
_CONTENT = frozenset(["input", "output", "metadata", "params", "config"])
"""Fields of events whose texts may be of any kind; in all others a text stays a text, whatever is in it."""
_RECORDS = frozenset(["usage", "error", "code", "prompt", "environment"])
"""Fields of events that are objects with names of ours."""
_NAMES = {
    "value": ("name", "key", "header", "field"),
    "Value": ("Name", "Key", "ParameterKey"),
    "ParameterValue": ("ParameterKey",),
    "val": ("name", "key"),
    "v": ("k",),
}
"""By the key of a value, the keys beside it that may hold its name."""
_IDS = frozenset([
    "event", "id", "span_id", "trace_id", "parent_id", "run", "kind", "status", "source", "version",
    "replay_of", "fork_of",
    "method", "config_hash",
])  # fmt: skip
"""Fields of events that a reader finds its way by: they are never masked."""


@dataclass(frozen=True)
class Limits:
    """How much of a value is kept."""

    string: int = 1_000_000
    """Bytes per string."""
    event: int = 8_000_000
    """Bytes per event."""


def describe_failure(value: Any, exc: BaseException) -> dict[str, Any]:
    return {"__type__": type(value).__qualname__, "unrepresentable": type(exc).__name__}


class _Long(str):
    """A text that is to be cut once it is masked."""

    __slots__ = ("limit",)
    limit: int

    def __new__(cls, text: str, limit: int) -> Self:
        long = super().__new__(cls, text)
        long.limit = limit
        return long


class _Secret(str):
    """A text that is masked whole for its name; until then it may be a piece of another secret."""

    __slots__ = ()


class Walk:
    """One pass over a value in Python: redacts, cuts, breaks cycles."""

    def __init__(self, redact: Redactor | None, limits: Limits) -> None:
        self.redact = redact
        names = redact if isinstance(redact, Redaction) else None  # a function masks texts, never names
        self.masks_value = names.masks_value if names else None
        self.mask = names.mask if names else MASK
        self.limits = limits
        self.left = limits.event // 2  # an event holds an input or an output, and JSON escapes take room
        self.parents: set[int] = set()
        self.names: dict[str, str] = {}
        """Keys as they are written: each message has the same."""
        self.flat = False
        self.lossy = False
        """A lone surrogate was written as `\\udce9` where nothing says so."""

    def fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of an event; their names are ours."""
        out: dict[str, Any] = {}
        for name, item in fields.items():
            self.flat = name not in _CONTENT
            if name in _IDS:
                out[name] = Kept(_make_well_formed(item)) if isinstance(item, str) else item
            elif name in _RECORDS and type(item) is dict:
                out[name] = self.fields(item)
            elif self.masks_value is not None and self.is_secret(name, item, fields):
                out[name] = self.hide_value(item)
            else:
                out[name] = self.value(item, 1)
        return out

    def value(self, value: Any, depth: int) -> Any:
        if value is None or value is True or value is False:
            return value
        cls = type(value)  # never `isinstance`: it asks the value for its `__class__`
        if issubclass(cls, str):
            return value if cls is _Secret else self.text(value)
        if cls is int:
            return (
                value
                if -(1 << 63) <= value < (1 << 64)
                else {"__type__": "int", "value": _convert_digits(value)}
            )
        if cls is float:
            return value if math.isfinite(value) else {"__type__": "float", "value": str(value)}
        if depth > MAX_DEPTH or self.left <= 0:
            return {"__type__": cls.__qualname__, "truncated": True}
        if id(value) in self.parents:
            return {"__type__": cls.__qualname__, "cycle": True}
        self.parents.add(id(value))
        try:
            return self.container(value, depth)
        except Exception as exc:
            return describe_failure(value, exc)
        finally:
            self.parents.discard(id(value))

    def container(self, value: Any, depth: int) -> Any:
        if type(value) is dict:
            return self.mapping(value, depth)
        if type(value) is list or type(value) is tuple:  # `in` would ask a metaclass's `__eq__`
            is_pair = type(value) is tuple and len(value) == 2 and self.masks_value is not None
            return self.items(self.pair(value) if is_pair else value, depth)
        if self.redact is not None and issubclass(type(value), _BYTES):  # base64 would hide a secret
            with memoryview(value) as view:
                text = view[:SMALL_BYTES].tobytes().decode("utf-8", "replace")
                form = {"__type__": type(value).__name__, "length": view.nbytes, "text": text}
            return self.mapping(form, depth)
        if id(type(value)) in _NATIVE:
            return self.text(str(value) if type(value) is uuid.UUID else value.isoformat())
        return self.value(describe(value), depth + 1)

    def mapping(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        """Return a dict with names that are text; in a message a text stays a text, whatever is in it."""
        before, self.flat = self.flat, self.flat or type(value.get("role")) is str
        try:
            return self._mapping(value, depth)
        finally:
            self.flat = before

    def _mapping(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for number, (key, item) in enumerate(list(islice(value.items(), MAX_ITEMS))):
            if self.left <= 0:
                return out | {"__type__": "dict", "truncated": len(value) - number}
            if key == HASH and self.redact is not None and "truncated" in value and "__type__" in value:
                continue  # of what stood there before it was masked
            name = _encode_key(key)
            self.lossy = self.lossy or (type(key) is str and name != key)
            if name in out:
                name = f"{name} ({type(key).__name__})"
            if (redacted := self.names.get(name)) is None:
                redacted = self.names[name] = self.redact_text(name)
            self.left -= len(redacted) + 6
            masked = self.masks_value is not None and self.is_secret(key, item, value)
            out[redacted] = self.hide_value(item) if masked else self.value(item, depth + 1)
        return (
            out
            if len(value) <= MAX_ITEMS
            else out | {"__type__": "dict", "truncated": len(value) - MAX_ITEMS}
        )

    def is_secret(self, key: Any, item: Any, around: dict[Any, Any]) -> bool:
        """Return whether a dict's item is masked whole for its key, or a name beside it (`name`, `value`)."""
        if item is None or self.masks_value is None:
            return False
        if self.masks_value(_as_text(key), item):
            return "logprob" not in around  # a model's token, not a credential
        names = _NAMES.get(key, ()) if type(key) is str else ()
        return any(self.masks_value(_as_text(around[n]), item) for n in names if n in around)

    def hide_value(self, item: Any) -> str:
        """Return what stands for a value that is masked whole."""
        return _Secret(item) if type(item) is str else self.mask

    def pair(self, item: Sequence[Any]) -> Sequence[Any]:
        """Return a pair of a list, as headers are kept, its second masked for the name that is its first."""
        name = _as_text(item[0])
        masked = (
            name and item[1] is not None and self.masks_value is not None and self.masks_value(name, item[1])
        )
        return [item[0], self.hide_value(item[1])] if masked else item

    def find_arguments(self, value: Sequence[Any]) -> Collection[int]:
        """Return which items of a list are secrets, where it is a command's arguments."""
        if (
            self.masks_value is None
            or not 1 < len(value) <= _MAX_ARGUMENTS
            or not any(map(_is_option, value))
        ):
            return ()
        return find_secret_arguments(value, self.masks_value)

    def items(self, value: Sequence[Any], depth: int) -> list[Any]:
        out: list[Any] = []
        secrets = self.find_arguments(value)
        for number, item in enumerate(islice(value, MAX_ITEMS)):
            if self.left <= 0:
                return [*out, {"__type__": "list", "truncated": len(value) - number}]
            self.left -= 2
            if number in secrets:
                item = self.hide_value(item)
            elif (
                self.masks_value is not None
                and (type(item) is tuple or type(item) is list)
                and len(item) == 2
            ):
                item = self.pair(item)
            out.append(self.value(item, depth + 1))
        return (
            out
            if len(value) <= MAX_ITEMS
            else [*out, {"__type__": "list", "truncated": len(value) - MAX_ITEMS}]
        )

    def convert_masked(self, value: Any) -> Any:
        """Return a value as JSON types, its texts masked."""
        return self._mask_texts(self.value(value, 0))

    def convert_fields(self, fields: dict[str, Any]) -> Any:
        """Return the fields of an event, masked but for names and ids."""
        return self._mask_texts(self.fields(fields))

    def _mask_texts(self, tree: Any) -> Any:
        if self.redact is None:
            return tree
        root = [tree]
        mask_texts(root, self.redact_text, self._bound)
        return root[0]

    def _bound(self, masked: str, raw: str) -> Any:
        """Return what is kept of a text that was masked after its length had been counted."""
        if type(raw) is _Secret:
            return self.mask
        if not masked.isascii():  # a function that masks may put anything in
            masked = _make_well_formed(masked)
        limit = raw.limit if type(raw) is _Long else self.limits.string
        if len(masked) * 4 <= limit:
            return masked
        data = masked.encode()
        if len(data) <= limit:
            return masked
        start = data[:limit].decode("utf-8", "ignore")
        return {"__type__": "str", "truncated": len(masked), "value": start, HASH: hash_bytes(data)}

    def text(self, value: str) -> Any:
        text = str.__str__(value)
        limit = max(min(self.limits.string, self.left), 0)
        try:
            size = len(text) if text.isascii() else len(text.encode())
        except UnicodeEncodeError:  # lone surrogates are no UTF-8
            start = _make_well_formed(text[:limit])
            self.lossy = self.lossy or self.flat
            self.left -= len(start)
            return start if self.flat else {"__type__": "str", "encoding": "backslashreplace", "value": start}
        self.left -= min(size, limit) + 3
        if size <= limit:
            return text
        if self.redact is not None:  # cut when it is masked: half a secret is not recognised
            return _Long(text, limit)
        data = text.encode()
        start = data[:limit].decode("utf-8", "ignore")
        return {"__type__": "str", "truncated": len(text), "value": start, HASH: hash_bytes(data)}

    def redact_text(self, text: str) -> str:
        if self.redact is None:
            return text
        try:
            masked = self.redact(text)
        except Exception:
            return REDACTION_FAILED
        return masked if isinstance(masked, str) else REDACTION_FAILED


def _make_well_formed(text: str) -> str:
    """Return a text that UTF-8 can write: lone surrogates as `\\udce9`."""
    return text.encode("utf-8", "backslashreplace").decode()


def _is_option(item: Any) -> bool:
    return type(item) is str and item[:1] == "-" and not item[1:2].isspace()


def _as_text(name: Any) -> str:
    """Return a name that is a text, or bytes as headers are; empty for any other."""
    if type(name) is bytes or type(name) is bytearray:
        return bytes(name[:SMALL_BYTES]).decode("latin-1")
    return str.__str__(name) if issubclass(type(name), str) else ""


def _encode_key(key: Any) -> str:
    cls = type(key)
    if issubclass(cls, str):
        text = str.__str__(key)
        return text if text.isascii() else _make_well_formed(text)
    if id(cls) in _PLAIN or (cls is tuple and _PLAIN.issuperset(map(id, map(type, key)))):
        return _make_well_formed(shorten(repr(key), 200))
    try:
        form = describe(key)
        if type(form) is dict and "repr" in form:
            return _make_well_formed(form["repr"])
        if type(form) is str:
            return _make_well_formed(form)
        return shorten(orjson.dumps(form, describe, orjson.OPT_PASSTHROUGH_DATACLASS).decode(), 200)
    except Exception:
        return get_qualified_name(cls)


def _convert_digits(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # longer than sys.get_int_max_str_digits()
        return hex(value)[:1000]
