"""False discovery rates against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from llm_trace.statistics.multiple_tests import correct_benjamini_hochberg, correct_tested


def test_q_values_grow_with_their_p_values() -> None:
    p_values = np.array([0.04, 0.001, 0.2, 0.04, 0.9, 0.013, 1.0, 0.0])
    expected = [0.064, 0.004, 0.8 / 3, 0.064, 1.0, 0.104 / 3, 1.0, 0.0]
    assert correct_benjamini_hochberg(p_values) == pytest.approx(expected, abs=1e-12)


def test_a_test_alone_or_none_needs_no_correction() -> None:
    assert correct_benjamini_hochberg(np.array([0.3])).tolist() == [0.3]
    assert correct_benjamini_hochberg(np.array([])).tolist() == []


def test_untested_metrics_do_not_count_in_the_correction() -> None:
    assert correct_tested([0.01, None, 0.04]) == [pytest.approx(0.02), None, pytest.approx(0.04)]
    assert correct_tested([None]) == [None]
