"""Calls to decide about, and decisions about them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import llm_trace
from llm_trace.operations import OperationLog, ReviewWriter, make_review
from tests.helpers.explained import keep_attributions, make_attribution


def record_calls(path: Path, count: int = 6, **fields: Any) -> list[str]:
    """Record calls of a model, oldest first; return their ids."""
    llm_trace.configure(path)
    for number in range(count):
        with llm_trace.span("ask", kind="llm", input=f"question {number}", **fields) as handle:
            handle.set(output=f"answer {number}")
    llm_trace.shutdown()
    with llm_trace.open_store(path) as store:
        return [call.span_id for call in store.calls(order="oldest", kind="llm", limit=None)]


def explain(path: Path, span_ids: Iterable[str], method: str = "occlusion") -> None:
    """Add an attribution to calls."""
    with llm_trace.open_store(path) as store, store.hold():
        for span_id in span_ids:
            keep_attributions(
                path, store.call(span_id), make_attribution("late again", [2.0, 0.0], method=method)
            )


def decide(path: Path, *decisions: tuple[Any, ...], **options: Any) -> None:
    """Keep decisions: (call, reviewer, value), and what is to be said of one alone."""
    with llm_trace.open_store(path) as store, store.hold():
        reviews = [
            make_review(store, *decision[:3], **{**options, **dict(*decision[3:])}) for decision in decisions
        ]
    with ReviewWriter(path) as writer:
        for review in reviews:
            writer.give(review)


def send_to_person(path: Path, subject: str, span_ids: Iterable[str], **body: Any) -> None:
    """Let a gate decide that calls are to be checked."""
    with OperationLog(path) as log:
        for span_id in span_ids:
            log.append(
                "decision", subject, {"action": "check", "reason": "too little weight", **body}, span_id
            )
