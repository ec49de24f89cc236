"""Mask secrets that stand in pieces: what a whole text would show masked, spread over the chunks of a stream.

Texts at the same place of a list's items are a series (the `delta` of each chunk, the arguments of a tool
call). Each series is masked as the whole that it makes up, and what changed is taken out of the pieces; then
each text is masked by itself.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

Mask = Callable[[str], str]

_ANCHOR = 6
_REACH = 10_000
_MAX_EDITS = 2_000
_DIGITS = re.compile(r"\d+")
_KINDS = frozenset(["type", "event", "kind", "role", "channel", "node", "source"])
"""Names whose value tells texts of one chunk from those of another that have the same place."""


class Edit(NamedTuple):
    """A stretch of a text and what stands in its place."""

    start: int
    end: int
    text: str


def find_edits(raw: str, masked: str) -> list[Edit]:
    """Return edits that turn `raw` into exactly `masked`, as small as is quickly found."""
    edits: list[Edit] = []
    i = j = 0
    while True:
        same = _count_common_prefix(raw, i, masked, j)
        i, j = i + same, j + same
        if i == len(raw) and j == len(masked):
            return edits
        step = _find_next_common(raw, i, masked, j) if len(edits) < _MAX_EDITS else None
        if step is None:
            same = _count_common_suffix(raw, i, masked, j)
            return [*edits, Edit(i, len(raw) - same, masked[j : len(masked) - same])]
        edits.append(Edit(i, step[0], masked[j : step[1]]))
        i, j = step


def _count_common_prefix(a: str, i: int, b: str, j: int) -> int:
    return _count_common(min(len(a) - i, len(b) - j), lambda n: a[i : i + n] == b[j : j + n])


def _count_common_suffix(a: str, i: int, b: str, j: int) -> int:
    return _count_common(min(len(a) - i, len(b) - j), lambda n: a[len(a) - n :] == b[len(b) - n :])


def _count_common(most: int, is_same: Callable[[int], bool]) -> int:
    """Return the largest length, up to `most`, at which two texts are the same."""
    low, high = 0, 1
    while high < most and is_same(high):
        low, high = high, 2 * high
    high = min(high, most)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if is_same(middle) else (low, middle - 1)
    return low


def _find_next_common(raw: str, i: int, masked: str, j: int) -> tuple[int, int] | None:
    """Return where both texts go on alike behind a mask; `None` where that is not near."""
    for end in range(j, min(j + 256, len(masked) - _ANCHOR + 1)):
        at = raw.find(masked[end : end + _ANCHOR], i, i + _REACH)
        if at >= 0 and (at, end) != (i, j):
            return at, end
    return None


def edit_pieces(pieces: Sequence[str], edits: Sequence[Edit]) -> list[list[Edit]]:
    """Return the edits of each piece, of edits of what the pieces make up together."""
    local: list[list[Edit]] = [[] for _ in pieces]
    number, at = 0, 0
    for start, end, text in edits:
        while number < len(pieces) - 1 and at + len(pieces[number]) <= start:
            at += len(pieces[number])
            number += 1
        place, begin = number, at
        while True:
            length = len(pieces[place])
            local[place].append(Edit(max(start - begin, 0), min(end - begin, length), text))
            begin, text = begin + length, ""
            if begin >= end or place == len(pieces) - 1:
                break
            place += 1
    return local


def apply_edits(text: str, edits: Sequence[Edit]) -> str:
    """Return a text with its edits made; where they overlap all of what they cover goes."""
    parts: list[str] = []
    at = 0
    for start, end, new in sorted(edits):
        if start >= at:
            parts += [text[at:start], new]
        at = max(at, end)
    return "".join((*parts, text[at:])) if edits else text


def mask_lengths(lengths: Sequence[int], raw: str, masked: str) -> list[int]:
    """Return how long the pieces of a text are once it is masked."""
    ends = [0]
    for length in lengths:
        ends.append(ends[-1] + length)
    pieces = [raw[a:b] for a, b in pairwise(ends)]
    edits = edit_pieces(pieces, find_edits(raw, masked)) if pieces else []
    return [len(apply_edits(piece, own)) for piece, own in zip(pieces, edits, strict=True)]


def check_growing(texts: Sequence[str]) -> bool:
    """Return whether each text repeats the one before and goes on."""
    return len(texts) > 2 and all(b.startswith(a) and a for a, b in pairwise(texts))


class Kept(str):
    """A text that is never masked: an id of ours."""

    __slots__ = ()


class _Leaf(NamedTuple):
    """A text in a tree of dicts and lists."""

    place: Any
    key: Any
    text: str


def mask_texts(tree: list[Any], mask: Mask, finish: Callable[[str, str], Any]) -> None:
    """Mask every text in a tree of dicts and lists, in place.

    Args:
        tree: JSON values; the dicts and lists in it are changed.
        mask: returns a text masked.
        finish: makes of a text, masked, and what it was, what is kept of it.
    """
    leaves: list[_Leaf] = []
    series = _Collector(leaves)
    series.visit(tree[0], tree, 0, 0, 0, inside=False)
    edits: dict[int, list[Edit]] = defaultdict(list)
    for numbers in series.iter_series():
        for number, own in zip(
            numbers, _find_series_edits([leaves[n].text for n in numbers], mask), strict=True
        ):
            edits[number] += own
    known: dict[str, str] = {}
    for number, (place, key, text) in enumerate(leaves):
        left = apply_edits(text, edits[number]) if number in edits else text
        if (masked := known.get(left)) is None:
            masked = known[left] = mask(left)
        place[key] = finish(masked, text)


def _find_series_edits(texts: Sequence[str], mask: Mask) -> list[list[Edit]]:
    """Return what masking changes in a series of texts, as pieces of one text and as a growing text."""
    whole = "".join(texts)
    masked = mask(whole)
    local = edit_pieces(texts, find_edits(whole, masked)) if masked != whole else [[] for _ in texts]
    for first, last in _iter_growing_runs(texts):
        masked = mask(texts[last])
        edits = find_edits(texts[last], masked) if masked != texts[last] else []
        for number in range(first, last):
            size = len(texts[number])
            local[number] += [Edit(s, min(e, size), text) for s, e, text in edits if s < size]
    return local


def _iter_growing_runs(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield first and last number of texts of which each begins with the one before."""
    first = 0
    for number in range(1, len(texts) + 1):
        before = texts[number - 1]
        if number == len(texts) or not before or not texts[number].startswith(before):
            if number - first > 1 and len(texts[first]) < len(before):
                yield first, number - 1
            first = number


