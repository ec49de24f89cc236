"""How often monitors and canaries are wrong while nothing changes, and how soon they notice what does.

    python benchmarks/monitors.py                    200 runs of 10,000 calls, 100 of each canary: minutes
    python benchmarks/monitors.py --only canary --seeds 20

Monitors follow errors, latency, a score and the share of the weight of each call, all four together at one
false alarm in 10,000 calls, and look every 500 calls. In as many other runs the rate of errors rises by 10
points at call 5,000. Where it rose is beside what ruptures finds offline in the whole run.
Canaries get a tenth of the sessions, and are judged time and again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from llm_trace.operations.canary import Canary, compare_arms
from llm_trace.operations.monitors import FALSE_ALARMS, Monitors
from llm_trace.operations.monitors_values import MetricReading, WatchedMetric
from llm_trace.statistics.change_detection import LEARN, SMALLEST

CALLS, AT, EVERY = 10_000, 5_000, 500
RATE, STEP = 0.1, 0.1
ERRORS = WatchedMetric("errors", "ask")
LOOKS = (500, *range(1_000, CALLS + 1, 1_000))
CANARY = Canary(prompt="refund", control="v1", candidate="v2", score="correct")
SCENES = {"as good": 0.0, "worse by the margin, 2 points": -CANARY.margin, "10 points worse": -0.1}


def draw_calls(seed: int, step: float) -> dict[WatchedMetric, Any]:
    """Return what each call is worth, (calls,) of each metric; errors become more frequent by a step."""
    rng = np.random.default_rng([seed, int(step > 0)])
    rates = np.where(np.arange(CALLS) < AT, RATE, RATE + step)
    return {
        ERRORS: (rng.random(CALLS) < rates).astype(float),
        WatchedMetric("latency", "ask"): rng.lognormal(6, 0.8, CALLS),
        WatchedMetric("score", "correct"): (rng.random(CALLS) < 0.9).astype(float),
        WatchedMetric("weight", "refund", "policy"): rng.beta(2, 3, CALLS),
    }


def watch_calls(values: dict[WatchedMetric, Any]) -> list[tuple[WatchedMetric, int, int]]:
    """Return each alarm: its metric, the call at which it was raised, and the first call of the change."""
    monitors = Monitors(FALSE_ALARMS, LEARN, SMALLEST)
    alarms = []
    for first in range(0, CALLS, EVERY):
        for metric, column in values.items():
            for i in range(first, first + EVERY):
                monitors.take(MetricReading(metric, column[i], i, str(i), None, None, None))
        for metric, change, readings, _ in monitors.look():
            alarms.append((metric, readings[-1].time_ns, readings[change.first].time_ns))
    return alarms


def measure_monitors(seeds: int) -> None:
    """Print the rate of false alarms, the delay, and how well the change is placed."""
    counts = [len(watch_calls(draw_calls(seed, 0.0))) for seed in range(seeds)]
    print(
        f"monitors, {seeds} runs of {CALLS:,} calls without a change: {np.mean(counts):.3f} false alarms a "
        f"run, in {np.mean(np.array(counts) > 0):.1%} of the runs at least one (reach: 1 a run at most)",
        flush=True,
    )
    delays, misplaced, offline, false = [], [], [], 0
    for seed in range(seeds):
        values = draw_calls(seed, STEP)
        alarms = watch_calls(values)
        hits = [(at, first) for metric, at, first in alarms if metric == ERRORS and at >= AT]
        false += len(alarms) - len(hits)
        delays.append(hits[0][0] - AT if hits else CALLS)
        misplaced += [abs(first - AT) for _, first in hits[:1]]
        offline.append(abs(find_offline(values[ERRORS]) - AT))
    low, median, high = np.percentile(delays, (5, 50, 95))
    noticed = sum(delay < CALLS for delay in delays)
    print(
        f"errors {RATE:.0%} to {RATE + STEP:.0%} at call {AT:,}, {seeds} runs: noticed in {noticed}, after "
        f"{median:.0f} calls (median; 5 to 95 %: {low:.0f} to {high:.0f}); {false} false alarms\n"
        f"placed {np.median(misplaced):.0f} calls beside the truth (median), ruptures with the whole run in "
        f"hindsight {np.median(offline):.0f}",
        flush=True,
    )


def find_offline(values: Any) -> int:
    """Return where ruptures finds the one change of a whole run."""
    import ruptures

    return int(ruptures.Binseg(model="l2", jump=5).fit(values).predict(n_bkps=1)[0])


def measure_canary(seeds: int) -> None:
    """Print how canaries end."""
    for scene, step in SCENES.items():
        ends = [end_canary(np.random.default_rng([seed, 7]), step) for seed in range(seeds)]
        verdicts = Counter(verdict for verdict, _ in ends)
        sessions = [n for verdict, n in ends if verdict != "undecided"]
        after = f", after {np.median(sessions):,.0f} sessions (median)" if sessions else ""
        print(
            f"canary, {scene}, {seeds} runs of {CALLS:,} sessions: "
            + ", ".join(f"{verdict} {count}" for verdict, count in verdicts.most_common())
            + after,
            flush=True,
        )


def end_canary(rng: Any, step: float) -> tuple[str, int]:
    """Return the verdict of a canary, and after how many sessions it came."""
    is_candidate = rng.random(CALLS) < CANARY.share
    values = (rng.random(CALLS) < np.where(is_candidate, 0.8 + step, 0.8)).astype(float)
    for n in LOOKS:
        result = compare_arms(CANARY, values[:n][~is_candidate[:n]], values[:n][is_candidate[:n]])
        if result.has_ended:
            return result.verdict, n
    return "undecided", CALLS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=("monitors", "canary"))
    parser.add_argument("--seeds", type=int, default=200)
    chosen = parser.parse_args()
    begin = time.process_time()
    if chosen.only != "canary":
        measure_monitors(chosen.seeds)
    if chosen.only != "monitors":
        measure_canary(max(1, chosen.seeds // 2))
    print(f"{time.process_time() - begin:.0f} s of CPU")


if __name__ == "__main__":
    main()
