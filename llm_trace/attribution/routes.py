"""Information-flow routes: what each position passes on through attention and residual stream, layer by layer; one forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.attention import eager
from llm_trace.attribution.embeddings import finite, source_of
from llm_trace.attribution.forward import device_of, undisturbed
from llm_trace.attribution.kinds import kind_of
from llm_trace.attribution.methods import Scores, described
from llm_trace.attribution.pricing import priced, tokens_of
from llm_trace.attribution.value import totals
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    import torch

    from llm_trace.attribution.value import Value

_TOLERANCE = 1e-2
_UNREAD = (
    "the attention of {} cannot be taken apart into what each position passes on: take attention or occlusion"
)


@dataclass
class Layer:
    """What one attention block read and wrote, of one sequence of `length` positions."""

    values: torch.Tensor
    """(heads, length, head width): what each position offers."""
    out: torch.Tensor
    """(heads, head width, width): how a head writes into the residual stream."""
    bias: torch.Tensor | None
    written: torch.Tensor
    """(length, width): the block's output."""


@priced(lambda source: (2, 2 * tokens_of(source)))
@described(
    "routes",
    access="attention",
    cost="1 forward",
    source="Ferrando & Voita 2024 (information-flow routes), no threshold; edges as in ALTI, Ferrando et al. 2022",
)
def routes(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:  # noqa: ARG001  exact
    """Return the share of what flows into the target's predictions that comes from each segment.

    Between 0 and 1, without a sign. An edge weighs as much as the vector that it carries brings its sum nearer (in L1), each head on its own;
    weights are followed from where the target's tokens are predicted down to the prompt's tokens.

    Raises:
        AttributionError: the model is no decoder, its blocks are not of the Llama or GPT-2 kind, or the target is a contrast.
    """
    source = source_of(value, 1, "routes")
    goal, model = source.goal, source.model
    if -1 in goal.signs or source.work is None:
        raise AttributionError("routes cannot tell one answer from another: take sig or occlusion")
    if kind_of(model) != "causal":
        raise AttributionError("routes follows decoder-only models: take attention or occlusion")
    tokens, query = source.work.owned(), goal.queries[0]
    prompt = tuple(tokens.ids.tolist())
    with undisturbed(model):
        flow = _flow(
            model, [*prompt, *query.read], [len(prompt) - 1 + r for r in query.rows]
        )  # (m, positions)
    source.spend(1, len(prompt) + len(query.read))
    rows = finite(flow[:, : len(prompt)].double().numpy() @ tokens.shares.T / len(query.ids))  # (m, n)
    note = f"{1 - rows.sum():.0%} flows from special tokens, the template and the response itself"
    return Scores(
        rows.sum(axis=0),
        rows,
        full=float(totals(finite(source.of([prompt])))[0]),
        unit="share",
        baseline="none (what is passed on)",
        notes=(note, "routes say what the model passes on, not what changes its answer"),
    )


def _flow(model: Any, ids: Sequence[int], where: Sequence[int]) -> torch.Tensor:
    """Return (targets, positions): from which input positions comes what stands at the positions `where` after the last layer."""
    import torch

    row = torch.tensor([list(ids)], device=device_of(model))
    with eager(model), _watched(model) as layers:
        got = model(row, use_cache=False, output_attentions=True, output_hidden_states=True)
    if len(layers) != len(got.attentions or ()):
        raise AttributionError(_UNREAD.format(type(model).__name__))
    flow = torch.zeros(len(where), len(ids))
    flow[range(len(where)), list(where)] = 1.0
    for layer, weights, stream in reversed(
        list(zip(layers, got.attentions, got.hidden_states[:-1], strict=True))
    ):
        _check(layer, weights[0], model)
        flow = _down(flow, layer, weights[0].float(), stream[0].float())
    return flow


def _down(flow: torch.Tensor, layer: Layer, weights: torch.Tensor, stream: torch.Tensor) -> torch.Tensor:
    """Return the flow (targets, positions) one layer further down."""
    import torch

    carried = torch.einsum(
        "hld,hdw->hlw", layer.values, layer.out
    )  # what a head would write if it looked there alone
    below = torch.zeros_like(flow)
    for i in flow.sum(0).nonzero()[:, 0].tolist():
        edges = weights[:, i, : i + 1, None] * carried[:, : i + 1]  # (heads, positions up to i, width)
        total = stream[i] + layer.written[i]
        size = total.abs().sum()
        near = (size - (total - edges).abs().sum(-1)).clamp(min=0).sum(0)  # (positions up to i)
        kept = (size - (total - stream[i]).abs().sum()).clamp(min=0)
        near[i] += kept
        if near.sum() <= 0:  # nothing brings the sum nearer: it stays where it is
            near[i] = 1.0
        below[:, : i + 1] += flow[:, i, None] * (near / near.sum()).cpu()
    return below


def _check(layer: Layer, weights: torch.Tensor, model: Any) -> None:
    """See that the parts add up to what the block wrote, at the last position.

    Raises:
        AttributionError: they do not, as where a block normalises what it writes.
    """
    import torch

    summed = torch.einsum("hl,hld,hdw->w", weights[:, -1].float(), layer.values, layer.out)
    if layer.bias is not None:
        summed = summed + layer.bias
    if (summed - layer.written[-1]).abs().max() > _TOLERANCE * (1 + layer.written[-1].abs().max()):
        raise AttributionError(_UNREAD.format(type(model).__name__))


@contextmanager
def _watched(model: Any) -> Iterator[list[Layer]]:
    """Note what every attention block offers and writes while the model runs; its hooks go afterwards."""
    layers: list[Layer] = []
    offered: list[torch.Tensor] = []
    handles = []
    for module in model.modules():
        parts = vars(module).get("_modules", {})
        if "v_proj" in parts and "o_proj" in parts:
            read, write, last = parts["v_proj"], parts["o_proj"], 1
        elif "c_attn" in parts and "c_proj" in parts:  # GPT-2: query, key and value lie side by side
            read, write, last = parts["c_attn"], parts["c_proj"], 3
        else:
            continue
        handles.append(
            read.register_forward_hook(lambda _m, _i, out, last=last: offered.append(out.chunk(last, -1)[-1]))
        )
        handles.append(
            write.register_forward_hook(
                lambda m, _i, out: layers.append(_layer(model, m, offered.pop(), out))
            )
        )
    try:
        yield layers
    finally:
        for handle in handles:
            handle.remove()


def _layer(model: Any, write: Any, offered: torch.Tensor, out: torch.Tensor) -> Layer:
    """Return a block's parts; heads that share their values (grouped queries) get each its own view."""
    heads = int(model.config.get_text_config(decoder=True).num_attention_heads)
    matrix = (
        write.weight if type(write).__name__ == "Conv1D" else write.weight.T
    )  # (heads x head width, width)
    by_head = matrix.float().reshape(heads, -1, matrix.shape[1])
    values = offered[0].float()
    values = values.reshape(len(values), -1, by_head.shape[1]).transpose(0, 1)
    values = values.repeat_interleave(heads // len(values), dim=0)
    bias = None if write.bias is None else write.bias.float()
    return Layer(values, by_head, bias, out[0].float())
