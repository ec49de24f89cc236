"""Sequential Integrated Gradients (Enguehard 2023): each token alone on its way from the mask.

Summed over a token's embedding the path integral telescopes to log p(all) - log p(that token masked),
whatever the model: the exact form takes one forward pass a token where quadrature takes fifty forward and
backward. The integral is here too, as the oracle of the exact form.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from llm_trace.attribution.core.value import sum_targets
from llm_trace.attribution.methods.exact import build_scores
from llm_trace.attribution.methods.prices import EvaluationPrice, attach_price, count_tokens
from llm_trace.attribution.methods.registry import Scores, describe_method
from llm_trace.attribution.models.embeddings import build_ground, check_finite, get_source, integrate_paths
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from llm_trace.attribution.core.value import Value
    from llm_trace.attribution.models.open_value import OpenValue
    from llm_trace.attribution.question.renders import Replaced

PUBLISHED_STEPS = 50
_PAPER = "Enguehard 2023 (arXiv 2305.15853), equation 2"
_SUMS = (
    "a word's score is the sum of its tokens' scores, which is not the effect of masking the word (sig_word)"
)


def _price(source: OpenValue, *, words: bool = False) -> EvaluationPrice:
    masked = _mask_prompt(source)
    prompts = _replace_tokens(
        masked, masked.owners if words else np.eye(len(masked.ids), dtype=bool)[masked.free]
    )
    return len(prompts) + 2, source.price(
        [_get_whole(masked), *prompts, *_replace_tokens(masked, masked.all)]
    )


@attach_price(_price)
@describe_method("sig", access="tokens", cost="tokens + 2", source=f"{_PAPER}, in its exact form")
def sig(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return Sequential Integrated Gradients against the mask: leave-one-out by token, summed by segment.

    A causal model has no mask token: "_" stands in for it, and the baseline names it. Costs a forward pass
    for each token, one for the whole prompt, and one for the completeness gap.
    """
    masked = _mask_prompt(get_source(value, 2, "sig"))
    source = get_source(value, len(masked.free) + 2, "sig")
    each = np.eye(len(masked.ids), dtype=bool)[masked.free]
    values = check_finite(
        source.of([_get_whole(masked), *_replace_tokens(masked, each), *_replace_tokens(masked, masked.all)])
    )
    effects = values[0] - values[1:-1]  # (tokens, m) or (tokens,)
    scores = build_scores(masked.shares[:, masked.free] @ effects)
    sums = sum_targets(values[[0, -1]])
    notes = (_SUMS,) if len(masked.free) > n else ()
    return replace(scores, full=float(sums[0]), empty=float(sums[1]), baseline=masked.baseline, notes=notes)


@attach_price(partial(_price, words=True))
@describe_method(
    "sig_word", access="tokens", cost="n + 2", source=f"{_PAPER}, each segment as one word, in its exact form"
)
def sig_word(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return the effect of masking each segment as a whole: the path integral over all its tokens
    together, in its exact form.
    """
    source = get_source(value, n + 2, "sig_word")
    masked = _mask_prompt(source)
    values = check_finite(
        source.of(
            [
                _get_whole(masked),
                *_replace_tokens(masked, masked.owners),
                *_replace_tokens(masked, masked.all),
            ]
        )
    )
    sums = sum_targets(values[[0, -1]])
    scores = build_scores(values[0] - values[1:-1])
    return replace(scores, full=float(sums[0]), empty=float(sums[1]), baseline=masked.baseline)


@attach_price(_price)
@describe_method(
    "sig_normalised", access="tokens", cost="tokens + 2", source=f"{_PAPER}, normalised over the sentence"
)
def sig_normalised(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return `sig` divided by its length (L2), as published: comparable between prompts, not in nats."""
    scores = sig(value, n, confidence=confidence, seed=seed)
    length = float(np.linalg.norm(scores.values)) or 1.0
    matrix = None if scores.matrix is None else scores.matrix / length
    note = f"the scores are divided by their length over the sentence, {length:.4g}"
    return replace(
        scores,
        values=scores.values / length,
        matrix=matrix,
        empty=None,
        unit="share",
        notes=(*scores.notes, note),
    )


@attach_price(
    lambda source: (
        (count := len(_mask_prompt(source).free) * PUBLISHED_STEPS) + 2,
        2 * (count + 1) * count_tokens(source),
    )
)
@describe_method("sig_integral", access="gradients", cost="50 forward and backward a token", source=_PAPER)
def sig_integral(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return Sequential Integrated Gradients by quadrature, as published: the oracle of `sig`, which gives
    the same in 50 times less.
    """
    masked = _mask_prompt(get_source(value, 2, "sig_integral"))
    source = get_source(value, len(masked.free) * PUBLISHED_STEPS + 2, "sig_integral")
    by_token, full, empty = integrate_tokens(source, masked, PUBLISHED_STEPS)
    notes = (f"{PUBLISHED_STEPS} steps a token", *((_SUMS,) if len(masked.free) > n else ()))
    return Scores(masked.shares @ by_token, full=full, empty=empty, baseline=masked.baseline, notes=notes)


def integrate_tokens(
    source: OpenValue, masked: Replaced, steps: int
) -> tuple[NDArray[np.float64], float, float]:
    """Return each token's path integral (length,), and the values of the whole and of the masked prompt."""
    at = build_ground(source)
    integrals = integrate_paths(
        at, at.embed(masked.neutral), np.eye(len(masked.ids), dtype=bool)[masked.free], steps
    )
    ends = sum_targets(check_finite(source.of([_get_whole(masked), *_replace_tokens(masked, masked.all)])))
    return integrals.sum(axis=0), float(ends[0]), float(ends[1])


def _mask_prompt(source: OpenValue) -> Replaced:
    """Return the prompt with its stand-ins.

    Raises:
        AttributionError: another baseline than the mask was asked for.
    """
    assert source.work is not None
    if source.work.baseline not in ("auto", "mask"):
        raise AttributionError(
            f"Sequential Integrated Gradients begin at the mask: baseline {source.work.baseline!r} does not "
            "go with them"
        )
    return source.work.masked()


def _get_whole(masked: Replaced) -> tuple[int, ...]:
    return tuple(masked.ids.tolist())


def _replace_tokens(masked: Replaced, gone: NDArray[np.bool_]) -> list[tuple[int, ...]]:
    """Return the prompt's ids with the tokens `gone` (k, length) replaced by their stand-ins."""
    return [tuple(row) for row in np.where(gone, masked.neutral, masked.ids).tolist()]
