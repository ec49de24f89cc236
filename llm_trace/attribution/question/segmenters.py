"""Where words, phrases, sentences, lines and paragraphs of a text begin and end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib.util import find_spec
from itertools import accumulate
from typing import Any

Span = tuple[int, int]
_ABBREVIATIONS = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "sr",
        "jr",
        "st",
        "vs",
        "etc",
        "e.g",
        "i.e",
        "cf",
        "no",
        "fig",
        "vol",
        "inc",
        "ltd",
        "co",
        "approx",
        "dept",
        "est",
    ]
)
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|[。！？]+[」』）]*|\n+")
_PHRASE_END = re.compile(r"[,;:.!?…]+[\"'”’)\]]*(?=\s)|[、，。；：！？]+|\n+|\s+(?=[(\[“—–-])")
_KANA, _HAN = r"\u3040-\u30ff", r"\u3400-\u4dbf\u4e00-\u9fff"
_CJK_RUN = re.compile(rf"[{_KANA}{_HAN}\u3001-\u303f\uff01-\uff5e]+")


def split_words(text: str) -> list[Span]:
    """Return the runs of non-space characters."""
    return [m.span() for m in re.finditer(r"\S+", text)]


def split_sentences(text: str) -> list[Span]:
    """Return the sentences without space around them; a line break ends one, an abbreviation does not."""
    ends = [m.end() for m in _SENTENCE_END.finditer(text) if not _is_abbreviated(text, m)]
    return _trim_stretches(text, ends)


def split_phrases(text: str) -> list[Span]:
    """Return the stretches between punctuation marks, of Japanese and Chinese by BudouX, if installed."""
    ends = {m.end() for m in _PHRASE_END.finditer(text)}
    for run in _CJK_RUN.finditer(text):
        ends |= {run.start() + end for end in _split_budoux(run[0])}
    return _trim_stretches(text, sorted(ends))


def split_paragraphs(text: str) -> list[Span]:
    """Return the blocks between empty lines."""
    return _trim_stretches(text, [m.end() for m in re.finditer(r"\n\s*\n", text)])


def split_lines(text: str) -> list[Span]:
    """Return the lines that are not blank."""
    return _trim_stretches(text, [m.end() for m in re.finditer(r"\n", text)])


SEGMENTERS: dict[str, Callable[[str], list[Span]]] = {
    "word": split_words,
    "phrase": split_phrases,
    "sentence": split_sentences,
    "line": split_lines,
    "paragraph": split_paragraphs,
}


def _is_abbreviated(text: str, mark: re.Match[str]) -> bool:
    if not mark.group().startswith("."):
        return False
    word = re.search(r"\S*$", text[: mark.start()])
    bare = word.group().lower().lstrip("([\"'") if word else ""
    return bare in _ABBREVIATIONS or (len(bare) == 1 and bare.isalpha() and bare != "i")


def _trim_stretches(text: str, ends: Iterable[int]) -> list[Span]:
    """Return the stretches between these offsets without white space around them, blank ones left out."""
    spans, start = [], 0
    for end in [*ends, len(text)]:
        piece = text[start:end]
        if piece.strip():
            spans.append((start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())))
        start = max(start, end)
    return spans


def _split_budoux(text: str) -> list[int]:
    """Return where BudouX, if installed, ends a phrase in a run of Japanese or Chinese."""
    if find_spec("budoux") is None:
        return []
    ends = accumulate(
        len(phrase) for phrase in _load_parser(re.search(f"[{_KANA}]", text) is not None).parse(text)
    )
    return list(ends)


@cache
def _load_parser(japanese: bool) -> Any:
    import budoux

    return (
        budoux.load_default_japanese_parser() if japanese else budoux.load_default_simplified_chinese_parser()
    )
