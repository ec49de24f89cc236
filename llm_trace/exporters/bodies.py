"""Bodies of requests: JSON, and a file as a form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import orjson

T = TypeVar("T")

JSON = {"Content-Type": "application/json"}


def encode_json(value: Any) -> bytes:
    """Return JSON; what JSON has no form for is text."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # an integer beyond 64 bits, half of a surrogate pair
        return json.dumps(value, default=str).encode()


def encode_form(name: str, content: bytes, mime: str) -> tuple[bytes, dict[str, str]]:
    """Return a body with one file in the field `file`, and its headers."""
    mark = hashlib.sha256(content).hexdigest()[:32]
    head = (
        f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: {mime}\r\n\r\n"
    )
    return head.encode() + content + f"\r\n--{mark}--\r\n".encode(), {
        "Content-Type": f"multipart/form-data; boundary={mark}"
    }


def pack_items(items: Iterable[T], size: Callable[[T], int], most: int, most_bytes: int) -> Iterator[list[T]]:
    """Yield lists of at most `most` items and `most_bytes` bytes, in order; one that is larger goes alone."""
    pack: list[T] = []
    total = 0
    for item in items:
        if pack and (len(pack) >= most or total + size(item) > most_bytes):
            yield pack
            pack, total = [], 0
        pack.append(item)
        total += size(item)
    if pack:
        yield pack
