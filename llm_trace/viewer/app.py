"""The application: every page by its address."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from llm_trace.viewer import (
    attributions,
    calls,
    comparing,
    evaluations,
    health,
    prompts,
    review,
    runs,
    sessions,
    trace,
    traces,
    worth,
)
from llm_trace.viewer.explaining import ExplainDesk
from llm_trace.viewer.export import build_exports
from llm_trace.viewer.guard import Guard
from llm_trace.viewer.page import FreshStore, ViewerPage, build_routes
from llm_trace.viewer.replaying import ReplayPages

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from starlette.types import ASGIApp

    from llm_trace.stores.duckdb import Store


class TextConvertor(StringConvertor):
    """Any text in an address, with slashes and line ends."""

    regex = r"(?s:.*)"


register_url_convertor("text", TextConvertor())
_TRACE = "/trace/{trace_id}"
_LINES, _STEPS = f"{_TRACE}/lines", f"{_TRACE}/steps"
PAGES = (
    ViewerPage("/", calls.read_call_table, "calls.html"),
    ViewerPage("/calls", calls.read_call_table, "calls.html"),
    ViewerPage("/calls/rows", calls.read_call_table, "rows.html", whole="/calls"),
    ViewerPage("/calls/summary", calls.read_summary, "summary.html", whole="/calls"),
    ViewerPage("/calls/choices", calls.read_choices, "choices.html", whole="/calls"),
    ViewerPage(_TRACE, trace.read_trace, "trace.html"),
    ViewerPage(_LINES, trace.read_trace_lines, "lines.html", whole=_TRACE),
    ViewerPage(_STEPS, trace.read_steps, "steps.html", whole=f"{_TRACE}?view=steps"),
    ViewerPage("/traces", traces.read_traces, "traces.html"),
    ViewerPage("/call/{span_id}", trace.read_call, "call.html"),
    ViewerPage("/call/{span_id}/attributions", attributions.read_attributions, "attributions.html"),
    ViewerPage("/call/{span_id}/words", attributions.read_words, "words.html", whole="/call/{span_id}"),
    ViewerPage("/session/{session:text}", sessions.read_session_page, "session.html"),
    ViewerPage("/runs", runs.read_runs_page, "runs.html"),
    ViewerPage("/evaluations", evaluations.read_evaluations, "evaluations.html"),
    ViewerPage("/evaluation/{run}", evaluations.read_evaluation_page, "evaluation.html"),
    ViewerPage("/compare", comparing.read_comparison, "compare.html"),
    ViewerPage("/prompts", prompts.read_prompts, "prompts.html"),
    ViewerPage("/prompts/parts", prompts.read_parts, "prompt_parts.html"),
    ViewerPage("/review", review.read_review, "review.html"),
    ViewerPage("/worth", worth.read_worth, "worth.html"),
    ViewerPage("/health", health.read_health, "health.html"),
)


def build_viewer(store: Store, token: str, hosts: Collection[str], functions: Sequence[str] = ()) -> ASGIApp:
    """Return the application.

    Args:
        store: what the pages show; its spool is taken in as they are asked for.
        token: of the link that opens it.
        hosts: the values of `Host` that it answers to.
        functions: `module:function` of what may be run again from a page.
    """
    fresh = FreshStore(store)
    desk = ExplainDesk(fresh)
    replays = ReplayPages(fresh, functions)
    reviews = review.ReviewForms(fresh)
    pages = (
        *PAGES,
        ViewerPage("/call/{span_id}/explain", desk.read, "explain.html"),
        ViewerPage("/replay/{span_id}", replays.read_form, "replay.html"),
        ViewerPage("/replays/{job}", replays.read_job, "replay_job.html"),
    )
    routes = [route for page in pages for route in build_routes(page, fresh)]
    static = StaticFiles(
        directory=Path(__file__).parent / "static", packages=[("llm_trace.rendering", "static")]
    )
    return Starlette(
        routes=[
            *routes,
            *(Route(f"/export/{name}", answer) for name, answer in build_exports(fresh).items()),
            Route("/scores", review.ScoreForm(fresh).answer, methods=["POST"]),
            Route("/review", reviews.answer, methods=["POST"]),
            Route("/review/name", reviews.answer_name, methods=["POST"]),
            Route("/explain", desk.answer, methods=["POST"]),
            Route("/replay/{span_id}", replays.start, methods=["POST"]),
            Route("/replays/{job}/stop", replays.stop, methods=["POST"]),
            Mount("/static", static),
        ],
        middleware=[
            Middleware(Guard, token=token, hosts=hosts),
            Middleware(GZipMiddleware, minimum_size=1000, compresslevel=5),
        ],
    )
