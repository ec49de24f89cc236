"""Calls that somebody is to look at, one after the other, and the scores that people give them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.responses import Response

from llm_trace.comparison.feedback import Given, ScoreWriter, find_unscored, parse_score_value
from llm_trace.errors import ConfigurationError
from llm_trace.viewer.filters import NAMES, CallFilters
from llm_trace.viewer.forms import answer_form
from llm_trace.viewer.trace import read_call_details

if TYPE_CHECKING:
    from starlette.requests import Request

    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store
    from llm_trace.viewer.page import FreshStore

QUEUE = 500
"""The newest calls that match are those to look at."""


def read_review(store: Store, request: Request) -> dict[str, Any]:
    """Return the next call without a score of this name from a person, and how many are left."""
    query = request.query_params
    name = query.get("rating", "").strip() or "rating"
    filters = CallFilters.read(query)
    skipped = set(query.getlist("skip"))
    newest = store.calls(**filters.build(), limit=QUEUE, order=filters.order)
    calls = [call for call in find_unscored(store, newest, name) if call.span_id not in skipped]
    call = _choose(calls, random_order=query.get("pick") == "random", seed=len(skipped) + len(calls))
    page = {
        "rating": name,
        "filters": filters,
        "pick": query.get("pick", ""),
        "left": len(calls),
        "back": _build_link(request, None),
        "skip": None if call is None else _build_link(request, call.span_id),
    }
    return {**({"call": None} if call is None else read_call_details(store, call.span_id)), **page}


def _choose(calls: list[Call], *, random_order: bool, seed: int) -> Call | None:
    if not calls:
        return None
    return random.Random(seed).choice(calls) if random_order else calls[0]


def _build_link(request: Request, skip: str | None) -> str:
    known = [(k, v) for k, v in request.query_params.multi_items() if k in (*NAMES, "rating", "pick", "skip")]
    query = urlencode([*known, *([("skip", skip)] if skip else [])])
    return f"/review?{query}" if query else "/review"


class ScoreForm:
    """Takes the scores that pages send and writes them to the spool, as `log_score` does.

    The spool is opened with the first score, and let go when the process ends.
    """

    def __init__(self, store: FreshStore) -> None:
        self._store = store
        self._writer: ScoreWriter | None = None

    async def answer(self, request: Request) -> Response:
        """Write a score and go back to the page that it came from."""
        return await answer_form(request, self._write)

    def _write(self, form: dict[str, str]) -> str:
        name, value = form.get("name", "").strip(), form.get("value", "").strip()
        if not name or not value:
            raise ConfigurationError("a score has a name and a value: a number, yes or no, or a label")
        call = self._store.get().call(form.get("call", ""))
        if self._writer is None:
            self._writer = ScoreWriter(self._store.get().path)
        comment = form.get("comment", "").strip() or None
        self._writer.give(Given(call.span_id, name, parse_score_value(value), comment))
        self._store.expire()
        back = form.get("back", "")
        return back if back.startswith("/") and back[1:2] not in ("/", "\\") else "/"
