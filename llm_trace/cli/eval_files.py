"""`llm-trace eval --to`: logged calls become a dataset, a scenario file to be completed, or a test."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from llm_trace.cli.output import make_console, make_plain_text

if TYPE_CHECKING:
    from llm_trace.stores.duckdb import Store

ROOTS = "parent_id IS NULL"
"""Which calls of a run are taken where nothing says which: those that no other call made."""


def write_from_calls(
    to: Path, store: str, *, run: str | None, call: str | None, where: str | None, n: int, expected: bool
) -> None:
    """Write a dataset (`.jsonl`) or a scenario file (`.yaml`) from logged calls, and say what it holds.

    Raises:
        typer.BadParameter: nothing says which calls, or the file's ending says nothing.
        ConfigurationError: the file is there already, or no call matches.
    """
    from llm_trace import open_store

    if to.suffix not in (".jsonl", ".yaml", ".yml"):
        raise typer.BadParameter(
            "end it with .jsonl (a dataset), .yaml (a scenario) or .py (a test)", param_hint="--to"
        )
    if run is None and call is None and where is None:
        raise typer.BadParameter("say which calls: --from-run RUN, --from-call ID or --where SQL")
    _refuse_existing(to)
    with open_store(store) as opened:
        filters = {"where": f"span_id = '{_find_call(opened, call)}'"} if call else _build_filters(run, where)
        message = (
            _write_dataset(to, opened, filters, expected=expected)
            if to.suffix == ".jsonl"
            else _write_draft(to, opened, filters, n)
        )
    make_console().print(make_plain_text(message), soft_wrap=True)


def write_test(
    to: Path, store: str, function: str | None, *, call: str | None, right: str | None, model: str | None
) -> None:
    """Write a pytest file that keeps a failure from coming back, with its cassettes.

    Raises:
        typer.BadParameter: the function or the call is not named.
        ConfigurationError: the file is there already, or no mutants can be made.
    """
    from llm_trace import open_store
    from llm_trace.evaluation.failure_tests import write_failure_test
    from llm_trace.replays.roots import import_function

    if function is None or call is None:
        raise typer.BadParameter("a test wants MODULE:FUNCTION and --from-call ID")
    _refuse_existing(to)
    sys.path.insert(0, str(Path.cwd()))
    with open_store(store) as opened:
        notes = write_failure_test(
            to, opened, opened.call(_find_call(opened, call)), function, import_function(function),
            right=_parse_answer(right), model=model,
        )  # fmt: skip
    for line in (*notes, f"a test with its cassettes: {to}"):
        make_console().print(make_plain_text(line), soft_wrap=True)


def _parse_answer(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text


def _refuse_existing(to: Path) -> None:
    from llm_trace.errors import ConfigurationError

    if to.exists():
        raise ConfigurationError(f"{str(to)!r} is there already: give another name, or move it away")


def _build_filters(run: str | None, where: str | None) -> dict[str, Any]:
    return {"run": run, "where": where or ROOTS}


def _find_call(store: "Store", id_: str) -> str:
    from llm_trace.replays.load import find_id

    return store.call(find_id(store, id_)).span_id


def _write_dataset(to: Path, store: "Store", filters: dict[str, Any], *, expected: bool) -> str:
    from llm_trace.comparison.dataset import Dataset
    from llm_trace.errors import ConfigurationError

    dataset = Dataset.from_calls(to.stem, store, expected=expected, **filters)
    if not len(dataset):
        raise ConfigurationError(f"no call matches {filters}: look at `llm-trace ls` with the same filters")
    dataset.save(to)
    return f"{len(dataset):,} examples, version {dataset.version}: {to}"


def _write_draft(to: Path, store: "Store", filters: dict[str, Any], n: int) -> str:
    from llm_trace.evaluation.drafts import BLANK, draft_scenarios
    from llm_trace.spool.private import open_private

    calls = store.calls(**filters, limit=n)
    text = draft_scenarios(calls)
    with open_private(to, "w", encoding="utf-8") as file:
        file.write(text)
    return f"{len(calls):,} scenarios to be completed, where {BLANK} stands: {to}"
