"""The tools `why` and `bisect`: the step that caused a decision, the hunk of a change that broke answers.

Both make the model decide again, in a process of its own, by functions that the user named; no tool of the
program runs.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import Field

from llm_trace.errors import ConfigurationError, ReplayError
from llm_trace.mcp.answers import MoreRequest, ToolAnswer
from llm_trace.mcp.jobs import JobId, WaitSeconds
from llm_trace.mcp.replay import find_named_function
from llm_trace.mcp.values import CallId, drop_empty
from llm_trace.mcp.workbench import ToolQuestion, Workbench
from llm_trace.rendering.formatting import count_things
from llm_trace.rendering.texts import cut_text

if TYPE_CHECKING:
    from llm_trace.causes.bisect_record import Bisection, BlamedHunk
    from llm_trace.causes.request import BisectRequest, CauseAnswer, WhyRequest
    from llm_trace.causes.why_record import Cause, Causes

TEXT = 300
"""Characters of a step or a hunk."""
NAMES = 200
"""Characters of a side's name."""


class WhyQuestion(ToolQuestion):
    """A call of a tool or a model, and what its causes may cost."""

    id: CallId = "last"
    repeats: int = Field(default=20, ge=1, le=200, description="At most so many reruns for each step.")
    budget: int = Field(default=200, ge=1, le=5000, description="At most so many calls of the model.")
    job: JobId = None
    wait_s: WaitSeconds = 45.0


class BisectQuestion(ToolQuestion):
    """Two sides of which the second is worse."""

    a: str | None = Field(default=None, max_length=NAMES, description="The good: a run or prompt@version.")
    b: str | None = Field(default=None, max_length=NAMES, description="The worse: the same.")
    metric: str | None = Field(
        default=None, max_length=NAMES,
        description="A score, higher is better; absent: whether an answer is that of a.",
    )  # fmt: skip
    budget: int = Field(default=200, ge=1, le=5000, description="At most so many calls that run for real.")
    words: bool = Field(default=False, description="Look for the words inside the hunks to blame, too.")
    job: JobId = None
    wait_s: WaitSeconds = 45.0


def answer_why(bench: Workbench, question: WhyQuestion) -> ToolAnswer:
    """Return the steps that caused a decision, with bounds, and what that cost.

    Raises:
        ConfigurationError: the user named no function that the call is of or ran inside.
        NotFoundError: there is no such call.
        ReplayError: it cannot be done, with the reason.
    """
    from llm_trace.causes.request import WhyRequest
    from llm_trace.stores.find import find_call

    if question.job is not None:
        return bench.jobs.follow("why", question.job, question.wait_s)
    with bench.store.hold():
        call = bench.store.call(find_call(bench.store, question.id).span_id)
        _, function = find_named_function(bench, call)
    request = WhyRequest(
        store=str(bench.store.path), functions=(function,), span_id=call.span_id, repeats=question.repeats,
        budget=question.budget,
    )  # fmt: skip
    return bench.jobs.begin("why", question.wait_s, partial(_explain, bench, request))


def answer_bisect(bench: Workbench, question: BisectQuestion) -> ToolAnswer:
    """Return the hunks to blame, with bounds, and what that cost.

    Raises:
        ConfigurationError: a side is missing, or the user named no function.
        ReplayError: it cannot be done, with the reason.
    """
    from llm_trace.causes.request import BisectRequest

    if question.job is not None:
        return bench.jobs.follow("bisect", question.job, question.wait_s)
    if question.a is None or question.b is None:
        raise ConfigurationError("name a, which is good, and b, which is worse, or a job")
    if not bench.functions:
        raise ConfigurationError(
            "nothing may run: the user names functions when starting the server (llm-trace mcp --function "
            "MODULE:FUNCTION)"
        )
    request = BisectRequest(
        store=str(bench.store.path), functions=bench.functions, a=question.a, b=question.b,
        metric=question.metric, budget=question.budget, words=question.words,
    )  # fmt: skip
    return bench.jobs.begin("bisect", question.wait_s, partial(_bisect, bench, request))


def _run(bench: Workbench, request: WhyRequest | BisectRequest) -> CauseAnswer:
    """Return what a process of its own answers.

    Raises:
        ReplayError: why it does not.
    """
    from llm_trace.causes.request import CauseAnswer

    env = {**os.environ, "LLM_TRACE_STORE": request.store}
    task = request.model_dump_json().encode()
    out = bench.jobs.run_process("llm_trace.causes.request", task, folder=bench.folder, env=env)
    bench.store.ingest()
    answer = CauseAnswer.model_validate_json(out)
    if answer.problem is not None:
        raise ReplayError(answer.problem)
    return answer


