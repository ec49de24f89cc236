"""What mattered in a call: its attributions one by one, beside each other, and by larger parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from llm_trace.attribution.studies.coarser import UNITS, can_sum, list_units, sum_scores
from llm_trace.errors import AttributionError
from llm_trace.rendering.attribution_data import describe_attribution
from llm_trace.rendering.certainty import describe_certainty
from llm_trace.rendering.side_by_side import describe_tables
from llm_trace.semconv.logprobs import find_token_logprobs

if TYPE_CHECKING:
    from starlette.requests import Request

    from llm_trace.record import Attribution, Call
    from llm_trace.stores.duckdb import Store

NEWEST = 6
"""Attributions of a call that are shown."""


def read_attributions(store: Store, request: Request) -> dict[str, Any]:
    """Return what mattered in one call, by the parts that the address names."""
    call = store.call(request.path_params["span_id"])
    return {"call": call, **describe_call_attributions(store, call, request.query_params.get("by", ""))}


def describe_call_attributions(store: Store, call: Call, by: str = "") -> dict[str, Any]:
    """Return a call's attributions, newest first, and those over the same segments as one table.

    Args:
        by: the parts for which scores are summed where they add up; else each has its own.
    """
    newest = list(store.attributions(call.span_id)[-NEWEST:])[::-1]
    units = {unit for attribution in newest for unit in list_units(attribution, call)}
    shown = [_sum_where_possible(attribution, by, call) for attribution in newest]
    return {
        "by": by,
        "attributions": [describe_attribution(attribution) for attribution in shown],
        "tables": describe_tables(shown),
        "units": [{"name": name, "link": _build_link(call.span_id, name)} for name in UNITS if name in units],
        "whole": _build_link(call.span_id, ""),
        "fixed": sorted({attribution.method for attribution in newest if not can_sum(attribution)}),
    }


def describe_call_certainty(call: Call) -> dict[str, Any] | None:
    """Return how sure the model was of each token; `None` where neither the output of the call nor that of
    one merged into it has log-probabilities.
    """
    outputs = (call.output, *(same.get("output") for same in call.metadata.get("same") or ()))
    return describe_certainty(next(filter(None, map(find_token_logprobs, outputs)), []))


def _sum_where_possible(attribution: Attribution, by: str, call: Call) -> Attribution:
    if by not in UNITS:
        return attribution
    try:
        return sum_scores(attribution, by, call)
    except AttributionError:
        return attribution


def _build_link(span_id: str, by: str) -> str:
    return f"/call/{quote(span_id)}/attributions" + (f"?by={quote(by)}" if by else "")
