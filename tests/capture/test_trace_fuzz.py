"""Whatever a traced function is given and returns: the very object comes back, and the record is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import llm_trace
from llm_trace import trace
from llm_trace.capture import failures


class Hostile:
    """An object whose every method raises."""

    def __init__(self, error: type[Exception]) -> None:
        object.__setattr__(self, "_error", error)

    def __getattribute__(self, name: str) -> Any:
        if name in ("__class__", "__dict__"):
            return object.__getattribute__(self, name)
        raise object.__getattribute__(self, "_error")(name)

    def __repr__(self) -> str:
        raise object.__getattribute__(self, "_error")("repr")

    def __len__(self) -> int:
        raise object.__getattribute__(self, "_error")("len")


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.datetimes()
    | st.complex_numbers()
    | st.functions()
    | st.builds(object)
    | st.builds(Hostile, st.sampled_from([ValueError, AttributeError, RecursionError, TypeError]))
    | st.just({"role": "user", "content": "hi"})
    | st.just({"$messages": [0, 1]})
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.tuples(inner, inner)
        | st.frozensets(st.integers())
    ),
    max_leaves=12,
)


def test_any_value(tmp_path: Path) -> None:
    place = tmp_path / "t.duckdb"

    @settings(max_examples=150)
    @given(value=VALUES, output=VALUES, chunks=st.lists(VALUES, max_size=4))
    def check(value: Any, output: Any, chunks: list[Any]) -> None:
        llm_trace.configure(place)
        assert llm_trace.config.current is not None
        before = llm_trace.config.current.spool.written

        @trace(kind="llm")
        def f(value: Any) -> Any:
            return output

        @trace
        def g() -> Any:
            yield from chunks

        assert f(value) is output
        assert all(a is b for a, b in zip(g(), chunks, strict=True))
        assert llm_trace.config.current.spool.written == before + 4
        assert not failures.counts, failures.counts
        llm_trace.shutdown()

    check()
    with llm_trace.open_store(place) as store:
        calls = store.calls(limit=10_000)
        assert len(calls) >= 200
        assert {c.status for c in calls} == {"ok"}
        assert store.sql("select count(*) from calls").fetchone() == (len(calls),)
