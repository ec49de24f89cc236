"""The neutral token that stands where a token was, so that the prompt keeps its length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.question.special_tokens import TokenRole, read_special_token
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.attribution.question.tokenization import Codec, Tokens

_SPACE_MARKS = ("Ġ", "▁", " ")


def find_neutral_tokens(tokens: Tokens, codec: Codec) -> tuple[NDArray[np.int64], str]:
    """Return the stand-in of each token and its name.

    A mask token where there is one; else "_", with its leading space where the token it replaces has one;
    else the unknown token.
    """
    tokenizer: Any = codec.tokenizer
    if tokenizer.mask_token_id is not None:
        return np.full(len(tokens.ids), tokenizer.mask_token_id), f"{tokenizer.mask_token} (mask token)"
    inner, first = _find_underscores(codec)
    if inner is None:
        roles: tuple[TokenRole, ...] = ("unk", "pad", "eos")
        spare = next((t for role in roles if (t := read_special_token(tokenizer, role)).id is not None), None)
        if spare is None:
            raise AttributionError(
                "the tokenizer has no mask, '_', unknown or padding token: use baseline='delete' or a text"
            )
        return np.full(len(tokens.ids), spare.id), f"{spare.text} (no mask token, no '_')"
    pieces = codec.pieces(tokens.ids)
    spaced = [p.startswith(_SPACE_MARKS) and len(p) > 1 for p in pieces]
    return np.array([first if s else inner for s in spaced]), "'_' for each token"


def _find_underscores(codec: Codec) -> tuple[int | None, int | None]:
    """Return the ids of "_" inside and at the start of a word, `None` where it is not one known token."""
    unknown = read_special_token(codec.tokenizer, "unk").id
    try:
        tails = (codec.tail("x_", "x"), codec.tail("x _", "x"))
    except Exception:  # noqa: BLE001  raised without an unknown token for what cannot be read
        return None, None
    inner, first = (ids[0] if len(ids) == 1 and ids[0] != unknown else None for ids in tails)
    return (first if inner is None else inner), (inner if first is None else first)
