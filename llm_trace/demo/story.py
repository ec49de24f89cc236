"""The demo: two prompts answer the same customers; which words made one wrong, what a crash loses, and why an
agent decided so.

Everything here is measured in the run that prints it. Where the model answers otherwise than the story hopes,
the result says so.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_trace.demo import agent_failure, fix, scenes, victim
from llm_trace.demo.figures import Figures
from llm_trace.demo.narration import Narrator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

CUSTOMERS = 100


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
        narrator = Narrator(out, path)
        with narrator.show_waiting("loading the embedded model"):
            scenes.prepare()
        with narrator.show_waiting(f"{customers} customers, two prompts"):
            answers, overheads = scenes.answer_customers(path, customers)
        judged = scenes.judge_runs(path, customers)
        narrator.tell_answers(answers, judged)
        with narrator.show_waiting("which words mattered"):
            shift = scenes.explain(path, answers)
        narrator.tell_shift(shift)
        with narrator.show_waiting("the same pipeline in another process, until it is killed"):
            crash = victim.run_and_kill(path)
        narrator.tell_crash(crash)
        with narrator.show_waiting("what v2 got wrong, once more without the example line"):
            mended = fix.replay_wrong(path, answers.tallies["v2"].run_id, customers)
        narrator.tell_fix(mended)
        with narrator.show_waiting("an agent, and why it decides so"):
            agent = agent_failure.explain_agent(path)
        narrator.tell_agent(agent)
        costs = scenes.sum_costs(path, overheads)
        parts = (answers, shift, crash, mended, agent)
        doubts = tuple(doubt for part in parts if part is not None for doubt in part.doubts)
        figures = Figures(
            not doubts, doubts, answers, judged, shift, crash, mended, agent, costs, str(path),
            keep or store is not None, time.perf_counter() - begin, narrator.list_commands(shift),
        )  # fmt: skip
        narrator.tell_end(figures)
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
