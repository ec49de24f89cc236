"""Forks: what comes before the changed call is paid for by nobody, and takes next to no time.

    python -m benchmarks.forks [--steps 50] [--at 40] [--repeats 20] [--seconds 0.05]

A run of steps, each one call of a model that takes as long as one asks, is forked at a step; the time of
all reruns stands beside that of their live part alone: as many bare calls of the same model.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import llm_trace
from llm_trace.replays.forks import fork

TARGET = 1.2
paid = {"calls": 0}


def ask_slowly(prompt: str, seconds: float) -> str:
    """Answer after a while."""
    paid["calls"] += 1
    time.sleep(seconds)
    return f"{len(prompt)} {prompt[-12:]}"


@llm_trace.trace(kind="llm", model="toy")
def ask(prompt: str, seconds: float) -> str:
    """Ask the model, traced."""
    return ask_slowly(prompt, seconds)


@llm_trace.trace(kind="agent")
def walk(steps: int, seconds: float) -> str:
    """Ask in turn, each time with what came before."""
    text = "begin"
    for step in range(steps):
        text += "\n" + ask(f"{text}\nstep {step}", seconds)
    return text


def main() -> int:
    """Measure and print; 1 where a promise was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--at", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.05)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "forks.duckdb"
        llm_trace.configure(path)
        with llm_trace.start_run("long"):
            walk(options.steps, options.seconds)
        with llm_trace.open_store(path) as store:
            calls = sorted(store.calls(run="long", name="ask", limit=None), key=lambda call: call.start_ns)
        at = calls[options.at - 1].span_id
        paid["calls"], begin = 0, time.perf_counter()
        result = fork("long", at, {"output": "something else"}, repeats=options.repeats, functions=walk)
        taken, live = time.perf_counter() - begin, paid["calls"]
        begin = time.perf_counter()
        for _ in range(live):
            ask_slowly("x" * 1000, options.seconds)
        bare = time.perf_counter() - begin
        with llm_trace.open_store(path) as store:
            outputs = [
                [call.output for call in sorted(store.calls(run=run, name="ask"), key=lambda c: c.start_ns)]
                for run in result.runs
            ]
        llm_trace.shutdown()
    prefix = [call.output for call in calls[: options.at - 1]]
    same = sum(each[: options.at - 1] == prefix for each in outputs)
    due = (options.steps - options.at) * options.repeats
    served = {rerun.report.served for rerun in result.reruns}
    print(f"a run of {options.steps} steps, forked at step {options.at}, {options.repeats} times")
    print(f"  prefix equal to the byte: {same} of {options.repeats}, calls served in each: {served}")
    print(f"  calls of the model: {live}, {due} of them after the fork: {live - due} paid for the prefix")
    print(
        f"  {taken:.2f} s, the live part alone {bare:.2f} s: {taken / bare:.2f} times (at most {TARGET}), "
        f"of calls of {1000 * options.seconds:.0f} ms"
    )
    return 0 if same == options.repeats and live == due and taken <= TARGET * bare else 1


if __name__ == "__main__":
    sys.exit(main())
