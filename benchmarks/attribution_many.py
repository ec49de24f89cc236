"""How fast many calls are explained: one by one, together, by workers and on Ray, beside bare passes.

    python benchmarks/attribution_many.py MODEL --text FILE [--calls N] [--rounds N] [--ray] [--kill-every S]

The calls have prompts of 12 to 30 words of FILE and answers of 3 to 12, those that follow. Contestants take
turns in every round, on the same calls; a process computes in one thread, and so does each worker. Bare
passes are the same prompts and answers in batches sorted by length, without shared beginnings and without
what makes an attribution of them. Rates of workers are from the first attribution on: until then they load
the model. On a machine that others use, two processes get more of it than one: compare on a quiet one.
With --kill-every a worker is killed so often, and how many attributions each call has is printed.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import random
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from llm_trace.attribution.models import causal_passes
from llm_trace.attribution.models.loading import resolve_model
from llm_trace.attribution.policy.local_executor import LocalExecutor
from llm_trace.attribution.policy.policy import AttributionPolicy, Hook
from llm_trace.attribution.policy.pool import spread_calls
from llm_trace.attribution.policy.together import explain_together
from llm_trace.record import Call

BATCH_TOKENS = 2048


def make_calls(text: str, count: int) -> list[Call]:
    """Return logged calls whose prompts and answers are consecutive words of a text."""
    words, rng = text.split(), random.Random(0)
    calls = []
    for i in range(count):
        prompt, answer = rng.randrange(12, 31), rng.randrange(3, 13)
        at = rng.randrange(len(words) - prompt - answer)
        calls.append(
            Call(
                trace_id=f"{i:032x}", span_id=f"{i:016x}", name="ask", kind="llm", start_ns=1, end_ns=2,
                status="ok", input={"prompt": " ".join(words[at : at + prompt])},
                output=" " + " ".join(words[at + prompt : at + prompt + answer]),
            )
        )  # fmt: skip
    return calls


class Recording:
    """What went through the model: prompts, and tokens without and with padding."""

    def __init__(self) -> None:
        self.rows: list[tuple[tuple[int, ...], Any]] = []
        self.tokens = self.padded = self.passes = 0

    def record(self, run: Callable[[], object]) -> None:
        answer, pad = causal_passes.answer_requests, causal_passes.Passes._pad

        def answer_and_note(requests: Sequence[causal_passes.PassRequest]) -> Any:
            self.rows += [(prompt, r.query) for r in requests for prompt in r.prompts]
            return answer(requests)

        def pad_and_note(passes: Any, rows: Sequence[causal_passes.PassRow], prefix: int) -> torch.Tensor:
            ids = pad(passes, rows, prefix)
            self.passes += 1
            self.padded += ids.numel()
            self.tokens += sum(row.length - prefix for row in rows)
            return ids

        causal_passes.answer_requests = answer_and_note
        causal_passes.Passes._pad = pad_and_note  # type: ignore[method-assign]
        try:
            run()
        finally:
            causal_passes.answer_requests = answer
            causal_passes.Passes._pad = pad  # type: ignore[method-assign]


def run_bare(model: Any, rows: Sequence[tuple[tuple[int, ...], Any]]) -> None:
    """Put the same prompts and answers through the model in plain batches, sorted by length."""
    whole = sorted(([*prompt, *query.read], len(query.ids)) for prompt, query in rows)
    whole.sort(key=lambda pair: len(pair[0]))
    at = 0
    with torch.inference_mode():
        while at < len(whole):
            size = max(1, BATCH_TOKENS // len(whole[min(at + 40, len(whole) - 1)][0]))
            batch = whole[at : at + size]
            longest, most = len(batch[-1][0]), max(count for _, count in batch)
            ids = torch.tensor([row + [0] * (longest - len(row)) for row, _ in batch])
            keep = most + longest - len(batch[0][0])
            model(ids, use_cache=False, logits_to_keep=keep).logits.float().logsumexp(-1)
            at += size


def time_events(events: Iterable[Any]) -> tuple[float, float]:
    """Return seconds in all, and calls per second after the first event."""
    begin = time.perf_counter()
    moments = [time.perf_counter() for _ in events]
    return moments[-1] - begin, (len(moments) - 1) / max(1e-9, moments[-1] - moments[0])


def make_ray(workers: int) -> Any:
    from llm_trace_integrations.ray import make_ray_executor

    return make_ray_executor("", workers)


def list_contestants(options: argparse.Namespace, policy: AttributionPolicy, calls: list[Call]) -> Any:
    """Return functions that give an event for each call, by what they are called."""
    hook = Hook(policy)
    contestants: dict[str, Callable[[], Iterable[Any]]] = {
        "one by one": lambda: (hook(call) for call in calls),
        "together": lambda: explain_together(hook, calls),
        "1 worker": lambda: spread_calls(calls, policy, LocalExecutor(1)),
        "2 workers": lambda: spread_calls(calls, policy, LocalExecutor(2)),
    }
    if options.ray:
        contestants["Ray, 1 worker"] = lambda: spread_calls(calls, policy, make_ray(1))
        contestants["Ray, 2 workers"] = lambda: spread_calls(calls, policy, make_ray(2))
    return contestants


def report(rates: dict[str, list[float]], totals: dict[str, list[float]], bare: list[float]) -> None:
    """Print calls per second of each contestant, and its ratios to one process and to bare passes."""
    print(f"  {'':<18}{'calls/s':>9}{'x together':>12}{'x bare':>9}{'s with start':>14}")
    rates = rates | {"bare passes": bare}
    for name, each in rates.items():
        to_one = statistics.median(a / b for a, b in zip(each, rates["together"], strict=True))
        to_bare = statistics.median(a / b for a, b in zip(each, bare, strict=True))
        total = f"{statistics.median(totals[name]):>14.1f}" if name in totals else ""
        print(f"  {name:<18}{statistics.median(each):>9.2f}{to_one:>12.2f}{to_bare:>9.2f}{total}")


def kill_workers(every_s: float, stop: threading.Event, kills: list[int]) -> None:
    """Kill a worker of this process or of its Ray again and again."""
    import psutil

    while not stop.wait(every_s):
        children = psutil.Process().children(recursive=True)
        actors = [child.pid for child in children if child.name().startswith("ray::Explainer")]
        pids = actors or [child.pid or 0 for child in multiprocessing.active_children()]
        if pids:
            os.kill(pids[len(kills) % len(pids)], signal.SIGKILL)
            kills.append(pids[0])


def count_with_kills(events: Iterator[Any], every_s: float) -> str:
    """Return in words how often each call was explained while workers were killed."""
    stop, kills = threading.Event(), list[int]()
    killer = threading.Thread(target=kill_workers, args=(every_s, stop, kills))
    killer.start()
    begin = time.perf_counter()
    try:
        results = [(call.span_id, event["status"]) for call, event in events]
    finally:
        stop.set()
        killer.join()
    took, counts = time.perf_counter() - begin, Counter(Counter(span_id for span_id, _ in results).values())
    times = ", ".join(f"{calls} calls {often} x" for often, calls in sorted(counts.items()))
    failed = sum(status != "ok" for _, status in results)
    return f"{len(kills)} workers killed in {took:.0f} s: {times}, {failed} failed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--text", required=True)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--method", default="occlusion")
    parser.add_argument("--ray", action="store_true", help="also on a Ray of this machine")
    parser.add_argument("--kill-every", type=float, metavar="SECONDS")
    options = parser.parse_args()
    torch.set_num_threads(1)
    calls = make_calls(Path(options.text).read_text(), options.calls)
    policy = AttributionPolicy(model=options.model, method=options.method)
    model = resolve_model(options.model)[0]
    explain = Hook(policy)
    alone, together = Recording(), Recording()
    alone.record(lambda: [explain(call) for call in calls])
    together.record(lambda: list(explain_together(explain, calls)))
    print(f"{len(calls)} calls, {options.method}, {len(together.rows) / len(calls):.0f} prompts a call")
    for name, each in (("one by one", alone), ("together", together)):
        print(
            f"  {name:<12}{each.passes:>7} passes, {each.tokens:>9} tokens, "
            f"{each.padded / each.tokens - 1:.1%} padding on top"
        )
    contestants = list_contestants(options, policy, calls)
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    totals: dict[str, list[float]] = {name: [] for name in contestants}
    bare: list[float] = []
    for i in range(options.rounds):
        names = list(contestants)
        for name in itertools.chain(names[i % len(names) :], names[: i % len(names)]):
            total, rate = time_events(contestants[name]())
            totals[name].append(total)
            rates[name].append(rate)
        begin = time.perf_counter()
        run_bare(model, together.rows)
        bare.append(len(calls) / (time.perf_counter() - begin))
    report(rates, totals, bare)
    if options.kill_every:
        pools = {"2 workers": lambda: LocalExecutor(2)} | (
            {"Ray, 2": lambda: make_ray(2)} if options.ray else {}
        )
        for name, make in pools.items():
            words = count_with_kills(spread_calls(calls, policy, make()), options.kill_every)
            print(f"  {name}: {words}")


if __name__ == "__main__":
    main()
