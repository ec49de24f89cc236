"""Where the model looks while it says the response: mean attention, one forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.core.value import sum_targets
from llm_trace.attribution.methods.prices import attach_price, count_tokens
from llm_trace.attribution.methods.registry import Scores, describe_method
from llm_trace.attribution.models.config import read_attention_kind
from llm_trace.attribution.models.embeddings import check_finite, get_source
from llm_trace.attribution.models.evaluation import run_undisturbed
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    import torch

    from llm_trace.attribution.core.value import Value
    from llm_trace.attribution.models.open_value import OpenValue
    from llm_trace.attribution.question.renders import Owned


_FLAG = "_output_capturing_hooks_installed"
"""Where transformers 5 remembers that it put hooks into a model to collect the weights."""


@contextmanager
def use_eager_attention(model: Any) -> Iterator[None]:
    """Let the model compute its attention in the way that gives weights, then as before, without new hooks.

    Raises:
        AttributionError: the model has no such way.
    """
    modules = list(model.modules())
    configs = {id(m.config): m.config for m in modules if hasattr(m, "config")}
    before = [(config, read_attention_kind(config)) for config in configs.values()]
    hooks = [(m, set(m._forward_hooks), _FLAG in vars(m)) for m in modules]  # noqa: SLF001  no public name
    try:
        try:
            model.set_attn_implementation("eager")
        except (AttributeError, ValueError, ImportError) as exc:
            raise AttributionError(f"the model cannot give its attention weights ({exc})") from exc
        yield
    finally:
        for config, name in before:
            if read_attention_kind(config) != name:
                config._attn_implementation = name  # noqa: SLF001  what was there needs no check
        for module, known, flagged in hooks:
            for key in set(module._forward_hooks) - known:  # noqa: SLF001
                del module._forward_hooks[key]  # noqa: SLF001
            if not flagged:
                vars(module).pop(_FLAG, None)


@attach_price(lambda source: (2, 2 * count_tokens(source)))
@describe_method(
    "attention",
    access="attention",
    cost="1 forward",
    source="mean over layers, heads and target tokens; of encoder-decoder models the cross-attention",
)
def attention(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return the share of attention that each segment gets from where the target's tokens are predicted.

    Between 0 and 1, without a sign; what special tokens and the response itself get is not shared out. It
    says where the model looks, not what changes its answer.

    Raises:
        AttributionError: the target is a contrast, whose two answers look from the same place.
    """
    source = get_source(value, 2, "attention")
    goal = source.goal
    if -1 in goal.signs or source.work is None:
        raise AttributionError("attention cannot tell one answer from another: take sig or occlusion")
    tokens = source.work.owned()
    prompt, query = tuple(tokens.ids.tolist()), goal.queries[0]
    with run_undisturbed(source.model), use_eager_attention(source.model):
        looked = source.forward.compute_attention(prompt, query)
    source.spend(1, len(prompt) + len(query.read), unmasked=1)
    notes = (
        "of the attention goes to special tokens, the template and the response itself",
        "attention says where the model looks, not what changes its answer",
    )
    return share_out(source, tokens, looked, "none (attention weights)", notes)


def share_out(
    source: OpenValue, tokens: Owned, shares: torch.Tensor, baseline: str, notes: tuple[str, str]
) -> Scores:
    """Return the scores of a method that shares out what is looked at or passed on.

    Args:
        source: the value function.
        tokens: of the prompt.
        shares: (target tokens, at least the prompt's tokens), each row at most 1 in all.
        baseline: what the result calls it.
        notes: where the rest goes, to which its size is added, and what the shares mean.
    """
    ids = tuple(tokens.ids.tolist())
    rows = check_finite(shares[:, : len(ids)].double().numpy() @ tokens.shares.T / len(shares))  # (m, n)
    return Scores(
        rows.sum(axis=0),
        rows,
        full=float(sum_targets(check_finite(source.of([ids])))[0]),
        unit="share",
        baseline=baseline,
        notes=(f"{1 - rows.sum():.0%} {notes[0]}", notes[1]),
    )
