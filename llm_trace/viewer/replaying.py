"""Run a call again with something changed: the form, the replay that it starts, and what came of it."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.responses import PlainTextResponse, RedirectResponse, Response

from llm_trace.errors import LLMTraceError
from llm_trace.viewer.forms import answer_form
from llm_trace.viewer.replay_form import ReplayForm
from llm_trace.viewer.replay_jobs import ReplayJobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store
    from llm_trace.viewer.page import FreshStore

LONGEST = 2_000_000
"""Bytes of a form."""
_AROUND = 20
"""Calls around one that are looked at for one that may run."""


class ReplayPages:
    """The pages and forms of replays.

    Args:
        functions: `module:function` of what may run: nothing else is ever imported.
    """

    def __init__(self, store: FreshStore, functions: Sequence[str]) -> None:
        self._store = store
        self.jobs = ReplayJobs(functions, store.expire)

    def read_form(self, store: Store, request: Request) -> dict[str, Any]:
        """Return what of a call can be changed, and what may run."""
        call = store.call(request.path_params["span_id"])
        form = ReplayForm(store, call.span_id)
        return {
            "call": call,
            "fields": form.fields,
            "models": form.models,
            "functions": self.jobs.functions,
            "function": self._find_function(call),
            "around": self._find_around(store, call),
            "wanted": _suggest_function(call),
        }

    def _find_function(self, call: Call) -> str | None:
        return self.jobs.find_function(call.code.function if call.code else None, call.name)

    def _find_around(self, store: Store, call: Call) -> Call | None:
        """Return the nearest call around one that may run where it may not itself."""
        around = call
        for _ in range(_AROUND):
            if self._find_function(around) is not None or around.parent_id is None:
                break
            around = next((c for c in store.trace(call.trace_id) if c.span_id == around.parent_id), call)
        return around if around is not call and self._find_function(around) else None

    def read_job(self, store: Store, request: Request) -> dict[str, Any]:  # noqa: ARG002
        """Return how a replay goes, or went."""
        job_id = request.path_params["job"]
        job = self.jobs.get(job_id)
        request_of_job, answer = job.request, job.answer
        sides = {"a": request_of_job.span_id, "b": answer.span_id or "", "by": "replay"}
        return {
            "job": job_id,
            "request_of_job": request_of_job,
            "changes": sorted(request_of_job.overrides),
            "running": job.seconds is None,
            "seconds": time.monotonic() - job.began if job.seconds is None else job.seconds,
            "answer": answer,
            "comparison": f"/compare?{urlencode(sides)}" if answer.span_id else None,
        }

    async def start(self, request: Request) -> Response:
        """Start a replay and go to where it is told how it goes."""
        return await answer_form(request, partial(self._start, request.path_params["span_id"]), LONGEST)

    def _start(self, span_id: str, form: dict[str, str]) -> str:
        job = self.jobs.start(ReplayForm(self._store.get(), span_id).build_request(form))
        return f"/replays/{job}"

    async def stop(self, request: Request) -> Response:
        """End a replay and go back to it."""
        try:
            self.jobs.stop(request.path_params["job"])
        except LLMTraceError as exc:
            return PlainTextResponse(f"{exc}\n", 404)
        return RedirectResponse(f"/replays/{request.path_params['job']}", 303)


def _suggest_function(call: Call) -> str | None:
    """Return what to name for a call of the program's own, `None` for one of a library or an import."""
    if call.code is None or call.code.function is None:
        return None
    return call.code.function.replace("__main__:", "your_module:")
