"""Runs of a small pipeline to compare: two prompts, two models, known scores."""

from __future__ import annotations

from pathlib import Path

import llm_trace

PROMPTS = {
    "v1": llm_trace.Prompt("qa", "Question: {question}"),
    "v2": llm_trace.Prompt("qa", "Be brief.\nQuestion: {question}"),
}


@llm_trace.trace(kind="llm")
def ask(prompt: str, model: str) -> str:
    llm_trace.update_current_call(
        model=model, usage={"input_tokens": len(prompt), "output_tokens": 3}, cost_usd=len(prompt) / 1000
    )
    return prompt.rpartition(" ")[2]


@llm_trace.trace
def answer(question: str, version: str) -> str:
    """Answer and score it: v2 is wrong about every fifth question, which are tagged as hard."""
    hard = int(question.split()[-1]) % 5 == 0
    llm_trace.update_current_call(tags=["hard" if hard else "easy"], metadata={"example": question})
    reply = ask(PROMPTS[version].format(question=question), "big" if version == "v1" else "small")
    llm_trace.log_score("accuracy", version == "v1" or not hard)
    return reply


def record(path: Path, count: int = 60) -> None:
    """Record a run of each version over the same questions."""
    llm_trace.configure(path)
    for version in PROMPTS:
        with llm_trace.start_run(f"try {version}"):
            for i in range(count):
                answer(f"number {i}", version)
    llm_trace.shutdown()


@llm_trace.trace(kind="llm")
def chat(messages: list[dict[str, str]], times: int) -> str:
    """Say the last message several times."""
    return " ".join([messages[-1]["content"]] * times)
