"""LLM observability that also says which words made the model say it, and how far to trust the answer.

    import llm_trace

    llm_trace.configure("traces.duckdb")

    @llm_trace.trace(kind="llm")
    def ask(question: str) -> str: ...

Importing loads nothing heavy: every name is looked up when it is first used.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from llm_trace.capture import slots as _slots
from llm_trace.lazy_names import import_name
from llm_trace.version import __version__

if TYPE_CHECKING:
    from llm_trace.attribution.api import attribute, attribute_async
    from llm_trace.attribution.policy.policy import AttributionPolicy
    from llm_trace.capture.context import using_session
    from llm_trace.capture.prompts import Prompt
    from llm_trace.capture.redaction import Redaction
    from llm_trace.capture.runs import start_run
    from llm_trace.capture.sampling import Sample
    from llm_trace.capture.spans import log_score, span, update_current_call
    from llm_trace.capture.wrappers import trace
    from llm_trace.causes.bisect_api import bisect
    from llm_trace.causes.bisect_record import Bisection
    from llm_trace.causes.provenance_api import provenance
    from llm_trace.causes.why_api import why
    from llm_trace.comparison.api import compare
    from llm_trace.comparison.comparison import Comparison
    from llm_trace.comparison.dataset import Dataset
    from llm_trace.comparison.suggest import suggest
    from llm_trace.config import configure, flush, shutdown
    from llm_trace.evaluation.api import evaluate
    from llm_trace.evaluation.evaluation import Evaluation
    from llm_trace.instrumentation.api import instrument
    from llm_trace.replays.api import replay, replaying
    from llm_trace.reports import FlushReport
    from llm_trace.stores.duckdb import Store, open_store
    from llm_trace.stores.purge import purge


_HOMES = {
    "attribute": "llm_trace.attribution.api",
    "attribute_async": "llm_trace.attribution.api",
    "AttributionPolicy": "llm_trace.attribution.policy.policy",
    "using_session": "llm_trace.capture.context",
    "Prompt": "llm_trace.capture.prompts",
    "Redaction": "llm_trace.capture.redaction",
    "start_run": "llm_trace.capture.runs",
    "Sample": "llm_trace.capture.sampling",
    "log_score": "llm_trace.capture.spans",
    "span": "llm_trace.capture.spans",
    "update_current_call": "llm_trace.capture.spans",
    "trace": "llm_trace.capture.wrappers",
    "bisect": "llm_trace.causes.bisect_api",
    "Bisection": "llm_trace.causes.bisect_record",
    "provenance": "llm_trace.causes.provenance_api",
    "compare": "llm_trace.comparison.api",
    "why": "llm_trace.causes.why_api",
    "Comparison": "llm_trace.comparison.comparison",
    "Dataset": "llm_trace.comparison.dataset",
    "suggest": "llm_trace.comparison.suggest",
    "configure": "llm_trace.config",
    "flush": "llm_trace.config",
    "shutdown": "llm_trace.config",
    "evaluate": "llm_trace.evaluation.api",
    "Evaluation": "llm_trace.evaluation.evaluation",
    "instrument": "llm_trace.instrumentation.api",
    "replay": "llm_trace.replays.api",
    "replaying": "llm_trace.replays.api",
    "FlushReport": "llm_trace.reports",
    "Store": "llm_trace.stores.duckdb",
    "open_store": "llm_trace.stores.duckdb",
    "purge": "llm_trace.stores.purge",
}

__all__ = [
    "AttributionPolicy",
    "Bisection",
    "Comparison",
    "Dataset",
    "Evaluation",
    "FlushReport",
    "Prompt",
    "Redaction",
    "Sample",
    "Store",
    "__version__",
    "attribute",
    "attribute_async",
    "bisect",
    "compare",
    "configure",
    "evaluate",
    "flush",
    "instrument",
    "log_score",
    "open_store",
    "provenance",
    "purge",
    "replay",
    "replaying",
    "shutdown",
    "span",
    "start_run",
    "suggest",
    "trace",
    "update_current_call",
    "using_session",
    "why",
]


def __getattr__(name: str) -> Any:
    value = import_name(__name__, _HOMES, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _configure_from_environment() -> None:
    importlib.import_module("llm_trace.config").configure_from_environment()


if (
    "LLM_TRACE_STORE" in os.environ
):  # a worker of a traced process, or a deployment configured by its environment
    _slots.bootstrap = _configure_from_environment
    if os.environ.get("LLM_TRACE_INSTRUMENT", "0") not in ("", "0"):  # else no call might ever start it
        importlib.import_module("llm_trace.config").instrument_from_environment()
