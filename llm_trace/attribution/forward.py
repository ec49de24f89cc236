"""Log-probabilities of one response after many prompts, by a causal model that is left as it was found."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from llm_trace.attribution.batches import Batch, Limits, common, plan
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Tick = Callable[[int, int], None]
"""Told (prompts, tokens) after each forward pass."""
_remembered: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""Tokens a batch that once ran out of memory may have, per model."""
_CPU_TOKENS = 2048
"""On a CPU larger batches are no faster."""
_MAX_TOKENS = 65536


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Evaluate without gradients and dropout, then give every module its mode back."""
    import torch

    trained = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in trained:
            module.training = True


def device_of(model: Any) -> torch.device:
    """Return where the model expects its ids, also when it is spread over devices."""
    embedding = model.get_input_embeddings()
    weight = getattr(embedding, "weight", None)
    return weight.device if weight is not None else next(model.parameters()).device  # type: ignore[no-any-return]


def context_of(model: Any) -> int | None:
    """Return the longest input the model was built for, in tokens."""
    config = model.config
    for name in ("max_position_embeddings", "n_positions", "max_sequence_length"):
        found = getattr(config, name, None)
        if isinstance(found, int) and found > 0:
            return found
    return None


def last_logits(model: Any, ids: Sequence[int], count: int) -> torch.Tensor:
    """Return the logits (count, vocabulary) at the last positions of one sequence."""
    import torch

    keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
    kept = {"logits_to_keep": count} if keeps else {}
    with undisturbed(model):
        row = torch.tensor([list(ids)], device=device_of(model))
        return model(row, use_cache=False, **kept).logits[0, -count:]  # type: ignore[no-any-return]


class CausalForward:
    """Teacher-forced passes: batches by length, padding on the right (which a causal model cannot see), the spine's cache shared.

    Args:
        model: decoder-only, of transformers.
        spine: ids of the unperturbed prompt; beginnings shared with it are computed once. Empty: nothing is shared.
        limits: of a batch; found from the memory that is free when absent.
    """

    def __init__(self, model: Any, spine: Sequence[int] = (), *, limits: Limits | None = None) -> None:
        self.model = model
        self.device = device_of(model)
        self.spine = tuple(spine)
        self._limits = limits
        self._cache: list[tuple[torch.Tensor, torch.Tensor]] | None = None
        self._shares = True
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters

    def __call__(
        self, prompts: Sequence[tuple[int, ...]], response: Sequence[int], rows: Sequence[int], tick: Tick
    ) -> NDArray[np.float64]:
        """Return (prompts, rows): log p of these tokens of the response, each after the prompt and the tokens before it.

        Raises:
            AttributionError: a prompt without tokens, or longer than the model's context.
        """
        read = tuple(response[: max(rows)])  # what comes after the last explained token is not read
        self._check(prompts, len(read))
        out = np.empty((len(prompts), len(rows)))
        with undisturbed(self.model):
            todo = set(range(len(prompts)))
            if self.spine in prompts and self._shares and self._cache is None:
                at = prompts.index(self.spine)
                out[at] = self._spine_pass(read, response, rows, tick)
                todo.discard(at)
            queue = self._plan([prompts[i] for i in sorted(todo)], sorted(todo), read, len(rows))
            while queue:
                batch = queue.pop()
                try:
                    got = self._run(batch, prompts, read, response, rows)
                except RuntimeError as exc:
                    queue += self._halved(batch, exc)
                    continue
                out[list(batch.rows)] = got
                tick(len(batch.rows), sum(len(prompts[i]) + len(read) - batch.prefix for i in batch.rows))
        return out

    def _check(self, prompts: Sequence[tuple[int, ...]], extra: int) -> None:
        longest = max(len(p) for p in prompts)
        if min(len(p) for p in prompts) == 0:
            raise AttributionError(
                "with every segment removed no token is left and the tokenizer has no BOS: use baseline='mask' or a text"
            )
        context = context_of(self.model)
        if context is not None and longest + extra > context:
            raise AttributionError(
                f"prompt and response have {longest + extra} tokens, the model reads {context}: shorten the prompt"
            )

    def _plan(
        self, prompts: list[tuple[int, ...]], index: list[int], read: tuple[int, ...], rows: int
    ) -> list[Batch]:
        """Return the batches, rows renamed to their place in the call."""
        if not prompts:
            return []
        shared = [0] * len(prompts)
        if self._cache is not None:
            shared = [min(common(p, self.spine), len(p) - 1) for p in prompts]
        longest = max(map(len, prompts)) + len(read)
        limits = self._limits or limits_of(self.model, self.device, rows, longest)
        batches = plan([len(p) + len(read) for p in prompts], shared, limits)
        return [Batch(tuple(index[i] for i in b.rows), b.prefix, b.cost) for b in batches]

    def _spine_pass(
        self, read: tuple[int, ...], response: Sequence[int], rows: Sequence[int], tick: Tick
    ) -> NDArray[np.float64]:
        """Evaluate the unperturbed prompt and keep its keys and values."""
        ids = self._tensor([[*self.spine, *read]])
        where = [len(self.spine) - 1 + r for r in rows]
        got = self.model(ids, use_cache=True, **self._kept(where))
        self._cache = _layers(got.past_key_values, len(self.spine))
        self._shares = self._cache is not None
        logits = got.logits if self._keeps else got.logits[:, where]
        tick(1, ids.shape[1])
        return np.asarray(_logprobs(logits, self._tensor([[response[r] for r in rows]]))[0])

    def _run(
        self,
        batch: Batch,
        prompts: Sequence[tuple[int, ...]],
        read: tuple[int, ...],
        response: Sequence[int],
        rows: Sequence[int],
    ) -> NDArray[np.float64]:
        """Return (rows of the batch, rows) log-probabilities."""
        import torch

        tails = [[*prompts[i][batch.prefix :], *read] for i in batch.rows]
        longest = max(map(len, tails))
        ids = self._tensor([t + [0] * (longest - len(t)) for t in tails])
        ends = [len(prompts[i]) - 1 - batch.prefix for i in batch.rows]
        where = sorted({end + r for end in set(ends) for r in rows})
        place = {at: i for i, at in enumerate(where)}
        past = _expanded(self._cache or [], batch.prefix, len(batch.rows)) if batch.prefix else None
        got = self.model(ids, past_key_values=past, use_cache=past is not None, **self._kept(where))
        logits = got.logits if self._keeps else got.logits[:, where]
        targets = self._tensor([[response[r] for r in rows]] * len(batch.rows))
        if len(where) > len(rows):
            pick = torch.tensor([[place[end + r] for r in rows] for end in ends], device=logits.device)
            logits = logits[torch.arange(len(ends), device=logits.device)[:, None], pick]
        return _logprobs(logits, targets)

    def _kept(self, where: list[int]) -> dict[str, Any]:
        import torch

        return {"logits_to_keep": torch.tensor(where, device=self.device)} if self._keeps else {}

    def _tensor(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        import torch

        return torch.tensor(rows, dtype=torch.long, device=self.device)

    def _halved(self, batch: Batch, exc: RuntimeError) -> list[Batch]:
        """Return the batch in two halves after the memory ran out, and remember it."""
        if "memory" not in str(exc).lower():
            raise exc
        if len(batch.rows) == 1:
            raise AttributionError(
                "one prompt alone does not fit into the memory: shorten it or load the model smaller"
            ) from exc
        if self.device.type == "cuda":
            import torch

            torch.cuda.empty_cache()
        _remembered[self.model] = max(1, batch.cost // 2)
        middle = len(batch.rows) // 2
        return [
            Batch(rows, batch.prefix, batch.cost // 2) for rows in (batch.rows[:middle], batch.rows[middle:])
        ]


def limits_of(model: Any, device: torch.device, rows: int, length: int) -> Limits:
    """Return how large a batch of so many explained tokens and so long prompts may be, from a quarter of the free memory."""
    config = model.config.get_text_config(decoder=True)
    width = max(8, int(getattr(config, "hidden_size", 1024)))
    inner = int(getattr(config, "intermediate_size", None) or 4 * width)
    layers = int(getattr(config, "num_hidden_layers", 12))
    vocabulary = int(getattr(config, "vocab_size", 32000))
    size = next(model.parameters()).element_size()
    per_token = size * (12 * width + 3 * inner + 2 * width * layers)
    per_row = (
        3 * 4 * rows * vocabulary + 2 * size * 2 * width * layers * length
    )  # logits, and a copy of the cache
    logits = vocabulary / (
        layers * (4 * width + 3 * inner)
    )  # a position's logits beside a token's layers, in multiplications
    cuda = device.type == "cuda"
    free = _free_memory(device) // 4
    tokens = min(max(1, free // per_token), _MAX_TOKENS if cuda else _CPU_TOKENS)
    tokens = min(tokens, _remembered.get(model, tokens))
    most = max(1, min(256 if cuda else 64, free // per_row))
    return Limits(tokens, rows=most, overhead=2048 if cuda else 96, logits=logits)


def _free_memory(device: torch.device) -> int:
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo") as info:
            fields = dict(line.split(":", 1) for line in info)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 2 << 30


def _layers(cache: Any, length: int) -> list[tuple[torch.Tensor, torch.Tensor]] | None:
    """Return the keys and values of every layer, or `None` where one is not a plain growing cache (sliding window, state space)."""
    layers = getattr(cache, "layers", None)
    if layers is None:
        keys, values = getattr(cache, "key_cache", None), getattr(cache, "value_cache", None)
        return list(zip(keys, values, strict=True)) if keys and values else None
    if any(type(layer).__name__ != "DynamicLayer" or layer.keys.shape[-2] < length for layer in layers):
        return None
    return [(layer.keys[..., :length, :], layer.values[..., :length, :]) for layer in layers]


def _expanded(layers: list[tuple[torch.Tensor, torch.Tensor]], length: int, rows: int) -> Any:
    """Return a fresh cache in which every row begins with the spine's first tokens."""
    from transformers import DynamicCache

    cache = DynamicCache()
    for i, (keys, values) in enumerate(layers):
        cache.update(
            keys[..., :length, :].expand(rows, -1, -1, -1),
            values[..., :length, :].expand(rows, -1, -1, -1),
            i,
        )
    return cache


def _logprobs(logits: torch.Tensor, targets: torch.Tensor) -> NDArray[np.float64]:
    """Return log p of the targets, (batch, rows), from logits (batch, rows, vocabulary)."""
    logits = logits.float()
    picked = logits.gather(-1, targets.to(logits.device)[..., None])[..., 0]
    return (picked - logits.logsumexp(-1)).double().cpu().numpy()
