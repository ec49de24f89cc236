"""From keep-masks to the ids of perturbed prompts; special and template tokens are in every one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from llm_trace.attribution.core import plugins
from llm_trace.attribution.core.value import NoMasksError
from llm_trace.attribution.question.baselines import find_neutral_tokens
from llm_trace.attribution.question.segments import Segmented, SegmentSpec, segment
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.attribution.question.segments import Region
    from llm_trace.attribution.question.tokenization import Codec, Tokens
    from llm_trace.record import Segment

_LARGE = frozenset(("sentence", "line", "paragraph", "message", "variable", "chunk"))
_LONG_SPAN = 4
"""Segments of a pattern or of user spans count as large from this mean number of words on."""


Baseline = str | Sequence["Baseline"] | Mapping[str, Sequence[str]]
"""What stands where a segment was: `auto` (deletion from sentences up, a same-length neutral token below),
`delete`, `mask`, a text; for gradient methods `mean` or `zero` (embeddings); a list of these, averaged; or
for each variable the values it had in other calls.
"""
EMBEDDED = ("mean", "zero")


class Render(Protocol):
    """Keep-masks (k, n) to k lists of prompt ids, a multiple of k where baselines are averaged."""

    @property
    def baseline(self) -> str:
        """What stands where a segment was, in words."""

    def __call__(self, masks: NDArray[np.bool_]) -> list[tuple[int, ...]]: ...


@dataclass(frozen=True)
class Retokenised:
    """Change the text and tokenise it again: deletion, or a text of the user's in place of each segment."""

    segmented: Segmented
    codec: Codec
    own_special: bool
    filler: str | tuple[str, ...] | None
    """`None` deletes; one text for all segments or one for each."""
    baseline: str

    def __call__(self, masks: NDArray[np.bool_]) -> list[tuple[int, ...]]:
        texts = [self.segmented.render(mask, self.filler) for mask in masks]
        return [tuple(self.codec.ids(t, own_special=self.own_special)) or self.codec.start for t in texts]


@dataclass(frozen=True)
class Owned:
    """The prompt's tokens and their segments."""

    ids: NDArray[np.int64]
    """(length,)"""
    owners: NDArray[np.bool_]
    """(n, length): which tokens belong to a segment; special and template tokens to none."""

    @property
    def free(self) -> NDArray[np.int64]:
        """Indices of the tokens that belong to a segment."""
        return np.flatnonzero(self.owners.any(axis=0))

    @property
    def all(self) -> NDArray[np.bool_]:
        """(1, length): the tokens that belong to a segment."""
        return np.asarray(self.owners.any(axis=0))[None]

    @property
    def shares(self) -> NDArray[np.float64]:
        """(n, length): the part of a token's score that a segment gets; shared tokens count equally."""
        return np.asarray(self.owners / np.maximum(self.owners.sum(axis=0), 1))


@dataclass(frozen=True)
class Replaced(Owned):
    """Put a neutral token in place of each token of a segment: same length, same positions."""

    neutral: NDArray[np.int64]
    """(length,): the stand-in of each token."""
    baseline: str

    def __call__(self, masks: NDArray[np.bool_]) -> list[tuple[int, ...]]:
        gone = (~masks).astype(np.float32) @ self.owners.astype(np.float32) > 0  # (k, length)
        return [tuple(row) for row in np.where(gone, self.neutral, self.ids).tolist()]


@dataclass(frozen=True)
class Dropped:
    """Delete the tokens of a segment and leave the others as they are: for segments that are tokens."""

    ids: NDArray[np.int64]
    owners: NDArray[np.bool_]
    start: tuple[int, ...]
    """What is read where no token is left."""
    baseline: str

    def __call__(self, masks: NDArray[np.bool_]) -> list[tuple[int, ...]]:
        gone = (~masks).astype(np.float32) @ self.owners.astype(np.float32) > 0
        return [tuple(self.ids[~row].tolist()) or self.start for row in gone]


@dataclass(frozen=True)
class Several:
    """Baselines whose values are averaged: for k masks, k prompts of the first, then k of the next."""

    renders: tuple[Render, ...]

    @property
    def baseline(self) -> str:
        """The baselines in words."""
        names = dict.fromkeys(r.baseline for r in self.renders)
        return (
            f"mean over {len(self.renders)} of: {'; '.join(names)}" if len(names) > 1 else next(iter(names))
        )

    def __call__(self, masks: NDArray[np.bool_]) -> list[tuple[int, ...]]:
        return [ids for render in self.renders for ids in render(masks)]


@dataclass(frozen=True)
class Embedded:
    """A baseline among embeddings: the prompt can be read, but nothing replaced by tokens."""

    ids: tuple[int, ...]
    baseline: str

    def __call__(self, masks: NDArray[np.bool_]) -> list[tuple[int, ...]]:
        if not masks.all():
            raise NoMasksError(
                f"baseline {self.baseline!r} is an embedding: only gradient methods have it; choose delete, "
                "mask or a text"
            )
        return [self.ids] * len(masks)


