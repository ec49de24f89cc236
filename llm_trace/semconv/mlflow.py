"""What spans of MLflow's own tracing say under `mlflow.*`, under OpenTelemetry's and OpenInference's names.

Source: mlflow 3.17 (`mlflow/tracing/constant.py`, `mlflow/entities/span.py`): every value is JSON text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llm_trace.semconv import names
from llm_trace.semconv.values import list_fields, load_json

_TYPE: Final = "mlflow.spanType"
_INPUTS: Final = "mlflow.spanInputs"
_OUTPUTS: Final = "mlflow.spanOutputs"
_KINDS: Final = {
    "CHAT_MODEL": "LLM",
    "WORKFLOW": "CHAIN",
    "TASK": "CHAIN",
    "PARSER": "CHAIN",
    "MEMORY": "CHAIN",
}
_RENAMED: Final = {
    "mlflow.llm.model": names.RESPONSE_MODEL,
    "mlflow.llm.provider": names.PROVIDER,
    "mlflow.trace.session": names.SESSION_ID,
    "mlflow.trace.user": names.USER_ID,
}
_USAGE: Final = {
    "input_tokens": names.USAGE_INPUT, "output_tokens": names.USAGE_OUTPUT,
    "cache_read_input_tokens": names.USAGE_CACHE_READ, "cache_creation_input_tokens": names.USAGE_CACHE_WRITE,
}  # fmt: skip


def rename_mlflow_attributes(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the attributes of a span, those of MLflow under the conventions' names too.

    Names of the conventions that the span has itself go before.
    """
    if _TYPE not in attributes and _INPUTS not in attributes:
        return attributes
    values = {name: load_json(value) for name, value in attributes.items() if name.startswith("mlflow.")}
    kind = str(values.get(_TYPE) or "UNKNOWN").upper()
    known: dict[str, Any] = {names.OI_KIND: _KINDS.get(kind, kind)}
    known |= {ours: values[theirs] for theirs, ours in _RENAMED.items() if values.get(theirs)}
    for theirs, ours in ((_INPUTS, names.OI_INPUT), (_OUTPUTS, names.OI_OUTPUT)):
        if values.get(theirs) is not None:
            known[ours] = values[theirs]
    tokens = list_fields(values.get("mlflow.chat.tokenUsage"))
    known |= {ours: tokens[theirs] for theirs, ours in _USAGE.items() if theirs in tokens}
    cost = list_fields(values.get("mlflow.llm.cost")).get("total_cost")
    return {**known, **({"gen_ai.usage.cost": cost} if cost is not None else {}), **attributes}
