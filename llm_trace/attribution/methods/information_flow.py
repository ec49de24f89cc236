"""Information-flow routes: what each position passes on by attention and residual stream, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.methods.attention import share_out, use_eager_attention
from llm_trace.attribution.methods.prices import attach_price, count_tokens
from llm_trace.attribution.methods.registry import Scores, describe_method
from llm_trace.attribution.models.config import read_number
from llm_trace.attribution.models.embeddings import get_source
from llm_trace.attribution.models.evaluation import get_device, run_undisturbed
from llm_trace.attribution.models.kinds import detect_kind
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    import torch

    from llm_trace.attribution.core.value import Value

_TOLERANCE = 1e-2
_UNREAD = (
    "the attention of {} cannot be taken apart into what each position passes on: take attention or occlusion"
)


@dataclass
class Layer:
    """What one attention block read and wrote, of one sequence of `length` positions."""

    values: torch.Tensor
    """(heads, length, head width): what each position offers."""
    write: Any
    """The module through which the heads, side by side, write into the residual stream."""
    written: torch.Tensor
    """(length, width): what they wrote."""
    read: list[torch.Tensor] = field(default_factory=list)
    """(length, width) each: what the other modules of the layer read afterwards; the sum with the residual
    stream is among them.
    """

    def alone(self, head: int) -> torch.Tensor:
        """Return (length, width): what a head would write if it looked at one position alone. The module
        itself is asked: its weights may be quantized or lie elsewhere.
        """
        heads, length, width = self.values.shape
        side = self.values.new_zeros(1 + length, heads * width)
        side[1:, head * width : (head + 1) * width] = self.values[head]
        out: torch.Tensor = self.write(side[None])[0].float()
        return out[1:] - out[0]  # without the bias

    def bias(self) -> torch.Tensor:
        """Return (width,): what is written whatever the heads say."""
        nothing = self.values.new_zeros(1, 1, self.values.shape[0] * self.values.shape[2])
        bias: torch.Tensor = self.write(nothing)[0, 0].float()
        return bias


@attach_price(lambda source: (2, 2 * count_tokens(source)))
@describe_method(
    "routes",
    access="attention",
    cost="1 forward",
    source=(
        "Ferrando & Voita 2024 (information-flow routes), no threshold; edges as in ALTI, Ferrando et al. "
        "2022"
    ),
)
def routes(value: Value, n: int, *, confidence: float = 0.95, seed: int = 0) -> Scores:
    """Return the share of what flows into the target's predictions that comes from each segment.

    Between 0 and 1, without a sign. An edge weighs as much as the vector that it carries brings its sum
    nearer (in L1), each head on its own; weights are followed from where the target's tokens are predicted
    down to the prompt's tokens.

    Raises:
        AttributionError: the model is no decoder, its blocks are not of the Llama or GPT-2 kind, or the
            target is a contrast.
    """
    source = get_source(value, 2, "routes")
    goal, model = source.goal, source.model
    if -1 in goal.signs or source.work is None:
        raise AttributionError("routes cannot tell one answer from another: take sig or occlusion")
    if detect_kind(model) != "causal":
        raise AttributionError("routes follows decoder-only models: take attention or occlusion")
    tokens, query = source.work.owned(), goal.queries[0]
    prompt = tuple(tokens.ids.tolist())
    with run_undisturbed(model):
        # (m, positions)
        flow = _compute_flow(model, [*prompt, *query.read], [len(prompt) - 1 + r for r in query.rows])
    source.spend(1, len(prompt) + len(query.read), unmasked=1)
    notes = (
        "flows from special tokens, the template and the response itself",
        "routes say what the model passes on, not what changes its answer",
    )
    return share_out(source, tokens, flow, "none (what is passed on)", notes)


def _compute_flow(model: Any, ids: Sequence[int], where: Sequence[int]) -> torch.Tensor:
    """Return (targets, positions): whence comes what stands at positions `where` after the last layer."""
    import torch

    row = torch.tensor([list(ids)], device=get_device(model))
    with use_eager_attention(model), _watch_model(model) as layers:
        got = model(row, use_cache=False, output_attentions=True, output_hidden_states=True)
    if len(layers) != len(got.attentions or ()):
        raise AttributionError(_UNREAD.format(type(model).__name__))
    if any(weights.shape[-2:] != (len(ids), len(ids)) for weights in got.attentions):
        raise AttributionError(
            "the model reads a prompt of its own before the text (prompt or prefix tuning), which routes "
            "cannot follow: take attention or occlusion"
        )
    flow = torch.zeros(len(where), len(ids))
    flow[range(len(where)), list(where)] = 1.0
    for layer, weights, stream in reversed(
        list(zip(layers, got.attentions, got.hidden_states[:-1], strict=True))
    ):
        carried = torch.stack([layer.alone(head) for head in range(len(layer.values))])
        if not _check_sums(layer, weights[0].float(), carried, stream[0].float()):
            raise AttributionError(_UNREAD.format(type(model).__name__))
        flow = _carry_down(flow, layer, weights[0].float(), stream[0].float(), carried)
    return flow


def _carry_down(
    flow: torch.Tensor, layer: Layer, weights: torch.Tensor, stream: torch.Tensor, carried: torch.Tensor
) -> torch.Tensor:
    """Return the flow (targets, positions) one layer further down; `carried` is (heads, positions, width)."""
    import torch

    below = torch.zeros_like(flow)
    for i in flow.sum(0).nonzero()[:, 0].tolist():
        edges = weights[:, i, : i + 1, None] * carried[:, : i + 1]  # (heads, positions up to i, width)
        total = stream[i] + layer.written[i]
        size = total.abs().sum()
        near = (size - (total - edges).abs().sum(-1)).clamp(min=0).sum(0)  # (positions up to i)
        own = (size - (total - stream[i]).abs().sum()).clamp(min=0)
        near[i] += own
        if near.sum() <= 0:  # nothing brings the sum nearer: it stays where it is
            near[i] = 1.0
        below[:, : i + 1] += flow[:, i, None] * (near / near.sum()).cpu()
    return below


def _check_sums(layer: Layer, weights: torch.Tensor, carried: torch.Tensor, stream: torch.Tensor) -> bool:
    """Whether the parts, at the last position, are what the heads wrote into the residual stream."""
    import torch

    summed = torch.einsum("hl,hlw->w", weights[:, -1], carried) + layer.bias()
    total = stream[-1] + layer.written[-1]
    same = [_close(summed, layer.written[-1]), any(_close(read[-1], total) for read in layer.read)]
    return all(same)


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() <= _TOLERANCE * (1 + b.abs().max()))


@contextmanager
def _watch_model(model: Any) -> Iterator[list[Layer]]:
    """Note what every attention block offers and writes while the model runs; the hooks go afterwards."""
    layers: list[Layer] = []
    handles = []
    for name, block in model.named_modules():
        parts = vars(block).get("_modules", {})
        if "v_proj" in parts and "o_proj" in parts:
            handles += _hook_block(layers, model, parts["v_proj"], parts["o_proj"], 1)
        elif "c_attn" in parts and "c_proj" in parts:  # GPT-2: query, key and value lie side by side
            handles += _hook_block(layers, model, parts["c_attn"], parts["c_proj"], 3)
        else:
            continue
        others = (m for m in model.get_submodule(name.rpartition(".")[0]).children() if m is not block)
        handles += [other.register_forward_pre_hook(_make_reader(layers)) for other in others]
    try:
        yield layers
    finally:
        for handle in handles:
            handle.remove()


def _hook_block(layers: list[Layer], model: Any, read: Any, write: Any, share: int) -> list[Any]:
    """Watch a block: its values are the last of `share` equal parts of what `read` gives."""
    offered: list[torch.Tensor] = []
    return [
        read.register_forward_hook(lambda _m, _i, out: offered.append(out.chunk(share, -1)[-1])),
        write.register_forward_hook(
            lambda m, _i, out: layers.append(_split_layer(model, m, offered.pop(), out))
        ),
    ]


def _make_reader(layers: list[Layer]) -> Any:
    def note(_: Any, inputs: tuple[Any, ...]) -> None:
        if layers and inputs and inputs[0].shape[1:] == layers[-1].written.shape:
            layers[-1].read.append(inputs[0][0].float())

    return note


def _split_layer(model: Any, write: Any, offered: torch.Tensor, out: torch.Tensor) -> Layer:
    """Return a block's parts; heads that share their values (grouped queries) get each its own view."""
    config = model.config.get_text_config(decoder=True)
    heads = int(config.num_attention_heads)
    width = read_number(config, "head_dim") or config.hidden_size // heads
    values = offered[0].reshape(offered.shape[1], -1, width).transpose(0, 1)
    return Layer(values.repeat_interleave(heads // len(values), dim=0), write, out[0].float())
