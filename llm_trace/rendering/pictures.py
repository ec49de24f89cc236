"""Recorded images that are shown as pictures: raster images that the record itself holds, and no others."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.rendering.formatting import format_size
from llm_trace.rendering.leaves import walk_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 4_000_000
"""Characters of base64 of a picture that is shown; a larger one is named."""
MOST = 12
"""Pictures of one part of a call that are shown."""
_URL = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w=.+-]+)*;base64,([A-Za-z0-9+/_-]+={0,2})")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{64,}={0,2}")
_BEGINNINGS = ("iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR")
# Read from the bytes, since what the record calls them is somebody's word. An SVG can hold a program.
_RASTER = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"), "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"), "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """An image as a page shows it."""

    url: str
    """A `data:` URL."""
    title: str


def list_pictures(data: Any) -> list[Picture]:
    """Return the PNG, JPEG, GIF and WebP images that JSON data holds as base64 or in `data:` URLs."""
    pictures: dict[str, Picture] = {}
    for text in _list_encoded(data):
        if len(pictures) >= MOST:
            break
        picture = _read_picture(text.translate(_STANDARD)) if len(text) <= LARGEST else None
        if picture is not None:
            pictures[picture.url] = picture
    return list(pictures.values())


_STANDARD = str.maketrans("-_", "+/")


def _list_encoded(data: Any) -> Iterator[str]:
    """Yield what may be an image in base64."""
    for text in walk_texts(data):
        if text.startswith(_BEGINNINGS) and _BASE64.fullmatch(text):
            yield text
        elif ";base64," in text:
            yield from (match[1] for match in _URL.finditer(text))


def _read_picture(body: str) -> Picture | None:
    head = base64.b64decode(body[:32] + "=" * (-len(body[:32]) % 4))
    kind = next((kind for kind, pattern in _RASTER.items() if pattern.match(head)), None)
    if kind is None:
        return None
    size = format_size(len(body.rstrip("=")) * 3 // 4)
    return Picture(f"data:{kind};base64,{body}", f"{kind}, {size}")
