"""The hunks of a change: lines, examples and words of templates and messages, parameters, the model."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_trace.capture.prompts import Prompt
from llm_trace.causes.bisect_chats import MixedChat, split_chat
from llm_trace.causes.bisect_splits import (
    Applied,
    Hunk,
    MixedPart,
    mix_parts,
    split_change,
    split_literal,
)
from llm_trace.errors import ConfigurationError
from llm_trace.replays.overrides import MessageExchange


@dataclass(frozen=True)
class Mixture:
    """What lies between a and b: any hunks of the change put into a."""

    hunks: tuple[Hunk, ...]
    templates: Mapping[str, tuple[MixedPart, ...]]
    """Name of a prompt -> its text in parts."""
    settings: Mapping[int, tuple[Any, Any]]
    """Hunk -> the values of its parameter, or of the model, in a and in b."""
    constants: Mapping[str, Any]
    """Overrides that every mixture has."""
    chats: Mapping[str, MixedChat] = field(default_factory=dict)
    """Name of a function that is asked messages -> those with which they begin."""

    def render_template(self, name: str, applied: Applied) -> str:
        """Return a template with some hunks put in."""
        return mix_parts(self.templates[name], applied)

    def build_overrides(self, applied: Applied) -> dict[str, Any]:
        """Return what a replay changes, as `replay(overrides=…)` takes it."""
        prompts = [Prompt(name, self.render_template(name, applied)) for name in self.templates]
        overrides: dict[str, Any] = {"params": {}, **self.constants, "prompt": prompts}
        for hunk, (before, after) in self.settings.items():
            value = after if hunk in applied else before
            if self.hunks[hunk].kind == "model":
                overrides["model"] = value
            elif value is not None:
                overrides["params"] = {**overrides["params"], self.hunks[hunk].name: value}
        return overrides

    def exchange_messages(self, applied: Applied) -> dict[str, MessageExchange]:
        """Return by function which messages take the place of those that it would be asked first."""
        return {
            name: MessageExchange(chat.beginnings, chat.mix(applied)) for name, chat in self.chats.items()
        }

    def refine(self, hunk: int, context: Applied) -> Mixture:
        """Return the words of one hunk as hunks of their own, of a message its lines where it has several;
        the other hunks of `context` stay put in.
        """
        name, kind = self.hunks[hunk].name, self.hunks[hunk].kind
        hunks: list[Hunk] = []

        def refine_parts(parts: Sequence[MixedPart]) -> tuple[MixedPart, ...]:
            refined: list[MixedPart] = []
            for part in parts:
                if part.hunk == hunk:
                    has_lines = kind == "message" and "\n" in (part.before + part.after).strip()
                    split = split_literal if name in self.chats else split_change
                    inner, inside = split(
                        name, part.before, part.after, by="lines" if has_lines else "words", first=len(hunks)
                    )
                    refined += inner
                    hunks.extend(inside)
                else:
                    text = part.after if part.hunk in context else part.before
                    refined.append(MixedPart(text, text, None))
            return tuple(refined)

        templates = {other: refine_parts(parts) for other, parts in self.templates.items()}
        chats = {other: chat.refine(refine_parts, context) for other, chat in self.chats.items()}
        constants = {key: value for key, value in self.build_overrides(context).items() if key != "prompt"}
        return Mixture(tuple(hunks), templates, {}, constants, chats)


def mix_change(
    templates: Mapping[str, tuple[str, str]],
    settings: Mapping[str, tuple[Any, Any]],
    model: tuple[str, str] | None,
    chats: Mapping[str, tuple[Sequence[Any], Sequence[Any]]] | None = None,
) -> Mixture:
    """Return what lies between the templates, parameters, models and messages of a and of b.

    Args:
        templates: name of a prompt -> its template in a and in b.
        settings: name of a parameter -> its value in a and in b.
        model: of a and of b, where they differ.
        chats: name of a model's function -> the messages that its calls begin with, in a and in b.
    """
    hunks: list[Hunk] = []
    texts: dict[str, tuple[MixedPart, ...]] = {}
    for name, (before, after) in templates.items():
        parts, lines = split_change(name, before, after, by="lines", first=len(hunks))
        texts[name] = tuple(parts)
        hunks += lines
    values: dict[int, tuple[Any, Any]] = {}
    for name, pair in settings.items():
        values[len(hunks)] = pair
        hunks.append(Hunk(kind="parameter", name=name, before=_show(pair[0]), after=_show(pair[1])))
    if model is not None:
        values[len(hunks)] = model
        hunks.append(Hunk(kind="model", name="model", before=model[0], after=model[1]))
    mixed: dict[str, MixedChat] = {}
    for name, beginnings in (chats or {}).items():
        mixed[name], changed = split_chat(name, *beginnings, first=len(hunks))
        hunks += changed
    return Mixture(tuple(hunks), texts, values, {}, mixed)


def check_variables(mixture: Mixture, known: Iterable[frozenset[str]]) -> None:
    """Refuse hunks that make a template which the recorded calls cannot fill.

    Args:
        known: the variables that each recorded call was made with.

    Raises:
        ConfigurationError: a hunk has a variable that calls lack; it is named.
    """
    everywhere = frozenset.intersection(*known) if (known := list(known)) else frozenset()
    for hunk in mixture.hunks:
        if hunk.name not in mixture.templates or hunk.kind in ("parameter", "model"):
            continue
        for text in (hunk.before, hunk.after):
            missing = sorted(_list_fields(text) - everywhere)
            if missing:
                raise ConfigurationError(
                    f"the hunk {hunk.describe()!r} of prompt {hunk.name!r} needs the variable "
                    f"{missing[0]!r}, which recorded calls were not made with: change the variables in a "
                    f"version of its own, record calls with it, and bisect from there"
                )


def _show(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _list_fields(text: str) -> set[str]:
    names = (name for _, name, _, _ in string.Formatter().parse(text))
    return {re.split(r"[.\[]", name)[0] for name in names if name}
