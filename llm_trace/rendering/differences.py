"""What changed from one text to another, word by word."""

from __future__ import annotations

import difflib


def diff_words(old: str, new: str) -> list[dict[str, str]]:
    """Return the pieces of two texts in order, each the `same`, `gone` or `new`."""
    a, b = _split_words(old), _split_words(new)
    pieces: list[dict[str, str]] = []
    for change, a_from, a_to, b_from, b_to in difflib.SequenceMatcher(
        None, a, b, autojunk=False
    ).get_opcodes():
        if change == "equal":
            pieces.append({"change": "same", "text": "".join(a[a_from:a_to])})
            continue
        if a_to > a_from:
            pieces.append({"change": "gone", "text": "".join(a[a_from:a_to])})
        if b_to > b_from:
            pieces.append({"change": "new", "text": "".join(b[b_from:b_to])})
    return pieces


def _split_words(text: str) -> list[str]:
    """Return the words of a text, the space after each with it."""
    words, begin = [], 0
    for at in range(1, len(text)):
        if text[at - 1].isspace() and not text[at].isspace():
            words.append(text[begin:at])
            begin = at
    return [*words, text[begin:]] if text else []
