"""`attribute`: which parts of a prompt made the model answer as it did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from llm_trace.attribution.explain.dispatch import explain_question
from llm_trace.attribution.models.live import find_live_model
from llm_trace.attribution.models.questions import parse_question
from llm_trace.attribution.proxies.explain import explain_by_proxy
from llm_trace.attribution.proxies.model import Proxied, refuse
from llm_trace.attribution.question.chunks import Chunks, read_documents
from llm_trace.attribution_settings import Budget, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llm_trace.attribution.core.plan import Plan
    from llm_trace.attribution.core.value import ProgressCallback
    from llm_trace.attribution.question.renders import Baseline
    from llm_trace.attribution.question.segments import SegmentSpec
    from llm_trace.attribution.question.targets import Target
    from llm_trace.record import Attribution, Call, TextOrigin

    Question = str | Sequence[Mapping[str, Any]] | Call


@overload
def attribute(
    call_or_prompt: Question, response: str | None = ..., *, dry_run: Literal[True], **settings: Any
) -> Plan: ...


@overload
def attribute(
    call_or_prompt: Question,
    response: str | None = ...,
    *,
    model: Any = ...,
    tokenizer: Any = ...,
    method: str = ...,
    segments: SegmentSpec = ...,
    origins: Mapping[str, TextOrigin] | None = ...,
    target: Target = ...,
    baseline: Baseline = ...,
    unit: str = ...,
    budget: int | Budget | None = ...,
    confidence: float = ...,
    seed: int = ...,
    progress: ProgressCallback | None = ...,
    quality: bool | Sequence[str] = ...,
    cache: str | Path | None = ...,
    dry_run: Literal[False] = ...,
) -> Attribution: ...


def attribute(  # type: ignore[misc]  # the first form takes the same settings as the second
    call_or_prompt: Question,
    response: str | None = None,
    *,
    model: Any = None,
    tokenizer: Any = None,
    method: str = "auto",
    segments: SegmentSpec = "word",
    origins: Mapping[str, TextOrigin] | None = None,
    target: Target = None,
    baseline: Baseline = "auto",
    unit: str = "nats",
    budget: int | Budget | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    progress: ProgressCallback | None = None,
    quality: bool | Sequence[str] = False,
    cache: str | Path | None = None,
    dry_run: bool = False,
) -> Attribution | Plan:
    """Return how much each segment of a prompt supports a response, in nats of its log-probability.

    Positive means that the model would say the response less readily without the segment. Model and tokenizer
    are left as they were.

    Args:
        call_or_prompt: a text, a list of chat messages (dicts with role and content), or a logged `Call`.
        response: what to explain; of a call its output; absent: the model's greedy answer.
        model: a transformers model, a path or name to load, or "demo" for the embedded one; a callable or
            `Remote` that cannot be opened; a `Proxied` of two. Absent: the very model of this process that
            made the call, where it is instrumented (`instrument("transformers")`).
        tokenizer: needed with a model object.
        method: `auto` or a name that `llm-trace methods` lists.
        segments: `word`, `token`, `phrase`, `sentence`, `line`, `paragraph`, `message`, `variable`,
            `hierarchy`, `chunk` (the documents that a retriever gave before the call in its trace), a
            compiled pattern, a mapping of variables, (start, end) or (start, end, name) spans, documents
            (texts, dicts or objects as a retriever returns them), or a function from text to spans.
        origins: whose words variables of the prompt, answers of a tool or messages of a role hold, by name,
            such as `{"page": "outside"}`: `system`, `user`, `tool`, `retrieved` or `outside`; the segments
            carry it.
        target: part of the response: a text, a compiled pattern, (start, end) characters, a token's index; or
            why this and not that: a `Contrast`, or a pair of texts.
        baseline: what stands where a segment was: `auto`, `delete`, `mask` or a text; for Integrated
            Gradients `mean`, `mask` or `zero`; a list of these, averaged; or for each variable a list of the
            values it had in other calls.
        unit: of the scores: `nats`, `probability` or `logit` of the target. With a contrast the difference of
            both.
        budget: most evaluations, or a `Budget`.
        confidence: of the bounds that sampling methods give.
        seed: of sampling methods; same seed, same answer.
        progress: called with (done, planned); returning False cancels.
        quality: also measure the scores on held-out masks, in deletion curves and over seeds, at the cost of
            about 250 evaluations, or a quarter of the budget; names of measures for others (see
            `quality.measures.list_measures`). What noise explains as well gets a verdict.
        cache: a file that keeps log-probabilities by content (hashes and numbers, no text) for later
            attributions, of any process.
        dry_run: only return the `Plan`: evaluations, tokens and seconds that it would cost.

    Raises:
        AttributionError: it cannot be computed; the message says why and what to change.
        MissingExtraError: torch or transformers are not installed.
    """
    documents = read_documents(segments)
    settings = Settings.of(
        method=method,
        segments=segments if documents is None else "chunk",
        target=target,
        baseline=baseline,
        unit=unit,
        budget=budget,
        confidence=confidence,
        seed=seed,
    )
    if model is None:
        model, tokenizer = find_live_model(call_or_prompt, tokenizer)
    if method == "proxy" or isinstance(model, Proxied):
        refuse(model, method, target=target, baseline=baseline, unit=unit, quality=quality, origins=origins)
        return explain_by_proxy(
            call_or_prompt,
            response,
            model,
            segments=segments if documents is None else Chunks(documents),
            budget=settings.budget,
            confidence=confidence,
            seed=seed,
            cache=cache,
            dry_run=dry_run,
        )
    question = parse_question(call_or_prompt, response).name_origins(origins)
    return explain_question(
        question if documents is None else replace(question, documents=documents),
        model,
        tokenizer,
        settings,
        progress=progress,
        quality=quality,
        cache=cache,
        dry_run=dry_run,
    )


async def attribute_async(
    call_or_prompt: Question, response: str | None = None, **settings: Any
) -> Attribution | Plan:
    """Return what `attribute` returns, without holding up the event loop; an async callable is called in it.

    Cancelling it lets the calls that were begun finish, and begins no other.
    """
    import asyncio

    from llm_trace.attribution.remote.event_loop import Bridge

    bridge = Bridge(asyncio.get_running_loop())
    with bridge.current():
        try:
            return await asyncio.to_thread(attribute, call_or_prompt, response, **settings)  # type: ignore[arg-type]  # overloads
        except asyncio.CancelledError:
            bridge.stopped.set()
            raise
