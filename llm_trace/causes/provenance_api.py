"""`provenance`: how much of a decision comes from the user's own words, and how much from outside text."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from llm_trace.attribution.explain.origins import OriginStudy
from llm_trace.attribution.models.live import find_live_model
from llm_trace.attribution.models.loading import resolve_model
from llm_trace.attribution.models.questions import list_tool_calls, parse_question
from llm_trace.attribution.proxies.model import Proxied
from llm_trace.attribution.question.origins import ToolResult
from llm_trace.attribution.remote.model import make_remote
from llm_trace.attribution_settings import Budget, Settings
from llm_trace.causes.deciding_calls import find_deciding_call, get_tool_name, is_call_of
from llm_trace.errors import AttributionError
from llm_trace.record import Call
from llm_trace.replays.playing import open_replayed_store

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from llm_trace.attribution.core.value import ProgressCallback
    from llm_trace.attribution.models.questions import ParsedQuestion
    from llm_trace.attribution.question.renders import Baseline
    from llm_trace.attribution.question.targets import Target
    from llm_trace.record import Attribution, TextOrigin
    from llm_trace.replays.roots import Function
    from llm_trace.stores.duckdb import Store

Size = Literal["sentence", "phrase", "line", "paragraph", "word", "message"]


def provenance(
    call: Call | str | Sequence[Mapping[str, Any]],
    response: str | None = None,
    *,
    model: Any = None,
    tokenizer: Any = None,
    store: str | os.PathLike[str] | Store | None = None,
    segments: Size = "sentence",
    origins: Mapping[str, TextOrigin] | None = None,
    target: Target = None,
    baseline: Baseline = "auto",
    budget: int | Budget | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    progress: ProgressCallback | None = None,
    cache: str | Path | None = None,
    functions: str | Function | Iterable[str | Function] | None = None,
    repeats: int = 20,
) -> Attribution:
    """Return how much of an answer's log-probability each origin of words accounts for, and each sentence.

    `origins` of the result has the weight of `system`, `user`, `tool`, `retrieved` and `outside` (exact
    Shapley values; their bounds hold both ways of taking words away), `segments` and `values` the sentences,
    each with its origin and sampled bounds; `summary()` says it in words. Origins are taken from the roles
    of messages, tools' answers in them, retrieved documents, and `Prompt(origins=…)`.

    Args:
        call: a call of a model, whose tool call is explained where it asked for one; a call of a tool, for
            which the call of the model that asked for it is looked up in its trace; or messages or a text.
        response: what to explain, in the model's own words; absent: what the call answered.
        model: one that can be opened, as for `attribute`; another one than the call's stands in for it. Of a
            `Proxied` the proxy. Absent: the very model of this process that made the call.
        tokenizer: needed with a model object.
        store: where the trace of a tool's call is; absent: the configured one.
        segments: what is weighed within an origin.
        origins: as for `attribute`, and by the name of a tool for what it answered: `{"web_search":
            "outside", "look_up_order": "system"}`; goes before what is known otherwise.
        target: as for `attribute`.
        baseline: as for `attribute`.
        budget: most evaluations, or a `Budget`.
        confidence: of the sentences' bounds.
        seed: of their sampling.
        progress: called with (done, planned); returning False cancels.
        cache: a file that keeps log-probabilities, as for `attribute`.
        functions: without a model that can be opened: the function that the run began with, or that of the
            model's call, as for `why`. The model then decides again without all words of each origin, no tool
            is run, and weights are shares of reruns (`unit` is `probability`) with exact bounds; `budget` is
            in calls of the model or dollars, and `segments` are the origins.
        repeats: reruns at most without the words of each origin, and with everything as it was.

    Raises:
        AttributionError: it cannot be computed; the message says why and what to change.
        ConfigurationError: the budget, or the repeats, of reruns cannot tell anything from chance.
        ReplayError: the function cannot be called again, or does not come to the decision as it did.
        NotFoundError: the trace has no call of a model that asked for the tool.
    """
    if functions is not None:
        return _ask_forks(
            call, store, functions, origins or {}, model=model, response=response, repeats=repeats,
            budget=budget, confidence=confidence,
        )  # fmt: skip
    settings = Settings.of(
        method="auto",
        segments=segments,
        target=target,
        baseline=baseline,
        budget=budget,
        confidence=confidence,
        seed=seed,
    )
    question = pose_decision(call, response, store, origins or ()).name_origins(origins)
    opened = open_model(model, tokenizer, call)
    return OriginStudy(question, opened, settings, progress=progress, cache=cache).explain()


def _ask_forks(
    call: object, store: str | os.PathLike[str] | Store | None,
    functions: str | Function | Iterable[str | Function], origins: Mapping[str, TextOrigin],
    *, model: Any, response: str | None, **settings: Any,
) -> Attribution:  # fmt: skip
    from llm_trace.causes.provenance_forks import weigh_by_forks

    if model is not None:
        raise AttributionError("a model that is opened needs no reruns: give model= or functions=, not both")
    if not isinstance(call, Call) or response is not None:
        raise AttributionError("reruns explain what was recorded: give a call of a store, and no response")
    return weigh_by_forks(call, open_replayed_store(store), functions, origins, **settings)


def pose_decision(
    call: Call | str | Sequence[Mapping[str, Any]],
    response: str | None = None,
    store: str | os.PathLike[str] | Store | None = None,
    tools: Collection[str] = (),
) -> ParsedQuestion:
    """Return the question why a model answered so, or asked for a tool.

    Args:
        call: as for `provenance`.
        response: as for `provenance`.
        store: where the trace is.
        tools: names of tools whose answers are looked for in the trace, too: the conversation need not say
            which of its messages is whose.

    Raises:
        AttributionError: there is no prompt or no answer.
        NotFoundError: the trace has no call of a model that asked for the tool.
    """
    if not isinstance(call, Call):
        return parse_question(call, response)
    decision = find_deciding_call(call, store) if call.kind == "tool" else call
    question = parse_question(decision, response)
    if tools:
        answers = (*question.tool_answers, *_iter_trace_answers(decision, store, tools))
        question = replace(question, tool_answers=answers)
    tool_calls = list_tool_calls(decision) if response is None else ()
    if call.kind == "tool":
        tool_calls = tuple(asked for asked in tool_calls if is_call_of(asked, call))[:1]
    return replace(question, tool_calls=tool_calls) if tool_calls else question


def _iter_trace_answers(
    decision: Call, store: str | os.PathLike[str] | Store | None, tools: Collection[str]
) -> Iterator[ToolResult]:
    """Yield what some tools answered before a decision."""
    for call in open_replayed_store(store).trace(decision.trace_id):
        name = next((name for name in (call.name, get_tool_name(call)) if name in tools), None)
        if name is not None and call.output and call.end_ns is not None and call.end_ns <= decision.start_ns:
            text = call.output if isinstance(call.output, str) else json.dumps(call.output)
            yield ToolResult(text, name, in_own_message=False)


def open_model(model: Any, tokenizer: Any, call: object = None) -> tuple[Any, Any, str]:
    """Return a model that can be opened, its tokenizer and its name.

    Raises:
        AttributionError: it cannot be opened.
    """
    if isinstance(model, Proxied):
        model, tokenizer = model.proxy, model.proxy_tokenizer
    if model is None:
        model, tokenizer = find_live_model(call, tokenizer)
    if make_remote(model) is not None:
        raise AttributionError(
            "provenance reads log-probabilities, which a model behind an API does not give for other "
            "prompts: pass an open model that stands in for it (a path, a name, 'demo') or a Proxied of "
            "both; without any, let the model decide again without them: provenance(call, functions=…)"
        )
    return resolve_model(model, tokenizer)
