"""The tool `replay`: run calls again, with something changed, and say what came of it.

Only functions that the user named when starting the server run, in a process of their own.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from llm_trace.errors import ConfigurationError, ReplayError
from llm_trace.mcp.answers import MoreRequest, ToolAnswer
from llm_trace.mcp.jobs import JobId, WaitSeconds
from llm_trace.mcp.values import drop_empty, format_value
from llm_trace.mcp.workbench import ToolQuestion, Workbench
from llm_trace.rendering.formatting import count_things
from llm_trace.rendering.texts import cut_text
from llm_trace.replays.request import ReplayAnswer, ReplayRequest, match_function

if TYPE_CHECKING:
    from llm_trace.record import Call
    from llm_trace.replays.player import ReplayMode
    from llm_trace.stores.duckdb import Store

MOST = 50
"""Calls of one request."""
TEXT = 300
"""Characters of an answer."""
_MODES: dict[str, ReplayMode] = {"models": "mixed", "recorded": "recorded", "live": "live"}


class ReplayQuestion(ToolQuestion):
    """Which calls, and what is changed in them."""

    ids: list[str] = Field(
        default=[], max_length=MOST, description="Calls, all of one function; those around them run if named."
    )
    prompts: dict[str, str] = Field(default={}, description="Name of a prompt to a template in its place.")
    variables: dict[str, Any] = Field(default={}, description="Of prompts, by name.")
    arguments: dict[str, Any] = Field(default={}, description="Of the function, by name.")
    params: dict[str, Any] = Field(default={}, description="Of requests to models: temperature …")
    model: str | None = Field(default=None, max_length=200, description="Ask this model instead.")
    mode: Literal["models", "recorded", "live"] = Field(
        default="models",
        description="models: the function and its model calls run, tools answer from the record where they "
        "are asked the same. recorded: nothing runs for real. live: all does.",
    )
    expected: dict[str, Any] = Field(default={}, description="The right answers by id, if they are known.")
    job: JobId = None
    wait_s: WaitSeconds = 45.0


def answer_replay(bench: Workbench, question: ReplayQuestion) -> ToolAnswer:
    """Run calls again and return how many answer otherwise and, if it is known, right.

    Raises:
        ConfigurationError: the calls are of no function that was named, or of several.
        ReplayError: they cannot be run again.
    """
    if question.job is not None:
        return bench.jobs.follow("replay", question.job, question.wait_s)
    if not question.ids:
        raise ConfigurationError("name calls by ids, or a job")
    roots = _find_roots(bench, question.ids)
    functions = {function for _, function in roots.values()}
    if len(functions) > 1:
        raise ConfigurationError(f"the calls are of {', '.join(sorted(functions))}: ask for each by itself")
    spans = tuple(dict.fromkeys(call.span_id for call, _ in roots.values()))
    request = ReplayRequest(
        store=str(bench.store.path), span_ids=spans,
        function=functions.pop(), mode=_MODES[question.mode], model=question.model, params=question.params,
        prompts=question.prompts, variables=question.variables, arguments=question.arguments,
    )  # fmt: skip
    if question.mode == "recorded" and request.overrides:
        raise ConfigurationError(
            "where all is answered from the record no change has an effect: choose a mode"
        )
    then = {given: call for given, (call, _) in roots.items()}
    work = partial(_replay, bench, request, then, question.expected)
    return bench.jobs.begin("replay", question.wait_s, work)


def _find_roots(bench: Workbench, ids: list[str]) -> dict[str, tuple[Call, str]]:
    """Return by the ids as they were given the call that runs, which may be one around it, and its function.

    Raises:
        ConfigurationError: none of the functions that were named is that of a call or of one around it.
    """
    from llm_trace.stores.find import find_call

    roots = {}
    with bench.store.hold():
        for identity in dict.fromkeys(ids):
            call = bench.store.call(find_call(bench.store, identity).span_id)
            roots[identity] = find_named_function(bench, call)
    return roots


def find_named_function(bench: Workbench, call: Call) -> tuple[Call, str]:
    """Return a call, or the nearest around it, that is of a function that may run, and that function.

    Raises:
        ConfigurationError: there is none.
    """
    above = {other.span_id: other for other in bench.store.trace(call.trace_id)}
    here: Call | None = call
    while here is not None:
        recorded = here.code.function if here.code else None
        function = match_function(bench.functions, recorded, here.name)
        if function is not None:
            return here, function
        here = above.pop(here.parent_id or "", None)
    named = ", ".join(bench.functions) or "none"
    raise ConfigurationError(
        f"call {call.span_id} is of no function that may run, nor is one around it: the user names functions "
        f"when starting the server (llm-trace mcp --function MODULE:FUNCTION); named: {named}"
    )


def _replay(
    bench: Workbench, request: ReplayRequest, then: dict[str, Call], expected: dict[str, Any]
) -> ToolAnswer:
    env = {**os.environ, "LLM_TRACE_STORE": request.store}
    task = request.model_dump_json().encode()
    out = bench.jobs.run_process("llm_trace.replays.request", task, folder=bench.folder, env=env)
    answer = ReplayAnswer.model_validate_json(out)
    if answer.problem is not None or answer.run is None:
        raise ReplayError(answer.problem or "nothing ran")
    bench.store.ingest()
    again = _read_again(bench.store, answer.run)
    pairs = [(given, call, again[call.span_id]) for given, call in then.items() if call.span_id in again]
    rows = [_format_pair(given, call, now, expected) for given, call, now in pairs]
    more = MoreRequest(gives="the calls of the new run", tool="calls", arguments={"run": answer.run})
    return ToolAnswer(
        verdict=_conclude(rows, len(then)),
        more=(more,),
        recorded={"run": answer.run, "report": answer.report, "pairs": rows},
    )


def _read_again(store: Store, run: str) -> dict[str, Call]:
    """Return the calls of a replay's run by the calls that they repeat."""
    return {call.replay_of: call for call in store.calls(run=run, limit=None) if call.replay_of}


