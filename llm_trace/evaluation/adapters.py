"""Scorers of other libraries as scorers here: `autoevals` and `pydantic-evals`."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType
from typing import Any

from llm_trace.errors import ConfigurationError, MissingExtraError
from llm_trace.evaluation.grades import Grade, Graded, Scorer
from llm_trace.evaluation.instances import Instance
from llm_trace.evaluation.judge_prompts import write_question
from llm_trace.record import ScoreSource

COMMENTS = ("rationale", "reason", "choice")
"""What autoevals says besides a score, in the order in which it is a comment."""


def from_autoevals(
    scorer: Any, *, arguments: Callable[[Instance], Mapping[str, Any]] | None = None
) -> Scorer:
    """Return a scorer of autoevals as a scorer here; `pip install 'llm-trace[autoevals]'`.

    It is called with `output`, `expected` and `input` (the question).

    Args:
        scorer: such as `autoevals.Levenshtein()`, its class, or its name.
        arguments: further ones of the scorer for an instance, such as `context=` of a scorer for retrieval.

    Raises:
        MissingExtraError: autoevals is not installed.
        ConfigurationError: it has no such scorer.
    """
    instance_scorer = _make_scorer(scorer, _import("autoevals", "autoevals"))
    name = type(instance_scorer).__name__
    source: ScoreSource = "model" if hasattr(instance_scorer, "client") else "code"

    def score(output: Any, instance: Instance) -> Grade:
        further: Mapping[str, Any] = {} if arguments is None else arguments(instance)
        fields = {"input": write_question(instance), **further}
        result = instance_scorer.eval(output=output, expected=instance.expected, **fields)
        if result.score is None:
            raise ValueError(f"{name} gave no score: {result.metadata or 'it skipped the answer'}")
        comments = (result.metadata.get(key) for key in COMMENTS)
        comment = next((str(each) for each in comments if each), None)
        return Grade(value=result.score, comment=comment, source=source)

    score.__name__ = name
    return score


def from_pydantic_evals(evaluator: Any, *, metadata: Callable[[Instance], Any] | None = None) -> Scorer:
    """Return an evaluator of pydantic-evals as a scorer here; `pip install 'llm-trace[pydantic-evals]'`.

    Its context has the instance's id, input and expected answer, and the output. How long the call took and
    which spans it has stand in the store, not in the context.

    Args:
        evaluator: such as `EqualsExpected()`, its class, or its name.
        metadata: that of the case for an instance; by default the values of its slots.

    Raises:
        MissingExtraError: pydantic-evals is not installed.
        ConfigurationError: it has no such evaluator, or one that measures times.
    """
    evaluators = _import("pydantic_evals.evaluators", "pydantic-evals")
    errors = _import("pydantic_evals.otel._errors", "pydantic-evals")  # public in later versions only
    scorer = _make_scorer(evaluator, evaluators)
    name = type(scorer).__name__
    if name == "MaxDuration":
        raise ConfigurationError(
            "MaxDuration needs times, which stand in the store: SELECT max(end_ns - start_ns) FROM calls"
        )
    source: ScoreSource = "model" if name in ("LLMJudge", "GEval") else "code"
    reason = errors.SpanTreeRecordingError("the spans of an evaluation stand in the store of llm_trace")

    def score(output: Any, instance: Instance) -> Graded | Awaitable[Graded]:
        context = evaluators.EvaluatorContext(
            name=instance.id, inputs=instance.input, output=output, expected_output=instance.expected,
            metadata=instance.slots if metadata is None else metadata(instance), duration=0.0,
            _span_tree=reason, attributes={}, metrics={},
        )  # fmt: skip
        result = scorer.evaluate(context)
        return _read_later(result, source) if inspect.isawaitable(result) else _read_result(result, source)

    score.__name__ = name
    return score


async def _read_later(result: Awaitable[Any], source: ScoreSource) -> Graded:
    return _read_result(await result, source)


def _read_result(result: Any, source: ScoreSource) -> Graded:
    if isinstance(result, Mapping):
        return {str(name): _read_grade(value, source) for name, value in result.items()}
    return _read_grade(result, source)


def _read_grade(value: Any, source: ScoreSource) -> Grade:
    plain, reason = (value.value, value.reason) if hasattr(value, "reason") else (value, None)
    if isinstance(plain, str):
        raise ValueError(f"the evaluator gave the label {plain!r}, which is no score")  # noqa: TRY004
    return Grade(value=plain, comment=reason, source=source)


def _import(module: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as exc:
        raise MissingExtraError(f"{exc.name} is not installed: pip install 'llm-trace[{extra}]'") from exc


def _make_scorer(scorer: Any, module: ModuleType) -> Any:
    """Return a scorer of itself, its class or its name."""
    method = "eval" if module.__name__ == "autoevals" else "evaluate"
    if isinstance(scorer, str):
        known = [
            name for name, each in vars(module).items() if inspect.isclass(each) and hasattr(each, method)
        ]
        if scorer not in known:
            near = difflib.get_close_matches(scorer, known, 3) or sorted(known)
            raise ConfigurationError(
                f"{module.__name__} has no scorer {scorer!r}: there are {', '.join(near)}"
            )
        scorer = getattr(module, scorer)
    scorer = scorer() if inspect.isclass(scorer) else scorer
    if not callable(getattr(scorer, method, None)):
        raise ConfigurationError(f"{scorer!r} is no scorer of {module.__name__}: it has no {method}()")
    return scorer


__all__ = ["from_autoevals", "from_pydantic_evals"]
