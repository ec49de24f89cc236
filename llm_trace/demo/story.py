"""The demo: two prompts answer the same customers, one of them wrongly; which words did it, and what a crash
loses.

Everything here is measured in the run that prints it. Where the model answers otherwise than the story hopes,
the result says so.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_trace.demo import fix, scenes, victim
from llm_trace.demo.narration import Telling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

CUSTOMERS = 100


@dataclass(frozen=True)
class Figures:
    """What one run of the demo found; the answer of `llm-trace demo --json`."""

    holds: bool
    """Whether the model behaved as the story tells."""
    doubts: tuple[str, ...]
    """Where it did not."""
    answers: scenes.AnsweredRuns
    judged: tuple[scenes.JudgedRun, ...]
    """v2 against v1 on all customers, then on parts of them."""
    shift: scenes.WeightShift | None
    """`None` where no answer changed."""
    crash: victim.Crash
    fix: fix.Fix | None
    """`None` where v2 got nothing wrong."""
    costs: scenes.Costs
    store: str
    kept: bool
    """Whether the store is still there after the demo."""
    seconds: float
    """The whole demo."""
    next: tuple[str, ...]
    """Commands to go on with."""


def tell(
    out: Console | None, store: Path | None = None, *, keep: bool = True, customers: int = CUSTOMERS
) -> dict[str, Any]:
    """Run the demo and return its figures as plain data.

    Args:
        out: where the story is printed; `None` for silence.
        store: record here; in a temporary folder otherwise.
        keep: leave the temporary folder.
        customers: how many each prompt answers.

    Raises:
        MissingExtraError: torch and transformers are not installed.
    """
    begin = time.perf_counter()
    with _place(store, keep) as path:
        teller = Telling(out, path)
        with teller.waiting("loading the embedded model"):
            scenes.prepare()
        with teller.waiting(f"{customers} customers, two prompts"):
            answers, overheads = scenes.answer_customers(path, customers)
        judged = scenes.judge_runs(path, customers)
        teller.answers(answers, judged)
        with teller.waiting("which words mattered"):
            shift = scenes.explain(path, answers)
        teller.shift(shift)
        with teller.waiting("the same pipeline in another process, until it is killed"):
            crash = victim.run_and_kill(path)
        teller.crash(crash)
        with teller.waiting("what v2 got wrong, once more without the example line"):
            mended = fix.replay_wrong(path, answers.tallies["v2"].run_id, customers)
        teller.fix(mended)
        costs = scenes.sum_costs(path, overheads)
        told = (answers, shift, crash, mended)
        doubts = tuple(doubt for part in told if part is not None for doubt in part.doubts)
        figures = Figures(
            not doubts, doubts, answers, judged, shift, crash, mended, costs, str(path), keep or store is not None,
            time.perf_counter() - begin, teller.commands(shift),
        )  # fmt: skip
        teller.end(figures)
    return asdict(figures)


@contextlib.contextmanager
def _place(store: Path | None, keep: bool) -> Iterator[Path]:
    """Give the path of the store; a temporary folder goes away unless it is to be kept."""
    if store is not None:
        yield store.expanduser().absolute()
        return
    folder = Path(tempfile.mkdtemp(prefix="llm-trace-demo-"))
    try:
        yield folder / "demo.duckdb"
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
