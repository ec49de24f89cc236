"""What mattered in a call: its attributions one by one, beside each other, and by larger parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from llm_trace.attribution.studies.coarser import UNITS, can_sum, list_units, sum_scores
from llm_trace.errors import AttributionError, NotFoundError
from llm_trace.rendering.attribution_data import describe_attribution, describe_pieces
from llm_trace.rendering.certainty import describe_certainty
from llm_trace.rendering.side_by_side import describe_tables
from llm_trace.semconv.logprobs import find_token_logprobs
from llm_trace.viewer.page import read_offset

if TYPE_CHECKING:
    from starlette.requests import Request

    from llm_trace.record import Attribution, Call
    from llm_trace.stores.duckdb import Store

NEWEST = 6
"""Attributions of a call that are shown."""
PIECES = 2_400
"""Pieces of a prompt a page: words, and what stands between them; the rest follows as one scrolls."""


def read_attributions(store: Store, request: Request) -> dict[str, Any]:
    """Return what mattered in one call, by the parts that the address names."""
    call = store.call(request.path_params["span_id"])
    return {"call": call, **describe_call_attributions(store, call, request.query_params.get("by", ""))}


def describe_call_attributions(store: Store, call: Call, by: str = "") -> dict[str, Any]:
    """Return a call's attributions, newest first, and those over the same segments as one table.

    Args:
        by: the parts for which scores are summed where they add up; else each has its own.
    """
    every = list(store.attributions(call.span_id))
    newest = every[-NEWEST:][::-1]
    units = {unit for attribution in newest for unit in list_units(attribution, call)}
    shown = [_sum_where_possible(attribution, by, call) for attribution in newest]
    return {
        "by": by,
        "attributions": [
            {
                **describe_attribution(attribution, PIECES),
                "more": _link_more(call, attribution, number, by, 0),
            }
            for number, attribution in zip(range(len(every) - 1, -1, -1), shown, strict=False)
        ],
        "tables": describe_tables(shown),
        "units": [{"name": name, "link": _build_link(call.span_id, name)} for name in UNITS if name in units],
        "whole": _build_link(call.span_id, ""),
        "fixed": sorted({attribution.method for attribution in newest if not can_sum(attribution)}),
    }


def read_words(store: Store, request: Request) -> dict[str, Any]:
    """Return further words of the prompt of an attribution of a call, from the number `from` on."""
    call, query = store.call(request.path_params["span_id"]), request.query_params
    every, number, by = store.attributions(call.span_id), query.get("number", ""), query.get("by", "")
    if number not in map(str, range(len(every))):
        raise NotFoundError(f"call {call.span_id!r} has no attribution {number!r}: it has {len(every)}")
    attribution, begin = _sum_where_possible(every[int(number)], by, call), read_offset(request)
    return {
        "pieces": describe_pieces(attribution, begin, PIECES),
        "more": _link_more(call, attribution, int(number), by, begin),
    }


def _link_more(call: Call, attribution: Attribution, number: int, by: str, begin: int) -> str | None:
    """Return the address of the words after a page of them; `None` after the last."""
    begin += PIECES
    if not describe_pieces(attribution, begin, 1):
        return None
    query = {"number": number, "from": begin} | ({"by": by} if by else {})
    return f"/call/{quote(call.span_id)}/words?{urlencode(query)}"


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
