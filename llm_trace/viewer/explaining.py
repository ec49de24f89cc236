"""Explain a call from its page: the price, then a job that can be watched and cancelled, one at a time."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson
from starlette.responses import Response

from llm_trace.attribution.models.at_hand import check_libraries, list_models_at_hand
from llm_trace.attribution.policy.policy import AttributionPolicy
from llm_trace.attribution.policy.queue import get_queue_folder
from llm_trace.errors import ConfigurationError, StoreError
from llm_trace.rendering.attribution_data import describe_attribution
from llm_trace.spool.paths import get_spool_dir
from llm_trace.spool.writer import SpoolWriter
from llm_trace.viewer.forms import answer_form

if TYPE_CHECKING:
    from starlette.requests import Request

    from llm_trace.attribution.core.plan import Plan
    from llm_trace.attribution.policy.job import ExplainJob
    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store
    from llm_trace.viewer.page import FreshStore

CHECKS, QUALITY = 10, 250
"""Evaluations, about: of the checks that every attribution gets, and of measuring it (`quality`)."""
_PARTS = ("word", "phrase", "sentence", "line", "paragraph", "token", "hierarchy")
_ASKED = ("self_report", "answer_sets", "smile", "gsmile_published")
"""Methods for models that cannot be opened."""
_NOT_EXPLAINABLE = "Only a call that ended well, with a prompt and an answer in words, can be explained."


class ExplainDesk:
    """The jobs of a viewer: shows where the one that runs stands, and takes what pages send."""

    def __init__(self, store: FreshStore) -> None:
        self._store = store
        self._job: ExplainJob | None = None
        self._lock = threading.Lock()

    def read(self, store: Store, request: Request) -> dict[str, Any]:
        """Return what a call can be explained with, and the job that is about it."""
        call = store.call(request.path_params["span_id"])
        job = self._job
        page: dict[str, Any] = {"call": call, "hint": None, "job": None, "busy_with": None, "result": None}
        if job is not None and job.call.span_id == call.span_id:
            page["job"] = _describe_job(job)
        elif job is not None and job.state.busy:
            page["busy_with"] = {"span_id": job.call.span_id, "name": job.call.name}
        if job is not None and job.state.busy:  # asked for again and again, so it costs little
            return page
        attributions = store.attributions(call.span_id)
        if page["job"] and page["job"]["stage"] == "done" and attributions:
            page["result"] = describe_attribution(attributions[-1])
        if (hint := _find_hindrance(call)) is not None:
            return page | {"hint": hint}
        return page | _list_choices(store, call, [attribution.model for attribution in attributions])

    async def answer(self, request: Request) -> Response:
        """Price, begin or cancel, and go back to the page that shows it."""
        return await answer_form(request, self._act)

    def _act(self, form: dict[str, str]) -> str:
        call = self._store.get().call(form.get("call", ""))
        with self._lock:
            if form.get("action") == "price":
                self._price(call, form)
            elif self._job is None or self._job.call.span_id != call.span_id:
                raise ConfigurationError("this call is not being explained: ask for its price first")
            elif form.get("action") == "begin":
                self._job.begin()
            else:
                self._job.cancel()
        return f"/call/{quote(form['call'], safe='')}/explain"

    def _price(self, call: Call, form: dict[str, str]) -> None:
        from llm_trace.attribution.policy.job import ExplainJob

        if self._job is not None and self._job.state.busy:
            raise ConfigurationError(
                f"call {self._job.call.span_id} is being explained: wait, or cancel that"
            )
        if (hint := _find_hindrance(call)) is not None:
            raise ConfigurationError(hint)
        choices = _list_choices(self._store.get(), call, [])
        for name, known in (("model", "models"), ("method", "methods"), ("segments", "parts")):
            if form.get(name) not in choices[known]:
                raise ConfigurationError(
                    f"{name} {form.get(name, '')!r} is none of {', '.join(choices[known])}"
                )
        if self._job is not None:
            self._job.cancel()
        policy = AttributionPolicy(
            model=form["model"],
            method=form["method"],
            segments=form["segments"],
            quality=form.get("quality") == "yes",
        )
        self._job = ExplainJob(call, policy, self._keep)

    def _keep(self, event: dict[str, Any]) -> None:
        writer = SpoolWriter(get_spool_dir(self._store.get().path))
        try:
            if not writer.write(orjson.dumps(event)[:-1]):
                raise StoreError(f"{str(writer.folder)!r} cannot be written")
        finally:
            writer.close()
        self._store.get().ingest()


def _find_hindrance(call: Call) -> str | None:
    """Return why a call cannot be explained here, and what to do."""
    if not AttributionPolicy().wants(call):
        return _NOT_EXPLAINABLE
    return check_libraries()


def _list_choices(store: Store, call: Call, named: list[str | None]) -> dict[str, Any]:
    return {
        "models": list_models_at_hand([call.model, *named], get_queue_folder(store.path)),
        "methods": _list_methods(),
        "parts": [
            *_PARTS,
            *(["message"] if call.messages_in else []),
            *(["variable"] if call.prompt and call.prompt.variables else []),
            *(["chunk"] if call.documents else []),
        ],
    }


@functools.cache
def _list_methods() -> list[str]:
    from llm_trace.attribution.methods import registry

    return ["auto", *(name for name in registry.list_methods() if name not in _ASKED)]


def _describe_job(job: ExplainJob) -> dict[str, Any]:
    state, policy = job.state, job.policy
    return {
        "stage": state.stage,
        "error": state.error,
        "done": state.done,
        "planned": state.planned,
        "model": policy.model,
        "method": policy.method,
        "segments": policy.segments,
        "quality": policy.quality,
        "price": None if state.plan is None else _describe_price(state.plan, quality=policy.quality),
    }


def _describe_price(plan: Plan, *, quality: bool) -> dict[str, Any]:
    """Return what is paid for, the checks with it: evaluations, tokens, seconds, dollars."""
    evaluations = plan.evaluations + CHECKS + (QUALITY if quality else 0)
    share = evaluations / max(1, plan.evaluations)
    return {
        "evaluations": evaluations,
        "tokens": round(plan.tokens * share),
        "duration_ns": plan.seconds * share * 1e9,
        "usd": plan.usd,
        "segments": plan.segments,
        "method": plan.method,
        "warnings": plan.warnings,
    }
