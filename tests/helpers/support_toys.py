"""An agent that looks something up, fails, tries again, and then refunds or refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llm_trace


def ask_for(name: str, **arguments: Any) -> dict[str, Any]:
    """Return an answer of a model that asks for a tool."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": name, "function": function}]}


@llm_trace.trace(kind="llm", name="chat", model="toy-1")
def chat(messages: list[dict[str, Any]], answer: dict[str, Any]) -> dict[str, Any]:
    llm_trace.update_current_call(usage={"input_tokens": 9, "output_tokens": 2}, cost_usd=0.25)
    return answer


@llm_trace.trace(kind="llm", name="write", model="toy-1")
def write(words: list[str]) -> Iterator[str]:
    yield from words


@llm_trace.trace(kind="tool", name="refund")
def refund(order: int) -> str:
    return f"refunded {order}"


def handle(question: str, *, refuses: bool = False, fails: bool = True) -> str:
    """Answer as an agent of five or six steps."""
    messages = [{"role": "user", "content": question}]
    chat(messages, ask_for("look_up", order=7))
    tries = iter([True, False] if fails else [False])

    @llm_trace.trace(kind="tool", name="look_up")
    def look(order: int) -> dict[str, Any]:
        return _look(order, fails=next(tries))

    try:
        look(7)
    except TimeoutError:
        look(7)
    if refuses:
        return str(chat(messages, {"role": "assistant", "content": "No refund after 14 days."})["content"])
    chat(messages, ask_for("refund", order=7))
    refund(7)
    return "".join(write(["I have ", "refunded it."]))


def _look(order: int, *, fails: bool) -> dict[str, Any]:
    if fails:
        raise TimeoutError("the shop did not answer")
    return {"order": order, "item": "kettle"}


support = llm_trace.trace(kind="agent", name="support")(handle)


def record_agents(path: Path) -> tuple[str, str]:
    """Record a refund after a failed try, then a refusal, in one session; return their traces."""
    llm_trace.configure(path)
    with llm_trace.using_session("case 7/b", user="anna"):
        support("My kettle is broken.")
        support("My kettle is broken.", refuses=True, fails=False)
    llm_trace.shutdown()
    calls = llm_trace.open_store(path).calls(name="support")
    return calls[1].trace_id, calls[0].trace_id
