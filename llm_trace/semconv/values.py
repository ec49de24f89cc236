"""Reading values whose shape nobody promises: mappings, SDK objects, JSON in strings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

EMPTY: tuple[Any, ...] = (None, "", [], {}, ())
_SCALARS = (str, int, float, bool, bytes, list, tuple, type(None))
_PLAIN = frozenset(map(id, _SCALARS))
_bases = type.__dict__["__mro__"].__get__
_SDK_ROOTS = frozenset(
    {
        "openai",
        "anthropic",
        "google",
        "vertexai",
        "mistralai",
        "cohere",
        "groq",
        "ollama",
        "together",
        "litellm",
    }
)


def is_subclass(cls: type, wanted: Any) -> bool:
    """Return whether a class is one of the wanted, as `issubclass` does; where that would ask a metaclass
    for its hash (abstract classes remember whom they have met), only by its bases.
    """
    if type(cls) is type or type(cls).__hash__ is object.__hash__:
        return issubclass(cls, wanted)
    classes = wanted if type(wanted) is tuple else (wanted,)
    return any(base is each for base in _bases(cls) for each in classes)


def is_response(value: Any) -> bool:
    """Say whether `value` is a mapping or the object of an SDK, from its class alone."""
    kind = type(value)  # `isinstance` would ask the value for its `__class__`, which a lazy object computes
    if issubclass(kind, _SCALARS):
        return False
    if is_subclass(kind, Mapping):
        return issubclass(kind, dict)  # another mapping's methods may do anything
    return hasattr(kind, "model_dump") or str(kind.__module__).partition(".")[0] in _SDK_ROOTS


def list_fields(value: Any) -> Mapping[str, Any]:
    """Return the entries of a mapping or the stored attributes of an object; no property is run."""
    kind = type(value)
    if kind is dict:
        return value  # type: ignore[no-any-return]
    if id(kind) in _PLAIN:
        return {}
    if issubclass(kind, dict):
        return dict(dict.items(value))
    if is_subclass(kind, Mapping):
        entries: Mapping[str, Any] = value
        return entries
    if issubclass(kind, _SCALARS):
        return {}
    stored = _read_stored(value, "__dict__")
    own = stored if isinstance(stored, dict) else {}
    extra = _read_stored(value, "__pydantic_extra__") or own.get("__pydantic_extra__")
    return {**own, **extra} if isinstance(extra, dict) and extra else own


def get_raw_body(response: Any) -> dict[str, Any] | None:
    """Return the JSON object in an SDK's raw response (`with_raw_response`), `None` where unread."""
    body = list_fields(get_field(response, "http_response")).get("_content")
    content = load_json(body) if type(body) is bytes else None
    return content if type(content) is dict else None


def _read_stored(value: Any, name: str) -> Any:
    """Return an attribute without asking the object's own `__getattr__`, `None` where it has none."""
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return None


def get_field(value: Any, *names: str) -> Any:
    """Return the first of `names` that is there and not None, else None."""
    source = value if type(value) is dict else list_fields(value)
    for name in names:
        field = source.get(name)
        if field is not None:
            return field
    return None


def get_first_value(attributes: Mapping[str, Any], wanted: Iterable[str]) -> Any:
    """Return the first of the wanted attributes that is there and not None, else None."""
    for name in wanted:
        if (value := attributes.get(name)) is not None:
            return value
    return None


def get_first_text(attributes: Mapping[str, Any], wanted: Iterable[str]) -> str | None:
    """Return the first of the wanted attributes that is a non-empty string, else None."""
    for name in wanted:
        if isinstance(text := attributes.get(name), str) and text:
            return text
    return None


def get_text(value: Any) -> str | None:
    """Return `value` where it is a non-empty string."""
    return value if isinstance(value, str) and value else None


def count(value: Any) -> int | None:
    """Return a number of tokens, or None for what cannot be one; `58.0` and `"58"` are 58."""
    if type(value) is int:
        return value if 0 <= value < 2**63 else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 2**63 else None


def get_number(value: Any) -> float | None:
    """Return a finite number that is not negative, else None."""
    if isinstance(value, str):
        value = load_json(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value < 1e300 else None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant!r} is not JSON")


_decode = json.JSONDecoder(parse_constant=_refuse).decode


def load_json(value: Any) -> Any:
    """Return what a string says in JSON, or the value itself where it is no JSON text."""
    if not isinstance(value, (str, bytes)):
        return value
    try:
        return _decode(value if isinstance(value, str) else value.decode(json.detect_encoding(value)))
    except (ValueError, RecursionError):
        return value


def load_container(value: Any) -> Any:
    """Return the object or list that a string holds as JSON; any other value as it is.

    A string such as `"12"` or `"null"` stays a string: it may be text that a model wrote.
    """
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        return load_json(value)
    return value


def dump_json(value: Any) -> str:
    """Return JSON text; a string stays as it is, what JSON cannot say becomes its text."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=str, skipkeys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        return repr(type(value))


def list_items(value: Any) -> list[Any]:
    """Return the elements of a list or tuple, and nothing for other values."""
    return list(value) if isinstance(value, (list, tuple)) else []


def list_mappings(value: Any) -> list[Mapping[str, Any]]:
    """Return the elements of a list that are mappings."""
    return [item for item in list_items(value) if isinstance(item, Mapping)]


def list_rest(raw: Mapping[str, Any], used: frozenset[str] | set[str] | tuple[str, ...]) -> dict[str, Any]:
    """Return the entries of `raw` that `used` does not name and that are not empty."""
    return {str(k): v for k, v in raw.items() if k not in used and v not in EMPTY}


def join_rest(raw: Mapping[str, Any], used: tuple[str, ...], part: dict[str, Any]) -> dict[str, Any]:
    """Return `part` without Nones, plus what is left of `raw`; names already taken go under `raw`."""
    rest = {key: value for key, value in part.items() if value is not None}
    clash: dict[str, Any] = {}
    for key, value in list_rest(raw, used).items():
        if key in rest or key == "type":
            clash[key] = value
        else:
            rest[key] = value
    if clash:
        rest["raw"] = {**clash, "raw": rest["raw"]} if "raw" in rest else clash
    return rest
