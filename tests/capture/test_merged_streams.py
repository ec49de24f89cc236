"""Accounts of one streamed request are one call; requests that only look alike stay apart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

import llm_trace
from llm_trace.capture.merger import Merger
from llm_trace.semconv.merge import MODEL_KINDS
from tests.conftest import Recorded

COUNTED: dict[str, Any] = {
    "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 9, "gen_ai.usage.output_tokens": 2,
}  # fmt: skip
USAGE = {"input_tokens": 9, "output_tokens": 2}


def count(recorded: Recorded) -> tuple[Any, ...]:
    query = "SELECT count(*) FILTER (kind = 'llm'), sum(input_tokens), sum(output_tokens) FROM calls"
    (row,) = recorded.sql(query).fetchall()
    return tuple(row)


def tell(provider: TracerProvider, scope: str = "a") -> None:
    """Make the span of one request."""
    provider.get_tracer(scope).start_span("chat", attributes=COUNTED).end()


@pytest.fixture
def provider(recorded: Recorded) -> TracerProvider:
    provider = TracerProvider()
    llm_trace.configure(recorded.path, tracer_provider=provider)
    return provider


def test_two_equal_requests_in_a_row_are_two(recorded: Recorded, provider: TracerProvider) -> None:
    @llm_trace.trace(kind="llm")
    def ask() -> str:
        tell(provider)
        return "4"

    @llm_trace.trace
    def work() -> None:
        ask()
        ask()
        tell(provider)
        tell(provider)

    work()
    assert count(recorded) == (4, 36, 8)


def test_equal_requests_in_threads_and_tasks_are_as_many_as_were_asked(
    recorded: Recorded, provider: TracerProvider
) -> None:
    @llm_trace.trace(kind="llm")
    def ask(_: int) -> str:
        tell(provider)
        return "4"

    @llm_trace.trace(kind="llm")
    async def ask_async() -> str:
        await asyncio.sleep(0)
        tell(provider)
        return "4"

    @llm_trace.trace
    async def gather() -> None:
        await asyncio.gather(*[ask_async() for _ in range(3)])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(ask, range(3)))
    asyncio.run(gather())
    assert count(recorded) == (6, 54, 12)


def test_requests_that_end_after_the_function_around_them_are_merged_once(
    recorded: Recorded, provider: TracerProvider
) -> None:
    spans: list[Any] = []

    @llm_trace.trace(kind="llm")
    def ask() -> Iterator[str]:
        spans.extend(provider.get_tracer("a").start_span("chat", attributes=COUNTED) for _ in range(2))
        llm_trace.update_current_call(usage=USAGE)
        yield "4"

    list(ask())
    for span in spans:
        span.end()
    assert count(recorded) == (2, 18, 4)  # one instrumentation tells of a request once


def test_a_stream_without_counts_whose_span_ends_late_is_one_call(
    recorded: Recorded, provider: TracerProvider
) -> None:
    spans: list[Any] = []

    @llm_trace.trace(kind="llm", model="gpt-4o")
    def ask() -> Iterator[str]:
        asked = {name: value for name, value in COUNTED.items() if "usage" not in name}
        spans.append(provider.get_tracer("a").start_span("chat", attributes=asked))
        yield "4"

    list(ask())
    spans[0].end()
    assert count(recorded) == (1, None, None)


def _build_span(span_id: str, parent: str, scope: str, start: int, end: int) -> dict[str, Any]:
    return {
        "span_id": span_id, "trace_id": "0" * 32, "parent_id": parent, "name": "chat", "kind": "llm",
        "model": "gpt-4o", "usage": USAGE, "start_ns": start, "end_ns": end, "status": "ok",
        "metadata": {"otel": {"scope": scope, "attributes": {}}},
    }  # fmt: skip


@given(
    requests=st.integers(1, 4),
    scopes=st.integers(0, 2),
    ours_last=st.lists(st.booleans(), min_size=4, max_size=4),
    parallel=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_accounts_side_by_side_are_as_many_calls_as_requests(
    requests: int, scopes: int, ours_last: list[bool], parallel: bool
) -> None:
    """A library's call of ours and spans of others beside it, of equal requests in a row or at one time."""
    merger, counting = Merger(), []
    for number in range(requests):
        start, end = (0, 100) if parallel else (number * 10, number * 10 + 5)
        spans = [_build_span(f"{number}-{i}", "parent", f"scope {i}", start, end) for i in range(scopes)]
        ours = {"span_id": f"{number}-ours", "parent_id": "parent", "kind": "llm", "name": "create",
                "library": "openai", "model": "gpt-4o", "usage": USAGE, "output": None,
                "start_ns": start, "end_ns": end}  # fmt: skip
        if not ours_last[number]:
            merger.own(ours)
            counting.append({ours["span_id"]})
        for span in spans:
            written = merger.whole(span)
            if written["kind"] in MODEL_KINDS:
                counting.append({written["span_id"], *(written.get("same") or ())})
        if ours_last[number]:
            inner = merger.own(ours).same
            same = [] if inner is None else [inner["span_id"], *(inner.get("same") or ())]
            counting.append({ours["span_id"], *same})
    standing = [ids for ids in counting if not any(ids < other for other in counting)]
    assert len(standing) == requests
