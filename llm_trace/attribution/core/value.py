"""The value function as estimators see it: keep-masks in, values out; deduplicated, counted, within a
budget, reporting progress.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution_settings import Budget as Budget
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Value = Callable[["NDArray[np.bool_]"], "NDArray[np.float64]"]
"""Keep-masks (k, n) of bool to values (k,), or (k, m) with one column per target token; the target's value
is their sum.
"""
ProgressCallback = Callable[[int, "int | None"], object]
"""Called with evaluations done and planned (`None`: not known); returning False cancels."""


class CancelledError(AttributionError):
    """The progress callback returned False."""


class BudgetError(AttributionError):
    """The budget does not pay for what the method needs."""


class NoMasksError(AttributionError):
    """The baseline exists among embeddings only: no prompt has it in place of a segment."""


class PartialError(AttributionError):
    """The calls stopped before every mask had its answer; what was answered is here."""

    def __init__(self, why: str, done: NDArray[np.bool_], values: NDArray[np.float64]) -> None:
        super().__init__(f"{why}; {int(done.sum())} of {len(done)} perturbed prompts were answered")
        self.done = done
        """(k,): which masks have a value."""
        self.values = values
        """Values of these."""


def as_budget(given: int | Budget | None) -> Budget | None:
    """Return the budget that was meant: an int counts evaluations."""
    return Budget(evaluations=given) if isinstance(given, int) else given


class Metered:
    """A value function that asks its source once for each distinct mask.

    Args:
        source: the value function; its attributes `passes`, `tokens` and `unmasked` (prompts that a method
            asked it for without a mask), where it has them, are what was spent.
        budget: limits; `tokens` and `seconds` are held by the mean cost so far, so that a round may go over
            by one round.
        progress: see `Progress`.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        source: Value,
        *,
        budget: Budget | None = None,
        progress: ProgressCallback | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source = source
        self.budget = budget or Budget()
        self._progress = progress
        self._clock = clock
        self._begin = clock()
        self._known: dict[bytes, NDArray[np.float64]] = {}
        self._planned: int | None = None

    @property
    def evaluations(self) -> int:
        """Distinct masks that were evaluated, and prompts without a mask, as gradient methods ask for."""
        return len(self._known) + int(getattr(self.source, "unmasked", 0))

    @property
    def passes(self) -> int:
        """Perturbed prompts that went through the model."""
        return int(getattr(self.source, "passes", self.evaluations))

    @property
    def tokens(self) -> int:
        """Tokens that went through the model."""
        return int(getattr(self.source, "tokens", 0))

    @property
    def seconds(self) -> float:
        """Time since the first evaluation could begin."""
        return self._clock() - self._begin

    def expect(self, evaluations: int) -> None:
        """Tell the progress callback how many evaluations are planned."""
        self._planned = evaluations

    def room(self) -> int | None:
        """Return how many evaluations the budget still pays for, `None` for as many as you like."""
        done, b = self.evaluations, self.budget
        limits = [] if b.evaluations is None else [b.evaluations - done]
        for limit, spent in ((b.tokens, self.tokens), (b.seconds, self.seconds)):
            if limit is not None and done:
                limits.append(int((limit - spent) / max(spent / done, 1e-9)))
        own = get_remaining(self.source)  # of a remote model, whose calls are what costs
        limits += [] if own is None else [own]
        return max(0, min(limits)) if limits else None

    def anew(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the values of masks (k, n), equal ones asked again where the source's answers vary."""
        ask = getattr(self.source, "anew", None)
        if ask is None:
            return self(masks)
        self._afford(len(masks))
        return np.asarray(ask(masks), dtype=np.float64)

    def seen(self, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which masks (k, n) have been evaluated, (k,)."""
        return np.array([np.packbits(mask).tobytes() in self._known for mask in masks], dtype=bool)

    def __call__(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        keys = [np.packbits(mask).tobytes() for mask in masks]
        first = {key: i for i, key in reversed(list(enumerate(keys))) if key not in self._known}
        fresh = sorted(first.values())
        self._afford(len(fresh))
        if fresh:
            values = np.asarray(self.source(masks[fresh]), dtype=np.float64)
            if not np.isfinite(values).all():
                raise AttributionError(
                    "the model returned NaN or infinite log-probabilities; load it in bfloat16 or float32 "
                    "(float16 overflows)"
                )
            self._known.update({keys[i]: row for i, row in zip(fresh, values, strict=True)})
        if self._progress is not None and self._progress(self.evaluations, self._planned) is False:
            raise CancelledError(f"cancelled after {self.evaluations} evaluations")
        return np.stack([self._known[key] for key in keys])

    def _afford(self, wanted: int) -> None:
        room = self.room()
        if room is not None and wanted > room:
            raise BudgetError(
                f"the budget pays for {room} more evaluations and the method needs {wanted} now; raise the "
                f"budget or take larger segments"
            )


class Capped:
    """A value function that pays for fewer evaluations than its own budget does."""

    def __init__(self, value: Value, most: int) -> None:
        self._value = value
        self.source = getattr(value, "source", value)
        self._asked = 0
        self._last = self.evaluations + most

    @property
    def evaluations(self) -> int:
        """Evaluations of the value function below, whoever asked for them; of a plain function the masks
        that went through here.
        """
        return int(getattr(self._value, "evaluations", self._asked))

    def room(self) -> int:
        """Return how many evaluations are left."""
        left, own = get_remaining(self._value), max(0, self._last - self.evaluations)
        return own if left is None else min(left, own)

    def __call__(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        self._asked += len(masks)
        return self._value(masks)


def get_remaining(value: Any) -> int | None:
    """Return how many evaluations a value function still pays for; plain functions have no limit."""
    ask = getattr(value, "room", None)
    return ask() if ask is not None else None


def resample_values(value: Any, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the values of masks, equal ones as independent draws where the model's answers vary."""
    ask = getattr(value, "anew", value)
    return np.asarray(ask(masks))


def expect(value: Any, evaluations: int) -> None:
    """Announce the number of evaluations to a value function that wants to know."""
    tell = getattr(value, "expect", None)
    if tell is not None:
        tell(evaluations)


def sum_targets(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the value of the whole target, (k,), from (k,) or (k, m)."""
    return values if values.ndim == 1 else values.sum(axis=1)
