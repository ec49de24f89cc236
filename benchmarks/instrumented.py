"""What instrumentation adds to a call of OpenAI's SDK and to each streamed chunk, in CPU time of the caller's
thread and in bytecode instructions, which do not depend on what else the machine does: ours beside
OpenInference's, which feeds the same store, in one run.

    python -m benchmarks.instrumented
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import httpx2 as httpx
import openai

import llm_trace
from llm_trace.capture.otel_providers import get_own_provider

ROUNDS, CALLS, CHUNKS = 7, 60, 200
COUNTED = 10
"""Calls whose instructions are counted."""
TEXT = "word " * 200
ANSWER = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "m-1",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": TEXT}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}  # fmt: skip
CHUNK = {
    **ANSWER,
    "object": "chat.completion.chunk",
    "choices": [{"index": 0, "delta": {"content": "word "}}],
}
EVENTS = f"data: {json.dumps(CHUNK)}\n\n" * CHUNKS
CHAT: Any = {"model": "m", "messages": [{"role": "user", "content": TEXT}]}


def answer(request: httpx.Request) -> httpx.Response:
    """Answer as the provider does."""
    if b'"stream":true' in request.content:
        return httpx.Response(200, text=EVENTS, headers={"content-type": "text/event-stream"})
    return httpx.Response(200, json=ANSWER)


def switch_nothing_on() -> Callable[[], None]:
    """Leave the SDK as it is."""
    return lambda: None


def ride() -> Callable[[], None]:
    """Switch OpenInference's instrumentation on, with the provider that feeds our store."""
    from openinference.instrumentation.openai import OpenAIInstrumentor

    instrumentor = OpenAIInstrumentor()
    instrumentor.instrument(tracer_provider=get_own_provider())
    return instrumentor.uninstrument  # type: ignore[no-any-return]


SUBJECTS: dict[str, Callable[[], Callable[[], None]]] = {
    "bare": switch_nothing_on,
    "llm_trace": lambda: llm_trace.instrument("openai"),
    "openinference": ride,
}


def time_call(client: openai.OpenAI) -> float:
    """Return the median of a call, in microseconds."""
    times = []
    for _ in range(CALLS):
        start = time.thread_time_ns()
        client.chat.completions.create(**CHAT)
        times.append(time.thread_time_ns() - start)
    return statistics.median(times) / 1e3


def time_chunk(client: openai.OpenAI) -> float:
    """Return the mean of a chunk in the middle of a stream, in microseconds."""
    best = []
    for _ in range(5):
        stream = iter(client.chat.completions.create(**CHAT, stream=True))
        next(stream)
        start = time.thread_time_ns()
        for _ in range(CHUNKS - 2):
            next(stream)
        best.append((time.thread_time_ns() - start) / (CHUNKS - 2))
        list(stream)
    return statistics.median(best) / 1e3


class InstructionCount:
    """Counts the bytecode instructions of this thread while it is on."""

    def __init__(self) -> None:
        self.total = 0

    @contextmanager
    def on(self) -> Iterator[None]:
        """Count what runs inside."""
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.total += event == "opcode"
        return self._trace


def count_instructions(client: openai.OpenAI) -> tuple[float, float]:
    """Return the instructions of a call and of a chunk in the middle of a stream."""
    calls, chunks = InstructionCount(), InstructionCount()
    with calls.on():
        for _ in range(COUNTED):
            client.chat.completions.create(**CHAT)
    stream = iter(client.chat.completions.create(**CHAT, stream=True))
    for _ in range(CHUNKS // 4):
        next(stream)
    with chunks.on():
        for _ in range(CHUNKS // 2):
            next(stream)
    list(stream)
    return calls.total / COUNTED, chunks.total / (CHUNKS // 2)


def print_table(title: str, measured: dict[str, tuple[float, float]]) -> None:
    """Print a call and a chunk of each subject, and what it adds to the bare ones."""
    print(f"{title:28}{'call':>10}{'added':>10}{'chunk':>10}{'added':>10}")
    bare = measured["bare"]
    added = {name: (call - bare[0], chunk - bare[1]) for name, (call, chunk) in measured.items()}
    for name, (call, chunk) in measured.items():
        print(f"{name:28}{call:10.1f}{added[name][0]:10.1f}{chunk:10.2f}{added[name][1]:10.2f}")
    ratios = [ours / theirs for ours, theirs in zip(added["llm_trace"], added["openinference"], strict=True)]
    print(f"added by llm_trace beside openinference: {ratios[0]:.2f} x a call, {ratios[1]:.2f} x a chunk\n")


def main() -> None:
    """Print what each adds."""
    client = openai.OpenAI(api_key="k", http_client=httpx.Client(transport=httpx.MockTransport(answer)))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in SUBJECTS}
    instructions = {}
    with tempfile.TemporaryDirectory() as folder:
        llm_trace.configure(Path(folder) / "traces.duckdb")
        for _ in range(ROUNDS):
            for name, switch_on in SUBJECTS.items():
                undo = switch_on()
                times[name].append((time_call(client), time_chunk(client)))
                instructions[name] = count_instructions(client)
                undo()
        llm_trace.shutdown()
    best = {name: (min(c for c, _ in pairs), min(c for _, c in pairs)) for name, pairs in times.items()}
    print_table(f"µs, best of {ROUNDS} rounds", best)
    print_table("bytecode instructions", instructions)


if __name__ == "__main__":
    main()
