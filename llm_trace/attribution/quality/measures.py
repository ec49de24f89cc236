"""Measure an attribution: all measures by name, ours and others', and what they mean for the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.attribution.core import plugins
from llm_trace.attribution.core.value import BudgetError, Metered, NoMasksError
from llm_trace.attribution.quality.reopen import Again, build_study, rebuild_study

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from llm_trace.attribution.methods.registry import Scores
    from llm_trace.attribution.models.problem import Problem
    from llm_trace.attribution.quality.findings import Findings
    from llm_trace.attribution.quality.study import Measure, Study
    from llm_trace.record import Attribution, Settings

_HERE = "llm_trace.attribution.quality"
BUILTIN: dict[str, str] = {
    "completeness": f"{_HERE}.sanity:measure_completeness",
    "fidelity": f"{_HERE}.fidelity:measure_fidelity",
    "curves": f"{_HERE}.curves:measure_curves",
    "stability": f"{_HERE}.sanity:measure_stability",
    "randomised": f"{_HERE}.sanity:measure_randomised",
    "gradients": f"{_HERE}.sanity:compare_gradients",
}
DEFAULT = ("completeness", "fidelity", "curves", "stability")
"""The usual measures: `randomised` copies the model and `gradients` needs a backward pass, so not these."""


def list_measures() -> list[str]:
    """Return the names of all installed measures."""
    return plugins.list_names(plugins.QUALITY, BUILTIN)


def find_measure(name: str) -> Measure:
    """Return a measure.

    Raises:
        AttributionError: unknown, or of a package that cannot be imported.
    """
    return plugins.find_plugin(plugins.QUALITY, name, BUILTIN, "quality measure")  # type: ignore[no-any-return]


def run_measures(study: Study, wanted: Iterable[str] = DEFAULT) -> dict[str, Any]:
    """Return the figures of each measure that applies, by its name."""
    results: dict[str, Any] = {}
    for name in wanted:
        try:
            results[name] = find_measure(name)(study)
        except (BudgetError, NoMasksError) as exc:
            results[name] = {"skipped": str(exc)}
    return {name: figures for name, figures in results.items() if figures}


def measure(
    attribution: Attribution,
    *,
    model: Any,
    tokenizer: Any = None,
    masks: Sequence[str | float] = ("half", "near"),
    measures: str | Iterable[str] = DEFAULT,
    count: int = 64,
    settings: Settings | None = None,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Return how good an attribution is, each figure with the distribution of masks it was measured on.

    Args:
        attribution: what `attribute` returned, or a store.
        model: the model it was made with; `tokenizer` as for `attribute`.
        masks: distributions for the held-out fidelity: `half`, `near`, `sizes` or keep rates.
        measures: names, or "all"; see `DEFAULT`.
        count: held-out masks of each distribution.
        settings: as `attribute` was asked, for records of versions that did not write them.
        seed: of everything that is drawn here.
        confidence: of the bootstrap bounds.

    Raises:
        AttributionError: the model does not give the prompt the value that the attribution recorded, its
            settings are not known, or a measure is unknown.
    """
    wanted = (
        list_measures() if measures == "all" else [measures] if isinstance(measures, str) else list(measures)
    )
    study = rebuild_study(
        attribution,
        model,
        tokenizer,
        settings,
        masks=tuple(masks),
        count=count,
        seed=seed,
        confidence=confidence,
    )
    return run_measures(study, wanted)


def measure_now(
    work: Problem,
    value: Metered,
    scores: Scores,
    method: str,
    found: Findings,
    wanted: bool | Sequence[str],
    settings: Settings,
) -> None:
    """Measure scores that were just made, within what is left of the budget, and let the figures have
    their say in the verdict.
    """
    full, sampled, exact = scores.full, scores.low is not None, scores.stopped == "exact"
    assert full is not None
    spent = value.evaluations if sampled else None
    used = None if exact else value.find_evaluated  # what is exact was fitted to no mask
    again = Again(settings, method, spent)
    own = {"seed": settings.seed, "confidence": settings.confidence}
    study = build_study(work, value, scores.values, full, again, used=used, **own)
    figures = run_measures(study, DEFAULT if isinstance(wanted, bool) else wanted)
    found.faithfulness |= figures
    judge_figures(figures, found)


def judge_figures(figures: Mapping[str, Any], found: Findings) -> None:
    """Say so where noise wins: held-out masks that the scores do not predict, an order no better than
    chance, seeds that disagree.
    """
    figures = {name: f for name, f in figures.items() if "skipped" not in f}
    fidelity = figures.get("fidelity", {})
    if fidelity and max(f["spearman_low"] for f in fidelity.values()) <= 0:
        best = max(fidelity.values(), key=lambda f: f["spearman"])
        found.suspect(
            "insufficient_evidence",
            f"the scores do not predict the response under masks they were not made from (rank correlation "
            f"{best['spearman']:.2f})",
        )
    areas = figures.get("curves", {}).get("deletion")
    if areas and areas["strongest_first"] <= areas["random"]:
        found.suspect(
            "insufficient_evidence", "deleting by score changes the response no faster than at random"
        )
    seeds = figures.get("stability")
    if seeds and seeds["spearman"] < 0.5:
        found.suspect(
            "insufficient_evidence",
            f"other seeds give other scores (rank correlation {seeds['spearman']:.2f}): raise the budget",
        )
