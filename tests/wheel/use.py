"""What the wheel must do with its core dependencies alone: record, ingest, query. Run by check.py."""

from __future__ import annotations

import importlib.util

import llm_trace

assert "site-packages" in llm_trace.__file__, llm_trace.__file__
assert importlib.util.find_spec("torch") is None

llm_trace.configure("traces.duckdb", redact=True)


@llm_trace.trace(kind="llm")
def ask(messages: list[dict[str, str]]) -> str:
    return "hello"


ask([{"role": "user", "content": "write to ann@example.org"}])
assert llm_trace.flush().ok
store = llm_trace.open_store("traces.duckdb")
(call,) = store.calls()
assert call.input == {"messages": [{"role": "user", "content": "write to [redacted]"}]}, call.input
assert call.output == "hello"
assert store.sql("select count(*) from calls").fetchone() == (1,)
try:
    llm_trace.attribute("a b", "c", model="demo")
except llm_trace.errors.MissingExtraError as exc:
    assert "llm-trace[local]" in str(exc), exc
else:
    raise AssertionError("attribution without torch must say what to install")
