"""The last scene: what v2 got wrong is replayed with the next prompt, which lacks the example line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_trace.capture.prompts import Prompt
from llm_trace.demo import desk
from llm_trace.demo.world import EXAMPLE, TEMPLATE_V2

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Fix:
    """How the failures of v2 end without the example line."""

    run: str
    """Of the replay."""
    replayed: int
    right: int
    """Answered as the handbook says now."""
    served: int
    """Calls answered from the record."""
    live: int
    """Calls that asked the model, which runs on this machine."""
    doubts: tuple[str, ...]


def replay_wrong(path: Path, run: str, count: int) -> Fix | None:
    """Replay what a run of v2 got wrong; `None` where it got everything right.

    Args:
        run: id of the run.
        count: how many customers it answered.
    """
    from llm_trace.replays.api import replay
    from llm_trace.stores.duckdb import open_store

    policy = {customer.message: desk.compute_expected(customer) for customer in desk.list_visitors(count)}
    with open_store(path) as store:
        calls = store.calls(run=run, name="handle", limit=None)
        wrong = [call for call in calls if call.output != policy[call.input["message"]]]
        if not wrong:
            return None
        v3 = Prompt("refund", TEMPLATE_V2.replace(f"{EXAMPLE}\n\n", ""))
        done = replay(
            [call.span_id for call in wrong], store=store, mode="mixed", live=["ask"],
            overrides={"prompt": v3}, functions=desk.handle,
        )  # fmt: skip
        store.ingest()
        again = store.calls(run=done, name="handle", limit=None)
    right = sum(call.output == policy[call.input["message"]] for call in again)
    summary = done.config["replay"]
    doubts = (
        ()
        if right > len(wrong) / 2
        else ("the prompt without the example line does not mend most of the failures",)
    )
    return Fix(done.id, len(again), right, summary["served"], summary["live"], doubts)
