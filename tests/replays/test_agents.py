"""Real agent runs, imported and replayed through a small agent loop: every tool call and answer as it was."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.imports.importer import ImportTarget, import_file
from llm_trace.settings import build_spool_writer, resolve_settings
from tests.conftest import SHARED, Recorded

RUNS = SHARED / "data/agents/tau_bench_gpt4o_airline.json"


@pytest.fixture
def runs(recorded: Recorded) -> list[dict[str, Any]]:
    if not RUNS.exists():
        pytest.skip(f"no agent runs at {RUNS}")
    spool, encoder = build_spool_writer(resolve_settings({}), recorded.path)
    import_file(RUNS, ImportTarget(spool, encoder, lambda _: set()))
    spool.close()
    found: list[dict[str, Any]] = json.loads(RUNS.read_bytes())
    return found


class Agent:
    """Asks the model, does what it says, lets the user answer; nothing of it can reach a network."""

    def __init__(self, run: dict[str, Any]) -> None:
        self.run = run
        self.did: list[Any] = []
        self.users = [m for m in run["traj"] if m["role"] == "user"]

    @llm_trace.trace(name="tau-bench", kind="agent")
    def solve(self, task_id: int) -> Any:
        assert task_id == self.run["task_id"]
        talk = [self.run["traj"][0], self.users.pop(0)]
        while len(talk) < len(self.run["traj"]):
            reply = ask(talk)
            talk = [*talk, reply]
            for call in reply.get("tool_calls") or []:
                talk.append(self.act(call))
            if not reply.get("tool_calls") and self.users:
                talk.append(self.users.pop(0))
        self.did = talk
        return talk[-1].get("content")

    def act(self, call: dict[str, Any]) -> dict[str, Any]:
        name, given = call["function"]["name"], json.loads(call["function"]["arguments"])
        said = tool(name, given)(**given)
        return {"role": "tool", "tool_call_id": call["id"], "name": name, "content": said}


@llm_trace.trace(name="agent", kind="llm")
def ask(messages: list[dict[str, Any]]) -> dict[str, Any]:
    raise AssertionError("the model was called")


def tool(name: str, given: dict[str, Any]) -> Any:
    def run(**_: Any) -> Any:
        raise AssertionError(f"the tool {name} was called")

    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in given]
    )
    return llm_trace.trace(name=name, kind="tool")(run)


def test_every_tool_call_and_answer_of_real_agent_runs_is_reproduced(
    recorded: Recorded, runs: list[dict[str, Any]], tmp_path: Path
) -> None:
    llm_trace.configure(tmp_path / "replays.duckdb", record_env=False)
    store = llm_trace.open_store(recorded.path)
    roots = store.calls(name="tau-bench", limit=None)
    by_task = {(run["task_id"], run["trial"]): run for run in runs}
    assert len(roots) == len(by_task) == 40
    for root in roots[::5]:  # all forty take 20 s
        task, trial = (int(part.split()[1]) for part in str(root.session).split(", "))
        agent = Agent(by_task[task, trial])
        done = llm_trace.replay(root.span_id, store=store, functions=agent.solve).config["replay"]
        made = sum(m["role"] in ("assistant", "tool") for m in agent.run["traj"])
        assert agent.did == agent.run["traj"]
        assert done == {"mode": "recorded", "served": made, "live": 0, "roots": 1, "equal": 1}
