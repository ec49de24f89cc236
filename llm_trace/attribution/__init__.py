"""Which parts of a prompt made the model answer as it did, and how far to trust that.

    from llm_trace.attribution import Budget, attribute

    why = attribute("Is 17 prime?", model="demo", budget=Budget(seconds=10))

The names here are the public ones, each imported when it is first used. `question` turns text into segments
and masks, `models` and `remote` turn masks into values, `methods` turn values into scores, `quality` says
whether these are evidence, `explain` makes the record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace.lazy_names import import_name

if TYPE_CHECKING:
    from llm_trace.attribution.api import attribute, attribute_async
    from llm_trace.attribution.core.plan import Plan
    from llm_trace.attribution.core.value import Budget
    from llm_trace.attribution.methods.registry import Scores
    from llm_trace.attribution.methods.self_report import self_knowledge, training_lines
    from llm_trace.attribution.policy.policy import AttributionPolicy
    from llm_trace.attribution.proxies.model import Proxied
    from llm_trace.attribution.proxies.screen import screen
    from llm_trace.attribution.quality.measures import measure
    from llm_trace.attribution.question.targets import Contrast
    from llm_trace.attribution.remote.completions import Completions
    from llm_trace.attribution.remote.ledger import Price
    from llm_trace.attribution.remote.model import Compare, Remote
    from llm_trace.attribution.studies.aggregate import aggregate
    from llm_trace.attribution.studies.compression import compress
    from llm_trace.attribution.studies.interactions import interactions
    from llm_trace.attribution.studies.paraphrases import measure_paraphrase_stability

_HOMES = {
    "attribute": "llm_trace.attribution.api",
    "attribute_async": "llm_trace.attribution.api",
    "Budget": "llm_trace.attribution.core.value",
    "Plan": "llm_trace.attribution.core.plan",
    "Scores": "llm_trace.attribution.methods.registry",
    "self_knowledge": "llm_trace.attribution.methods.self_report",
    "training_lines": "llm_trace.attribution.methods.self_report",
    "AttributionPolicy": "llm_trace.attribution.policy.policy",
    "Proxied": "llm_trace.attribution.proxies.model",
    "screen": "llm_trace.attribution.proxies.screen",
    "measure": "llm_trace.attribution.quality.measures",
    "measure_paraphrase_stability": "llm_trace.attribution.studies.paraphrases",
    "Contrast": "llm_trace.attribution.question.targets",
    "Completions": "llm_trace.attribution.remote.completions",
    "Price": "llm_trace.attribution.remote.ledger",
    "Compare": "llm_trace.attribution.remote.model",
    "Remote": "llm_trace.attribution.remote.model",
    "aggregate": "llm_trace.attribution.studies.aggregate",
    "compress": "llm_trace.attribution.studies.compression",
    "interactions": "llm_trace.attribution.studies.interactions",
}

__all__ = [
    "AttributionPolicy",
    "Budget",
    "Compare",
    "Completions",
    "Contrast",
    "Plan",
    "Price",
    "Proxied",
    "Remote",
    "Scores",
    "aggregate",
    "attribute",
    "attribute_async",
    "compress",
    "interactions",
    "measure",
    "measure_paraphrase_stability",
    "screen",
    "self_knowledge",
    "training_lines",
]


def __getattr__(name: str) -> Any:
    value = import_name(__name__, _HOMES, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
