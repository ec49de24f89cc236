"""Over many calls of one prompt, and pictures of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llm_trace.attribution.studies.aggregate import aggregate
from llm_trace.errors import AttributionError
from llm_trace.record import Attribution, Segment


def made(values: list[float], **fields: object) -> Attribution:
    """An attribution of "You are kind. {question}" for one call."""
    texts = [("You", "word", None), ("are kind.", "word", None), ("why?", "variable", "question")]
    segments = tuple(
        Segment(start=10 * i, end=10 * i + len(t), text=t, kind=k, name=n)
        for i, (t, k, n) in enumerate(texts)
    )
    given = {
        "method": "occlusion",
        "bounds": "exact",
        "prompt": "p",
        "response": "r",
        "target": "t",
        "baseline": "delete",
    }
    return Attribution.model_validate(given | {"segments": segments, "values": tuple(values)} | fields)


def test_the_mean_over_calls_has_bounds_and_a_verdict() -> None:
    rng = np.random.default_rng(2)
    calls = [made([0.01 * rng.normal(), rng.normal() * 3, 4 + rng.normal()]) for _ in range(40)]
    found = aggregate(calls)
    question, kind, you = found.parts
    assert [p.name for p in found.parts] == ["question", "are kind.", "You"]
    assert question.verdict == "supports"
    assert question.low is not None
    assert question.high is not None
    assert 3.4 < question.low < 4 < question.high < 4.6
    assert (kind.verdict, you.verdict) == ("unclear", "negligible"), (
        "helps here and hinders there: not nothing"
    )
    assert question.q_value is not None
    assert question.q_value < 1e-6
    assert found.summary() == (
        f"Over 40 calls: 'question' supports the answer ({question.mean:+.2g} nats); 'You' never mattered."
    )


def test_bounds_hold_the_true_mean_as_often_as_they_say() -> None:
    rng, held = np.random.default_rng(1), 0
    for _ in range(400):
        (part,) = (
            p for p in aggregate([made([0, 0, x]) for x in rng.normal(1, 1, 8)]).parts if p.name == "question"
        )
        assert part.low is not None
        assert part.high is not None
        held += part.low <= 1 <= part.high
    assert 0.92 <= held / 400 <= 0.98


def test_what_is_no_evidence_is_left_out_and_counted() -> None:
    found = aggregate([made([1, 2, 3])] * 3 + [made([9, 9, 9], verdict="insufficient_evidence")])
    assert (found.calls, found.left_out, found.parts[0].mean) == (3, 1, 3.0)
    with pytest.raises(AttributionError, match="none of 1"):
        aggregate([made([1, 1, 1], verdict="redacted_input")])
    with pytest.raises(AttributionError, match="do not mean the same"):
        aggregate([made([1, 1, 1]), made([1, 1, 1], method="shapley")])


def test_few_calls_have_no_bounds() -> None:
    assert {(p.low, p.verdict) for p in aggregate([made([1, 2, 3])] * 2).parts} == {(None, "unclear")}


def test_a_picture_is_written_and_hostile_text_is_no_formula(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from llm_trace.attribution.studies.plot import save

    hostile = made([1, -2, 3], response="$\\frac{", low=(0.5, -3, 2), high=(2, -1, 4))
    save(hostile, tmp_path / "a.svg")
    save(hostile, tmp_path / "a.png")
    assert "<svg" in (tmp_path / "a.svg").read_text()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
