"""A desk that is asked for refunds: its scenario, and functions that answer well or badly."""

from __future__ import annotations

import time
from typing import Any

from llm_trace.evaluation import Scenario


def make_desk(**fields: Any) -> Scenario:
    """Return the desk's scenario, with other fields."""
    return Scenario(
        **{
            "id": "desk",
            "slots": {
                "name": {"names": "people"}, "waited": {"integer": [1, 60]}, "item": {"integer": [1, 999]},
            },
            "input": {
                "message": "{{ name }}: item {{ item }}, {{ waited }} days ago.", "waited": "{{ waited }}",
            },
            "expected": "'DENY' if waited > 30 else 'APPROVE'",
            **fields,
        }
    )  # fmt: skip


PUBLIC = [
    {"input": {"message": f"public {i}", "waited": i}, "expected": "DENY" if i > 30 else "APPROVE"}
    for i in range(1, 61)
]
EDITS: dict[str, Any] = {
    "preserving": [{"id": "shout", "input": {"message": "{{ name }}! ITEM {{ item }}, {{ waited }} DAYS!"}}],
    "changing": [{"id": "late", "slots": {"waited": "waited + 60"}}],
}


def answer(message: str, waited: int) -> str:
    """Answer by the rule."""
    return "DENY" if waited > 30 else "APPROVE"


def remember(message: str, waited: int) -> str:
    """Answer the public set by heart, and everything else alike."""
    return answer(message, waited) if message.startswith("public") else "APPROVE"


def hang(message: str, waited: int) -> str:
    """Answer, but never where the days are many."""
    if waited > 30:
        time.sleep(600)
    return "APPROVE"
