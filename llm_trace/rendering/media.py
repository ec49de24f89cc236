"""Images, sounds and files in what is shown: their media type and size instead of base64."""

import re
from typing import Any

from llm_trace.rendering.formatting import format_size

LEAST = 200
"""Characters of a text that may be taken for base64."""
_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,([A-Za-z0-9+/_-]+={0,2})")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_BEGINNINGS = {
    "iVBORw0KGgo": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif", "JVBERi0": "application/pdf",
    "UklGR": "audio/wav or image/webp", "SUQz": "audio/mpeg", "T2dnUw": "audio/ogg",
}  # fmt: skip


def name_media(data: Any) -> Any:
    """Return JSON data in which media type and size stand for each base64 text and `data:` URL."""
    if isinstance(data, str):
        return _name_text(data, None)
    if isinstance(data, list | tuple):
        return [name_media(item) for item in data]
    if not isinstance(data, dict):
        return data
    kind = data.get("mime_type") or data.get("media_type") or data.get("mimeType")
    shown = {
        key: _name_text(item, kind) if isinstance(item, str) else name_media(item)
        for key, item in data.items()
    }
    if data.get("type") == "blob" and isinstance(content := data.get("content"), str):
        shown["content"] = _name(content, kind)
    return shown


def _name_text(text: str, kind: Any) -> str:
    if len(text) >= LEAST and _BASE64.fullmatch(text) and _is_mixed(text):
        return _name(text, kind)
    return _URL.sub(lambda match: _name(match[2], match[1]), text) if ";base64," in text else text


def _is_mixed(text: str) -> bool:
    """Return whether a text has capitals, small letters and digits, as base64 has and words have not."""
    return all(re.search(letters, text) for letters in ("[A-Z]", "[a-z]", "[0-9]"))


def _name(body: str, kind: Any) -> str:
    known = (name for begin, name in _BEGINNINGS.items() if body.startswith(begin))
    return f"[{kind or next(known, 'base64')}, {format_size(len(body.rstrip('=')) * 3 // 4)}]"
