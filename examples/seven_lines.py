"""The README's example: seven lines to a recorded call."""

import llm_trace

llm_trace.configure("traces.duckdb")


@llm_trace.trace(kind="llm", model="my-model")
def ask(question: str) -> str:
    return f"You asked: {question}"


ask("Why is the sky blue?")
print(llm_trace.open_store("traces.duckdb").calls()[0].output)
