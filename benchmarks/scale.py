"""What a fleet needs: the cost of a call at each stage, measured here, and a day of the fleet by it.

    python -m benchmarks.scale                          a billion calls a day
    python -m benchmarks.scale --calls-a-day 5e7 --calls 20000

Measured: capture in the caller, `collect`, moving to a lake, putting its files together, and the time of one
commit to it while others commit. A call has 1 kB in and out. Assumed, and printed as such: how calls spread
over the day, what a host serves, how fast an accelerator reads tokens. Needs the extras lake and collect.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

import llm_trace
from benchmarks.collect_workers import measure as measure_collect
from benchmarks.ingest import Words
from llm_trace.stores.lake.compaction import compact_lake
from llm_trace.stores.lake.database import LakeDatabase
from llm_trace.stores.lake.shipping import ship

WORDS_EACH = 80
"""Of a question, and as many of the answer: 1 kB in and out."""
MINUTES = 24 * 60
SWING = 0.8
"""The busiest minute has 1.8 times the mean, the quietest 0.2 times."""
HOST_CALLS = 50.0
"""A second that one host serves."""
FULL = 0.7
"""Share of a core that is planned to be busy in the busiest minute."""
AWAY = 60
"""Minutes that the lake is away, in the busiest hour."""
TOKENS_A_SECOND = 50_000.0
"""That an accelerator reads of a model that explains: assumed."""
SEGMENTS, PROMPT_TOKENS = 40, 400
"""Of an explained call."""


@dataclass(frozen=True)
class CallCost:
    """What one call costs at each stage: microseconds of processor time, bytes."""

    capture_us: float
    spool_bytes: float
    collect_us: float
    ship_us: float
    lake_bytes: float
    compact_us: float
    compacted_bytes: float
    commit_s: float
    """Of one shipment, of all its tables, beside others that ship at the same time."""


def main() -> None:
    """Measure, simulate, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls-a-day", type=float, default=1e9)
    parser.add_argument("--calls", type=int, default=50_000, help="to measure with")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cost = measure(Path(folder), arguments.calls)
    print_costs(cost)
    print_fleet(cost, arguments.calls_a_day)
    print_attribution(arguments.calls_a_day)


