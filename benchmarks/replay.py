"""Recorded replay: the same bytes in any schedule, no call to the network, true races reported, and what a
served call costs.

    python -m benchmarks.replay [--times 20] [--calls 2000]

The cost of a served call is its whole time in the caller, its own recording included; beside it stands the
same traced function recorded as usual, its body doing nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import llm_trace

_jitter = random.Random()  # of the schedule: another one each time
_service = random.Random(7)  # of the answers
network = {"calls": 0, "connections": 0}
TARGET_US = 50


def _watch(event: str, _: Any) -> None:
    if event == "socket.connect":
        network["connections"] += 1


async def wait() -> None:
    """Let other tasks go first, or not."""
    for _ in range(_jitter.randrange(4)):
        await asyncio.sleep(_jitter.random() / 2000)


@llm_trace.trace(kind="llm", model="toy")
async def ask(prompt: str) -> str:
    """Ask a service that never answers alike."""
    network["calls"] += 1
    await wait()
    return f"{prompt[-20:]} {_service.random()}"


@llm_trace.trace(kind="tool")
async def look_up(word: str) -> dict[str, Any]:
    """Ask a tool that never answers alike."""
    network["calls"] += 1
    await wait()
    return {"word": word, "rank": _service.random(), "pair": (_service.random(), 1)}


@llm_trace.trace
async def section(number: int) -> list[Any]:
    """Seven calls, some with the input that other sections use as well."""
    await wait()
    facts = await asyncio.gather(*(look_up(word) for word in ("same", "alike", f"own {number}")))
    await wait()
    first = await ask(f"draft {sorted(f['rank'] for f in facts)}")
    return [first, await ask("shorten"), await ask("shorten"), *facts]


@llm_trace.trace
async def article(topic: str) -> str:
    """Twenty-nine sections at once and a summary of them: 205 calls."""
    sections = await asyncio.gather(*(section(n) for n in range(29)))
    return json.dumps([await ask(json.dumps(sections)[:2000]), sections])


@llm_trace.trace
async def racing(topic: str) -> list[str]:
    """The same question three times at once, in an order that nothing fixes."""

    async def late() -> str:
        await wait()
        return await ask(topic)

    return await asyncio.gather(*(late() for _ in range(3)))


def schedules(path: Path, times: int) -> bool:
    """Replay in shuffled schedules; print and return whether all went as promised."""
    with llm_trace.start_run("article"):
        output = asyncio.run(article("history"))
    with llm_trace.start_run("racing"):
        asyncio.run(racing("why"))
    llm_trace.shutdown()
    network.update(calls=0, connections=0)
    runs = [llm_trace.replay("article", store=path, functions=article) for _ in range(times)]
    race = llm_trace.replay("racing", store=path, functions=racing).config["replay"]["races"]
    with llm_trace.open_store(path) as store:
        calls = len(store.calls(run="article", limit=None))
        same = sum(store.calls(run=run, name="article")[0].output == output for run in runs)
    served = {run.config["replay"]["served"] for run in runs}
    print(
        f"pipeline of {calls} calls, {min(served)} of them served, replayed {times} times in shuffled "
        f"schedules"
    )
    print(f"  byte-equal outputs: {same} of {times}")
    print(f"  calls to the service: {network['calls']}, sockets connected: {network['connections']}")
    print(f"  true race: {'reported: ' + race[0][:75] if race else 'NOT reported'}")
    return same == times and not any(network.values()) and bool(race)


def cost(path: Path, calls: int) -> bool:
    """Time served calls; print and return whether they cost what was promised."""

    @llm_trace.trace(kind="llm", model="toy")
    def plain(prompt: Any) -> Any:
        return answers[id(prompt)]

    answers: dict[int, Any] = {}
    ok = True
    for says, question, answer in (
        ("1 kB text, 1 kB text", "q" * 1000, "a" * 1000),
        ("20 kB text, 1 kB text", "q" * 20_000, "a" * 1000),
        ("chat of 21 messages, 20 kB, 1 kB text", [{"role": "user", "content": "m" * 950}] * 21, "a" * 1000),
        (
            "1 kB text, dict of 20 entries with a tuple",
            "q" * 1000,
            {str(n): (n, "x" * 40) for n in range(20)},
        ),
    ):
        answers[id(question)] = answer
        llm_trace.configure(path)
        with llm_trace.start_run(says):
            usual = _times(lambda: plain(question), calls)  # noqa: B023
        with llm_trace.replaying(says) as replay:
            served = _times(lambda: plain(question), calls)  # noqa: B023
        assert replay.report.served == calls
        llm_trace.shutdown()
        ok = ok and served[0] <= TARGET_US
        print(
            f"  {says}: served {served[0]:.1f} µs (p99 {served[1]:.0f}), recorded as usual {usual[0]:.1f} µs"
        )
    return ok


def _times(call: Any, count: int) -> tuple[float, float]:
    """Return median and 99th percentile in µs."""
    taken = []
    for _ in range(count):
        begin = time.perf_counter_ns()
        call()
        taken.append((time.perf_counter_ns() - begin) / 1000)
    return statistics.median(taken), statistics.quantiles(taken, n=100)[98]


def main() -> int:
    """Measure and print; 1 where a promise was missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--calls", type=int, default=2000)
    options = parser.parse_args()
    sys.addaudithook(_watch)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "replay.duckdb"
        llm_trace.configure(path)
        exact = schedules(path, options.times)
        print(f"a served call, median of {options.calls} (at most {TARGET_US} µs)")
        cheap = cost(path, options.calls)
    return 0 if exact and cheap else 1


if __name__ == "__main__":
    sys.exit(main())
