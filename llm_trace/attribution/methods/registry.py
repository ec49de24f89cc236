"""Attribution methods by name, ours and those of other packages (entry points `llm_trace.methods`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from llm_trace.attribution.core import plugins
from llm_trace.statistics.multiple_tests import correct_benjamini_hochberg

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from llm_trace.record import Verdict


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
    """(n,), not corrected for n tests: the q-values are computed from them when the record is built."""
    faithfulness: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    unit: str | None = None
    """Where it is not the value function's: `gradient` (nats per unit of embedding), `share`."""
    baseline: str | None = None
    """Where the method brings its own; `empty` is its value then."""
    method: str | None = None
    """Whose meaning the scores have, where the method chose another."""
    doubts: tuple[tuple[Verdict, str], ...] = ()
    """Reasons for mistrust that the method found itself: verdict and warning."""


Method = Callable[..., Scores]
"""`method(value, n, *, confidence, seed) -> Scores`. `value` is a `core.value.Value`; methods that sample ask
`get_remaining(value)` between rounds. Methods that need more than values get the `OpenValue` from
`unwrap_value(value)`. An attribute `info` of type `Info` is welcome.
"""


@dataclass(frozen=True)
class Info:
    """What `llm-trace methods` shows."""

    name: str
    access: str
    """What it needs of the model: `values` (forward passes or answers), `answers` (to any question, in
    words), `tokens` (forward passes of token ids), `gradients`, `attention`.
    """
    cost: str
    """Evaluations, as a formula in n."""
    source: str
    """Citation."""
    package: str = "llm_trace"


BUILTIN: dict[str, str] = {
    "occlusion": "llm_trace.attribution.methods.exact:occlusion",
    "shapley": "llm_trace.attribution.methods.exact:shapley",
    "permutation": "llm_trace.attribution.methods.shapley_sampling:permutation",
    "kernel_shap": "llm_trace.attribution.methods.shapley_sampling:kernel_shap",
    "leverage_shap": "llm_trace.attribution.methods.shapley_sampling:leverage_shap",
    "lime": "llm_trace.attribution.methods.lime:lime",
    "context_cite": "llm_trace.attribution.methods.context_cite:context_cite",
    "smile": "llm_trace.attribution.methods.smile:smile",
    "answer_sets": "llm_trace.attribution.methods.answer_sets:answer_sets",
    "self_report": "llm_trace.attribution.methods.self_report:self_report",
    "gsmile_published": "llm_trace.attribution.methods.smile:gsmile_published",
    "saliency": "llm_trace.attribution.methods.gradients:saliency",
    "input_x_gradient": "llm_trace.attribution.methods.gradients:input_x_gradient",
    "integrated_gradients": "llm_trace.attribution.methods.gradients:integrated_gradients",
    "sig": "llm_trace.attribution.methods.sequential_gradients:sig",
    "sig_word": "llm_trace.attribution.methods.sequential_gradients:sig_word",
    "sig_normalised": "llm_trace.attribution.methods.sequential_gradients:sig_normalised",
    "sig_integral": "llm_trace.attribution.methods.sequential_gradients:sig_integral",
    "attention": "llm_trace.attribution.methods.attention:attention",
    "routes": "llm_trace.attribution.methods.information_flow:routes",
}


@runtime_checkable
class DescribedMethod(Protocol):
    """A method that `describe_method` has told about."""

    info: Info


def describe_method(name: str, *, access: str, cost: str, source: str) -> Callable[[Method], Method]:
    """Attach an `Info` to a method."""

    def mark(method: Method) -> Method:
        method.info = Info(name, access, cost, source)  # type: ignore[attr-defined]
        return method

    return mark


def list_methods() -> list[str]:
    """Return the names of all installed methods."""
    return plugins.list_names(plugins.METHODS, BUILTIN)


def find_method(name: str) -> Method:
    """Return the method of that name; ours come first.

    Raises:
        AttributionError: unknown, or a package's method that cannot be imported.
    """
    known = {"auto": "llm_trace.attribution.methods.auto:auto", **BUILTIN}
    return plugins.find_plugin(plugins.METHODS, name, known, "method")  # type: ignore[no-any-return]


def get_info(name: str) -> Info:
    """Return what is known of a method."""
    method: object = find_method(name)
    if isinstance(method, DescribedMethod) and isinstance(method.info, Info):
        return method.info
    return Info(name, "values", "?", "", plugins.find_package(plugins.METHODS, name, BUILTIN))


def list_recorded_fields(scores: Scores) -> dict[str, Any]:
    """Return the fields of an `Attribution` that the method itself fills."""
    q_values = None if scores.p_values is None else correct_benjamini_hochberg(scores.p_values)
    rows = {"low": scores.low, "high": scores.high, "p_values": scores.p_values, "q_values": q_values}
    return {
        "values": _make_floats(scores.values),
        "matrix": None if scores.matrix is None else tuple(_make_floats(row) for row in scores.matrix),
        **{name: None if row is None else _make_floats(row) for name, row in rows.items()},
        "bounds": scores.bounds,
        "stopped": scores.stopped,
        "full": scores.full,
    }


def _make_floats(row: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(x) for x in row)
