"""A small program that coding agents ask about: a desk with two versions of a prompt, an agent that refunds.

It stands by itself, so that a process that runs it again imports nothing else.
"""

from __future__ import annotations

from pathlib import Path

import llm_trace

PROMPTS = {
    version: llm_trace.Prompt("mcp benchmark", f"{text}\n{{question}}")
    for version, text in {"v1": "Answer.", "v2": "Answer.\nBe polite.\nAnswer in one word."}.items()
}


@llm_trace.trace(kind="llm", model="toy-1")
def answer(prompt: str) -> str:
    """Repeat a question, or its last word where the prompt asks for one word."""
    question = prompt.splitlines()[-1]
    return question.split()[-1] if "one word" in prompt else question


@llm_trace.trace(kind="tool")
def inspect(order: int) -> str:
    """Return how an order came back."""
    return f"order {order} came back damaged"


@llm_trace.trace(kind="tool")
def refund(order: int) -> str:
    """Pay."""
    return f"order {order} is paid back"


@llm_trace.trace(kind="llm", model="toy-1")
def decide(messages: list[dict[str, str]]) -> str:
    """Name the next tool: a refund for what came back damaged."""
    if messages[-1]["role"] != "tool":
        return "inspect"
    return "refund" if "damaged" in messages[-1]["content"] else "decline"


@llm_trace.trace(kind="agent")
def settle(question: str) -> str:
    """Inspect an order, then refund it or not."""
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": question}]
    messages.append({"role": "assistant", "content": decide(messages)})
    messages.append({"role": "tool", "content": inspect(7)})
    return refund(7) if decide(messages) == "refund" else "declined"


def record_runs(path: Path, calls: int = 200) -> None:
    """Add a run of each version to a store, with scores, and one of the agent."""
    llm_trace.configure(path)
    for version, prompt in PROMPTS.items():
        with llm_trace.start_run(f"mcp {version}"):
            for number in range(calls):
                answer(prompt.format(question=f"question {number}"))
                llm_trace.log_score("correct", version == "v1" or number % 4 > 0)
    with llm_trace.start_run("mcp agent"):
        settle("Order 7: money back.")
    llm_trace.shutdown()