def measure(folder: Path, calls: int) -> CallCost:
    """Return what a call costs here."""
    store, lake = folder / "calls.duckdb", f"delta://{folder / 'lake'}"
    llm_trace.configure(store, record_env=False)
    capture_us = _record(calls)
    spooled = _count_bytes(Path(f"{store}.spool"), "*.jsonl")
    began = time.process_time()
    report = ship(lake, store)
    ship_us = (time.process_time() - began) / calls * 1e6
    assert report.calls == calls, report
    llm_trace.shutdown()
    shipped = _count_bytes(folder / "lake", "*.parquet")
    commit_s = _measure_commits(folder, lake)
    began = time.process_time()
    compact_lake(lake)
    compact_us = (time.process_time() - began) / calls * 1e6
    compacted = sum(
        file.bytes
        for table in LakeDatabase(lake, 60.0).tables.values()
        if table.load()
        for file in table.list_files()
    )
    return CallCost(
        capture_us,
        spooled / calls,
        measure_collect(1, max(512, calls // 10)).cpu_us,
        ship_us,
        shipped / calls,
        compact_us,
        compacted / calls,
        commit_s,
    )


def _record(calls: int) -> float:
    """Record calls; return microseconds of the caller's processor time for each."""
    words = Words(1)
    pairs = {f"{number} {words.text(WORDS_EACH)}": words.text(WORDS_EACH) for number in range(calls)}
    answer = pairs.__getitem__

    traced = llm_trace.trace(lambda question: answer(question), name="ask", kind="llm", model="small")
    spent = [0.0, 0.0]
    for which, function in enumerate((answer, traced)):
        began = time.thread_time()
        for question in pairs:
            function(question)
        spent[which] = time.thread_time() - began
    return (spent[1] - spent[0]) / calls * 1e6


def _count_bytes(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.rglob(pattern))


def _measure_commits(folder: Path, lake: str, writers: int = 2, shipments: int = 5) -> float:
    """Return the seconds between commits where several processes ship few calls, one after the other."""
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(writers + 1)
    processes = [
        context.Process(target=_ship_often, args=(folder / f"w{n}.duckdb", lake, shipments, gate))
        for n in range(writers)
    ]
    for process in processes:
        process.start()
    gate.wait()
    began = time.perf_counter()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return (time.perf_counter() - began) / (writers * shipments)


def _ship_often(store: Path, lake: str, shipments: int, gate: Any) -> None:
    llm_trace.configure(store, record_env=False)
    _record(1)
    ship(lake, store)
    gate.wait()
    for _ in range(shipments):
        _record(10)
        assert ship(lake, store).calls == 10
    llm_trace.shutdown()


def print_costs(cost: CallCost) -> None:
    """Print the cost of a call at each stage."""
    print("One call, 1 kB in and out       CPU us      bytes")
    print(f"capture, in the caller       {cost.capture_us:9.0f}  {cost.spool_bytes:9.0f}  in the spool")
    print(f"collect, where it is by OTLP {cost.collect_us:9.0f}")
    print(f"ship, ingest included        {cost.ship_us:9.0f}  {cost.lake_bytes:9.0f}  in the lake")
    print(f"compact                      {cost.compact_us:9.0f}  {cost.compacted_bytes:9.0f}  after it")
    print(f"one shipment to a lake that two ship to: {cost.commit_s:.2f} s")


def print_fleet(cost: CallCost, calls_a_day: float) -> None:
    """Simulate a day minute by minute, the lake away in the busiest hour; print what it takes."""
    arrivals = spread_over_day(calls_a_day)
    peak = arrivals.max() / 60
    hosts = int(np.ceil(peak / HOST_CALLS))
    cores = {
        stage: int(np.ceil(peak * us / 1e6 / FULL))
        for stage, us in (("ship", cost.ship_us), ("collect", cost.collect_us), ("compact", cost.compact_us))
    }
    begin = int(arrivals.argmax()) - AWAY // 2
    waiting = simulate(arrivals, cores["ship"] * 60e6 / cost.ship_us, range(begin, begin + AWAY))
    drained = int(np.argmax(waiting[begin + AWAY :] < arrivals.max()))
    print(f"\nA fleet with {calls_a_day:,.0f} calls a day")
    print(f"calls a second: mean {calls_a_day / 86400:,.0f}, busiest minute {peak:,.0f}")
    print(f"hosts, at {HOST_CALLS:.0f} calls a second each (assumed): {hosts:,}")
    print(f"capture takes of a host's core: {HOST_CALLS * cost.capture_us / 1e4:.2f} %")
    print(f"spool written by a host in a day: {calls_a_day / hosts * cost.spool_bytes / 1e9:,.1f} GB")
    for stage, count in cores.items():
        print(f"cores to {stage}, {FULL:.0%} busy at most: {count:,}")
    print(
        f"lake: {calls_a_day * cost.compacted_bytes / 1e9:,.0f} GB a day, "
        f"{calls_a_day * cost.compacted_bytes * 90 / 1e12:,.1f} TB for 90 days"
    )
    print(
        f"lake away for {AWAY} minutes: {waiting.max():,.0f} calls wait, "
        f"{waiting.max() * cost.spool_bytes / hosts / 1e6:,.0f} MB a host; drained {drained} minutes later"
    )
    most = 1 / cost.commit_s
    print(
        f"shipments a second that one lake takes: {most:.1f}; of 100,000 calls each {most * 1e5:,.0f} calls"
    )
    print(
        f"so at most {most * 60:,.0f} hosts may ship every minute; {hosts:,} hosts by themselves every "
        f"{hosts / most / 60:,.0f} minutes"
    )


def spread_over_day(calls: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return (1440,): the calls of each minute."""
    return calls / MINUTES * (1 + SWING * np.sin(2 * np.pi * (np.arange(MINUTES) / MINUTES - 0.25)))


def simulate(
    arrivals: np.ndarray[Any, np.dtype[np.float64]], capacity: float, away: range
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return (1440,): the calls that wait in spools at the end of each minute.

    Args:
        arrivals: (1440,) calls of each minute.
        capacity: calls that are shipped in a minute at most.
        away: minutes in which the lake takes nothing.
    """
    waiting, queue = np.zeros(len(arrivals)), 0.0
    for minute, calls in enumerate(arrivals):
        queue = max(0.0, queue + calls - (0.0 if minute in away else capacity))
        waiting[minute] = queue
    return waiting


def print_attribution(calls_a_day: float) -> None:
    """Print what explaining a sample costs, and how exactly it says how often a part matters."""
    tokens = (SEGMENTS + 1) * PROMPT_TOKENS
    print(
        f"\nExplaining a call: {SEGMENTS + 1} prompts of {PROMPT_TOKENS} tokens, {tokens:,} tokens at most; "
        f"an accelerator reads {TOKENS_A_SECOND:,.0f} a second (assumed)"
    )
    print(
        "accelerators  calls explained a day      share    a part that matters in 10 % of calls, 95 % bounds"
    )
    for count in (1, 4, 16):
        explained = int(count * TOKENS_A_SECOND * 86400 / tokens)
        bounds = stats.binomtest(round(0.1 * explained), explained).proportion_ci(0.95, method="exact")
        print(
            f"{count:12}  {explained:21,}  {explained / calls_a_day:8.4%} "
            f" {bounds.low:.2%} to {bounds.high:.2%}"
        )


if __name__ == "__main__":
    main()
