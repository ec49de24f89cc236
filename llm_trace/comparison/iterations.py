"""A prompt's versions: what each changed, and how its calls went."""

from __future__ import annotations

import difflib
import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from llm_trace.capture.prompts import Prompt
from llm_trace.errors import NotFoundError
from llm_trace.record import PromptVersion

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store


@dataclass(frozen=True)
class TextPiece:
    """A stretch of text that both versions have, or one of them."""

    change: Literal["same", "removed", "added"]
    text: str


@dataclass(frozen=True)
class Diff:
    """What a version changed against another."""

    before: PromptVersion
    after: PromptVersion
    pieces: tuple[TextPiece, ...]
    """Word by word, white space kept: all but the added make the old text, all but the removed the new."""
    added_variables: tuple[str, ...]
    removed_variables: tuple[str, ...]


@dataclass(frozen=True)
class Use:
    """How the calls of a version went; `None` where no call says it."""

    calls: int
    errors: int
    input_tokens: float | None
    """Means over calls; the cost is the sum."""
    output_tokens: float | None
    cost_usd: float | None
    latency_ms: float | None
    """Median."""
    scores: dict[str, float]
    """Means of the scores of its calls and the calls around them."""


def find_prompt_version(store: Store, name: str, version: str) -> PromptVersion:
    """Return a version of a prompt by `v3`, `3` or its hash, or the beginning of it.

    Raises:
        NotFoundError: the prompt or the version is not there, or several hashes begin so.
    """
    versions = [p for p in store.prompts(halfway=True) if p.name == name]
    number = version.removeprefix("v")
    matches = [p for p in versions if number == str(p.number)] or [
        p for p in versions if p.version.startswith(version)
    ]
    if len(matches) != 1:
        known = ", ".join(f"v{p.number} {p.version}" for p in versions) or "no version"
        raise NotFoundError(f"prompt {name!r} has not one version {version!r}: there is {known}")
    return matches[0]


def diff(before: PromptVersion, after: PromptVersion) -> Diff:
    """Return what changed from one version to another, word by word."""
    old, new = (re.findall(r"\s+|\S+", version.template) for version in (before, after))
    pieces: list[TextPiece] = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            pieces.append(TextPiece("same", "".join(old[a:b])))
            continue
        pieces += [TextPiece("removed", "".join(old[a:b]))] if b > a else []
        pieces += [TextPiece("added", "".join(new[c:d]))] if d > c else []
    had, has = list_variables(before.template), list_variables(after.template)
    added, removed = (tuple(n for n in has if n not in had), tuple(n for n in had if n not in has))
    return Diff(before, after, tuple(pieces), added, removed)


def diff_templates(name: str, before: str, after: str) -> Diff:
    """Return what changed from one template to another, of a prompt that need not be in a store."""
    versions = (
        PromptVersion(
            name=name, version=Prompt(name, text).version, number=0, template=text, first_ns=0, last_ns=0
        )
        for text in (before, after)
    )
    return diff(*versions)


def list_variables(template: str) -> list[str]:
    """Return the names of a template's variables, in order, each once."""
    return list(dict.fromkeys(name for _, name, _, _ in string.Formatter().parse(template) if name))


_USE = """
SELECT count(*), count(*) FILTER (status = 'error'), avg(input_tokens), avg(output_tokens), sum(cost_usd),
       median(duration_ms)
FROM calls WHERE prompt_name = ? AND prompt_version = ?"""
_SCORES = """
SELECT s.name, avg(s.number) FROM scores s JOIN calls c USING (span_id)
WHERE s.number IS NOT NULL AND c.trace_id IN
      (SELECT trace_id FROM calls WHERE prompt_name = ? AND prompt_version = ?)
GROUP BY s.name ORDER BY s.name"""


def use(store: Store, version: PromptVersion) -> Use:
    """Return how the calls of a version went."""
    ((calls, errors, read, written, cost, latency),) = store.fetch(_USE, version.name, version.version)
    scores: dict[str, float] = dict(store.fetch(_SCORES, version.name, version.version))
    return Use(calls, errors, read, written, cost, latency, scores)
