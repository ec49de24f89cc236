"""How sure a model was of each token of its answer, as steps of colour and in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from llm_trace.rendering.texts import cut_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    Token = tuple[str, float, Sequence[tuple[str, float]]]
    """Text, log-probability, and what was likely instead with its own."""

STEPS = (0.9, 0.5, 0.2, 0.05)
"""Probabilities at which a darker colour begins."""
MOST = 3000
"""Tokens that are shown."""
_NAMED = 3


def describe_certainty(tokens: Sequence[Token]) -> dict[str, Any] | None:
    """Return the tokens with their steps, and the answer's certainty in a sentence; `None` without tokens."""
    if not tokens:
        return None
    return {
        "tokens": [_describe_token(*token) for token in tokens[:MOST]],
        "more": max(0, len(tokens) - MOST),
        "sentence": _write_sentence(tokens),
        "legend": [
            {"level": level, "text": f"under {100 * step:g} %" if level else f"{100 * STEPS[0]:g} % or more"}
            for level, step in enumerate((1.0, *STEPS))
        ],
    }


def _describe_token(text: str, logprob: float, others: Sequence[tuple[str, float]]) -> dict[str, Any]:
    instead = ", ".join(f"{_quote(other)} {_write_share(p)}" for other, p in others[:_NAMED])
    label = f"{_quote(text)} {_write_share(logprob)} ({logprob:.3g} nats)"
    return {
        "text": text,
        "logprob": logprob,
        "level": sum(math.exp(logprob) < step for step in STEPS),
        "label": f"{label}; instead: {instead}" if instead else label,
        "others": others,
    }


def _write_sentence(tokens: Sequence[Token]) -> str:
    mean = math.exp(sum(token[1] for token in tokens) / len(tokens))
    least = sorted((t for t in tokens if math.exp(t[1]) < STEPS[0]), key=lambda token: token[1])[:_NAMED]
    names = ", ".join(f"{_quote(text)} ({_write_share(logprob)})" for text, logprob, _ in least)
    doubt = (
        f"It was least sure of {names}." if least else f"It was at least {100 * STEPS[0]:g} % sure of each."
    )
    count = f"{len(tokens):,} token{'' if len(tokens) == 1 else 's'}"
    return (
        f"The model gave the {count} of this answer {100 * mean:.0f} % on average (geometric mean). {doubt}"
    )


def _write_share(logprob: float) -> str:
    share = math.exp(logprob)
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.2g} %"


def _quote(text: str) -> str:
    return f"'{cut_text(text, 40)}'"
