"""What an instrumentation sent, to tell what it left out from what was read wrongly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from tests.rig.atoms import KINDS, remove_space
from tests.rig.facts import Facts, MessageFact, load_json

_MEDIA = {
    "image",
    "audio",
    "document",
    "file",
    "base64",
    "blob",
    "uri",
    "image_url",
    "input_image",
    "input_file",
}


class Telemetry:
    """The spans of one exchange, as strings without white space.

    Args:
        spans: everything that ended in the exchange's trace but the span that the measurement itself made.
    """

    def __init__(self, spans: Iterable[ReadableSpan]) -> None:
        self._spans = list(spans)
        strings = [pair for span in self._spans for pair in _list_span_strings(span)]
        self._values = {text for _, text in strings}
        self._answers = {text for name, text in strings if not name.startswith(_ASKED)}
        self._text = "\0".join(self._values)

    def has(self, name: str, facts: Facts) -> bool:
        """Say whether what a field must have stands somewhere in the spans."""
        if name == "call":
            return bool(self._spans)
        if name == "kind":
            return True
        if name == "status":
            return facts.failed == any(span.status.status_code is StatusCode.ERROR for span in self._spans)
        if name == "model":
            return bool({facts.model, facts.requested_model} & self._values)
        if name == "finish reason":
            return bool(facts.finish) and all({why, why.lower()} & self._answers for why in facts.finish)
        side, _, kind = name.partition(" ")
        if side in ("input", "output"):
            entries = facts.request if side == "input" else facts.response
            return all(
                self._has_fact(fact) for fact in entries if kind == "texts" or KINDS[kind] == fact.kind
            )
        return str(facts.usage.get(name, "")) in self._answers

    def _has_fact(self, fact: MessageFact) -> bool:
        if fact.kind == "media":
            return bool(_MEDIA & self._values) or "data:" in self._text
        if fact.kind == "other":
            return fact.value in self._values
        known_role = fact.role in ("system", "user", "assistant", "tool") or fact.role in self._values
        return known_role and all(text in self._text for text in _list_strings(fact.value))


_ASKED = ("llm.invocation_parameters", "llm.input", "input.", "gen_ai.input", "gen_ai.request")
"""Attributes of the request, in which a number or a word is no count and no reason."""


def _list_span_strings(span: ReadableSpan) -> Iterator[tuple[str, str]]:
    for attributes in (span.attributes, *(event.attributes for event in span.events)):
        for name, value in (attributes or {}).items():
            yield from ((name, text) for text in _list_strings(value))


def _list_strings(value: Any) -> Iterator[str]:
    """Yield keys and leaves of a value, those of JSON inside its strings too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _list_strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _list_strings(inner)
    elif isinstance(inner := load_json(value), dict | list):
        yield from _list_strings(inner)
    elif value is not None:
        yield remove_space(str(value))
