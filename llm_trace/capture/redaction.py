"""Mask secrets before anything is written: patterns for values, names of keys whose value is masked whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

MASK = "[redacted]"

PATTERNS: dict[str, str] = {
    "api_key": r"\b(?:sk|pk|rk|ghp|gho|ghs|ghu|github_pat|glpat|hf|xox[abprs]|AKIA|ASIA|AIza|whsec|SG)[-_.]?[A-Za-z0-9][A-Za-z0-9_\-.]{14,}"
    r"|\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}"
    r"|(?i:\bbearer\s+)[A-Za-z0-9_\-.=+/]{12,}",
    "email": r"\b[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)*\.[A-Za-z]{2,}\b",
    "card": r"\b\d(?:[ \-]?\d){12,18}\b",
    "phone": r"(?<![\w.])(?<!\d[ .\-])(?:(?:\+\d{1,3}[ .\-]?)?(?:\(\d{2,4}\)[ .\-]?|\d{2,4}[ .\-])\d{3,4}[ .\-]?\d{3,4}|\+\d{8,15})(?![ .\-]?\d)(?!\w)",
}
"""Built-in value patterns by name. `card` masks only numbers that pass the Luhn check."""

KEYS = r"(?i)(?:^|[_\-. ])(?:password|passwd|passphrase|secret|api[_\-]?key|access[_\-]?key|private[_\-]?key|authorization|auth[_\-]?token|access[_\-]?token|refresh[_\-]?token|credentials?|ssn)(?:$|[_\-. ])"
"""Names of keys whose whole value is masked, unless other `keys` are given."""


@dataclass(frozen=True)
class Redaction:
    """A redactor from patterns: call it with a string, get it back with what matches masked.

    Args:
        values: names out of `PATTERNS`, regular expressions, or both; `None` means all of `PATTERNS`.
        keys: a regular expression searched in names of dictionary keys and arguments; their whole value is masked.
        mask: what stands in place of the secret.

    Raises:
        re.error: a regular expression does not compile.
    """

    values: Iterable[str | re.Pattern[str]] | None = None
    keys: str | re.Pattern[str] | None = KEYS
    mask: str = MASK
    _compiled: tuple[tuple[re.Pattern[str], bool], ...] = field(init=False, repr=False)
    _keys: re.Pattern[str] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        values = tuple(PATTERNS) if self.values is None else tuple(self.values)
        compiled = tuple(
            (re.compile(PATTERNS.get(v, v) if isinstance(v, str) else v), v == "card") for v in values
        )
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "_compiled", compiled)
        object.__setattr__(self, "_keys", None if self.keys is None else re.compile(self.keys))

    def __call__(self, text: str) -> str:
        for pattern, is_card in self._compiled:
            text = pattern.sub(self._mask_card if is_card else self._mask, text)
        return text

    def masks_key(self, key: str) -> bool:
        """Return whether the value under this key is masked whole."""
        return self._keys is not None and self._keys.search(key) is not None

    def _mask(self, _: re.Match[str]) -> str:
        return self.mask

    def _mask_card(self, match: re.Match[str]) -> str:
        return self.mask if _luhn(match[0]) else match[0]


Redactor = Callable[[str], str]
"""A plain function from a string to what may be kept of it."""


def redactor(
    redact: bool | str | re.Pattern[str] | Redactor | Iterable[str | re.Pattern[str]] | None,
) -> Redactor | None:
    """Return the redactor that `configure(redact=…)` means.

    A function is used as it is; `True` is every built-in pattern; a string, a pattern or several are `Redaction.values`.
    """
    if redact is None or redact is False:
        return None
    if redact is True:
        return Redaction()
    if isinstance(redact, (str, re.Pattern)):
        return Redaction((redact,))
    return redact if callable(redact) else Redaction(tuple(redact))


def _luhn(text: str) -> bool:
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [2 * d - 9 if d > 4 else 2 * d for d in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