def _explain(bench: Workbench, request: WhyRequest) -> ToolAnswer:
    causes = _run(bench, request).causes
    if causes is None:
        raise ReplayError("the process answered something else")
    more = [MoreRequest(gives="the call that decided", tool="show", arguments={"id": causes.decided_by})]
    more += [
        MoreRequest(gives=f"the call that gave step {number}", tool="show", arguments={"id": step.span_id})
        for number, step in enumerate(causes.steps, 1)
        if step in causes.significant and step.span_id is not None
    ]
    recorded = {
        "call": causes.span_id,
        "decision": cut_text(causes.decision, TEXT),
        "steps": [_format_step(number, step) for number, step in enumerate(causes.steps, 1)],
        "chain": list(causes.chain),
        "notes": list(causes.notes),
    }
    return ToolAnswer(verdict=_conclude_causes(causes), more=tuple(more), recorded=drop_empty(recorded))


def _format_step(number: int, step: Cause) -> dict[str, Any]:
    row: dict[str, Any] = {
        "number": number,
        "label": step.label,
        "kind": step.kind,
        "text": cut_text(step.text, TEXT),
    }
    row |= {"given_by": step.span_id}
    if step.without.n:
        row |= {"without": str(step.without), "effect": step.effect, "low": step.low, "high": step.high}
        row |= {"q_value": step.q_value, "together": list(step.together)}
    return drop_empty(row)


def _conclude_causes(causes: Causes) -> str:
    """Return what was found, with the numbers of steps in place of their texts."""
    cost = f"It took {count_things(causes.calls, 'call')} of the model."
    if not causes.significant:
        return (
            f"No single step is shown to have caused it: with everything as it was {causes.control} reruns "
            f"decide so. {cost}"
        )
    numbers = {step.label: number for number, step in enumerate(causes.steps, 1)}
    parts = "; ".join(_describe_cause(step, numbers) for step in causes.significant)
    return (
        f"With everything as it was {causes.control} reruns decide so. Shown to have caused it, "
        f"{causes.confidence:.0%} sure over all steps: {parts}. {cost}"
    )


def _describe_cause(step: Cause, numbers: dict[str, int]) -> str:
    others = ", ".join(str(numbers[label]) for label in step.together if label in numbers)
    also = f" and without step {others}, of which each suffices," if others else ""
    return (
        f"step {numbers[step.label]} ({step.kind}): without it{also} {step.without} decide so (effect "
        f"{step.effect:+.0%}, {step.low:+.0%} to {step.high:+.0%}, q {step.q_value:.2g})"
    )


def _bisect(bench: Workbench, request: BisectRequest) -> ToolAnswer:
    bisection = _run(bench, request).bisection
    if bisection is None:
        raise ReplayError("the process answered something else")
    more = []
    if bisection.run is not None:
        arguments = {"run": bisection.run}
        more.append(MoreRequest(gives="the calls that it took", tool="calls", arguments=arguments))
    recorded = {
        "a": bisection.a,
        "b": bisection.b,
        "hunks": [_format_hunk(blamed) for blamed in bisection.hunks],
        "words": [_format_hunk(blamed) for blamed in bisection.words],
        "change": [hunk.describe(TEXT) for hunk in bisection.change],
        "probabilities": list(bisection.probabilities),
        "run": bisection.run,
        "notes": list(bisection.notes),
    }
    verdict = f"{_conclude_bisection(bisection)} {bisection.describe_cost()}"
    return ToolAnswer(verdict=verdict, more=tuple(more), recorded=drop_empty(recorded))


def _conclude_bisection(bisection: Bisection) -> str:
    """Return what was found, with the numbers of hunks in place of their texts."""
    if bisection.status == "nothing":
        return "Nothing to find: b is not worse than a on the recorded inputs, or not so again."
    hunks = count_things(len(bisection.change), "hunk")
    if bisection.status == "undecided":
        return f"Undecided: the answers so far do not prove which of {hunks} broke it."
    how = {"together": ", only together", "either": ", each by itself"}.get(bisection.relation or "", "")
    blamed = "; ".join(
        f"number {each.number} raises the loss by {each.difference:.2f} ({each.low:.2f} to {each.high:.2f}, "
        f"{each.answers} answers with it and as many without)"
        for each in bisection.hunks
    )
    return f"{len(bisection.hunks)} of {hunks} broke it{how}, {bisection.confidence:.0%} sure: {blamed}."


def _format_hunk(blamed: BlamedHunk) -> dict[str, Any]:
    hunk = blamed.hunk
    row: dict[str, Any] = {
        "number": blamed.number,
        "kind": hunk.kind,
        "name": hunk.name,
        "before": cut_text(hunk.before, TEXT),
    }
    row |= {"after": cut_text(hunk.after, TEXT), "low": blamed.low, "high": blamed.high}
    return drop_empty(row)
