"""Student's t against figures of another implementation, and the published table of its quantiles."""

from __future__ import annotations

import numpy as np
import pytest

from llm_trace.statistics.student import compute_t_p_value, compute_t_p_values, compute_t_quantile

P_VALUES = {
    1: (0.8144528418445155, 0.2951672353008659, 0.07044657495455442),
    2.5: (0.7873423714951976, 0.15739149575796538, 0.0057479061836080555),
    7: (0.7728900504021345, 0.08561932856296187, 4.265700921124315e-05),
    40: (0.7657307167710178, 0.052322343215036995, 3.680164471706153e-11),
    900: (0.7642464307496076, 0.045800371380494406, 1.315744241341986e-18),
}


@pytest.mark.parametrize("freedom", P_VALUES)
def test_p_values_are_two_sided(freedom: float) -> None:
    p_values = tuple(compute_t_p_value(t, freedom) for t in (0.3, -2.0, 9.0))
    assert p_values == pytest.approx(P_VALUES[freedom], abs=1e-11)
    assert (compute_t_p_value(0.0, freedom), compute_t_p_value(np.inf, freedom)) == (1.0, 0.0)


def test_what_has_no_error_is_zero_or_is_not() -> None:
    scores, errors = np.array([1.0, -0.5, 0.0, 2.0]), np.array([0.5, 0.2, 0.0, 0.0])
    p_values = compute_t_p_values(scores, errors, np.array([3, 8, 5, 5]))
    assert p_values == pytest.approx([0.13932596855884102, 0.036942037713622394, 1.0, 0.0], abs=1e-12)


def test_quantiles_are_those_of_the_published_table() -> None:
    table = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 10: 2.228, 30: 2.042, 120: 1.980}
    assert {n: round(compute_t_quantile(0.95, n), 3) for n in table} == table


def test_quantiles_of_rare_levels_over_few_degrees_are_not_too_small() -> None:
    table = {2: 31.599, 3: 12.924, 4: 8.610, 5: 6.869, 8: 5.041}
    assert {n: round(compute_t_quantile(0.999, n), 3) for n in table} == table
