"""What a traced call costs its caller, as a multiple of R, a raw span of opentelemetry-sdk, and of the floor,
the least that keeps a call: orjson and one `write`.

    python -m benchmarks.capture [--peers opik,langfuse,traceloop,phoenix] [--rounds 5] [--cases sync,chat]

Subjects take turns: in each round every subject runs once in a fresh process, so that a busy machine slows
all alike. `p50` is the least of the rounds' medians, which foreign load cannot lower; `median p50` is the
middle one. Compare ratios, not microseconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.peers import PACKAGES, environment, python_of, sink, version_of
from benchmarks.subjects import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

REFERENCE, FLOOR = "raw_otel", "floor"
Rounds = list[dict[str, Any]]
"""What `benchmarks/hot_path.py` printed for one subject and case, once per round."""


@dataclass(frozen=True)
class Target:
    """What a case is, and how much of R it may cost."""

    says: str
    reach: float | None = None
    """At most so many R; `None` where nothing was promised."""


TARGETS = {
    "sync": Target("sync call, 1 kB in, 1 kB out", 0.8),
    "chat": Target("20 kB chat of 20 messages, each call a new one", 0.7),
    "resend": Target("the same 20 kB chat again and again"),
    "async": Target("async call, 1 kB in, 1 kB out", 0.8),
    "generator": Target("generator of 50 chunks, 1 kB in, 1 kB out", 1.2),
    "nested": Target("a call with 10 calls inside, per span", 0.8),
}


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, aligned for a terminal too: first column to the left, figures to the right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    printed = ["| " + " | ".join(_cells(line, widths)) + " |" for line in lines]
    rule = "|" + "|".join("-" * (w + 1) + ("-" if n == 0 else ":") for n, w in enumerate(widths)) + "|"
    return "\n".join([printed[0], rule, *printed[1:]])


def _cells(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        f"{text:<{w}}" if n == 0 else f"{text:>{w}}"
        for n, (text, w) in enumerate(zip(line, widths, strict=True))
    ]


def split_words(text: str) -> list[str]:
    """Return the words between commas."""
    return [word for word in text.split(",") if word]


def run(subject: str, case: str, url: str, blocks: int) -> dict[str, Any]:
    """Measure once, in a fresh process.

    Raises:
        SystemExit: the subject failed.
    """
    script = str(Path(__file__).with_name("hot_path.py"))
    command = [python_of(subject), script, subject, case, "--blocks", str(blocks)]
    done = subprocess.run(command, env=environment(url), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{subject} failed in {case}:\n{done.stderr}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def least(rounds: Rounds, figure: str) -> float:
    return min(float(one[figure]) for one in rounds)


def ratio_by_round(ours: Rounds, reference: Rounds) -> float:
    """Return the median over rounds of the ratio of p50s that were measured side by side."""
    return statistics.median(float(a["p50"] / b["p50"]) for a, b in zip(ours, reference, strict=True))


def render_case(case: str, rounds_of: dict[str, Rounds]) -> str:
    """Return one case's table, and whether the target was met."""
    target, reference = TARGETS[case], rounds_of[REFERENCE]
    rows = []
    for subject, rounds in rounds_of.items():
        p50, cpu = least(rounds, "p50"), least(rounds, "cpu")
        over_floor = p50 / least(rounds_of[FLOOR], "p50")
        middle = statistics.median(one["p50"] for one in rounds)
        by_round = ratio_by_round(rounds, reference)
        times = [f"{us:,.1f}" for us in (p50, middle, least(rounds, "p99"), cpu)]
        ratios = (p50 / least(reference, "p50"), by_round, cpu / least(reference, "cpu"))
        shown = [f"{x:.2f}" for x in (over_floor, *ratios)]
        rows.append([subject, *times[:3], *shown[:-1], times[3], shown[-1]])
    header = ["subject", "p50 µs", "median p50", "p99", "p50 x floor", "p50 x R"]
    header += ["median of rounds", "CPU µs", "CPU x R"]
    return f"\n{target.says}{_verdict(target, rounds_of)}\n\n{table(header, rows)}"


def _verdict(target: Target, rounds_of: dict[str, Rounds]) -> str:
    if target.reach is None or "llm_trace" not in rounds_of:
        return ""
    ratio = least(rounds_of["llm_trace"], "p50") / least(rounds_of[REFERENCE], "p50")
    return f": {ratio:.2f} R, reach {target.reach} R: {'met' if ratio <= target.reach else 'MISSED'}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peers",
        type=split_words,
        default=[],
        help=f"of {', '.join(PACKAGES)}, installed by benchmarks.peers",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=4, help="blocks of 1,000 spans per round")
    parser.add_argument("--cases", type=split_words, default=list(TARGETS))
    options = parser.parse_args()
    begin, subjects = time.monotonic(), [*OURS, *options.peers]
    versions = ", ".join(f"{peer} {version_of(peer)}" for peer in options.peers)
    print(
        f"R = {REFERENCE}; p50 = least of {options.rounds} rounds' medians, µs in the calling thread. "
        f"{versions}"
    )
    with sink(keep=False) as receiver:
        for case in options.cases:
            rounds_of: dict[str, Rounds] = defaultdict(list)
            for number in range(options.rounds):
                for subject in subjects:
                    rounds_of[subject].append(run(subject, case, receiver.url, options.blocks))
                    _progress(f"{case}: round {number + 1}, {subject}")
            _progress("")
            print(render_case(case, rounds_of), flush=True)
    print(f"\n{time.monotonic() - begin:.0f} s")


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:<60}", end="\r", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
