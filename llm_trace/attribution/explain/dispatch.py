"""From a question to its attribution, whatever kind of model is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.attribution.explain.hierarchy import explain_hierarchy
from llm_trace.attribution.explain.open import explain_open, plan_open
from llm_trace.attribution.explain.remote import explain_remote
from llm_trace.attribution.models.loading import resolve_model
from llm_trace.attribution.remote.model import make_remote
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from llm_trace.attribution.core.plan import Plan
    from llm_trace.attribution.core.value import ProgressCallback
    from llm_trace.attribution.models.questions import ParsedQuestion
    from llm_trace.record import Attribution, Settings


def explain_question(
    question: ParsedQuestion,
    model: Any,
    tokenizer: Any,
    settings: Settings,
    *,
    progress: ProgressCallback | None = None,
    quality: bool | Sequence[str] = False,
    cache: str | Path | None = None,
    dry_run: bool = False,
) -> Attribution | Plan:
    """Return the attribution, or with `dry_run` what it would cost; the arguments are those of `attribute`.

    Raises:
        AttributionError: it cannot be computed.
        MissingExtraError: torch or transformers are not installed.
    """
    if (remote := make_remote(model)) is not None:
        if quality:
            raise AttributionError(
                "quality= needs a model that can be opened; method='smile' measures its fidelity on held-out "
                "answers itself"
            )
        return explain_remote(question, remote, settings, progress=progress, cache=cache, dry_run=dry_run)
    opened = resolve_model(model, tokenizer)
    if settings.segments == "hierarchy":
        return explain_hierarchy(question, opened, settings, progress=progress, cache=cache, dry_run=dry_run)
    if dry_run:
        return plan_open(question, opened, settings, cache=cache)
    return explain_open(question, opened, settings, progress=progress, quality=quality, cache=cache)
