"""What was asked of the tools: each call of a tool is a traced call, in a store of the door's own.

Not in the store that is read: a look at it would change it, would be what `last` means next, and would be in
its totals. What answers say is not kept a second time, only their verdict.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Self

from llm_trace.capture.completed_calls import encode_finished_call
from llm_trace.capture.ids import make_id
from llm_trace.settings import build_spool_writer, resolve_settings

if TYPE_CHECKING:
    from pathlib import Path

    from llm_trace.mcp.answers import ToolAnswer

RUN = "mcp"
"""Name of the run of each server."""


def name_tool_log(store: Path) -> Path:
    """Return where the calls of tools about a store go: `traces.mcp.duckdb` beside `traces.duckdb`."""
    return store.with_name(f"{store.stem}.mcp{store.suffix}")


class ToolLog:
    """Writes calls of tools to a store's spool; a context manager.

    Args:
        store: the DuckDB file that they go to.
        about: the store that the tools read.
    """

    def __init__(self, store: Path, about: Path) -> None:
        settings = resolve_settings({}) | {"exporters": None}
        self._capture_content: bool = settings["capture_content"]
        self._spool, self._encoder = build_spool_writer(settings, store)
        self._run = {"event": "run", "id": make_id(), "name": RUN, "start_ns": time.time_ns()}
        self._write_run(config={"store": str(about)})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(
        self,
        tool: str,
        arguments: dict[str, Any],
        begin_ns: int,
        answer: ToolAnswer | None,
        error: str | None,
    ) -> None:
        """Append a call of a tool that is over; where it cannot be written the spool's own count says so."""
        call: dict[str, Any] = {
            "span_id": make_id(), "trace_id": os.urandom(16).hex(), "name": f"mcp.{tool}", "kind": "tool",
            "run": self._run["id"], "start_ns": begin_ns, "end_ns": max(begin_ns, time.time_ns()),
            "status": "ok" if error is None else "error",
        }  # fmt: skip
        if self._capture_content:
            call["input"] = arguments
            call["output"] = None if answer is None else {"verdict": answer.verdict}
            call["error"] = None if error is None else {"type": "ToolError", "message": error}
        self._spool.write_all(encode_finished_call(self._encoder, call))

    def close(self) -> None:
        """End the run."""
        self._write_run(end_ns=time.time_ns())
        self._spool.close()

    def _write_run(self, **fields: Any) -> None:
        self._spool.write(self._encoder.encode_event(self._run | fields)[:-1])
