"""How often the bounds of `compare` hold, how often it raises a false alarm, and how long it takes.

    python benchmarks/comparison.py                coverage, false alarms, speed
    python benchmarks/comparison.py --calls 100000 --repetitions 2000

Coverage is of 95 % bounds of the mean difference, beside Student's t, the studentised bootstrap (999 draws) and scipy's BCa bootstrap (on every tenth
sample, as it is slow). A false alarm is a comparison of eight metrics without any difference, of which at least one is called decided.
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

from llm_trace.comparison.judge import Table, overall
from llm_trace.comparison.statistics.intervals import mean_interval
from llm_trace.comparison.statistics.yesno import tango

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
            ours = np.array([(f.low, f.high) for f in (mean_interval(s, largest=1.0) for s in samples)])
            student = _student(samples)
            rows = (_held(b, truth) for b in (ours, student, _bootstrap_t(samples), _bca(samples[::10])))
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
            bounds = np.array([tango(int(g), int(m), n) for g, m, _ in counts])
            share = _held(bounds, gained - lost)
            print(f"{f'yes/no, {gained:.1%} gain, {lost:.1%} lose':32}{n:>5}{share:>10.3f}", flush=True)


def _held(bounds: Floats, truth: float) -> float:
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
    found = []
    for sample in samples:
        if np.ptp(sample) == 0:
            found.append((sample[0], sample[0]))
            continue
        result = stats.bootstrap((sample,), np.mean, n_resamples=999, method="BCa", rng=0, vectorized=True)
        found.append((result.confidence_interval.low, result.confidence_interval.high))
    return np.array(found)


def false_alarms(repetitions: int) -> None:
    """Print how often a comparison without any difference finds one."""
    print(
        f"\nno difference in eight metrics, {repetitions} repetitions: share with a false finding (level 0.05)"
    )
    for n in SIZES:
        rng = np.random.default_rng(n)
        found = sum(
            any(m.verdict in ("better", "worse") for m in overall(_null(rng, n))) for _ in range(repetitions)
        )
        print(f"n = {n:<5}{found / repetitions:.3f}", flush=True)


def _null(rng: np.random.Generator, n: int) -> Table:
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
    return Table(spans, tested, {}, None, dict.fromkeys(tested, "higher"), 0.95, 0)


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
print(f"{{found.pairs:,}} pairs, {{len(found.metrics)}} metrics, {{len(found.slices)}} slices: {{seconds:.1f}} s, "
      f"{{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f}} MB at most ({{base / 1024:,.0f}} MB before)")
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
        {"event": "score", "id": span, "span_id": span, "name": "accuracy", "value": (i * 7 + run * 3) % 10 > 1,
         "source": "code", "time_ns": start + took},
    ]  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--repetitions", type=int, default=2_000)
    parser.add_argument("--only", choices=("coverage", "alarms", "speed"))
    given = parser.parse_args()
    begin = time.perf_counter()
    if given.only in (None, "coverage"):
        coverage(given.repetitions)
    if given.only in (None, "alarms"):
        false_alarms(given.repetitions)
    if given.only in (None, "speed"):
        speed(given.calls)
    print(
        f"\n{time.perf_counter() - begin:.0f} s, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB"
    )


if __name__ == "__main__":
    main()
