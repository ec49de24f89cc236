"""Where the time of a traced call goes: its system calls, its JSON and the rest, in µs of its thread.

    python -m benchmarks.capture_parts [--rounds 15]

Each figure is the least of the rounds, processor time of 1,000 repetitions; the parts take turns, so that a
busy machine slows all alike. `call, nothing written` is a traced call whose events nobody takes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

import llm_trace
from benchmarks.hot_path import BLOCK, PROMPTS, REPLY, answer
from benchmarks.subjects import floor
from llm_trace import semconv
from llm_trace.capture import slots
from llm_trace.capture.redaction import Redaction
from llm_trace.spool.writer import SpoolWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LINE = b"x" * 1_300
"""As long as the start or the end of a call with 1 kB in and 1 kB out."""
PROSE = (
    "Dear support team, I ordered shoes on Monday, and they haven't arrived yet: the order number is 48213. "
    'Could I get a refund? My name is Anna Smith; I live in Berlin. {"role": "user", "k": 8} temperature=0.2 '
) * 5
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-5-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 250, "completion_tokens": 2, "total_tokens": 252},
}


class Nowhere(SpoolWriter):
    """A spool that takes nothing."""

    def write(self, event: bytes, messages: Sequence[Any] | None = None, **_: Any) -> bool:
        """Let the event go."""
        return True


def time_rounds(parts: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the least processor time of each part, in µs."""
    least = dict.fromkeys(parts, float("inf"))
    for _ in range(rounds):
        for name, act in parts.items():
            begin = time.thread_time_ns()
            for _ in range(BLOCK):
                act()
            least[name] = min(least[name], (time.thread_time_ns() - begin) / BLOCK / 1000)
    return least


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    redact = Redaction()
    asked, traced = PROMPTS[0], llm_trace.trace(kind="llm", model="gpt-5-mini")(answer)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        fd = os.open(folder / "lines", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        least = floor(folder).decorate(answer)
        llm_trace.configure(folder / "traces.duckdb", run="bench")
        recorder: Any = slots.recorder
        spool = recorder.spool
        nowhere = Nowhere(spool.folder)

        def call_unwritten() -> None:
            recorder.spool = nowhere
            traced(asked)
            recorder.spool = spool

        parts: dict[str, Callable[[], object]] = {
            "floor: one write, no ids, nesting or guards": lambda: least(asked),
            "two writes of 1.3 kB": lambda: (os.write(fd, LINE), os.write(fd, LINE)),
            "JSON of input and output": lambda: (orjson.dumps({"asked": asked}), orjson.dumps(REPLY)),
            "a look whether the file is there": lambda: os.fstat(fd),
            "model and tokens of a chat completion": lambda: semconv.response_fields(COMPLETION),
            "redaction of 1 kB of plain words": lambda: redact(asked),
            "redaction of 1 kB of prose, numbers, JSON": lambda: redact(PROSE),
            "call, nothing written": call_unwritten,
            "call": lambda: traced(asked),
        }
        figures = time_rounds(parts, options.rounds)
        llm_trace.shutdown()
        os.close(fd)
    base = figures["floor: one write, no ids, nesting or guards"]
    for name, us in figures.items():
        print(f"{name:46}{us:7.2f} µs {us / base:6.2f} x floor")


if __name__ == "__main__":
    main()
