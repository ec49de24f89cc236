"""`diet`: parts of a prompt that never matter, what they cost, and the proof that it answers without them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_trace.attribution.studies.answering import check_takes_tools, open_answerer
from llm_trace.errors import ConfigurationError, StoreError
from llm_trace.operations.diet_cases import WHOLE, RemovablePart
from llm_trace.operations.diet_evidence import Evidence, Weights, collect_evidence, list_parts
from llm_trace.operations.diet_report import DietFinding, write_diet
from llm_trace.operations.diet_sample import choose_prompt_version, read_sample
from llm_trace.operations.diet_search import Standard, confirm_removal, search_removal
from llm_trace.operations.diet_trial import BudgetSpentError, DietTrial
from llm_trace.operations.log import OperationLog
from llm_trace.rendering.formatting import count_things
from llm_trace.stores.duckdb import Store, open_store

if TYPE_CHECKING:
    import os

    from llm_trace.attribution.studies.answering import Ask
    from llm_trace.capture.prompts import Prompt
    from llm_trace.operations.diet_record import Diet
    from llm_trace.operations.diet_sample import DietSample
    from llm_trace.operations.diet_trial import AnswerScore
    from llm_trace.record import Run


_NOTED = (
    "version", "status", "loss", "loss_high", "margin", "confidence", "saved_tokens", "calls_per_month",
    "saved_tokens_per_month", "saved_usd_per_month",
)  # fmt: skip


@dataclass(frozen=True)
class DietSettings:
    """What `diet` was asked, checked; see there."""

    margin: float
    confidence: float
    budget: int | None
    seed: int

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            raise ConfigurationError(f"margin={self.margin!r} must lie between 0 and 1: 0.01 is one point")
        if not 0.5 <= self.confidence < 1:
            raise ConfigurationError(f"confidence={self.confidence!r} must be at least 0.5 and below 1")
        if self.budget is not None and self.budget < 1:
            raise ConfigurationError(f"budget={self.budget!r} must be 1 or more, or None")

    @property
    def standard(self) -> Standard:
        """Of one test of two: half of what may go wrong is for backing off."""
        return Standard(self.margin, (1 + self.confidence) / 2)


def diet(
    prompt: str | Prompt,
    *,
    store: str | os.PathLike[str] | Store = "llm_trace.duckdb",
    version: str | None = None,
    run: str | Run | None = None,
    model: Any = None,
    tokenizer: Any = None,
    score: AnswerScore | None = None,
    margin: float = 0.01,
    confidence: float = 0.95,
    limit: int = 1000,
    budget: int | None = None,
    seed: int = 0,
    record: bool = True,
    **filters: Any,
) -> Diet:
    """Return a shorter prompt: without sentences, examples, variables, retrieved chunks and tool schemas that
    never mattered, with what they cost and what the answers lose without them.

    With a model the calls are halved at random: on one half parts are taken away together, in groups that are
    halved where answers suffer; on the other half it is tested whether the loss stays below the margin.
    Without a model parts that attributions never told from noise, and tools that were never called, are
    proposed. Nothing is applied.

    Args:
        prompt: a name, or the version at hand.
        version: of a name: `v3` or a hash; the one that was used last if absent.
        run: only calls of this run.
        model: that answers: what `llm_trace.attribute` takes, or a callable, which may have an argument
            `tools`.
        score: grades an answer to a logged call from 0 to 1; absent: whether it is the logged answer.
        margin: loss of the mean grade that is borne; 0.01 is one point.
        confidence: that the loss is below it, if the diet is `confirmed`.
        limit: the newest calls that are read.
        budget: the most questions to the model.
        seed: of the halves.
        record: keep a note of it in the store.
        filters: further ones of `Store.calls`.

    Raises:
        NotFoundError: no such prompt, or no call of it that matches.
        ConfigurationError: a setting that cannot work, or prompts that do not hold the template.
        AttributionError: the model cannot be asked.
    """
    settings = DietSettings(margin, confidence, budget, seed)
    opened = store if isinstance(store, Store) else open_store(store)
    chosen = filters if run is None else {**filters, "run": run}
    sample = read_sample(opened, choose_prompt_version(opened, prompt, version), limit, chosen)
    if model is None:
        finding = propose_removal(sample)
    else:
        with open_answerer(model, tokenizer) as ask:
            finding = choose_removal(sample, ask, check_takes_tools(model), score, settings)
    result = write_diet(sample, finding, settings.margin, settings.confidence)
    return _keep_note(opened, result) if record else result


def propose_removal(sample: DietSample) -> DietFinding:
    """Return what never mattered by attributions and answers alone."""
    template = sample.version.template
    parts = list_parts(template, sample.cases)
    evidence = collect_evidence(template, sample.cases, sample.explained)
    idle = frozenset(part for part in parts if evidence.get(part, Evidence()).idle)
    return DietFinding(parts, evidence, idle, WHOLE, chosen_on=len(sample.cases))


def choose_removal(
    sample: DietSample, ask: Ask, takes_tools: bool, score: AnswerScore | None, settings: DietSettings
) -> DietFinding:
    """Return what the model can do without, chosen on one half of the calls and confirmed on the other."""
    if len(sample.cases) < 2:
        raise ConfigurationError(
            "a single prompt cannot be halved: parts are chosen on some calls and confirmed on others"
        )
    order = np.random.default_rng(settings.seed).permutation(len(sample.cases))
    half = (len(order) + 1) // 2
    chosen_on, held_out = ([sample.cases[i] for i in some] for some in (order[:half], order[half:]))
    template, standard = sample.version.template, settings.standard
    parts = list_parts(template, sample.cases)
    evidence = collect_evidence(template, chosen_on, sample.explained)
    candidates = _order_candidates(parts, evidence, Weights(template, chosen_on), takes_tools)
    trial = DietTrial(ask, template, score, settings.budget)
    reserve = 2 * len(held_out)
    try:
        search = search_removal(trial, chosen_on, candidates, standard, reserve)
        confirmation = confirm_removal(trial, held_out, search, standard) if search.groups else None
    except BudgetSpentError:
        needed = len(chosen_on) + reserve
        raise ConfigurationError(
            f"budget={settings.budget} does not pay for one removal on "
            f"{count_things(len(sample.cases), 'prompt')}: raise it "
            f"above {needed}, or lower limit"
        ) from None
    return DietFinding(
        parts, evidence, search.removal, confirmation.removal if confirmation else WHOLE,
        chosen_on=len(chosen_on), confirmed_on=len(held_out), asked=trial.asked, stopped=search.stopped,
        confirmation=confirmation, needed=standard.needed, takes_tools=takes_tools,
    )  # fmt: skip


def _order_candidates(
    parts: Mapping[RemovablePart, int],
    evidence: Mapping[RemovablePart, Evidence],
    weights: Weights,
    takes_tools: bool,
) -> list[RemovablePart]:
    """Return what may be tried, first what mattered least often, of these the largest.

    A tool that was called is none, and none is where the model is not given tools.
    """

    def rank(part: RemovablePart) -> tuple[float, float]:
        examined, mattered = evidence.get(part, Evidence())
        return mattered / max(1, examined), -(weights.weigh_part(part) or len(part.name))

    usable = [
        part
        for part in parts
        if part.kind != "tool" or (takes_tools and not evidence.get(part, Evidence()).mattered)
    ]
    return sorted(usable, key=rank)


def _keep_note(store: Store, result: Diet) -> Diet:
    """Write a note of the diet to the store's spool; return the diet, which says where that fails."""
    body = {"what": "diet", **{name: getattr(result, name) for name in _NOTED}}
    body |= {"shorter": result.diff.after.version, "removed": [part.name for part in result.removed]}
    try:
        with OperationLog(store.path) as log:
            log.append("note", result.prompt, body)
    except StoreError as exc:
        return result.model_copy(update={"notes": (*result.notes, str(exc))})
    return result
