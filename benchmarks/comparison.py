"""How often the bounds of `compare` hold, how often it raises a false alarm, and how long it takes.

    python benchmarks/comparison.py                coverage, sessions, false alarms, further pairs, speed
    python benchmarks/comparison.py --only sessions --repetitions 1500
    python benchmarks/comparison.py --calls 100000 --repetitions 2000

Coverage is of 95 % bounds of the mean difference, beside Student's t, the studentised bootstrap (999 draws)
and scipy's BCa bootstrap (on every tenth sample, as it is slow). A false alarm is a comparison of eight
metrics without any difference, of which at least one is called decided.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from llm_trace.comparison.judge import PairTable, judge_overall
from llm_trace.statistics.intervals import bound_mean
from llm_trace.statistics.paired import estimate
from llm_trace.statistics.yesno import bound_tango

Floats = NDArray[np.float64]
SIZES = (30, 50, 100, 200)
BEGIN_NS = 1_763_740_000_000_000_000


def sparse(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Return ratings of which one in ten changes, mostly down."""
    draws = rng.random(shape)
    return np.where(draws < 0.03, 1.0, np.where(draws < 0.1, -1.0, 0.0))


def latency(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Return changes of lognormal times that are proportional to the time."""
    return np.asarray(rng.lognormal(0, 0.8, shape) * (rng.lognormal(0.1, 0.3, shape) - 1))


SHAPES: dict[str, tuple[Callable[[np.random.Generator, tuple[int, int]], Floats], float]] = {
    "normal": (lambda rng, shape: rng.normal(0.2, 1, shape), 0.2),
    "lognormal": (lambda rng, shape: rng.lognormal(0, 1, shape), float(np.exp(0.5))),
    "lognormal b - lognormal a": (
        lambda rng, shape: rng.lognormal(0.2, 1, shape) - rng.lognormal(0, 1, shape),
        float(np.exp(0.7) - np.exp(0.5)),
    ),
    "latency": (latency, float(np.exp(0.32) * (np.exp(0.145) - 1))),
    "half zero, half lognormal": (
        lambda rng, shape: np.where(rng.random(shape) < 0.5, rng.lognormal(0, 1, shape), 0.0),
        float(np.exp(0.5) / 2),
    ),
    "ratings, one in ten changes": (sparse, -0.04),
}


def coverage(repetitions: int) -> None:
    """Print how often the bounds hold the truth."""
    print(f"\n95 % bounds, {repetitions} repetitions: share that holds the truth")
    print(f"{'difference':32}{'n':>5}{'compare':>10}{'t':>8}{'boot-t':>8}{'BCa':>8}   width / t")
    for name, (draw, truth) in SHAPES.items():
        for n in SIZES:
            samples = draw(np.random.default_rng(n), (repetitions, n))
            ours = np.array([(f.low, f.high) for f in (bound_mean(s, largest=1.0) for s in samples)])
            student = _student(samples)
            rows = (
                check_bounds(b, truth) for b in (ours, student, _bootstrap_t(samples), _bca(samples[::10]))
            )
            width = float(
                np.median(np.ptp(ours, axis=1)) / max(float(np.median(np.ptp(student, axis=1))), 1e-9)
            )
            shares = [f"{share:.3f}" for share in rows]
            print(
                f"{name:32}{n:>5}{shares[0]:>10}{shares[1]:>8}{shares[2]:>8}{shares[3]:>8}   {width:.2f}",
                flush=True,
            )
    for gained, lost in ((0.03, 0.0), (0.015, 0.015), (0.1, 0.2)):
        for n in SIZES:
            counts = np.random.default_rng(n).multinomial(n, [gained, lost, 1 - gained - lost], repetitions)
            bounds = np.array([bound_tango(int(g), int(m), n) for g, m, _ in counts])
            share = check_bounds(bounds, gained - lost)
            print(f"{f'yes/no, {gained:.1%} gain, {lost:.1%} lose':32}{n:>5}{share:>10.3f}", flush=True)


def check_bounds(bounds: Floats, truth: float) -> float:
    return float(np.mean((bounds[:, 0] <= truth + 1e-12) & (truth - 1e-12 <= bounds[:, 1])))


def _student(samples: Floats) -> Floats:
    n = samples.shape[1]
    half = stats.t.ppf(0.975, n - 1) * samples.std(axis=1, ddof=1) / n**0.5
    return np.stack([samples.mean(axis=1) - half, samples.mean(axis=1) + half], axis=1)


def _bootstrap_t(samples: Floats, draws: int = 999) -> Floats:
    """Return studentised bootstrap bounds, every sample with the same draws."""
    n = samples.shape[1]
    drawn = np.random.default_rng(0).integers(0, n, (draws, n))
    counts = np.apply_along_axis(np.bincount, 1, drawn, minlength=n).astype(float)  # (draws, n)
    mean, error = samples.mean(axis=1), samples.std(axis=1, ddof=1) / n**0.5
    centred = samples - mean[:, None]
    means = counts @ centred.T / n
    errors = np.sqrt((counts @ (centred**2).T / n - means**2).clip(0) / (n - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.nan_to_num(means / errors)
    low, high = np.quantile(t, [0.025, 0.975], axis=0)
    return np.stack([mean - high * error, mean - low * error], axis=1)


def _bca(samples: Floats) -> Floats:
    bounds = []
    for sample in samples:
        if np.ptp(sample) == 0:
            bounds.append((sample[0], sample[0]))
            continue
        result = stats.bootstrap((sample,), np.mean, n_resamples=999, method="BCa", rng=0, vectorized=True)
        bounds.append((result.confidence_interval.low, result.confidence_interval.high))
    return np.array(bounds)


def false_alarms(repetitions: int) -> None:
    """Print how often a comparison without any difference finds one."""
    print(
        f"\nno difference in eight metrics, {repetitions} repetitions: share with a false finding (level "
        f"0.05)"
    )
    for n in SIZES:
        rng = np.random.default_rng(n)
        alarms = sum(
            any(m.verdict in ("better", "worse") for m in judge_overall(_null(rng, n)))
            for _ in range(repetitions)
        )
        print(f"n = {n:<5}{alarms / repetitions:.3f}", flush=True)


def _null(rng: np.random.Generator, n: int) -> PairTable:
    """Return eight metrics of which a and b are drawn alike: scores, ratings, yes/no, times."""
    tested: dict[str, Floats] = {
        "normal": rng.normal(0, 1, (2, n)),
        "latency": rng.lognormal(0, 1, (2, n)) * rng.lognormal(0, 0.5, n),
        "tokens": np.floor(rng.lognormal(4, 0.7, (2, n))),
        "cost": rng.exponential(1, (2, n)),
        "rating": rng.integers(1, 6, (2, n)).astype(float),
        "accuracy": (rng.random((2, n)) < 0.7).astype(float),
        "errors": (rng.random((2, n)) < 0.03).astype(float),
        "centred lognormal": np.stack([np.zeros(n), rng.lognormal(0, 1, n) - np.exp(0.5)]),
    }
    spans = [("", "")] * n
    return PairTable(spans, tested, {}, None, dict.fromkeys(tested, "higher"), 0.95, 0)


SESSIONS = (10, 30, 100)


def session_sizes(rng: np.random.Generator, count: int, kind: str) -> NDArray[np.int64]:
    """Return how many pairs each session has; with `dominating` the first has half of all."""
    if kind == "unequal":
        return rng.geometric(0.2, count).astype(np.int64)
    sizes = np.full(count, 5 if kind == "equal" else 2, dtype=np.int64)
    sizes[0] = sizes[0] if kind == "equal" else 2 * count
    return sizes


def failing(share: float, whole: bool) -> Callable[[np.random.Generator, NDArray[np.int64], int], Floats]:
    """Return how to draw pairs of which that share fails: by whole sessions, or one by one."""

    def draw(rng: np.random.Generator, clusters: NDArray[np.int64], count: int) -> Floats:
        chance = rng.random(count)[clusters] if whole else rng.random(len(clusters))
        return np.where(chance < share, 0.0, 1.0)

    return draw


def draw_shared_effect(rng: np.random.Generator, clusters: NDArray[np.int64], count: int) -> Floats:
    """Return differences of which half the variance is the session's."""
    return np.asarray(1 + rng.normal(0, 1, count)[clusters] + rng.normal(0, 1, len(clusters)))


def sessions(repetitions: int) -> None:
    """Print how often the bounds hold the truth where pairs of one session depend on each other."""
    print(f"\n95 % bounds by session, {repetitions} repetitions: share that holds the truth, median width")
    kinds = {
        "a session fails, 3 %": (failing(0.03, whole=True), -0.03),
        "a session fails, 10 %": (failing(0.1, whole=True), -0.1),
        "a pair fails, 1 %": (failing(0.01, whole=False), -0.01),
        "half of the variance is the session's": (draw_shared_effect, 0.0),
    }
    for name, (draw, truth) in kinds.items():
        for sizes in ("equal", "unequal", "dominating"):
            shown = []
            for count in SESSIONS:
                rng, bounds = np.random.default_rng(count), []
                for _ in range(repetitions):
                    clusters = np.repeat(np.arange(count), session_sizes(rng, count, sizes))
                    b = draw(rng, clusters, count)
                    estimated = estimate(np.ones(len(b)), b, clusters)
                    bounds.append((estimated.low or 0.0, estimated.high or 0.0))
                held = np.array(bounds)
                shown.append(f"{check_bounds(held, truth):.3f} {np.median(np.ptp(held, axis=1)):7.3f}")
            print(
                f"{name:40}{sizes:12}"
                + "   ".join(f"{n:>4}: {s}" for n, s in zip(SESSIONS, shown, strict=True)),
                flush=True,
            )


def further(repetitions: int) -> None:
    """Print how often the further pairs named for an undecided metric decide it, alone and among eight."""
    print(
        f"\nfurther pairs, {repetitions} repetitions of 40 pairs: share decided with so many more (promised "
        f"0.80)"
    )
    for kind in ("normal", "yes/no", "lognormal"):
        for metrics in (1, 8):
            rng, decided, counts = np.random.default_rng(metrics), [], []
            for _ in range(repetitions):
                pair = _pair(rng, kind, 40)
                metric = judge_overall(_with_idle(rng, pair, metrics))[0]
                if metric.verdict != "undecided" or not metric.further or metric.further > 20_000:
                    continue
                drawn = rng.integers(0, 40, 40 + metric.further)  # the pairs at hand are the population
                again = judge_overall(_with_idle(rng, pair[:, drawn], metrics))[0]
                decided.append(again.verdict != "undecided")
                counts.append(metric.further)
            print(
                f"{kind:12}{metrics} metrics: {np.mean(decided):.2f} of {len(decided)}, median "
                f"{np.median(counts):.0f} more",
                flush=True,
            )


def _pair(rng: np.random.Generator, kind: str, n: int) -> Floats:
    """Return (2, n) values of which b's are somewhat higher."""
    if kind == "normal":
        return np.stack([np.zeros(n), rng.normal(0.25, 1, n)])
    if kind == "lognormal":
        base = rng.lognormal(0, 1, n)
        return np.stack([base * rng.lognormal(0, 0.4, n), base * rng.lognormal(0, 0.4, n) * 1.2])
    a, draws = (rng.random(n) < 0.6).astype(float), rng.random(n)
    return np.stack([a, np.where(draws < 0.15, 1.0, np.where(draws > 0.92, 0.0, a))])


def _with_idle(rng: np.random.Generator, pair: Floats, metrics: int) -> PairTable:
    """Return a table of the pair's metric and of others without a difference."""
    n = pair.shape[1]
    tested = {"tried": pair} | {
        f"idle {i}": np.stack([np.zeros(n), rng.normal(0, 1, n)]) for i in range(metrics - 1)
    }
    return PairTable([("", "")] * n, tested, {}, None, dict.fromkeys(tested, "higher"), 0.95, 0)


def speed(calls: int) -> None:
    """Print time and memory of a comparison of two runs, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "traces.duckdb"
        write(store.with_name(store.name + ".spool"), calls)
        script = f"""
import resource, sys, time
from llm_trace.stores.duckdb import open_store
store = open_store({str(store)!r})
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
import scipy.stats
from llm_trace.comparison.api import compare
begin = time.perf_counter()
found = compare("one", "two", store=store)
seconds = time.perf_counter() - begin
assert found.pairs == {calls}, found.pairs
most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(f"{{found.pairs:,}} pairs, {{len(found.metrics)}} metrics, {{len(found.slices)}} slices: "
      f"{{seconds:.1f}} s, {{most / 1024:,.0f}} MB at most ({{base / 1024:,.0f}} MB before)")
"""
        print(f"\ntwo runs of {calls:,} calls", flush=True)
        subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).resolve().parents[1])


def write(folder: Path, calls: int) -> None:
    """Write the spool of two scored runs over the same inputs."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghijklmnop"), 6)) for _ in range(2000)]
    with (folder / f"{os.urandom(8).hex()}.00000001.jsonl").open("wb") as file:
        file.write(
            orjson.dumps({"event": "file", "format": 1, "writer": "0" * 16, "pid": 1, "time_ns": BEGIN_NS})
            + b"\n"
        )
        for run, name in enumerate(("one", "two")):
            file.write(
                orjson.dumps({"event": "run", "id": f"{run:016x}", "name": name, "start_ns": BEGIN_NS})
                + b"\n"
            )
            texts = rng.integers(0, len(words), (calls, 40))
            times = rng.lognormal(13, 1, calls).astype(int)
            for i in range(calls):
                for event in _events(run, i, calls, " ".join(words[k] for k in texts[i]), int(times[i])):
                    file.write(orjson.dumps(event) + b"\n")


