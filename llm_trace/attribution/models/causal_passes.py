"""Passes of a causal model over the prompts of one or many questions: spines first, then all else."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from llm_trace.attribution.models import abilities
from llm_trace.attribution.models.batching import Batch, BatchLimits, count_common, plan_batches
from llm_trace.attribution.models.evaluation import get_device, make_precise, run_undisturbed
from llm_trace.attribution.models.memory import compute_limits, halve_batch
from llm_trace.attribution.models.spines import Spine, build_cache, read_layers
from llm_trace.attribution.question.objective import Query, Tick

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

TokenReading = Literal["logprob", "best"]
"""What is read of each token: its log-probability, or 1 where no other token is likelier, else 0."""


@dataclass(frozen=True)
class PassRequest:
    """Prompts of one question that shall go through a model."""

    model: Any
    prompts: Sequence[tuple[int, ...]]
    query: Query
    tick: Tick
    spine: Spine = field(default_factory=Spine)
    """The unperturbed prompt; beginnings shared with it are computed once."""
    limits: BatchLimits | None = None
    """Of a batch; by the memory that is free when absent."""
    reading: TokenReading = "logprob"

    @property
    def tokens(self) -> int:
        """Tokens of all its prompts and what is read after them."""
        return sum(len(p) + len(self.query.read) for p in self.prompts)


@dataclass(frozen=True)
class PassRow:
    """One prompt of a request on its way through the model."""

    ids: tuple[int, ...]
    query: Query
    spine: Spine
    reading: TokenReading = "logprob"

    @property
    def length(self) -> int:
        """Tokens that the model reads."""
        return len(self.ids) + len(self.query.read)

    @property
    def places(self) -> tuple[int, int]:
        """First and last position at which logits are read."""
        end = len(self.ids) - 1
        return end + min(self.query.rows), end + max(self.query.rows)

    def find_places(self, prefix: int) -> list[int]:
        """Return where each token of the query is predicted, counted behind a prefix."""
        return [len(self.ids) - 1 - prefix + r for r in self.query.rows]


def answer_requests(requests: Sequence[PassRequest]) -> list[NDArray[np.float64] | Exception]:
    """Return (prompts, tokens of the query) for each request; those of one model go through it together.

    What fails together is tried alone, so that an error is only of those whose own it is.
    """
    by_model: dict[int, list[int]] = defaultdict(list)
    for i, request in enumerate(requests):
        by_model[id(request.model)].append(i)
    results: list[NDArray[np.float64] | Exception] = [np.empty(0)] * len(requests)
    for group in by_model.values():
        for i, result in zip(group, _answer_group([requests[i] for i in group]), strict=True):
            results[i] = result
    return results


def _answer_group(requests: Sequence[PassRequest]) -> Sequence[NDArray[np.float64] | Exception]:
    try:
        return Passes(requests).run()
    except Exception as exc:  # noqa: BLE001  raised again where it was asked
        if len(requests) == 1:
            return [exc]
        return [_answer_group([request])[0] for request in requests]


def plan_rows(
    model: Any, rows: Sequence[PassRow], limits: BatchLimits | None = None, *, cached: bool | None = None
) -> list[Batch]:
    """Return the batches that cover some rows.

    Args:
        model: of transformers.
        rows: prompts with their queries.
        limits: of a batch; by the memory that is free when absent.
        cached: whether the spines come from a cache; where they have one when absent.
    """
    if not rows:
        return []
    reuses = [row.spine.layers is not None if cached is None else cached for row in rows]
    shared = [_count_shared(row) if reused else 0 for row, reused in zip(rows, reuses, strict=True)]
    lengths = [row.length for row in rows]
    most = max(len(set(row.query.rows)) for row in rows)
    limits = limits or compute_limits(model, get_device(model), most, max(lengths))
    return plan_batches(lengths, shared, limits, [row.places for row in rows])


def _count_shared(row: PassRow) -> int:
    """Return how many tokens a row takes from its spine; the last is read anew, for its logits."""
    return min(count_common(row.ids, row.spine.ids), len(row.ids) - 1)


class Passes:
    """The passes that answer some requests to one model.

    Teacher-forced, in batches by length, padded on the right; rows of a batch begin with equally many tokens
    from the caches of their own spines.

    Args:
        requests: to the same model.
    """

    def __init__(self, requests: Sequence[PassRequest]) -> None:
        self.requests = requests
        self.model = requests[0].model
        self.device = get_device(self.model)
        self._limits = next((r.limits for r in requests if r.limits is not None), None)
        self._values = [np.empty((len(r.prompts), len(r.query.ids))) for r in requests]
        self._passes, self._tokens = [0] * len(requests), [0] * len(requests)

    def run(self) -> list[NDArray[np.float64]]:
        """Return (prompts, tokens of the query) for each request."""
        with run_undisturbed(self.model):
            todo = dict.fromkeys((i, j) for i, r in enumerate(self.requests) for j in range(len(r.prompts)))
            spines = self._find_spines()
            self._run_batches(spines, self._run_spines)
            for at in spines:
                del todo[at]
            self._run_batches(list(todo), self._run_rows)
        for i, request in enumerate(self.requests):
            request.tick(self._passes[i], self._tokens[i])
        return self._values

    def _find_spines(self) -> list[tuple[int, int]]:
        """Return the whole prompts whose keys and values may serve others; of equal ones the first."""
        fresh: dict[int, tuple[int, int]] = {}
        for i, request in enumerate(self.requests):
            spine = request.spine
            if spine.layers is not None or spine.ids not in request.prompts:
                continue
            if abilities.check_sharing(self.model, len(spine.ids)) is not False:
                fresh.setdefault(id(spine), (i, request.prompts.index(spine.ids)))
        return list(fresh.values())

    def _get_row(self, at: tuple[int, int]) -> PassRow:
        request = self.requests[at[0]]
        return PassRow(request.prompts[at[1]], request.query, request.spine, request.reading)

    def _run_batches(self, places: list[tuple[int, int]], run: Any) -> None:
        """Put rows through the model in batches, and note their values and what they cost."""
        rows = [self._get_row(at) for at in places]
        queue = plan_rows(self.model, rows, self._limits)
        while queue:
            batch = queue.pop()
            some = [rows[r] for r in batch.rows]
            try:
                values = run(some, batch.prefix)
            except RuntimeError as exc:
                queue += halve_batch(self.model, batch, exc)
                continue
            for r, row, numbers in zip(batch.rows, some, values, strict=True):
                i, j = places[r]
                self._values[i][j] = numbers[: len(row.query.ids)]
                self._passes[i] += 1
                self._tokens[i] += row.length - batch.prefix

    def _run_spines(self, rows: Sequence[PassRow], _prefix: int) -> NDArray[np.float64]:
        """Evaluate unperturbed prompts and keep their keys and values, where the model can use them."""
        ids, places = self._pad(rows, 0), [row.find_places(0) for row in rows]
        where = sorted({at for row in places for at in row})
        got, cache = abilities.keep_cache(
            self.model, lambda keep: self.model(ids, use_cache=keep, **limit_logits(self.model, where))
        )
        logits = select_logits(self.model, got.logits, where, ids.shape[1])
        lengths = [len(row.spine.ids) for row in rows]
        caches = None if cache is None else read_layers(cache, lengths)
        if caches is None:
            abilities.refuse_sharing(self.model)
        else:
            for row, layers in zip(rows, caches, strict=True):
                row.spine.layers = layers
            longest = max(range(len(rows)), key=lambda i: rows[i].length)
            part, own = slice(longest, longest + 1), [where.index(at) for at in places[longest]]
            if not self._fits(rows[longest], ids[part, : rows[longest].length], logits[part, own]):
                for row in rows:
                    row.spine.layers = None
        return self._read(rows, logits, where, places)

    def _fits(self, row: PassRow, ids: torch.Tensor, plain: torch.Tensor) -> bool:
        """Whether the second half of a prompt reads the same behind the cache of the first."""
        length, half = len(row.ids), len(row.ids) // 2
        known = abilities.check_sharing(self.model, length)
        if known is not None or not half:
            return known is not False

        def run_cached() -> torch.Tensor:
            past, behind = build_cache([row.spine] * 2, half), row.find_places(half)
            tail = ids[:, half:].expand(2, -1)
            got = self.model(tail, past_key_values=past, use_cache=True, **limit_logits(self.model, behind))
            return select_logits(self.model, got.logits, behind, tail.shape[1])

        return abilities.compare_shared(self.model, length, run_cached, plain.expand(2, -1, -1))

    def _run_rows(self, rows: Sequence[PassRow], prefix: int) -> NDArray[np.float64]:
        """Return (rows, most tokens of a query), each behind the first `prefix` tokens of its spine."""
        ids, places = self._pad(rows, prefix), [row.find_places(prefix) for row in rows]
        where = sorted({at for row in places for at in row})
        known: dict[str, Any] = {"use_cache": False}
        if prefix:
            past = build_cache([row.spine for row in rows], prefix)
            known = {"past_key_values": past, "use_cache": True}
        got = self.model(ids, **known, **limit_logits(self.model, where))
        return self._read(rows, select_logits(self.model, got.logits, where, ids.shape[1]), where, places)

    def _pad(self, rows: Sequence[PassRow], prefix: int) -> torch.Tensor:
        """Return (rows, longest) ids behind the prefix, padded on the right."""
        tails = [[*row.ids[prefix:], *row.query.read] for row in rows]
        longest = max(map(len, tails))
        return self._tensor([tail + [0] * (longest - len(tail)) for tail in tails])

    def _read(
        self, rows: Sequence[PassRow], logits: torch.Tensor, where: list[int], places: list[list[int]]
    ) -> NDArray[np.float64]:
        """Return (rows, most tokens of a query) from logits (rows, positions `where`, vocabulary)."""
        import torch

        width = max(len(row.query.ids) for row in rows)
        targets = self._tensor([_fill(row.query.ids, width) for row in rows])
        if any(row != where for row in places):
            at = {place: i for i, place in enumerate(where)}
            pick = torch.tensor([_fill([at[p] for p in row], width) for row in places], device=logits.device)
            logits = logits[torch.arange(len(rows), device=logits.device)[:, None], pick]
        values = compute_logprobs(logits, targets).double().cpu().numpy()
        for row, numbers, read in zip(rows, values, logits, strict=True):
            if row.reading == "best":
                count = len(row.query.ids)
                numbers[:count] = (read.argmax(-1).cpu().numpy() == _fill(row.query.ids, width))[:count]
        return np.asarray(values)

    def _tensor(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        import torch

        return torch.tensor(rows, dtype=torch.long, device=self.device)


def _fill(numbers: Sequence[int], width: int) -> list[int]:
    """Return numbers that are followed by the last of them up to a width."""
    return [*numbers, *[numbers[-1]] * (width - len(numbers))]


def compute_logprobs(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return log p of the targets (batch, tokens), in float32 at least, from (batch, tokens, vocabulary)."""
    import torch

    logits = make_precise(logits)
    picked = logits.gather(-1, targets.to(logits.device)[..., None])[..., 0]
    each = [row.logsumexp(-1) for row in logits]  # one by one: it copies what it reads
    return picked - torch.stack(each)


def limit_logits(model: Any, where: Sequence[int]) -> dict[str, Any]:
    """Return the arguments by which a model computes logits at some positions only, where it can."""
    import torch

    return {"logits_to_keep": torch.tensor(where, device=get_device(model))} if _limits_logits(model) else {}


def select_logits(model: Any, logits: torch.Tensor, where: Sequence[int], length: int) -> torch.Tensor:
    """Return the logits at some positions of `length`, counted from the end: more may stand before."""
    return logits if _limits_logits(model) else logits[:, [at - length for at in where]]


def _limits_logits(model: Any) -> bool:
    return "logits_to_keep" in inspect.signature(model.forward).parameters