def segment_prompt(
    text: str, spec: SegmentSpec, regions: Sequence[Region], codec: Codec, own_special: bool
) -> Segmented:
    """Return the text with its segments, tokens included."""
    if spec != "token":
        return segment(text, spec, regions=regions)
    tokens = codec.tokens(text, own_special=own_special)
    areas = [(r.start, r.end) for r in regions] or [(0, len(text))]
    spans: list[tuple[int, int]] = []
    for start, end in sorted({s for s in tokens.spans if s[1] > s[0]}):
        if not any(a <= start + _count_blank(text, start, end) and end <= b for a, b in areas):
            continue
        if spans and start < spans[-1][1]:  # several tokens make one character: they go together
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((max(start, next(a for a, b in areas if end <= b)), end))
    done = segment(text, spans, regions=regions)
    return Segmented(
        text,
        tuple(s.model_copy(update={"kind": "token"}) for s in done.segments),
        "exact",
        done.regions,
        done.notes,
    )


def _count_blank(text: str, start: int, end: int) -> int:
    """Return the white-space characters before the token's first visible one (0 for a blank token)."""
    piece = text[start:end]
    return len(piece) - len(piece.lstrip()) if piece.strip() else 0


def render(segmented: Segmented, baseline: Baseline, codec: Codec, *, own_special: bool = False) -> Render:
    """Return what turns keep-masks into ids.

    Args:
        segmented: the prompt and its segments.
        baseline: see `Baseline`.
        codec: the tokenizer.
        own_special: the text brings its special tokens itself, as a rendered chat does.
    """
    if isinstance(baseline, Mapping):
        return _with_values(segmented, baseline, codec, own_special)
    if not isinstance(baseline, str):
        if not baseline:
            raise AttributionError("the list of baselines is empty: give one at least, or 'auto'")
        return Several(tuple(render(segmented, b, codec, own_special=own_special) for b in baseline))
    chosen = choose_baseline(segmented.segments) if baseline == "auto" else baseline
    if baseline == "auto" and chosen == "mask":
        try:
            return build_mask_baseline(segmented, codec, own_special=own_special)
        except AttributionError:  # no stand-in or no offsets: the result names the baseline
            chosen = "delete"
    if chosen in EMBEDDED:
        return Embedded(tuple(codec.ids(segmented.text, own_special=own_special)), chosen)
    if chosen == "mask":
        return build_mask_baseline(segmented, codec, own_special=own_special)
    if chosen == "delete" and segmented.segments[0].kind == "token":
        tokens = codec.tokens(segmented.text, own_special=own_special)
        owners = _find_owners(segmented, tokens)
        return Dropped(np.array(tokens.ids), owners, codec.start, "delete (token ids)")
    if chosen in plugins.find_foreign(plugins.BASELINES):
        stand_in = plugins.find_plugin(plugins.BASELINES, chosen, {}, "baseline")
        texts = tuple(str(stand_in(s.text)) for s in segmented.segments)
        return Retokenised(segmented, codec, own_special, texts, chosen)
    filler = None if chosen == "delete" else chosen
    named = "delete" if filler is None else f"text: {filler!r}"
    return Retokenised(segmented, codec, own_special, filler, named)


def build_mask_baseline(segmented: Segmented, codec: Codec, *, own_special: bool = False) -> Replaced:
    """Return the baseline `mask`: whose each token is, and the neutral token in its place."""
    tokens = codec.tokens(segmented.text, own_special=own_special)
    neutral, name = find_neutral_tokens(tokens, codec)
    return Replaced(np.array(tokens.ids), _find_owners(segmented, tokens), neutral, f"mask: {name}")


def assign_tokens(segmented: Segmented, codec: Codec, *, own_special: bool = False) -> Owned:
    """Return the prompt's token ids and which segment each belongs to."""
    tokens = codec.tokens(segmented.text, own_special=own_special)
    return Owned(np.array(tokens.ids), _find_owners(segmented, tokens))


def _with_values(
    segmented: Segmented, values: Mapping[str, Sequence[str]], codec: Codec, own_special: bool
) -> Render:
    """Return the mean over the values that each segment had elsewhere; round j takes the j-th value of each,
    shorter lists again from their beginning, so that values of one call stay together.

    Raises:
        AttributionError: a segment without values.
    """
    lists = []
    for s in segmented.segments:
        others = values.get(s.name or s.text)
        if not others or isinstance(others, str):
            raise AttributionError(
                f"the baseline has no list of values for {s.name or s.text!r}; it has "
                f"{', '.join(values) or 'none'}"
            )
        lists.append([str(v) for v in others])
    rounds = [tuple(row[j % len(row)] for row in lists) for j in range(max(map(len, lists)))]
    named = f"values of other calls (mean over {len(rounds)})"
    return Several(tuple(Retokenised(segmented, codec, own_special, row, named) for row in rounds))


def choose_baseline(segments: Sequence[Segment]) -> str:
    """Return the baseline that suits the size of the segments."""
    if segments[0].kind in _LARGE:
        return "delete"
    if segments[0].kind in ("regex", "span", "phrase"):
        return "delete" if np.mean([len(s.text.split()) for s in segments]) >= _LONG_SPAN else "mask"
    return "mask"


def _find_owners(segmented: Segmented, tokens: Tokens) -> NDArray[np.bool_]:
    """Return (n, length): the tokens that have a visible character in the segment, or lie wholly in it."""
    owners = np.zeros((len(segmented.segments), len(tokens.ids)), dtype=bool)
    for t, (start, end) in enumerate(tokens.spans):
        if end <= start:
            continue
        first = start + _count_blank(segmented.text, start, end)
        blank = not segmented.text[start:end].strip()
        for i, s in enumerate(segmented.segments):
            owners[i, t] = any(
                (a <= start and end <= b) if blank else (first < b and a < end) for a, b in s.stretches
            )
    return owners