def _format_pair(given: str, then: Call, now: Call, expected: dict[str, Any]) -> dict[str, Any]:
    answers = [call.output if call.error is None else {"error": call.error.message} for call in (then, now)]
    row: dict[str, Any] = {
        "id": given, "new": now.span_id, "then": cut_text(format_value(answers[0]), TEXT),
        "now": cut_text(format_value(answers[1]), TEXT), "same": answers[0] == answers[1],
    }  # fmt: skip
    if given in expected:
        right = expected[given]
        row |= {"right_then": _check_right(answers[0], right), "right_now": _check_right(answers[1], right)}
    return drop_empty(row)


def _check_right(answer: Any, right: Any) -> bool:
    """Whether an answer is the right one; blanks around a text do not count."""
    if isinstance(answer, str) and isinstance(right, str):
        return answer.strip() == right.strip()
    return bool(answer == right)


def _conclude(rows: list[dict[str, Any]], asked: int) -> str:
    from llm_trace.operations.rates import bound_rate

    other = bound_rate(sum(not row["same"] for row in rows), len(rows))
    text = (
        f"{other.count} of {count_things(len(rows), 'call')} answer otherwise than then "
        f"({other.low:.0%} to {other.high:.0%} of such calls, 95 % sure)."
    )
    if len(rows) < asked:
        text += f" {asked - len(rows)} did not run again: the report says why."
    judged = [row for row in rows if "right_now" in row]
    return text + (_judge(judged) if judged else "")


def _judge(rows: list[dict[str, Any]]) -> str:
    from llm_trace.statistics.yesno import bound_tango, compute_mcnemar

    then, now = (sum(row[name] for row in rows) for name in ("right_then", "right_now"))
    gained = sum(row["right_now"] and not row["right_then"] for row in rows)
    lost = sum(row["right_then"] and not row["right_now"] for row in rows)
    low, high = bound_tango(gained, lost, len(rows))
    p_value = compute_mcnemar(gained, lost)
    return (
        f" Right: {then} of {len(rows)} then, {now} of {len(rows)} now; {gained} mended, {lost} broken "
        f"(difference {low:+.2f} to {high:+.2f}, exact p {p_value:.2g})."
    )
