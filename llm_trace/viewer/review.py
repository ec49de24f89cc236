"""Calls that somebody is to look at, one after the other, and what people decide about them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import quote, unquote, urlencode

from starlette.responses import Response

from llm_trace.comparison.feedback import Given, ScoreWriter, parse_score_value
from llm_trace.errors import ConfigurationError
from llm_trace.operations.review_queue import QueuedCall, build_queue
from llm_trace.operations.reviews import (
    RATING,
    ExplainMode,
    ReviewWriter,
    check_reviewer,
    draw_explained,
    make_review,
)
from llm_trace.viewer.filters import NAMES, CallFilters
from llm_trace.viewer.forms import answer_form
from llm_trace.viewer.trace import read_call_details

if TYPE_CHECKING:
    from starlette.requests import Request

    from llm_trace.stores.duckdb import Store
    from llm_trace.viewer.page import FreshStore

MODES: tuple[ExplainMode, ...] = get_args(ExplainMode)
_COOKIE = "llm_trace_reviewer"
_ASKED = (*NAMES, "rating", "pick", "skip", "explain", "others")
_HIDDEN: dict[str, Any] = {"attributions": [], "tables": [], "units": [], "certainty": None}
"""What a page shows of a call whose explanations are not to be seen."""


def read_review(store: Store, request: Request) -> dict[str, Any]:
    """Return the next call that the reviewer has not decided about, and how many are left."""
    query, reviewer = request.query_params, _read_reviewer(request)
    filters = CallFilters.read(query)
    page: dict[str, Any] = {
        "reviewer": reviewer,
        "rating": query.get("rating", "").strip() or RATING,
        "filters": filters,
        "pick": query.get("pick", ""),
        "mode": _read_mode(query.get("explain", "")),
        "others": query.get("others", "") == "yes",
        "left": 0,
        "call": None,
        "back": _build_link(request, None),
        "skip": None,
    }
    arguments = filters.build() | {"order": filters.order}
    if reviewer is None:
        return page
    queue = build_queue(store, arguments, reviewer=reviewer, rating=page["rating"], others=page["others"])
    skipped = set(query.getlist("skip"))
    left = [queued for queued in queue if queued.call.span_id not in skipped]
    page["left"] = len(left)
    if not left:
        return page
    queued = _choose(left, random_order=page["pick"] == "random", seed=len(skipped) + len(left))
    return _describe_queued(store, queued, page) | {"skip": _build_link(request, queued.call.span_id)}


def _read_reviewer(request: Request) -> str | None:
    """Return the name that this browser was given; `None` before."""
    try:
        return check_reviewer(unquote(request.cookies.get(_name_cookie(request), "")))
    except ConfigurationError:
        return None


def _name_cookie(request: Request) -> str:
    """Return the name of a viewer's cookie; browsers send those of every port to each."""
    return f"{_COOKIE}_{request.headers.get('host', '').rpartition(':')[2]}"


def _read_mode(text: str) -> ExplainMode:
    mode = text.strip() or "always"
    for known in MODES:
        if mode == known:
            return known
    raise ConfigurationError(f"explain {text!r} is none of {', '.join(MODES)}")


def _describe_queued(store: Store, queued: QueuedCall, page: dict[str, Any]) -> dict[str, Any]:
    """Return a call as the reviewer is to see it: never with others' scores, which would sway."""
    explained = draw_explained(page["mode"], page["reviewer"], queued.call.span_id)
    asked = {"asked_by": queued.asked_by, "reason": queued.reason if explained else None}
    details = read_call_details(store, queued.call.span_id) | {"scores": [], "scorable": False}
    if not explained:
        details |= _HIDDEN | {"explainable": False}
    return {**details, **page, **asked, "call": details["call"], "explained": explained}


def _choose(calls: list[QueuedCall], *, random_order: bool, seed: int) -> QueuedCall:
    return random.Random(seed).choice(calls) if random_order else calls[0]


def _build_link(request: Request, skip: str | None) -> str:
    known = [(k, v) for k, v in request.query_params.multi_items() if k in _ASKED]
    query = urlencode([*known, *([("skip", skip)] if skip else [])])
    return f"/review?{query}" if query else "/review"


def _check_back(form: dict[str, str]) -> str:
    """Return the page of the viewer that a form came from."""
    back = form.get("back", "")
    return back if back.startswith("/") and back[1:2] not in ("/", "\\") else "/"


class ReviewForms:
    """Takes the decisions that the review page sends, and the name of who decides.

    The spool is opened with the first decision, and let go when the process ends.
    """

    def __init__(self, store: FreshStore) -> None:
        self._store = store
        self._writer: ReviewWriter | None = None

    async def answer_name(self, request: Request) -> Response:
        """Remember who decides, for as long as the browser is open."""
        form: dict[str, str] = {}

        def remember(fields: dict[str, str]) -> str:
            form["name"] = check_reviewer(fields.get("reviewer", ""))
            return _check_back(fields)

        answer = await answer_form(request, remember)
        if "name" in form:
            answer.set_cookie(
                _name_cookie(request), quote(form["name"], safe=""), httponly=True, samesite="strict"
            )
        return answer

    async def answer(self, request: Request) -> Response:
        """Keep a decision and go back to the page that it came from."""
        reviewer = _read_reviewer(request)
        return await answer_form(request, lambda form: self._keep(form, reviewer))

    def _keep(self, form: dict[str, str], reviewer: str | None) -> str:
        if reviewer is None:
            raise ConfigurationError("nobody decides: say your name on the page Review first")
        value = form.get("value", "").strip()
        if not value:
            raise ConfigurationError("a decision is a number, yes or no, or a label")
        store = self._store.get()
        review = make_review(
            store, form.get("call", ""), reviewer, parse_score_value(value),
            rating=form.get("rating", ""), mode=_read_mode(form.get("explain", "")),
            comment=form.get("comment"), seconds=_read_seconds(form.get("seconds", "")),
        )  # fmt: skip
        if self._writer is None:
            self._writer = ReviewWriter(store.path)
        self._writer.give(review)
        self._store.expire()
        return _check_back(form)


def _read_seconds(text: str) -> float | None:
    """Return the seconds that a page has measured; `None` where it could not, as without scripts."""
    if not text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{text!r} are no seconds") from None


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
        return _check_back(form)
