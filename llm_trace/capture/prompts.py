"""Prompt templates: rendered text that knows where its variables stand, found again after concatenation."""

from __future__ import annotations

import string
from collections import deque
from dataclasses import dataclass
from typing import Any

from llm_trace.capture import failures, slots

recent: deque[Rendered] = deque(maxlen=32)
"""Prompts rendered lately, newest last; a call whose input contains one was made with it."""


class Rendered(str):
    """A rendered prompt: a `str` with `prompt`, `variables` (name to value) and `spans` (name to (start, end) offsets)."""

    __slots__ = ("prompt", "spans", "variables")
    prompt: Prompt
    variables: dict[str, Any]
    spans: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Prompt:
    """A named template. Its version is the hash of the template, so an edited template is a new version by itself.

    Args:
        name: what the prompt is called in the store.
        template: text with `{variables}` as in `str.format`; `{{` and `}}` are braces.

    Raises:
        ValueError: the template has an unbalanced brace or a variable without a name.
    """

    name: str
    template: str

    def __post_init__(self) -> None:
        for _, field, _, _ in string.Formatter().parse(self.template):
            if field is not None and (not field or field.isdigit()):
                raise ValueError(
                    f"prompt {self.name!r} has a variable without a name: write {{name}}, or {{{{ }}}} for braces"
                )

    @property
    def version(self) -> str:
        """First 12 hex digits of the SHA-256 of the template."""
        import hashlib

        return hashlib.sha256(self.template.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    def format(self, **variables: Any) -> Rendered:
        """Return the template with its variables filled in.

        Raises:
            KeyError: a variable of the template was not given.
        """
        prompt = self if slots.interceptor is None else slots.interceptor.prompt(self)
        parts: list[str] = []
        spans: dict[str, tuple[int, int]] = {}
        formatter, at = string.Formatter(), 0
        for literal, field, spec, conversion in formatter.parse(prompt.template):
            parts.append(literal)
            at += len(literal)
            if field is None:
                continue
            value, _ = formatter.get_field(field, (), variables)
            if conversion:
                value = formatter.convert_field(value, conversion)
            text = format(value, (spec and spec.format(**variables)) or "")
            spans[field] = (at, at + len(text))
            parts.append(text)
            at += len(text)
        rendered = Rendered("".join(parts))
        rendered.prompt, rendered.variables, rendered.spans = prompt, variables, spans
        _note(rendered)
        return rendered


def _note(rendered: Rendered) -> None:
    if slots.recorder is None:
        return
    try:
        recent.append(rendered)
        _announce(rendered.prompt)
    except Exception as exc:
        failures.note("a prompt", exc)


def _announce(prompt: Prompt) -> None:
    """Write the template to the spool when this process first uses it with this recorder."""
    recorder = slots.recorder
    key = (prompt.name, prompt.version)
    if recorder is None or not recorder.capture_content or key in recorder.announced:
        return
    import time

    recorder.announced.add(key)
    recorder.event(
        {
            "event": "prompt",
            "name": prompt.name,
            "version": prompt.version,
            "template": prompt.template,
            "time_ns": time.time_ns(),
        }
    )


def fields(arguments: dict[str, Any], prompt: Prompt | None) -> dict[str, Any]:
    """Return `{"prompt": …}` for a call whose arguments contain a rendered prompt, else what the decorator names, else {}."""
    texts = list(_texts(arguments))
    for text in texts:
        if isinstance(text, Rendered):
            return {"prompt": _use(text)}
    for rendered in reversed(recent):
        if any(rendered in text for text in texts) and (prompt is None or rendered.prompt == prompt):
            return {"prompt": _use(rendered)}
    if prompt is None:
        return {}
    _announce(prompt)
    wanted = [f for _, f, _, _ in string.Formatter().parse(prompt.template) if f]
    return {
        "prompt": {
            "name": prompt.name,
            "version": prompt.version,
            "variables": {f: arguments[f] for f in wanted if f in arguments},
        }
    }


def _use(rendered: Rendered) -> dict[str, Any]:
    return {"name": rendered.prompt.name, "version": rendered.prompt.version, "variables": rendered.variables}


def _texts(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        yield value
    elif depth < 5 and isinstance(value, dict):
        for item in list(value.values())[:50]:
            yield from _texts(item, depth + 1)
    elif depth < 5 and isinstance(value, (list, tuple)):
        for item in value[-50:]:
            yield from _texts(item, depth + 1)
