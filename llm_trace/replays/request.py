"""One replay in a process of its own: `python -m llm_trace.replays.request` reads what to run.

The function's code is imported here, never in the process that asks, which may be stopped or asked again with
the code as it is by then.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from llm_trace import config
from llm_trace.capture.prompts import Prompt
from llm_trace.record import Record, Run
from llm_trace.replays.api import replay
from llm_trace.replays.load import load
from llm_trace.replays.own_process import answer_once, check_place
from llm_trace.replays.player import ReplayMode
from llm_trace.replays.report import Report
from llm_trace.replays.roots import import_function
from llm_trace.stores.duckdb import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Sequence


class ReplayRequest(Record):
    """Calls of one function to be run again, and what is changed."""

    store: str
    span_ids: tuple[str, ...] = Field(min_length=1)
    function: str
    """`module:function`."""
    mode: ReplayMode = "live"
    """In `mixed` mode the calls themselves and all models inside them run; tools and searches answer from the
    record where they are asked the same."""
    model: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    prompts: dict[str, str] = Field(default_factory=dict)
    """Name of a prompt to the template in its place."""
    variables: dict[str, Any] = Field(default_factory=dict)
    arguments: dict[str, Any] = Field(default_factory=dict)

    @property
    def span_id(self) -> str:
        """The first call."""
        return self.span_ids[0]

    @property
    def overrides(self) -> dict[str, Any]:
        """What `replay` calls so."""
        prompts = [Prompt(name, template) for name, template in self.prompts.items()]
        changes = {"model": self.model, "params": self.params, "prompt": prompts}
        changes |= {"variables": self.variables, "arguments": self.arguments}
        return {name: value for name, value in changes.items() if value}


class ReplayAnswer(Record):
    """How a replay went."""

    run: str | None = None
    """Id of the run that it landed in."""
    span_id: str | None = None
    """Of the call that was made anew, the first where there are several."""
    report: str = ""
    problem: str | None = None
    """Why it did not run, or not to its end."""


def match_function(functions: Sequence[str], recorded: str | None, name: str) -> str | None:
    """Return which of the functions that may run a call was of, by its recorded place, else by its name.

    Args:
        functions: `module:function`, each.
        recorded: `module:function` as the call has it.
        name: of the call.
    """
    if recorded in functions:
        return recorded
    qualname = (recorded or "").partition(":")[2] or name
    return next((f for f in functions if f.partition(":")[2] == qualname), None)


def run_request(request: ReplayRequest) -> ReplayAnswer:
    """Run calls again, and return how it went.

    Raises:
        LLMTraceError: they cannot be run.
    """
    function = import_function(request.function)
    check_place(Path(request.store), request.function)
    with open_store(request.store) as store:
        live = _list_live(store, request) if request.mode == "mixed" else ()
        run = replay(
            request.span_ids,
            store=store,
            mode=request.mode,
            overrides=request.overrides,
            functions=function,
            live=live,
        )
        config.flush()
        store.ingest()
        return _describe_run(store, run, request.span_id)


def _list_live(store: Store, request: ReplayRequest) -> list[str]:
    calls = load(store, request.span_ids).tape.calls
    live = (call for call in calls.values() if call.kind == "llm" or call.span_id in request.span_ids)
    return [call.name for call in live]


def _describe_run(store: Store, run: Run, span_id: str) -> ReplayAnswer:
    again = [call.span_id for call in store.calls(run=run, limit=None) if call.replay_of == span_id]
    report = str(Report(**run.config["replay"]))
    return ReplayAnswer(run=run.id, span_id=again[0] if again else None, report=report)


def _refuse_request(problem: str) -> ReplayAnswer:
    return ReplayAnswer(problem=problem)


def main() -> None:
    """Read a request from standard input and write the answer to standard output."""
    answer_once(ReplayRequest.model_validate_json, run_request, _refuse_request)


if __name__ == "__main__":
    main()
