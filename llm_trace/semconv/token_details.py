"""Counts within a usage that have prices of their own, and the service tier that answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llm_trace.semconv.values import count, get_field, get_text, list_fields, list_mappings

_IN, _OUT, _CACHED = "input_{}_tokens", "output_{}_tokens", "cache_{}_read_tokens"
_INSIDE = {
    "prompt_tokens_details": _IN, "input_tokens_details": _IN, "input_token_details": _IN,
    "prompt_token_details": _IN, "promptTokensDetails": _IN, "toolUsePromptTokensDetails": _IN,
    "tool_use_prompt_tokens_details": _IN,
    "completion_tokens_details": _OUT, "output_tokens_details": _OUT,
    "output_token_details": _OUT, "candidatesTokensDetails": _OUT,
    "candidates_tokens_details": _OUT, "responseTokensDetails": _OUT,
    "cacheTokensDetails": _CACHED, "cache_tokens_details": _CACHED,
}  # fmt: skip
"""Where a usage counts by modality: OpenAI in a mapping, Google in a list."""
_PLAIN = {
    "llm.token_count.prompt_details.audio": "input_audio_tokens",
    "llm.token_count.completion_details.audio": "output_audio_tokens",
    "gen_ai.usage.audio.input_tokens": "input_audio_tokens",
    "gen_ai.usage.audio.output_tokens": "output_audio_tokens",
    "gen_ai.usage.image.input_tokens": "input_image_tokens",
    "gen_ai.usage.video.input_tokens": "input_video_tokens",
    "num_search_queries": "web_searches",
}
_MODALITIES = {"AUDIO": "audio", "IMAGE": "image", "DOCUMENT": "image", "VIDEO": "video"}
_MORE = ("cache_creation", "cacheDetails", "server_tool_use", "billed_units", "details")
_SOURCES = frozenset({*_INSIDE, *_PLAIN, *_MORE})
_BILLED = ("input_tokens", "output_tokens")
_GROUPS = frozenset({*_INSIDE, "cache_creation", "server_tool_use"})
_Read = Callable[[Any, Mapping[str, Any]], list[tuple[str, int | None]]]
_TIER_NAMES = frozenset({"service_tier", "speed", "tier"})
_TIERS = {
    "batch": "batch", "flex": "flex", "priority": "priority", "fast": "fast",
    "default": "standard", "standard": "standard", "on_demand": "standard",
}  # fmt: skip


def read_token_details(source: Mapping[str, Any]) -> tuple[dict[str, int], Mapping[str, Any]]:
    """Return counts under the names of `llm_trace.record.Usage.details`, only those of more than 0; and the
    usage with its groups of counts as mappings where they were objects.

    Args:
        source: a usage, or span attributes.
    """
    details: dict[str, int] = {}
    for place in _SOURCES.intersection(source):
        value = source[place]
        if value is None:
            continue
        if type(value) is not dict and type(value) is not list and place in _GROUPS:
            value = list_fields(value)
            source = {**source, place: value}
        form = _INSIDE.get(place)
        numbers = _READERS[place](value, source) if form is None else _read_modalities(form, value)
        for name, number in numbers:
            if number:
                details[name] = details.get(name, 0) + number
    return details, source


def _read_modalities(form: str, value: Any) -> list[tuple[str, int | None]]:
    if isinstance(value, (list, tuple)):
        entries = [list_fields(entry) for entry in value]
        modalities = [(get_field(entry, "modality"), entry) for entry in entries]
        return [
            (form.format(word), count(get_field(entry, "tokenCount", "token_count")))
            for modality, entry in modalities
            if (word := _MODALITIES.get(str(getattr(modality, "value", modality)))) is not None
        ]
    audio, image = value.get("audio_tokens"), value.get("image_tokens")
    if not audio and not image:
        return []
    return [(form.format("audio"), count(audio)), (form.format("image"), count(image))]


def _read_long_cache(entries: Any) -> list[tuple[str, int | None]]:
    """Return what Bedrock wrote to a cache for an hour."""
    long = (entry for entry in list_mappings(entries) if entry.get("ttl") == "1h")
    return [("cache_write_1h_tokens", count(entry.get("inputTokens"))) for entry in long]


def _read_unbilled(billed: Any, source: Mapping[str, Any]) -> list[tuple[str, int | None]]:
    """Return what Cohere counts (`tokens`) and does not bill."""
    seen, paid = list_fields(source.get("tokens")), list_fields(billed)
    pairs = [(f"unbilled_{n}", count(seen.get(n)), count(paid.get(n))) for n in _BILLED]
    return [(n, max(0, whole - part)) for n, whole, part in pairs if whole is not None and part is not None]


def _make_plain_reader(name: str) -> _Read:
    return lambda value, _: [(name, count(value))]


_READERS: dict[str, _Read] = {
    **{place: _make_plain_reader(name) for place, name in _PLAIN.items()},
    "cache_creation": lambda value, _: [
        ("cache_write_1h_tokens", count(list_fields(value).get("ephemeral_1h_input_tokens")))
    ],
    "cacheDetails": lambda value, _: _read_long_cache(value),
    "server_tool_use": lambda value, _: [
        ("web_searches", count(list_fields(value).get("web_search_requests")))
    ],
    "billed_units": _read_unbilled,
    "details": lambda value, _: [(str(name), count(number)) for name, number in list_fields(value).items()],
}
"""What a usage may hold -> the counts in it; the second argument is the usage."""


def read_tier(source: Mapping[str, Any]) -> str | None:
    """Return the service tier that a usage or an answer names, `standard` only where no other is."""
    if _TIER_NAMES.isdisjoint(source):
        return None
    words = [get_text(source.get(name)) for name in ("service_tier", "speed", "tier")]
    tiers = [tier for word in words if word and (tier := _TIERS.get(word.lower())) is not None]
    return next((tier for tier in tiers if tier != "standard"), tiers[0] if tiers else None)
