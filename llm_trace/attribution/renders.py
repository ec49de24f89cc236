"""From keep-masks to the token ids of the perturbed prompts. Special and template tokens are in every one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from llm_trace.attribution.segments import Segmented, Spec, segment
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from llm_trace.attribution.segments import Region
    from llm_trace.attribution.tokens import Codec, Tokens
    from llm_trace.record import Segment

_LARGE = frozenset(("sentence", "line", "paragraph", "message", "variable", "chunk"))
_LONG_SPAN = 4
"""Segments of a pattern or of user spans count as large from this mean number of words on."""
_SPACE_MARKS = ("Ġ", "▁", " ")


class Render(Protocol):
    """Keep-masks (k, n) to k lists of prompt ids."""

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
    filler: str | None
    baseline: str

    def __call__(self, masks: NDArray[np.bool_]) -> list[tuple[int, ...]]:
        texts = [self.segmented.render(mask, self.filler) for mask in masks]
        return [
            tuple(self.codec.ids(t, own_special=self.own_special)) if t else self.codec.start for t in texts
        ]


@dataclass(frozen=True)
class Replaced:
    """Put a neutral token in place of each token of a segment: same length, same positions."""

    ids: NDArray[np.int64]
    """(length,)"""
    owners: NDArray[np.bool_]
    """(n, length): which tokens a segment removes."""
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
    baseline: str

    def __call__(self, masks: NDArray[np.bool_]) -> list[tuple[int, ...]]:
        gone = (~masks).astype(np.float32) @ self.owners.astype(np.float32) > 0
        return [tuple(self.ids[~row].tolist()) for row in gone]


def segmented_prompt(
    text: str, spec: Spec, regions: Sequence[Region], codec: Codec, own_special: bool
) -> Segmented:
    """Return the text with its segments, tokens included."""
    if spec != "token":
        return segment(text, spec, regions=regions)
    tokens = codec.tokens(text, own_special=own_special)
    areas = [(r.start, r.end) for r in regions] or [(0, len(text))]
    spans: list[tuple[int, int]] = []
    for start, end in sorted({s for s in tokens.spans if s[1] > s[0]}):
        if not any(a <= start + _blank(text, start, end) and end <= b for a, b in areas):
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


def _blank(text: str, start: int, end: int) -> int:
    """Return the number of white-space characters before the token's first visible one (0 for a blank token)."""
    piece = text[start:end]
    return len(piece) - len(piece.lstrip()) if piece.strip() else 0


def render(segmented: Segmented, baseline: str, codec: Codec, *, own_special: bool = False) -> Render:
    """Return what turns keep-masks into ids.

    Args:
        segmented: the prompt and its segments.
        baseline: `auto` (deletion from sentences up, a same-length neutral token below), `delete`, `mask`, or a text to put in.
        codec: the tokenizer.
        own_special: the text brings its special tokens itself, as a rendered chat does.
    """
    chosen = automatic(segmented.segments) if baseline == "auto" else baseline
    if chosen == "mean":
        raise AttributionError(
            "baseline 'mean' averages embeddings: only gradient methods have it; choose delete, mask or a text"
        )
    tokens = (
        codec.tokens(segmented.text, own_special=own_special) if _needs_tokens(chosen, segmented) else None
    )
    if chosen == "mask":
        assert tokens is not None
        neutral, name = _neutral(tokens, codec)
        return Replaced(np.array(tokens.ids), _owners(segmented, tokens), neutral, f"mask: {name}")
    if chosen == "delete" and tokens is not None:
        return Dropped(np.array(tokens.ids), _owners(segmented, tokens), "delete (token ids)")
    filler = None if chosen == "delete" else chosen
    named = "delete" if filler is None else f"text: {filler!r}"
    return Retokenised(segmented, codec, own_special, filler, named)


def automatic(segments: Sequence[Segment]) -> str:
    """Return the baseline that suits the size of the segments."""
    if segments[0].kind in _LARGE:
        return "delete"
    if segments[0].kind in ("regex", "span", "phrase"):
        return "delete" if np.mean([len(s.text.split()) for s in segments]) >= _LONG_SPAN else "mask"
    return "mask"


def _needs_tokens(chosen: str, segmented: Segmented) -> bool:
    return chosen == "mask" or (chosen == "delete" and segmented.segments[0].kind == "token")


def _owners(segmented: Segmented, tokens: Tokens) -> NDArray[np.bool_]:
    """Return (n, length): the tokens that have a visible character in the segment, or lie wholly in it."""
    owners = np.zeros((len(segmented.segments), len(tokens.ids)), dtype=bool)
    for t, (start, end) in enumerate(tokens.spans):
        if end <= start:
            continue
        first = start + _blank(segmented.text, start, end)
        blank = not segmented.text[start:end].strip()
        for i, s in enumerate(segmented.segments):
            owners[i, t] = (s.start <= start and end <= s.end) if blank else (first < s.end and s.start < end)
    return owners


def _neutral(tokens: Tokens, codec: Codec) -> tuple[NDArray[np.int64], str]:
    """Return the stand-in of each token and its name.

    A mask token where there is one; else "_", with its leading space where the token it replaces has one; else the unknown token.
    """
    tokenizer: Any = codec.tokenizer
    if tokenizer.mask_token_id is not None:
        return np.full(len(tokens.ids), tokenizer.mask_token_id), f"{tokenizer.mask_token} (mask token)"
    inner, first = _underscores(codec)
    if inner is None:
        spare = next(((i, n) for i, n in _spare(tokenizer) if i is not None), None)
        if spare is None:
            raise AttributionError(
                "the tokenizer has no mask, '_', unknown or padding token: use baseline='delete' or a text"
            )
        return np.full(len(tokens.ids), spare[0]), f"{spare[1]} (no mask token, no '_')"
    pieces = codec.pieces(tokens.ids)
    spaced = [p.startswith(_SPACE_MARKS) and len(p) > 1 for p in pieces]
    return np.array([first if s else inner for s in spaced]), "'_' for each token"


def _underscores(codec: Codec) -> tuple[int | None, int | None]:
    """Return the ids of "_" inside and at the start of a word, `None` where it is not one known token."""
    unknown = getattr(codec.tokenizer, "unk_token_id", None)
    try:
        tails = (codec.tail("x_", "x"), codec.tail("x _", "x"))
    except Exception:  # noqa: BLE001  a tokenizer without unknown token raises a bare Exception for what it cannot read
        return None, None
    inner, first = (ids[0] if len(ids) == 1 and ids[0] != unknown else None for ids in tails)
    return (first if inner is None else inner), (inner if first is None else first)


def _spare(tokenizer: Any) -> list[tuple[int | None, str]]:
    names = ("unk_token", "pad_token", "eos_token")
    return [(getattr(tokenizer, f"{n}_id", None), str(getattr(tokenizer, n, None))) for n in names]
