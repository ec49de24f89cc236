"""Mask secrets before anything is written: patterns for values, names of keys whose value is masked whole.

`values` and `walk` call a redactor once for each string; `pieces` masks what stands in a stream's chunks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import NamedTuple

from llm_trace.bounded_dict import BoundedDict
from llm_trace.capture.command_secrets import find_command_secrets, find_option_values
from llm_trace.capture.patterns import (
    DIGITS,
    PARTS,
    PATTERNS,
    MatchSpan,
    count_digits,
    find_all,
    find_card,
    find_in_windows,
    find_login,
)
from llm_trace.capture.secret_names import KEYS, SecretValue, find_values, is_word, list_spellings

MASK = "[redacted]"
_MOST_NAMES = 4096
_FINDERS = {"card": find_card, "basic_auth": find_login, "command": find_command_secrets}
Finder = Callable[[re.Pattern[str], str], Iterator[MatchSpan]]


class Search(NamedTuple):
    """How a secret is looked for."""

    shortest: int
    """Characters that it has at least."""
    hint: Callable[[str], object] | None
    """Tells quickly whether a text may hold it; `None` always."""
    pattern: re.Pattern[str]
    find: Finder
    digits: int
    """As `patterns.DIGITS` has it."""


@dataclass(frozen=True)
class Redaction:
    """A redactor from patterns: call it with a string, get it back with what matches masked.

    Args:
        values: names out of `PATTERNS`, regular expressions, or both; `None` means all of `PATTERNS`. Of an
            expression with a group `secret` only that is masked. A text that takes your own expression more
            than a second of processor time is masked whole from where it stood then, and `flush()` says so.
        keys: a regular expression searched in names of dictionary keys, arguments and headers, and of names
            before a value in text (JSON, query strings, settings); their whole value is masked. Names in
            camel case are looked at with their words apart as well (`apiKey`, `api_Key`).
        mask: what stands in place of the secret.

    Raises:
        re.error: a regular expression does not compile.
    """

    values: Iterable[str | re.Pattern[str]] | None = None
    keys: str | re.Pattern[str] | None = KEYS
    mask: str = MASK
    _searches: tuple[Search, ...] = field(init=False, repr=False)
    _shortest: int = field(init=False, repr=False)
    _keys: re.Pattern[str] | None = field(init=False, repr=False)
    _names: BoundedDict[str, bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        values = tuple(PATTERNS) if self.values is None else tuple(self.values)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "_searches", tuple(chain.from_iterable(map(_iter_searches, values))))
        object.__setattr__(self, "_shortest", min((each.shortest for each in self._searches), default=0))
        object.__setattr__(self, "_keys", None if self.keys is None else re.compile(self.keys))
        object.__setattr__(self, "_names", BoundedDict(_MOST_NAMES))

    def __call__(self, text: str) -> str:
        if self._keys is not None:
            if ":" in text or "=" in text or "," in text:
                text = self._mask_values(text, find_values(text, self.masks_value))
            if "-" in text:
                text = self._mask_values(text, find_option_values(text, self.masks_value))
        if (size := len(text)) < self._shortest:
            return text
        most = count_digits(text)
        for shortest, hint, pattern, find, digits in self._searches:
            if size >= shortest and digits <= most and (hint is None or hint(text)):
                text = self._mask_spans(text, find(pattern, text))
        return text

    def masks_key(self, key: str) -> bool:
        """Return whether the value under this key is masked whole."""
        if self._keys is None:
            return False
        if (known := self._names.get(key)) is None:  # not by pattern too: a hash goes through all of it
            known = self._names[key] = any(self._keys.search(each) for each in list_spellings(key))
        return known

    def masks_value(self, key: str, value: object) -> bool:
        """Return whether this value is masked whole for its key; a model's own `token` is not."""
        return self.masks_key(key) and not (self.keys == KEYS and is_word(key, value))

    def _mask_values(self, text: str, values: Iterable[SecretValue]) -> str:
        parts, at = [], 0
        for value in values:
            if text[value.start : value.end] != self.mask:
                parts += [text[at : value.start], value.quote, self.mask, value.quote]
                at = value.end
        return "".join((*parts, text[at:])) if parts else text

    def _mask_spans(self, text: str, spans: Iterable[MatchSpan]) -> str:
        parts, at = [], 0
        for start, end in spans:
            parts += [text[at:start], self.mask]
            at = end
        return "".join((*parts, text[at:])) if parts else text


def _iter_searches(value: str | re.Pattern[str]) -> Iterator[Search]:
    """Yield what finds a pattern in a text: at once for ours, in windows for a user's."""
    if isinstance(value, str) and value in PARTS:
        find = _FINDERS.get(value, find_all)
        for shortest, hint, pattern in PARTS[value]:
            test = partial(_holds_one, hint) if isinstance(hint, tuple) else hint
            yield Search(shortest, test, re.compile(pattern), find, DIGITS.get(value, 0))
    else:
        yield Search(0, None, re.compile(value), find_in_windows, digits=0)


def _holds_one(words: tuple[str, ...], text: str) -> bool:
    for word in words:  # noqa: SIM110  a generator costs as much as all of the words
        if word in text:
            return True
    return False


Redactor = Callable[[str], str]
"""A plain function from a string to what may be kept of it."""


def build_redactor(
    redact: bool | str | re.Pattern[str] | Redactor | Iterable[str | re.Pattern[str]] | None,
) -> Redactor | None:
    """Return the redactor that `configure(redact=…)` means.

    A function is used as it is; `True` is every built-in pattern; a text, a pattern or several are `values`.
    """
    if redact is None or redact is False:
        return None
    if redact is True:
        return Redaction()
    if isinstance(redact, (str, re.Pattern)):
        return Redaction((redact,))
    return redact if callable(redact) else Redaction(tuple(redact))
