"""`optimize`: a better prompt, by reflection on attributions, failures and scores."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llm_trace.attribution.remote.model import make_remote
from llm_trace.attribution.studies.answering import get_prompt, open_answerer
from llm_trace.errors import ConfigurationError
from llm_trace.operations.diet_evidence import Evidence, collect_evidence, list_parts
from llm_trace.operations.diet_sample import choose_prompt_version, read_sample
from llm_trace.operations.optimize_adapter import PromptTrial
from llm_trace.operations.optimize_confirm import confirm_winner, count_confirmed, keep_note
from llm_trace.operations.optimize_examples import list_dataset, list_example_calls, split_examples
from llm_trace.operations.optimize_search import Reflection, import_gepa, search_template
from llm_trace.stores.duckdb import Store, open_store

if TYPE_CHECKING:
    from llm_trace.capture.prompts import Prompt
    from llm_trace.comparison.dataset import Dataset
    from llm_trace.operations.diet_sample import DietSample
    from llm_trace.operations.optimize_adapter import ExplainAnswer
    from llm_trace.operations.optimize_examples import Trying
    from llm_trace.operations.optimize_record import Optimization
    from llm_trace.record import PromptVersion, Run


def optimize(
    prompt: str | Prompt,
    *,
    model: Any,
    score: Callable[[str, Any], float],
    reflect: Callable[[str], str] | str,
    store: str | os.PathLike[str] | Store = "llm_trace.duckdb",
    version: str | None = None,
    run: str | Run | None = None,
    examples: Dataset | None = None,
    tokenizer: Any = None,
    budget: int = 500,
    limit: int = 400,
    confidence: float = 0.95,
    seed: int = 0,
    record: bool = True,
    **filters: Any,
) -> Optimization:
    """Return a template that gepa finds by reflection on attributions, failures and scores.

    A quarter of the examples is reflected on, a quarter chooses the winner, and the other half, which had no
    part in that, says whether it is better. However often a version is optimized, all these tests together
    call a winner better that is not with a probability of at most 1 - confidence. Nothing is applied.

    Args:
        prompt: a name, or the version at hand.
        model: that answers, as `diet` takes it.
        score: grades an answer from 0 to 1, given the logged `Call` or the `Example`.
        reflect: a model that writes templates: from a text to a text, or a name for LiteLLM.
        version: of a name; the one that was used last if absent.
        run: only calls of this run.
        examples: to try on, whose inputs are the prompt's variables; the prompt's logged calls if absent.
        budget: the most grades that the search may take; held-out examples come on top.
        limit: the newest calls that are read.
        confidence: of the bounds.
        seed: of the search and of the halves.
        record: keep a note of it in the store; later tests do not correct for what is not noted.
        filters: further ones of `Store.calls`.

    Raises:
        MissingExtraError: gepa is not installed, or LiteLLM is not and `reflect` is a name.
        NotFoundError: no such prompt, or no call of it that matches.
        ConfigurationError: too few examples, or a score that is no number from 0 to 1.
        AttributionError: the model fails on the template at hand.
    """
    reflection = Reflection(reflect)
    gepa = import_gepa()
    if budget < 1 or not 0.5 <= confidence < 1:
        raise ConfigurationError(
            f"budget={budget!r} must be 1 or more, and confidence={confidence!r} at least 0.5 and below 1"
        )
    opened = store if isinstance(store, Store) else open_store(store)
    chosen = choose_prompt_version(opened, prompt, version)
    sample = None
    if examples is None:
        sample = read_sample(opened, chosen, limit, filters if run is None else {**filters, "run": run})
    tryings = _list_examples(opened, chosen, sample, examples)
    split = split_examples(tryings, seed)
    with open_answerer(model, tokenizer) as ask:
        trial = PromptTrial(ask, score, _make_explainer(model, tokenizer), gepa.EvaluationBatch)
        winner = search_template(
            gepa, trial, chosen.template, split, reflection, _describe_idle(sample), budget, seed
        )
        confirmed = count_confirmed(opened, chosen)
        result = confirm_winner(trial, chosen, winner, split, confirmed, confidence)
    result = result.model_copy(update={"notes": tuple(reflection.list_notes())})
    return keep_note(opened, result) if record else result


def _list_examples(
    store: Store, version: PromptVersion, sample: DietSample | None, examples: Dataset | None
) -> list[Trying]:
    if sample is None:
        return [] if examples is None else list_dataset(version.template, examples)
    summaries = {
        span_id: attribution.summary()
        for span_id, (attribution, _) in sample.explained.items()
        if attribution.verdict == "ok"
    }
    return list_example_calls(store, version.template, sample.cases, summaries)


def _make_explainer(model: Any, tokenizer: Any) -> ExplainAnswer:
    """Return what explains an answer, where the model can be opened: by its sentences, exactly."""
    if make_remote(model) is not None:
        return lambda prompt, answer: None  # noqa: ARG005
    from llm_trace.attribution.api import attribute

    def explain(prompt: Any, answer: str) -> str | None:
        settings: dict[str, Any] = {"model": model, "tokenizer": tokenizer, "segments": "sentence"}
        attribution = attribute(get_prompt(prompt), answer, method="occlusion", **settings)
        return attribution.summary() if attribution.verdict == "ok" else None

    return explain


def _describe_idle(sample: DietSample | None) -> str:
    """Return which parts of the template never mattered, in words for the reflection."""
    if sample is None:
        return ""
    template = sample.version.template
    evidence = collect_evidence(template, sample.cases, sample.explained)
    idle = [
        repr(part.name) for part in list_parts(template, sample.cases) if evidence.get(part, Evidence()).idle
    ]
    return f" In no explained answer did these parts matter: {', '.join(idle)}." if idle else ""
