"""The scene of the agent: it refunds wrongly, `why` names a tool's result, a fork proves it, a test keeps it.

The agent is a file beside the store, as a user's own would be, so that it can be mended.
"""

from __future__ import annotations

import inspect
import re
import runpy
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from llm_trace.capture.runs import start_run
from llm_trace.config import configure, shutdown
from llm_trace.demo import agent
from llm_trace.demo.agent_cases import make_agent_cases
from llm_trace.demo.agent_model import MODEL
from llm_trace.demo.agent_texts import DECISIONS, LOOK_UPS
from llm_trace.demo.agent_truth import take_steps
from llm_trace.demo.agent_world import parse_call, rule
from llm_trace.demo.victim import build_environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from llm_trace.causes.why_record import Causes
    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store

RUN = "refund-agent"
CASE = 10
"""Of the world's single causes: nothing is damaged, and a stranger's words are in the notes."""
MODULE = "refund_agent"
READING = 'return _read_result(order, ticket, "read_notes")'
"""The line that lets the agent read the notes."""
MENDED = 'return "Notes are for people."'
REPEATS = 10


@dataclass(frozen=True)
class AgentFailure:
    """A decision of the agent that is wrong, and what was found out about it."""

    run_id: str
    message: str
    """Of the customer."""
    answer: str
    right: str
    """What it decides by the rule, but for what was planted."""
    causes: Causes | None
    """`None` where the agent decided rightly."""
    forked: str | None
    """What it decides where the strongest cause returned nothing."""
    test: str | None
    """The file that keeps the failure."""
    outcomes: tuple[str, ...]
    """What pytest says of it before the agent is mended and after; empty where there is no pytest."""
    doubts: tuple[str, ...]


def explain_agent(path: Path) -> AgentFailure:
    """Let the agent decide about a ticket, find out why it decided so, and keep that as a test."""
    from llm_trace.causes.why_api import why
    from llm_trace.stores.duckdb import open_store

    case = make_agent_cases("single", CASE + 1, seed=0)[CASE]
    message, right = case.ticket.message, str(rule(take_steps(case.ticket, case.plants)))
    folder = path.with_name(f"{path.stem}-agent")
    handle_ticket = load_agent(folder)
    configure(path, run=None, sample=1.0, redact=None, capture_content=True)
    try:
        with start_run(RUN) as run:
            answer = handle_ticket(case.name, message)
    finally:
        shutdown()
    decision = parse_call(answer)
    if decision is None or answer == right:
        doubt = f"the agent answers {answer!r}, which is not the wrong refund of the story"
        return AgentFailure(run.id, message, answer, right, None, None, None, (), (doubt,))
    with open_store(path) as store:
        (ticket,) = store.calls(run=run.id, name="handle_ticket")
        (call,) = store.calls(run=run.id, name=decision.tool)
        causes = why(call, store=store, functions=handle_ticket, repeats=REPEATS)
        forked = decide_without(causes.steps[0].span_id, run.id, store, handle_ticket)
        test = keep_failure(folder, store, ticket, right, handle_ticket)
    outcomes = try_mending(test)
    doubts = {
        "none of the steps is shown to have caused the agent's decision": not causes.significant,
        "the agent does not decide rightly in the fork": forked != right,
        f"pytest says {' and then '.join(outcomes)}": outcomes not in ((), ("1 failed", "1 passed")),
    }
    return AgentFailure(
        run.id, message, answer, right, causes, forked, str(test), outcomes,
        tuple(doubt for doubt, holds in doubts.items() if holds),
    )  # fmt: skip


def load_agent(folder: Path) -> Callable[..., Any]:
    """Write the agent's code into a folder, not mended, and return its function."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{MODULE}.py"
    place.write_text(inspect.getsource(agent), encoding="utf-8")
    handle_ticket: Callable[..., Any] = runpy.run_path(str(place), run_name=MODULE)["handle_ticket"]
    return handle_ticket


def decide_without(
    span_id: str | None, run: str, store: Store, handle_ticket: Callable[..., Any]
) -> str | None:
    """Return what the agent decides in a fork where a tool returned nothing; `None` without a tool."""
    from llm_trace.replays.api import replay

    if span_id is None:
        return None
    fork = replay(
        run, fork_at=span_id, set={"output": ""}, store=store, functions=handle_ticket, serve=LOOK_UPS,
        live=DECISIONS,
    )  # fmt: skip
    store.ingest()
    (again,) = store.calls(run=fork.id, name="handle_ticket")
    return str(again.output)


def keep_failure(
    folder: Path, store: Store, call: Call, right: str, handle_ticket: Callable[..., Any]
) -> Path:
    """Write the test that fails as the call did until the agent is mended."""
    from llm_trace.evaluation.failure_tests import write_failure_test

    test = folder / "test_refund_agent.py"
    name = f"{MODULE}:{handle_ticket.__name__}"
    write_failure_test(test, store, call, name, handle_ticket, right=right, model=MODEL)
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")  # none of folders above counts
    return test


def try_mending(test: Path) -> tuple[str, ...]:
    """Return what pytest says of the test, and what once the agent is mended; nothing without pytest."""
    if find_spec("pytest") is None:
        return ()
    before = run_pytest(test)
    place = test.with_name(f"{MODULE}.py")
    place.write_text(place.read_text(encoding="utf-8").replace(READING, MENDED), encoding="utf-8")
    return before, run_pytest(test, "--llm-trace=record")


def run_pytest(test: Path, *options: str) -> str:
    """Return what pytest counts, such as `1 passed`, or its complaint."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, test.name]
    done = subprocess.run(
        command, cwd=test.parent, env=build_environment(), capture_output=True, text=True, check=False
    )
    last = done.stdout.strip().rpartition("\n")[2]
    return ", ".join(re.findall(r"\d+ (?:passed|failed|errors?)", last)) or (done.stderr or last)[-300:]
