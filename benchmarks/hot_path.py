"""What one call costs its caller under one subject, as one line of JSON; `benchmarks/capture.py` compares
many of these.

    python benchmarks/hot_path.py SUBJECT CASE [--blocks 5]

Calls come in blocks of 1,000 with an untimed flush in between, so that no queue overflows; inputs are made
before a block, and the first block warms up. Runs in any library's environment: imports nothing but the
standard library and the subject.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.subjects import SUBJECTS, Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

BLOCK = 1000
MESSAGES = 20
CHUNKS = 50
CHILDREN = 10


def words(seed: int, size: int) -> str:
    """Return text of about `size` characters, with a line break now and then."""
    pick = random.Random(seed)
    letters = "etaoinshrdlu"
    pieces = (
        "".join(pick.choices(letters, k=pick.randint(2, 9))) + pick.choice("     \n")
        for _ in range(size // 3)
    )
    return "".join(pieces)[:size]


PROMPTS = [words(n, 1000) for n in range(64)]
REPLY = words(1000, 1000)
PARTS = [REPLY[at : at + len(REPLY) // CHUNKS] for at in range(0, len(REPLY), len(REPLY) // CHUNKS)]


def chat(number: int) -> list[dict[str, str]]:
    """Return a chat of 20 messages, 20 kB together, none of which is in the chat of another number."""
    texts = [f"{number} {turn} {PROMPTS[(number + turn) % 64]}"[:1000] for turn in range(MESSAGES)]
    return [{"role": ("user", "assistant")[turn % 2], "content": text} for turn, text in enumerate(texts)]


def prompts(begin: int, count: int) -> list[str]:
    return [PROMPTS[n % 64] for n in range(begin, begin + count)]


def new_chats(begin: int, count: int) -> list[Any]:
    return [chat(n) for n in range(begin, begin + count)]


def same_chats(begin: int, count: int) -> list[Any]:
    """Return one chat many times, parsed anew each time, as a server gets it from its client."""
    text = json.dumps(chat(0))
    return [json.loads(text) for _ in range(count)]


def answer(asked: Any) -> str:
    return REPLY


async def answer_later(asked: Any) -> str:
    return REPLY


def answer_in_parts(asked: Any) -> Iterator[str]:
    yield from PARTS


@dataclass(frozen=True)
class Case:
    """One way of being called."""

    inputs: Callable[[int, int], Sequence[Any]]
    """Returns the inputs of the calls from one number on, so many of them."""
    traced: Callable[[Subject], Callable[[Any], Any]]
    """Returns what is called with each input; with a coroutine function what it returns is awaited."""
    spans: int = 1
    """Spans per call: figures are per span."""


def _consume_all(subject: Subject) -> Callable[[Any], Any]:
    stream = subject.decorate(answer_in_parts)
    return lambda asked: deque(stream(asked), maxlen=0)


def _nest_calls(subject: Subject) -> Callable[[Any], Any]:
    child = subject.decorate(answer)

    def parent(asked: Any) -> str:
        for _ in range(CHILDREN):
            child(asked)
        return REPLY

    return subject.decorate(parent)


def _plain(subject: Subject) -> Callable[[Any], Any]:
    return subject.decorate(answer)


CASES = {
    "sync": Case(prompts, _plain),
    "chat": Case(new_chats, _plain),
    "resend": Case(same_chats, _plain),
    "async": Case(prompts, lambda subject: subject.decorate(answer_later)),
    "generator": Case(prompts, _consume_all),
    "nested": Case(prompts, _nest_calls, spans=1 + CHILDREN),
}


@dataclass(frozen=True)
class Block:
    """What the calls of one block took, in ns."""

    wall: list[int]
    cpu: int
    """CPU time of the calling thread, for all of them."""


def time_block(call: Callable[[Any], Any], inputs: Sequence[Any]) -> Block:
    clock, wall = time.perf_counter_ns, []
    cpu = time.thread_time_ns()
    for asked in inputs:
        begin = clock()
        call(asked)
        wall.append(clock() - begin)
    return Block(wall, time.thread_time_ns() - cpu)


async def time_async_block(call: Callable[[Any], Any], inputs: Sequence[Any]) -> Block:
    clock, wall = time.perf_counter_ns, []
    cpu = time.thread_time_ns()
    for asked in inputs:
        begin = clock()
        await call(asked)
        wall.append(clock() - begin)
    return Block(wall, time.thread_time_ns() - cpu)


def measure(subject: Subject, name: str, blocks: int) -> dict[str, Any]:
    """Return figures in µs per span."""
    case = CASES[name]
    call, size, taken = case.traced(subject), BLOCK // case.spans, []
    for number in range(blocks + 1):
        inputs = case.inputs(number * size, size)
        gc.collect()
        taken.append(
            asyncio.run(time_async_block(call, inputs)) if name == "async" else time_block(call, inputs)
        )
        subject.flush()
    wall = [ns for block in taken[1:] for ns in block.wall]
    unit = 1000 * case.spans
    return {
        "calls": len(wall),
        "p50": statistics.median(wall) / unit,
        "p99": statistics.quantiles(wall, n=100)[98] / unit,
        "mean": statistics.fmean(wall) / unit,
        "cpu": sum(block.cpu for block in taken[1:]) / len(wall) / unit,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--blocks", type=int, default=5, help="blocks of 1,000 spans that count")
    options = parser.parse_args()
    # a process that delivers to destinations may still write there
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        subject = SUBJECTS[options.subject](Path(folder))
        figures = measure(subject, options.case, options.blocks)
        subject.close()
    print(json.dumps({"subject": options.subject, "case": options.case, **figures}), flush=True)
    os._exit(0)  # exit handlers of some libraries wait for seconds


if __name__ == "__main__":
    main()
