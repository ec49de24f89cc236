"""A page: what it reads of the store, and its two answers, HTML and, under `.json`, the same data."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import orjson
from pydantic_core import to_jsonable_python
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from llm_trace.errors import ConfigurationError, LLMTraceError, NotFoundError
from llm_trace.spool.files import list_spool_files
from llm_trace.spool.losses import list_noted_losses
from llm_trace.spool.paths import get_spool_dir
from llm_trace.viewer.templates import render_template

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store

Read = Callable[["Store", Request], Mapping[str, Any]]
"""Reads what a page shows."""
STATUS = "http_status"
"""Of what a page shows: its answer's status, where that is not 200."""
_PLACES = ("from", "after")
"""What an address says of where a part begins."""
FRESH_S = 0.25
"""How old what is shown may be before the spool is looked at again."""
STEADY_S = 30.0
"""How old totals of a large store may be while calls come: they take a look at every call."""


@dataclass(frozen=True)
class ViewerPage:
    """An address, what it shows and how."""

    path: str
    read: Read
    template: str
    whole: str | None = None
    """Of a part that htmx puts into a page: where that page is, for who opens the part by itself."""


class FreshStore:
    """A store that takes in what was logged since, a few times a second and where its spool has changed."""

    def __init__(self, store: Store) -> None:
        store.keep_answers(STEADY_S)
        self._store = store
        self._lock = threading.Lock()
        self._next = 0.0
        self._spool: object = None

    def get(self) -> Store:
        """Return the store, up to date."""
        if time.monotonic() >= self._next and self._lock.acquire(blocking=False):
            try:
                self._ingest()
                self._next = time.monotonic() + FRESH_S
            finally:
                self._lock.release()
        return self._store

    def _ingest(self) -> None:
        folder = get_spool_dir(self._store.path)
        spool = list_spool_files(folder), list_noted_losses(folder)
        if spool != self._spool or self._store.pending:
            self._store.ingest()
            self._spool = spool

    def expire(self) -> None:
        """Let the next look take in what was just written."""
        self._next = 0.0


def build_routes(page: ViewerPage, store: FreshStore) -> list[Route]:
    """Return the routes of a page: itself and its JSON."""

    def answer_html(request: Request) -> Response:
        if page.whole is not None and "HX-Request" not in request.headers:
            return RedirectResponse(_link_whole(page.whole, request))
        status, template, data = _read(page, store, request)
        layout = "fragment.html" if "HX-Request" in request.headers else "base.html"
        return HTMLResponse(render_template(template, {**data, "request": request, "layout": layout}), status)

    def answer_json(request: Request) -> Response:
        status, _, data = _read(page, store, request)
        body = orjson.dumps(to_jsonable_python(data, by_alias=True, fallback=str))
        return Response(body, status, media_type="application/json")

    return [
        Route(f"{page.path.rstrip('/') or '/index'}.json", answer_json),
        Route(page.path, answer_html),
    ]


def _link_whole(whole: str, request: Request) -> str:
    """Return the address of the page that a part belongs to, with what the part's address says besides."""
    path, _, query = whole.format_map(
        {k: quote(v, safe="") for k, v in request.path_params.items()}
    ).partition("?")
    asked = [pair for pair in request.query_params.multi_items() if pair[0] not in _PLACES]
    terms = "&".join(filter(None, (query, urlencode(asked))))
    return f"{path}?{terms}" if terms else path


def read_offset(request: Request) -> int:
    """Return the number `from` of the address, where a part of a page begins; 0 where there is none."""
    text = request.query_params.get("from", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _read(page: ViewerPage, store: FreshStore, request: Request) -> tuple[int, str, Mapping[str, Any]]:
    """Return the status, the template and the data of an answer; an error is a page as well."""
    try:
        fresh = store.get()
        with fresh.hold():
            data = page.read(fresh, request)
        return data.get(STATUS, 200), page.template, data
    except NotFoundError as exc:
        return 404, "error.html", {"error": str(exc)}
    except ConfigurationError as exc:
        return 400, "error.html", {"error": str(exc)}
    except LLMTraceError as exc:
        return 503, "error.html", {"error": str(exc)}
    except ModuleNotFoundError as exc:
        return 503, "error.html", {"error": f"this needs {exc.name}: pip install 'llm-trace[view]'"}
