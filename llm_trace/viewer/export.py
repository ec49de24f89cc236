"""The calls of a filter as a file to keep: JSON Lines, CSV, or a zip of Parquet tables."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.background import BackgroundTask
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse

from llm_trace.errors import LLMTraceError
from llm_trace.stores import export
from llm_trace.viewer.filters import CallFilters

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from llm_trace.stores.duckdb import Store
    from llm_trace.viewer.page import FreshStore

    Answer = Callable[[Request], Response]

STREAMS = {
    "calls.jsonl": (export.write_json_lines, "application/jsonl"),
    "calls.csv": (export.write_csv, "text/csv"),
}
PARQUET = "calls.parquet.zip"


def build_exports(fresh: FreshStore) -> dict[str, Answer]:
    """Return what answers with each file, by its name."""
    return {name: _build_answer(fresh, name) for name in (*STREAMS, PARQUET)}


def _build_answer(fresh: FreshStore, name: str) -> Answer:
    def answer(request: Request) -> Response:
        try:
            filters = CallFilters.read(request.query_params)
            if name == PARQUET:
                return _send_parquet(fresh.get(), filters)
            return _stream(fresh.get(), filters, name)
        except LLMTraceError as exc:
            return PlainTextResponse(f"{exc}\n", 400)

    return answer


def _stream(store: Store, filters: CallFilters, name: str) -> Response:
    write, media_type = STREAMS[name]
    lines = write(store, filters.build(), lambda count: None)  # noqa: ARG005
    return StreamingResponse(lines, media_type=f"{media_type}; charset=utf-8", headers=_attach(name))


def _send_parquet(store: Store, filters: CallFilters) -> Response:
    """Send the tables, made in a folder that goes when they are sent."""
    folder = Path(tempfile.mkdtemp(prefix="llm_trace-"))
    remove = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    try:
        whole = folder / PARQUET
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as file:  # Parquet is compressed
            for table in store.to_parquet(folder / "calls", **filters.build()):
                file.write(table, f"calls/{table.name}")
                table.unlink()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return FileResponse(whole, media_type="application/zip", headers=_attach(PARQUET), background=remove)


def _attach(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}
