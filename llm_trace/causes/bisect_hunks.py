"""The hunks of a change: lines, worked examples and words of templates, parameters and the model."""

from __future__ import annotations

import difflib
import json
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal, NamedTuple

from llm_trace.attribution.studies.template_pieces import cut_template
from llm_trace.capture.prompts import Prompt
from llm_trace.errors import ConfigurationError
from llm_trace.record import Record

HunkKind = Literal["line", "example", "words", "parameter", "model"]
Applied = frozenset[int]
"""The hunks that are put into a."""
MOST_HUNKS = 48
"""Beyond which neighbours go together: every two hunks are a suspect."""


class Hunk(Record):
    """A part of a change that can be made without the others."""

    kind: HunkKind
    name: str
    """Of the prompt or parameter."""
    before: str
    """As it stands in a, a value as JSON; empty where a has none."""
    after: str
    """As it stands in b."""

    def describe(self, most: int = 80) -> str:
        """Return the hunk in a line."""
        before, after = (" ".join(text.split()) for text in (self.before, self.after))
        if self.kind in ("parameter", "model"):
            return f"{self.name}: {before or 'absent'} -> {after}"
        shown = f"+ {after}" if not before else f"- {before}" if not after else f"{before} -> {after}"
        return shown if len(shown) <= most else shown[: most - 1] + "…"


class MixedPart(NamedTuple):
    """A stretch of a template that both versions have (`hunk` is `None`), or one of its hunks."""

    before: str
    after: str
    hunk: int | None


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

    def render_template(self, name: str, applied: Applied) -> str:
        """Return a template with some hunks put in."""
        parts = self.templates[name]
        return "".join(part.after if part.hunk in applied else part.before for part in parts)

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

    def refine(self, hunk: int, context: Applied) -> Mixture:
        """Return the words of one hunk as hunks of their own; the other hunks of `context` stay put in."""
        name = self.hunks[hunk].name
        parts, hunks = list[MixedPart](), list[Hunk]()
        for part in self.templates[name]:
            if part.hunk == hunk:
                inner, words = split_change(name, part.before, part.after, by="words", first=len(hunks))
                parts += inner
                hunks += words
            else:
                text = part.after if part.hunk in context else part.before
                parts.append(MixedPart(text, text, None))
        texts = {other: self.render_template(other, context) for other in self.templates if other != name}
        others = {other: (MixedPart(text, text, None),) for other, text in texts.items()}
        constants = {key: value for key, value in self.build_overrides(context).items() if key != "prompt"}
        return Mixture(tuple(hunks), {**others, name: tuple(parts)}, {}, constants)


def mix_change(
    templates: Mapping[str, tuple[str, str]],
    settings: Mapping[str, tuple[Any, Any]],
    model: tuple[str, str] | None,
) -> Mixture:
    """Return what lies between the templates, parameters and models of a and of b.

    Args:
        templates: name of a prompt -> its template in a and in b.
        settings: name of a parameter -> its value in a and in b.
        model: of a and of b, where they differ.
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
    return Mixture(tuple(hunks), texts, values, {})


def split_change(
    name: str, before: str, after: str, *, by: Literal["lines", "words"], first: int
) -> tuple[list[MixedPart], list[Hunk]]:
    """Return a text in parts, and its hunks, of which the first has the number `first`.

    A worked example is one hunk, however many lines it has.
    """
    cut = _cut_lines if by == "lines" else _cut_words
    old, new = cut(before), cut(after)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    pairs: list[tuple[str, str, bool]] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        texts = list(zip_longest(old[a:b], new[c:d], fillvalue=""))
        pairs += [(*pair, tag != "equal") for pair in (texts if tag == "equal" else _join_blank(texts))]
    count = sum(changed for *_, changed in pairs)
    hunks: list[Hunk] = []
    parts: list[MixedPart] = []
    seen = 0
    for text, other, changed in pairs:
        if not changed:
            parts.append(MixedPart(text, other, None))
            continue
        number = seen * min(count, MOST_HUNKS) // count
        seen += 1
        if number == len(hunks):
            kind: HunkKind = "words" if by == "words" else _find_kind(other or text)
            hunks.append(Hunk(kind=kind, name=name, before=text, after=other))
        else:
            last = hunks[number]
            hunks[number] = last.model_copy(
                update={"before": last.before + text, "after": last.after + other}
            )
        parts.append(MixedPart(text, other, first + number))
    return parts, hunks


def check_variables(mixture: Mixture, known: Iterable[frozenset[str]]) -> None:
    """Refuse hunks that make a template which the recorded calls cannot fill.

    Args:
        known: the variables that each recorded call was made with.

    Raises:
        ConfigurationError: a hunk has a variable that calls lack; it is named.
    """
    everywhere = frozenset.intersection(*known) if (known := list(known)) else frozenset()
    for hunk in mixture.hunks:
        if hunk.kind in ("parameter", "model"):
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


def _find_kind(text: str) -> HunkKind:
    pieces = cut_template(text)
    return "example" if pieces and all(piece.kind == "example" for piece in pieces) else "line"


def _cut_words(text: str) -> list[str]:
    return _join_fields(re.findall(r"\s*\S+\s*$|\s*\S+|\s+", text))


def _join_blank(texts: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return pairs of texts, those that are blank with the one beside them."""
    joined: list[tuple[str, str]] = []
    for before, after in texts:
        last = "".join(joined[-1]) if joined else ""
        if joined and (not last.strip() or not (before + after).strip()):
            joined[-1] = joined[-1][0] + before, joined[-1][1] + after
        else:
            joined.append((before, after))
    return joined


def _cut_lines(text: str) -> list[str]:
    """Return the lines; an example's lines together."""
    lines: list[str] = []
    inside = [(piece.start, piece.end) for piece in cut_template(text) if piece.kind == "example"]
    at = 0
    for line in text.splitlines(keepends=True):
        continues = any(start < at < end for start, end in inside)
        if lines and continues:
            lines[-1] += line
        else:
            lines.append(line)
        at += len(line)
    return _join_fields(lines)


def _join_fields(units: Sequence[str]) -> list[str]:
    """Return the units, those together that a variable or a doubled brace runs through."""
    joined: list[str] = []
    text = ""
    for unit in units:
        text += unit
        try:
            list(string.Formatter().parse(text))
        except ValueError:
            continue
        joined.append(text)
        text = ""
    return [*joined, text] if text else joined
