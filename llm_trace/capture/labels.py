"""What users write beside a call (tags, metadata, configurations), in the one form that is recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def to_tags(tags: Any) -> tuple[str, ...]:
    """Return tags as text: of a list, of one text, none of `None`.

    Raises:
        TypeError: tags are neither.
    """
    if tags is None:
        return ()
    if isinstance(tags, str):
        return (tags,)
    if isinstance(tags, Mapping) or not isinstance(tags, Iterable):
        raise TypeError(f"tags={tags!r} is no list of texts: write tags=['prod'] or tags='prod'")
    return tuple(tag if isinstance(tag, str) else str(tag) for tag in tags)


def to_mapping(name: str, value: Any) -> dict[str, Any]:
    """Return named values, names as texts: of a mapping, pairs, or an object like `argparse.Namespace`.

    Args:
        name: the argument's name, for the error.

    Raises:
        TypeError: the value has no names.
    """
    if value is None:
        return {}
    if not isinstance(value, (Mapping, str, bytes)) and not isinstance(value, Iterable):
        value = value.__dict__ if hasattr(value, "__dict__") else value
    try:
        return {key if isinstance(key, str) else str(key): item for key, item in dict(value).items()}
    except (TypeError, ValueError):
        raise TypeError(f"{name}={value!r} is no mapping: write {name}={{'key': value}}") from None
