"""Foreign text made safe to show: a logged prompt must drive neither the terminal nor a spreadsheet."""

from __future__ import annotations

_SIGNS = {i: 0x2400 + i for i in range(32) if i not in (9, 10)} | {127: 0x2421}
_SIGNS |= dict.fromkeys([*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD)
_SIGNS |= dict.fromkeys(range(0xD800, 0xE000), 0xFFFD)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def clean(text: str) -> str:
    """Return the text with control characters made visible, one for one."""
    return text.translate(_SIGNS)


def disarm(cell: object) -> object:
    """Return a cell of CSV that no spreadsheet takes for a formula: such a text gets a `'` before it.

    Source: https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip(" ").startswith(_FORMULA) else cell