class _Collector:
    """Gathers the texts of a tree and numbers of those that may be pieces of one text.

    Texts are pieces of one by their path without positions, and by their path with what tells chunks apart:
    positions below the outermost list, indices, types.
    """

    def __init__(self, leaves: list[_Leaf]) -> None:
        self._leaves = leaves
        self._paths: dict[Any, int] = {}
        self._wide: dict[int, list[int]] = defaultdict(list)
        self._narrow: dict[int, list[int]] = defaultdict(list)

    def iter_series(self) -> Iterator[list[int]]:
        """Yield the numbers of the texts of each series."""
        wide = [numbers for numbers in self._wide.values() if self._may_hold(numbers)]
        yield from wide
        seen = set(map(tuple, wide))
        yield from (n for n in self._narrow.values() if tuple(n) not in seen and self._may_hold(n))

    def _may_hold(self, numbers: list[int]) -> bool:
        """Return whether these are several texts, not one name again and again."""
        if len(numbers) < 2:
            return False
        first = self._leaves[numbers[0]].text
        return first.isdigit() or any(self._leaves[number].text != first for number in numbers)

    def _step(self, path: int, part: Any) -> int:
        return self._paths.setdefault((path, part), len(self._paths) + 1)

    def visit(self, node: Any, place: Any, key: Any, wide: int, narrow: int, *, inside: bool) -> None:
        """Take the texts of a node that stands at `place[key]`."""
        if isinstance(node, str):
            if node and type(node) is not Kept:
                self._wide[wide].append(len(self._leaves))
                self._narrow[narrow].append(len(self._leaves))
                self._leaves.append(_Leaf(place, key, node))
        elif type(node) is dict:
            self._visit_dict(node, wide, narrow, inside=inside)
        elif type(node) is list:
            self._visit_list(node, wide, narrow, inside=inside)

    def _visit_dict(self, node: dict[str, Any], wide: int, narrow: int, *, inside: bool) -> None:
        if inside:
            for name, item in node.items():
                if (type(item) is int and name.lower().endswith("index")) or (
                    name in _KINDS and type(item) is str
                ):
                    narrow = self._step(narrow, (name, item))
        for name, item in node.items():
            part = _DIGITS.sub("#", name)
            self.visit(item, node, name, self._step(wide, part), self._step(narrow, name), inside=inside)

    def _visit_list(self, node: list[Any], wide: int, narrow: int, *, inside: bool) -> None:
        tag = node[0] if len(node) == 2 and type(node[0]) is str else None
        role, turn = None, 0
        for number, item in enumerate(node):
            if type(item) is dict and type(now := item.get("role")) is str:
                role, turn = now, turn + (now != role)
            part = (number, tag) if inside else -1
            self.visit(
                item, node, number, self._step(wide, turn), self._step(narrow, (part, turn)), inside=True
            )
