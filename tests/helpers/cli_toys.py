"""A small recorded store, and the command line as tests drive it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from typer.testing import CliRunner

import llm_trace
from llm_trace.cli.app import build_app

ROOT = Path(__file__).resolve().parents[2]
SCREEN = {"COLUMNS": "100", "TERM": "xterm", "NO_COLOR": "1", "LLM_TRACE_STORE": None}


def record(path: Path) -> None:
    """Record six calls in two runs: a question answered, one that fails, one without a run, and a score."""
    llm_trace.configure(path)
    greet = llm_trace.Prompt("greet", "Be kind.\n\nUser: {question}")

    @llm_trace.trace(kind="llm", model="toy-1", tags=["fast"])
    def ask(prompt: str) -> str:
        llm_trace.update_current_call(usage={"input_tokens": 9, "output_tokens": 2}, cost_usd=0.00012)
        return "hello " + prompt.rpartition(" ")[2]

    @llm_trace.trace
    def answer(question: str) -> str:
        reply = ask(prompt=greet.format(question=question))
        llm_trace.log_score("kind", 0.5, comment="so so")
        if question == "bad":
            raise ValueError("no answer [red]to that[/red]")
        return reply

    for run, question in (("first", "one"), ("second", "bad"), (None, "three")):
        if run is None:
            answer(question)
            continue
        with (
            llm_trace.start_run(run, config={"temperature": 0.5}),
            llm_trace.using_session("s1", user="anna"),
        ):
            try:
                answer(question)
            except ValueError:
                continue
    llm_trace.shutdown()


def invoke(store: Path, *arguments: str, stdin: str | None = None, **environment: str) -> Any:
    """Run a command in this process; the result has `exit_code`, `stdout` and `stderr`."""
    return CliRunner().invoke(
        build_app(), [*arguments, "--store", str(store)], input=stdin, env={**SCREEN, **environment}
    )


def answer(store: Path, *arguments: str) -> Any:
    """Return what a command prints with --json, which must be all of stdout."""
    result = invoke(store, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


class Process(subprocess.Popen[str]):
    """A process that does not outlive a test which fails."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, error, trace)


def start(*arguments: str, cwd: Path | None = None, **environment: str) -> Process:
    """Start the command line in a process of its own."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("LLM_TRACE_", "COLUMNS"))}
    command = [sys.executable, "-P", "-c", "from llm_trace.cli import main; main()", *arguments]
    return Process(
        command,
        cwd=cwd,
        env={**inherited, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,
    )


def _hear_ctrl_c() -> None:
    """Undo what a shell does to the children of a background job: they ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
