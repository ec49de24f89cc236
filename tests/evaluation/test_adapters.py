"""Scorers of autoevals and pydantic-evals, as scorers here."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import pytest

from llm_trace import evaluate
from llm_trace.errors import ConfigurationError, MissingExtraError
from llm_trace.evaluation import Grade, Instance, from_autoevals, from_pydantic_evals
from tests.conftest import Recorded
from tests.helpers.evaluation_toys import answer, make_desk

INSTANCE = Instance(id="a/1", scenario="a", input={"question": "Which?"}, expected="kitten", slots={"n": 3})


@pytest.mark.parametrize("library", ["autoevals", "pydantic-evals"])
def test_without_the_library_the_extra_is_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library.replace("-", "_"), None)
    adapt = from_autoevals if library == "autoevals" else from_pydantic_evals
    with pytest.raises(MissingExtraError, match=rf"pip install 'llm-trace\[{library}\]'"):
        adapt("Levenshtein")


def test_scorers_of_autoevals_score_here(store: Recorded) -> None:
    autoevals = pytest.importorskip("autoevals")
    for form in (autoevals.Levenshtein(), autoevals.Levenshtein, "Levenshtein"):
        grade = from_autoevals(form)("sitten", INSTANCE)
        assert isinstance(grade, Grade)
        assert grade.value == pytest.approx(5 / 6)
    evaluation = evaluate(answer, make_desk(), from_autoevals("ExactMatch"), n=2)
    assert evaluation.dimension("ExactMatch").value == 1.0


def test_a_scorer_of_autoevals_gets_question_and_arguments_and_must_give_a_score() -> None:
    autoevals = pytest.importorskip("autoevals")
    seen: list[dict[str, Any]] = []

    class Helpful(autoevals.Scorer):  # type: ignore[misc,name-defined]
        score: float | None = 0.25

        def _run_eval_sync(self, output: Any, expected: Any = None, **fields: Any) -> Any:
            seen.append({"output": output, "expected": expected, **fields})
            return autoevals.Score(name="x", score=self.score, metadata={"rationale": "it is short"})

    helpful = Helpful()
    scorer = from_autoevals(helpful, arguments=lambda instance: {"context": instance.slots["n"]})
    assert scorer("cat", INSTANCE) == Grade(value=0.25, comment="it is short")
    assert seen == [{"output": "cat", "expected": "kitten", "input": "Which?", "context": 3}]
    helpful.score = None
    with pytest.raises(ValueError, match="Helpful gave no score: {'rationale': 'it is short'}"):
        scorer("cat", INSTANCE)


def test_evaluators_of_pydantic_evals_score_here(store: Recorded) -> None:
    evaluators = pytest.importorskip("pydantic_evals.evaluators")
    for form in (evaluators.EqualsExpected(), evaluators.EqualsExpected, "EqualsExpected"):
        assert from_pydantic_evals(form)("kitten", INSTANCE) == Grade(value=True)
    contains = from_pydantic_evals(evaluators.Contains("dog"))("cat", INSTANCE)
    assert isinstance(contains, Grade)
    assert (contains.value, "does not contain" in str(contains.comment)) == (False, True)

    @dataclass
    class Later(evaluators.Evaluator):  # type: ignore[misc,name-defined]
        async def evaluate(self, ctx: Any) -> Any:
            assert (ctx.inputs["waited"], ctx.metadata["waited"]) == (
                ctx.metadata["waited"],
                ctx.inputs["waited"],
            )
            right = ctx.output == ctx.expected_output
            return {"right": right, "size": evaluators.EvaluationReason(0.5, reason="half")}

    evaluation = evaluate(answer, make_desk(), from_pydantic_evals(Later()), n=2)
    assert [(each.name, each.value) for each in evaluation.dimensions] == [
        ("Later.right", 1.0),
        ("Later.size", 0.5),
    ]
    assert evaluation.outcomes[0].comments == {"Later.size": "half"}


def test_what_an_evaluator_cannot_know_here_is_refused_with_words() -> None:
    evaluators = pytest.importorskip("pydantic_evals.evaluators")
    with pytest.raises(ConfigurationError, match="times, which stand in the store"):
        from_pydantic_evals(evaluators.MaxDuration(seconds=1))
    with pytest.raises(ConfigurationError, match="no scorer 'EqualExpected': there are EqualsExpected"):
        from_pydantic_evals("EqualExpected")
    with pytest.raises(ConfigurationError, match="3 is no scorer of pydantic_evals.evaluators"):
        from_pydantic_evals(3)

    @dataclass
    class Label(evaluators.Evaluator):  # type: ignore[misc,name-defined]
        def evaluate(self, ctx: Any) -> str:
            return "good"

    with pytest.raises(ValueError, match="gave the label 'good', which is no score"):
        from_pydantic_evals(Label())("cat", INSTANCE)
    with pytest.raises(Exception, match="stand in the store of llm_trace"):
        from_pydantic_evals(evaluators.HasMatchingSpan({"name_equals": "x"}))("cat", INSTANCE)
