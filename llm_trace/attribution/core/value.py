"""The value function as estimators see it: keep-masks in, values out; deduplicated, within a budget."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np

from llm_trace.attribution_settings import Budget as Budget
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Value = Callable[["NDArray[np.bool_]"], "NDArray[np.float64]"]
"""Keep-masks (k, n) to values (k,), or (k, m): a column per target token, whose sum is the value."""
ProgressCallback = Callable[[int, "int | None"], object]
"""Called with evaluations done and planned (`None`: not known); returning False cancels."""


Capability = Literal["resample", "vanishes", "inside", "remote"]
"""`resample`: equal masks asked again are independent draws; `vanishes`: no prompt is left of an empty mask;
`inside`: embeddings, gradients and attention of an open model; `remote`: each evaluation is a paid call.
"""


@runtime_checkable
class ValueFunction(Protocol):
    """What estimators and checks ask for values: its budget, what it has spent and what it can do."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What else it can do."""

    @property
    def passes(self) -> int:
        """Perturbed prompts that went through the model."""

    @property
    def tokens(self) -> int:
        """Tokens that went through the model."""

    @property
    def unmasked(self) -> int:
        """Prompts that were asked for without a mask, as gradient methods do."""

    def __call__(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the values (k,) or (k, m) of keep-masks (k, n)."""

    def resample(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the values of keep-masks, equal ones as independent draws where the answers vary."""

    def remaining(self) -> int | None:
        """Return how many evaluations the budget still pays for, `None` without a limit."""

    def expect(self, evaluations: int) -> None:
        """Take note of how many evaluations are planned."""


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


class _Around:
    """What stands around a value function and passes on what that can do and has spent."""

    _value: ValueFunction

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What the value function below can do."""
        return self._value.capabilities

    @property
    def passes(self) -> int:
        """Perturbed prompts that went through the model."""
        return self._value.passes

    @property
    def tokens(self) -> int:
        """Tokens that went through the model."""
        return self._value.tokens

    @property
    def unmasked(self) -> int:
        """Prompts that were asked for without a mask."""
        return self._value.unmasked


class Metered(_Around):
    """A value function that asks its source once for each distinct mask.

    Args:
        source: the value function, or a plain callable.
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
        self._value = as_value_function(source)
        self.budget = budget or Budget()
        self._progress = progress
        self._clock = clock
        self._begin = clock()
        self._known: dict[bytes, NDArray[np.float64]] = {}
        self._planned: int | None = None

    @property
    def evaluations(self) -> int:
        """Distinct masks that were evaluated, and prompts without a mask, as gradient methods ask for."""
        return len(self._known) + self.unmasked

    @property
    def seconds(self) -> float:
        """Time since the first evaluation could begin."""
        return self._clock() - self._begin

    def expect(self, evaluations: int) -> None:
        """Tell the progress callback how many evaluations are planned."""
        self._planned = evaluations

    def remaining(self) -> int | None:
        """Return how many evaluations the budget still pays for, `None` for as many as you like."""
        done, b = self.evaluations, self.budget
        limits = [] if b.evaluations is None else [b.evaluations - done]
        for limit, spent in ((b.tokens, self.tokens), (b.seconds, self.seconds)):
            if limit is not None and done:
                limits.append(int((limit - spent) / max(spent / done, 1e-9)))
        own = self._value.remaining()
        limits += [] if own is None else [own]
        return max(0, min(limits)) if limits else None

    def resample(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the values of masks (k, n), equal ones asked again where the source's answers vary."""
        if "resample" not in self.capabilities:
            return self(masks)
        self._afford(len(masks))
        return np.asarray(self._value.resample(masks), dtype=np.float64)

    def find_evaluated(self, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which masks (k, n) have been evaluated, (k,)."""
        return np.array([np.packbits(mask).tobytes() in self._known for mask in masks], dtype=bool)

    def __call__(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        keys = [np.packbits(mask).tobytes() for mask in masks]
        first = {key: i for i, key in reversed(list(enumerate(keys))) if key not in self._known}
        fresh = sorted(first.values())
        self._afford(len(fresh))
        if fresh:
            values = np.asarray(self._value(masks[fresh]), dtype=np.float64)
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
        room = self.remaining()
        if room is not None and wanted > room:
            raise BudgetError(
                f"the budget pays for {room} more evaluations and the method needs {wanted} now; raise the "
                f"budget or take larger segments"
            )


class Capped(_Around):
    """A value function that pays for fewer evaluations than its own budget does."""

    def __init__(self, value: Value, most: int) -> None:
        self.source: Value = value.source if isinstance(value, Metered | Capped) else value
        self._value = as_value_function(value)
        self._asked = 0
        self._last = self.evaluations + most

    @property
    def evaluations(self) -> int:
        """Evaluations of the value function below, whoever asked for them; of one that counts none the
        masks that went through here.
        """
        return self._value.evaluations if isinstance(self._value, Metered | Capped) else self._asked

    def remaining(self) -> int:
        """Return how many evaluations are left."""
        left, own = self._value.remaining(), max(0, self._last - self.evaluations)
        return own if left is None else min(left, own)

    def expect(self, evaluations: int) -> None:
        """Announce the number of evaluations to the value function below."""
        self._value.expect(evaluations)

    def resample(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the values of masks (k, n), equal ones asked again where the answers vary."""
        self._asked += len(masks)
        return self._value.resample(masks)

    def __call__(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        self._asked += len(masks)
        return self._value(masks)


class PlainValue:
    """A plain function of keep-masks as a value function: without a budget, answering the same each time."""

    capabilities: frozenset[Capability] = frozenset()
    tokens = 0
    unmasked = 0

    def __init__(self, function: Value) -> None:
        self._function = function
        self.passes = 0

    def __call__(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        self.passes += len(masks)
        return np.asarray(self._function(masks))

    resample = __call__

    def remaining(self) -> int | None:
        """Return `None`: there is no limit."""
        return None

    def expect(self, evaluations: int) -> None:
        """Take no notice."""


def as_value_function(value: Value) -> ValueFunction:
    """Return a value function as it is, and a plain callable as one."""
    return value if isinstance(value, ValueFunction) else PlainValue(value)


def unwrap_value(value: Value) -> Value:
    """Return the value function that budgets and caps were put around."""
    while isinstance(value, Metered | Capped):
        value = value.source
    return value


def get_remaining(value: Value) -> int | None:
    """Return how many evaluations a value function still pays for; plain functions have no limit."""
    return as_value_function(value).remaining()


def resample_values(value: Value, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the values of masks, equal ones as independent draws where the model's answers vary."""
    return as_value_function(value).resample(masks)


def expect(value: Value, evaluations: int) -> None:
    """Announce the number of evaluations to a value function that wants to know."""
    as_value_function(value).expect(evaluations)


def sum_targets(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the value of the whole target, (k,), from (k,) or (k, m)."""
    return values if values.ndim == 1 else values.sum(axis=1)
