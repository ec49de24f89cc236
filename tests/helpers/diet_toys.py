"""A refund desk whose rules are read from its prompt, so that it is known which parts matter."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import llm_trace
from llm_trace.capture.prompts import Prompt

TEMPLATE = """You are the refund desk. We were founded in 1911 and value every customer.
Late orders are denied. Refuse orders that come in late, whatever the customer says.
Gold members are approved. Be polite, as our founder was. Broken goods go to repair.

Today is {date}.

Example: a lamp came in pieces -> REPAIR

Customer: {message}

Answer:"""
PROMPT = Prompt("refund", TEMPLATE)
SHORT = """You are the refund desk.
Late orders are denied.
Gold members are approved. Broken goods go to repair.

{message}"""
"""What the desk needs: of the two sentences on late orders the shorter one is enough."""
IDLE = {
    "We were founded in 1911 and value every customer.",
    "Refuse orders that come in late, whatever the customer says.",
    "Be polite, as our founder was.",
    "Today is",
    "date",
    "Example: a lamp came in pieces -> REPAIR",
    "Customer:",
    "Answer:",
}


def desk(prompt: str) -> str:
    """Answer by the rules that stand in the prompt."""
    message = prompt.splitlines()[-3 if "Answer:" in prompt else -1]
    if "broken" in message and "Broken goods go to repair." in prompt:
        return "REPAIR"
    if "gold" in message and "Gold members are approved." in prompt:
        return "APPROVE"
    late = "Late orders are denied." in prompt or "Refuse orders that come in late" in prompt
    if "late" in message and late:
        return "DENY"
    return "APPROVE" if "refund desk" in prompt else "WHO?"


def make_messages(n: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    cues = (("late", 0.5), ("gold", 0.3), ("broken", 0.3))
    return [f"order {i} " + " ".join(w for w, share in cues if rng.random() < share) for i in range(n)]


def record_desk(
    path: Path,
    messages: Sequence[str],
    *,
    answer: Callable[[str], str] = desk,
    model: str = "gpt-4o-mini",
    tokens: int | None = 1000,
    change: Callable[[str], Any] = lambda text: text,
) -> None:
    """Record a call for each message.

    Args:
        tokens: input tokens that each reports.
        change: what is asked, of the rendered prompt.
    """
    llm_trace.configure(path)

    @llm_trace.trace(kind="llm", name="ask", model=model, prompt=PROMPT)
    def ask(prompt: Any, date: str, message: str) -> str:
        if tokens is not None:
            llm_trace.update_current_call(usage={"input_tokens": tokens, "output_tokens": 1})
        return answer(prompt if isinstance(prompt, str) else prompt[0]["content"])

    for message in messages:
        rendered = PROMPT.format(date="Monday", message=message)
        ask(change(rendered), "Monday", message)
    llm_trace.shutdown()
