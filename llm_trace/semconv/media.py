"""Images, sounds and files in a message, from any provider's shape to OpenTelemetry's parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llm_trace.semconv.shapes import PartFields, Raw
from llm_trace.semconv.values import get_field, join_rest, list_fields


def _parse_data_url(url: Any) -> tuple[str | None, str] | None:
    """Return the media type and the base64 text of a `data:` URL."""
    if not isinstance(url, str) or not url.startswith("data:"):
        return None
    head, comma, body = url[5:].partition(",")
    if not comma or not head.endswith(";base64"):
        return None
    return head[: -len(";base64")] or None, body


def _link(modality: str | None, url: Any) -> PartFields:
    """Return a `uri` part, or a `blob` where the URL holds the data itself."""
    data = _parse_data_url(url)
    if data is None:
        return {"type": "uri", "modality": modality, "uri": url}
    return {"type": "blob", "modality": modality, "mime_type": data[0], "content": data[1]}


def read_image_url(raw: Raw) -> PartFields:
    """Return OpenAI's `image_url` (chat), `input_image` (Responses) and Mistral's bare string."""
    image = raw.get("image_url")
    if isinstance(image, Mapping):
        return join_rest(
            raw, ("type", "image_url"), join_rest(image, ("url",), _link("image", image.get("url")))
        )
    if image is None and raw.get("file_id") is not None:
        return join_rest(raw, ("type",), {"type": "file", "modality": "image"})
    return join_rest(raw, ("type", "image_url"), _link("image", image))


def read_audio(raw: Raw) -> PartFields:
    inner = raw.get("input_audio")
    if not isinstance(inner, Mapping):
        return join_rest(raw, (), {"type": str(raw.get("type"))})
    form = inner.get("format")
    part = {
        "type": "blob",
        "modality": "audio",
        "mime_type": f"audio/{form}" if isinstance(form, str) else None,
        "content": inner.get("data"),
    }
    used = ("data", "format") if isinstance(form, str) else ("data",)
    return join_rest(raw, ("type", "input_audio"), join_rest(inner, used, part))


def read_file(raw: Raw) -> PartFields:
    """Return OpenAI's `file` and `input_file`."""
    inner = raw.get("file")
    source = inner if isinstance(inner, Mapping) else raw
    data = _parse_data_url(source.get("file_data"))
    used: tuple[str, ...]
    part: PartFields
    if source.get("file_id") is not None:
        used, part = (), {"type": "file"}
    elif data is not None:
        used, part = ("file_data",), {"type": "blob", "mime_type": data[0], "content": data[1]}
    elif source.get("file_data") is not None:
        used, part = ("file_data",), {"type": "blob", "content": source.get("file_data")}
    elif source.get("file_url") is not None:
        used, part = ("file_url",), {"type": "uri", "uri": source.get("file_url")}
    else:
        return join_rest(raw, (), {"type": str(raw.get("type"))})
    if source is raw:
        return join_rest(raw, ("type", *used), part)
    return join_rest(raw, ("type", "file"), join_rest(source, used, part))


def read_media(raw: Raw) -> PartFields:
    """Return Anthropic's image and document blocks, and Gemini Interactions' flat ones."""
    kind = str(raw.get("type"))
    source = raw.get("source")
    if not isinstance(source, Mapping):
        return _read_flat_media(raw, kind)
    used: tuple[str, ...]
    part: PartFields = {"modality": kind, "mime_type": source.get("media_type")}
    if source.get("type") == "url":
        used, part = ("url",), {**part, "type": "uri", "uri": source.get("url")}
    elif source.get("type") == "file":
        used, part = (), {**part, "type": "file"}
    else:
        used, part = ("data",), {**part, "type": "blob", "content": source.get("data")}
    encoding = source.get("type")
    known = encoding in ("url", "file", "base64")
    left = join_rest(source, (*used, "media_type", "type"), {**part, "encoding": None if known else encoding})
    return join_rest(raw, ("type", "source"), left)


def _read_flat_media(raw: Raw, kind: str) -> PartFields:
    if isinstance(raw.get("data"), str):
        return join_rest(
            raw, ("type", "data"), {"type": "blob", "modality": kind, "content": raw.get("data")}
        )
    if isinstance(raw.get("uri"), str):
        return join_rest(raw, ("type",), {"type": "uri", "modality": kind})
    return join_rest(raw, ("type",), {"type": kind})


def build_bedrock_media(modality: str) -> Callable[[Any, Raw], PartFields]:
    def read(inner: Any, _raw: Raw) -> PartFields:
        source = get_field(inner, "source")
        form = get_field(inner, "format")
        used: tuple[str, ...]
        part: PartFields = {"modality": modality, "mime_type": f"{modality}/{form}" if form else None}
        if get_field(source, "bytes") is not None:
            used, part = ("bytes",), {**part, "type": "blob", "content": get_field(source, "bytes")}
        else:
            used, part = (), {**part, "type": "uri", "uri": get_field(source, "s3Location", "uri")}
        left = join_rest(list_fields(source), (*used, "s3Location") if part["type"] == "uri" else used, part)
        return join_rest(
            list_fields(inner), ("source", "format") if isinstance(form, str) else ("source",), left
        )

    return read


def read_inline_data(inner: Any, _raw: Raw) -> PartFields:
    mime = get_field(inner, "mimeType", "mime_type")
    part = {
        "type": "blob",
        "modality": _get_modality(mime),
        "mime_type": mime,
        "content": get_field(inner, "data"),
    }
    return join_rest(list_fields(inner), ("mimeType", "mime_type", "data"), part)


def read_file_data(inner: Any, _raw: Raw) -> PartFields:
    mime = get_field(inner, "mimeType", "mime_type")
    uri = get_field(inner, "fileUri", "file_uri")
    part = {"type": "uri", "modality": _get_modality(mime), "mime_type": mime, "uri": uri}
    return join_rest(list_fields(inner), ("mimeType", "mime_type", "fileUri", "file_uri"), part)


def _get_modality(mime: Any) -> str | None:
    return mime.partition("/")[0] if isinstance(mime, str) else None