def _events(run: int, i: int, calls: int, text: str, took: int) -> list[dict[str, object]]:
    span = f"{run * calls + i:016x}"
    start = BEGIN_NS + (run * calls + i) * 1_000_000
    ids: dict[str, object] = {"span_id": span, "trace_id": span * 2}
    return [
        {"event": "start", **ids, "start_ns": start, "name": "answer", "kind": "llm", "run": f"{run:016x}",
         "input": {"question": f"question {i} of many " + "x" * 300, "version": f"v{run}"},
         "tags": ["late" if i % 9 == 0 else "near"], "model": "m"},
        {"event": "end", **ids, "end_ns": start + took, "status": "ok", "output": text,
         "usage": {"input_tokens": 100 + i % 7, "output_tokens": len(text) // 4}, "cost_usd": 0.001},
        {"event": "score", "id": span, "span_id": span, "name": "accuracy",
         "value": (i * 7 + run * 3) % 10 > 1, "source": "code", "time_ns": start + took},
    ]  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--repetitions", type=int, default=2_000)
    parser.add_argument("--only", choices=("coverage", "sessions", "alarms", "further", "speed"))
    options = parser.parse_args()
    begin = time.perf_counter()
    if options.only in (None, "coverage"):
        coverage(options.repetitions)
    if options.only in (None, "alarms"):
        false_alarms(options.repetitions)
    if options.only in (None, "sessions"):
        sessions(options.repetitions // 10 or 1)
    if options.only in (None, "further"):
        further(options.repetitions // 10 or 1)
    if options.only in (None, "speed"):
        speed(options.calls)
    print(
        f"\n{time.perf_counter() - begin:.0f} s, "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB"
    )


if __name__ == "__main__":
    main()
