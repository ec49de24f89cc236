"""The review log against whoever changes it: how many of 1,000 changes are found, and what a review costs;
and how often the 95 % bounds of reviewers' agreement and of prevented errors hold the truth.

    python -m benchmarks.reviews

Each round makes one change, to a byte, a line, the order or the end of the log, or to a review in the store.
Changes that leave all as it was are drawn again.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import llm_trace
from llm_trace.operations import Operation, ReviewWriter, make_review, read_operations, verify_reviews
from llm_trace.operations.review_audit import audit_reviews
from llm_trace.operations.worth_errors import DecidedCall, measure_errors
from llm_trace.statistics.agreement import measure_alpha

REVIEWS = 40


def build_store(folder: Path) -> Path:
    """Return a store with reviews of two people."""
    path = folder / "desk.duckdb"
    llm_trace.configure(path)
    for number in range(REVIEWS // 2):
        with llm_trace.span("desk", kind="llm", input=f"question {number}") as span:
            span.set(output=f"answer {number}")
    llm_trace.shutdown()
    with llm_trace.open_store(path) as store, store.hold():
        reviews = [
            make_review(
                store, call.span_id, who, number % 3 > 0, comment=f"remark {number}", seconds=number + 0.5
            )
            for number, call in enumerate(store.calls(order="oldest"))
            for who in ("anna", "ben")
        ]
    with ReviewWriter(path) as writer:
        begin = time.perf_counter()
        for review in reviews:
            writer.give(review)
        each = (time.perf_counter() - begin) / len(reviews)
    print(f"{len(reviews)} reviews kept, {each * 1e3:.1f} ms each (waits for the disk three times)")
    return path


def change_log(data: bytes, draw: random.Random) -> tuple[str, bytes]:
    """Return what was done, and a log of which one thing was changed."""
    lines, place = data.splitlines(keepends=True), draw.randrange(len(data))
    i, j = sorted(draw.sample(range(len(lines)), 2))
    swapped = [*lines[:i], lines[j], *lines[i + 1 : j], lines[i], *lines[j + 1 :]]
    return draw.choice(
        [
            ("byte changed", data[:place] + bytes([draw.randrange(256)]) + data[place + 1 :]),
            ("byte dropped", data[:place] + data[place + 1 :]),
            ("byte added", data[:place] + bytes([draw.randrange(256)]) + data[place:]),
            ("line dropped", b"".join(lines[:i] + lines[i + 1 :])),
            ("lines swapped", b"".join(swapped)),
            ("line doubled", b"".join(lines[: i + 1] + lines[i:])),
            ("end cut off", data[:place]),
            ("last lines cut off", b"".join(lines[:j])),
        ]
    )


def change_records(records: list[Operation], draw: random.Random) -> tuple[str, list[Operation]]:
    """Return what was done, and the reviews of a store of which one thing was changed."""
    i, j = draw.sample(range(len(records)), 2)
    body = json.loads(json.dumps(records[i].body))
    name = draw.choice(sorted(body["review"]))
    body["review"][name] = other(body["review"][name], draw)
    changed, moved = list(records), list(records)
    changed[i] = records[i].model_copy(update={"body": body})
    moved[i] = records[i].model_copy(update={"body": records[j].body})
    return draw.choice(
        [
            ("review changed", changed),
            ("review dropped", records[:i] + records[i + 1 :]),
            ("review replaced", moved),
            ("review doubled", [*records, records[i]]),
        ]
    )


def other(value: Any, draw: random.Random) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + draw.choice((-1, 1))
    return [*value, "x"] if isinstance(value, list) else f"{value}x"


def check_alpha(calls: int, slips: float, draw: random.Random) -> bool | None:
    """Return whether the bounds hold the alpha of three reviewers who each slip at a rate, about calls of
    which a half is right; `None` where all said the same.
    """
    truths = [draw.random() < 0.5 for _ in range(calls)]
    ratings = [[truth != (draw.random() < slips) for _ in range(3)] for truth in truths]
    alpha = measure_alpha(ratings, numeric=True)
    expected = 1 - 2 * slips * (1 - slips) / 0.5
    return None if alpha is None else alpha.low <= expected <= alpha.high


def check_prevented(calls: int, before: float, now: float, draw: random.Random) -> bool | None:
    """Return whether the bounds hold the errors that were prevented: so many calls were scored in shadow, and
    twice as many decided since, of which a half runs alone and 5 % of that half is audited.
    """
    decided = [DecidedCall("gate", False, False, False, draw.random() < before) for _ in range(calls)]
    decided += [DecidedCall("gate", True, True, False, None) for _ in range(calls)]
    audits = [draw.random() < 0.05 for _ in range(calls)]
    decided += [DecidedCall("gate", True, False, a, draw.random() < now if a else None) for a in audits]
    figure = measure_errors(decided, "correct", 0.95)[1]
    expected = 2 * calls * before - (calls - sum(audits)) * now
    if figure.low is None or figure.high is None:
        return None
    return figure.low <= expected <= figure.high


def print_bounds(times: int) -> None:
    """Print how often bounds hold the truth."""
    draw = random.Random(16)
    for calls, slips in ((20, 0.1), (50, 0.05), (100, 0.2)):
        print_share(f"alpha, {calls} calls, slips {slips:.0%}", [
            check_alpha(calls, slips, draw) for _ in range(times)
        ])  # fmt: skip
    for calls, before, now in ((100, 0.2, 0.02), (400, 0.1, 0.05), (2000, 0.1, 0.02)):
        print_share(f"prevented, {calls} calls in shadow, wrong {before:.0%}, now {now:.0%}", [
            check_prevented(calls, before, now, draw) for _ in range(times)
        ])  # fmt: skip


def print_share(what: str, results: list[bool | None]) -> None:
    known = [result for result in results if result is not None]
    print(f"  {what}: the bounds hold the truth {sum(known)} of {len(known)} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--times", type=int, default=200, help="how often each bound is tried")
    options = parser.parse_args()
    print_bounds(options.times)
    measure_log(options.rounds)


def measure_log(rounds: int) -> None:
    """Print how many changes are found."""
    draw, counts = random.Random(15), dict[str, list[int]]()
    with tempfile.TemporaryDirectory() as folder:
        path = build_store(Path(folder))
        log = path.with_name(path.name + ".reviews.jsonl")
        data = log.read_bytes()
        begin = time.perf_counter()
        audit = verify_reviews(path)
        seconds = time.perf_counter() - begin
        print(f"unchanged: {len(audit.problems)} problems, {audit.entries} verified in {seconds:.2f} s")
        with llm_trace.open_store(path) as store:
            records = read_operations(store, kind="review")
        done = 0
        while done < rounds:
            lines, reviews = data, records
            if draw.random() < 2 / 3:
                what, lines = change_log(data, draw)
            else:
                what, reviews = change_records(records, draw)
            if lines == data and reviews == records:
                continue
            done += 1
            result = audit_reviews(lines.splitlines(keepends=True), reviews)
            counts.setdefault(what, [0, 0])[0] += not result.is_proven
            counts[what][1] += 1
    for what, (found, tried) in sorted(counts.items()):
        print(f"  {what}: found {found} of {tried}")
    print(f"found {sum(c[0] for c in counts.values()):,} of {sum(c[1] for c in counts.values()):,}")


if __name__ == "__main__":
    main()
