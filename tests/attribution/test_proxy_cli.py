"""`llm-trace proxy`: screens on logged calls, and what is known of them."""

from __future__ import annotations

from pathlib import Path

import pytest

import llm_trace
from llm_trace.demo.world import rule
from tests.helpers.cli_toys import answer, invoke

MODULE = """
from llm_trace.demo.world import rule

def desk(prompt):
    return rule(prompt)
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve calls of the desk and one other, in a folder with the module that asks the oracle."""
    folder = tmp_path_factory.mktemp("proxy")
    (folder / "proxied_desk.py").write_text(MODULE)
    llm_trace.configure(folder / "traces.duckdb")

    @llm_trace.trace(kind="llm", model="desk")
    def ask(prompt: str) -> str:
        return rule(prompt)

    @llm_trace.trace(kind="llm", model="desk")
    def other(prompt: str) -> str:
        return rule(prompt)

    with llm_trace.start_run("nightly"):
        for days in range(3, 110, 9):
            ask(f"Decide about refunds.\n\nCustomer: It came {days} days ago.\n\nAnswer:")
    other("Decide about refunds.\n\nCustomer: Hello.\n\nAnswer:")
    llm_trace.shutdown()
    return folder / "traces.duckdb"


def test_a_run_is_screened_with_a_function_that_is_named(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(recorded.parent)
    given = ("--run", "nightly", "--oracle", "proxied_desk:desk", "--tau", "0.5")
    told = answer(recorded, "proxy", "screen", *given)
    assert (told["outcome"], told["task"], told["oracle"], told["proxy"]) == (
        "accepted",
        "ask",
        "desk",
        "demo",
    )
    assert told["instances"] == 8
    (kept,) = answer(recorded, "proxy", "show")
    assert kept == told
    printed = invoke(recorded, "proxy", "screen", *given)
    assert printed.exit_code == 0
    assert printed.stdout.startswith("accepted: shown by 8 instances")
    assert "8 measured; " in printed.stdout
    assert "accepted" in invoke(recorded, "proxy", "show").stdout


def test_calls_of_several_tasks_are_not_screened_together(recorded: Path) -> None:
    result = invoke(recorded, "proxy", "screen", "--oracle", "demo")
    assert result.exit_code == 2
    assert "2 tasks (ask, other)" in " ".join(result.stderr.replace("│", "").split())


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (("screen",), 2, "--oracle"),
        (("screen", "--oracle", "no_such_module:f", "--name", "ask"), 2, "cannot be imported"),
        (("screen", "--oracle", "http://127.0.0.1:1/v1", "--name", "ask"), 2, "--oracle-model"),
        (("screen", "--oracle", "demo", "--name", "absent"), 3, "no call matches"),
    ],
)
def test_what_is_missing_is_said(recorded: Path, given: tuple[str, ...], code: int, said: str) -> None:
    result = invoke(recorded, "proxy", *given)
    assert result.exit_code == code
    assert said in result.stderr


def test_a_store_without_screens_says_so(tmp_path: Path) -> None:
    result = invoke(tmp_path / "none.duckdb", "proxy", "show")
    assert result.exit_code == 3
    assert "no proxy was screened" in result.stderr
