"""Where words, phrases, sentences, lines and paragraphs of a text begin and end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

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
_CJK = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


def words(text: str) -> list[Span]:
    """Return the runs of non-space characters."""
    return [m.span() for m in re.finditer(r"\S+", text)]


def sentences(text: str) -> list[Span]:
    """Return the sentences, without the white space around them; a line break ends a sentence, an abbreviation does not."""
    ends = [m.end() for m in _SENTENCE_END.finditer(text) if not _abbreviated(text, m)]
    return _trimmed(text, ends)


def phrases(text: str) -> list[Span]:
    """Return the stretches between punctuation marks; in Japanese and Chinese those of BudouX where it is installed."""
    if _CJK.search(text):
        cjk = _budoux(text)
        if cjk is not None:
            return _trimmed(text, cjk)
    return _trimmed(text, [m.end() for m in _PHRASE_END.finditer(text)])


def paragraphs(text: str) -> list[Span]:
    """Return the blocks between empty lines."""
    return _trimmed(text, [m.end() for m in re.finditer(r"\n\s*\n", text)])


def lines(text: str) -> list[Span]:
    """Return the lines that are not blank."""
    return _trimmed(text, [m.end() for m in re.finditer(r"\n", text)])


SEGMENTERS: dict[str, Callable[[str], list[Span]]] = {
    "word": words,
    "phrase": phrases,
    "sentence": sentences,
    "line": lines,
    "paragraph": paragraphs,
}


def _abbreviated(text: str, mark: re.Match[str]) -> bool:
    if not mark.group().startswith("."):
        return False
    word = re.search(r"\S*$", text[: mark.start()])
    bare = word.group().lower().lstrip("([\"'") if word else ""
    return bare in _ABBREVIATIONS or (len(bare) == 1 and bare.isalpha() and bare != "i")


def _trimmed(text: str, ends: Iterable[int]) -> list[Span]:
    """Return the stretches between these offsets without white space around them, blank ones left out."""
    spans, start = [], 0
    for end in [*ends, len(text)]:
        piece = text[start:end]
        if piece.strip():
            spans.append((start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())))
        start = max(start, end)
    return spans


def _budoux(text: str) -> list[int] | None:
    """Return where BudouX ends a phrase, or `None` where it is not installed."""
    try:
        import budoux  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    japanese = re.search(r"[\u3040-\u30ff]", text)
    parser = (
        budoux.load_default_japanese_parser() if japanese else budoux.load_default_simplified_chinese_parser()
    )
    ends, at = [], 0
    for phrase in parser.parse(text):
        at += len(phrase)
        ends.append(at)
    return ends
