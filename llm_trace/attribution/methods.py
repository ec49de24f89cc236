"""The hub: attribution methods by name, ours and those of other packages (entry point group `llm_trace.methods`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GROUP = "llm_trace.methods"


@dataclass(frozen=True)
class Scores:
    """What a method found."""

    values: NDArray[np.float64]
    """(n,) in the unit of the value function; positive supports the target."""
    matrix: NDArray[np.float64] | None = None
    """(m, n), one row per target token; its rows sum to `values`."""
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None
    bounds: str = "exact"
    """What `low` and `high` bound and how; `exact` without sampling."""
    stopped: str = "exact"
    """`exact`, `tight` or `budget`."""
    full: float | None = None
    """Value with every segment."""
    empty: float | None = None
    """Value with none."""
    p_values: NDArray[np.float64] | None = None
    faithfulness: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


Method = Callable[..., Scores]
"""`method(value, n, *, confidence, seed) -> Scores`. `value` is a `value.Value`; methods that sample ask `value.room(value)` between
rounds. Methods that need more than values find the `LocalValue` at `value.source`. An attribute `info` of type `Info` is welcome."""


@dataclass(frozen=True)
class Info:
    """What `llm-trace methods` shows."""

    name: str
    access: str
    """What it needs of the model: `values` (forward passes or answers), `gradients`, `attention`."""
    cost: str
    """Evaluations, as a formula in n."""
    source: str
    """Citation."""
    package: str = "llm_trace"


BUILTIN: dict[str, str] = {
    "occlusion": "llm_trace.attribution.estimators:occlusion",
    "shapley": "llm_trace.attribution.estimators:shapley",
    "permutation": "llm_trace.attribution.sampling:permutation",
    "kernel_shap": "llm_trace.attribution.sampling:kernel_shap",
    "leverage_shap": "llm_trace.attribution.sampling:leverage_shap",
    "lime": "llm_trace.attribution.surrogates:lime",
    "context_cite": "llm_trace.attribution.surrogates:context_cite",
}


def described(name: str, *, access: str, cost: str, source: str) -> Callable[[Method], Method]:
    """Attach an `Info` to a method."""

    def mark(method: Method) -> Method:
        method.info = Info(name, access, cost, source)  # type: ignore[attr-defined]
        return method

    return mark


@cache
def _foreign() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def names() -> list[str]:
    """Return the names of all installed methods."""
    return [*BUILTIN, *(name for name in _foreign() if name not in BUILTIN)]


def find(name: str) -> Method:
    """Return the method of that name; ours come first.

    Raises:
        AttributionError: unknown, or a package's method that cannot be imported.
    """
    if name in BUILTIN:
        module, _, attribute = BUILTIN[name].partition(":")
        return getattr(import_module(module), attribute)  # type: ignore[no-any-return]
    if name not in _foreign():
        raise AttributionError(f"method {name!r} is unknown; choose one of auto, {', '.join(names())}")
    point = _foreign()[name]
    try:
        return point.load()  # type: ignore[no-any-return]
    except Exception as exc:
        raise AttributionError(f"method {name!r} ({point.value}) cannot be imported: {exc}") from exc


def info(name: str) -> Info:
    """Return what is known of a method."""
    found = getattr(find(name), "info", None)
    if isinstance(found, Info):
        return found
    point = _foreign().get(name)
    package = point.dist.name if point is not None and point.dist is not None else "?"
    return Info(name, "values", "?", "", package)


def choose(n: int, room: int | None) -> str:
    """Return the method that `auto` takes for n segments and this many evaluations."""
    if n <= 8 and (room is None or room >= 2**n):
        return "shapley"
    return "occlusion"
