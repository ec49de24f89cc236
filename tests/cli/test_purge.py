"""`llm-trace purge` removes what was asked, and asks before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.cli_toys import answer, invoke, record


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "traces.duckdb"
    record(path)
    return path


def left(place: Path) -> list[tuple[str, str | None]]:
    return [(call["name"], call["user"]) for call in answer(place, "ls")]


def test_purge_asks_and_removes_nothing_without_a_yes(place: Path) -> None:
    for reply in ("n\n", ""):
        result = invoke(place, "purge", "--user", "anna", stdin=reply)
        assert (result.exit_code, result.stdout) == (1, "")
        assert f"Remove 4 calls from {place} for good?" in result.stderr
    assert len(left(place)) == 6


def test_purge_by_user_takes_the_scores_and_messages_along(place: Path) -> None:
    result = invoke(place, "purge", "--user", "anna", stdin="y\n")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].startswith("removed  4 calls")
    assert left(place) == [("ask", None), ("answer", None)]
    assert answer(place, "sql", "SELECT count(*) AS n FROM scores") == [{"n": 1}]
    assert b"anna" not in place.read_bytes()


def test_purge_by_run_removes_the_run_too(place: Path) -> None:
    report = json.loads(invoke(place, "purge", "--run", "second", "--yes", "--json").stdout)
    assert (report["calls"], report["runs"], report["scores"], report["pending"]) == (2, 1, 1, [])
    assert [run["name"] for run in answer(place, "runs")] == ["first"]


def test_purge_by_the_beginning_of_an_id(place: Path) -> None:
    (call,) = answer(place, "ls", "--run", "first", "--kind", "llm")
    result = invoke(place, "purge", "--id", call["span_id"][:10], "-y")
    assert (result.exit_code, result.stdout.splitlines()[0].partition(",")[0]) == (0, "removed  1 call")
    assert len(left(place)) == 5
    assert invoke(place, "purge", "--id", call["trace_id"], "-y").exit_code == 0
    assert len(left(place)) == 4
    assert invoke(place, "purge", "--id", call["trace_id"], "-y").exit_code == 3


def test_purge_by_age_keeps_what_is_young(place: Path) -> None:
    assert invoke(place, "purge", "--older-than", "1h", "--yes").exit_code == 3
    assert invoke(place, "purge", "--older-than", "0s", "--user", "anna", "--yes").exit_code == 0
    assert len(left(place)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what to remove: --user, --run, --id, --older-than or --max-size"),
        (["--older-than", "long"], "'long' is no length of time"),
        (["--max-size", "big"], "'big' is no size"),
        (["--max-size", "20"], "'20' is no size with its unit: give 800kB, 500MB or 2GB"),
        (["--id", "last"], "name the call or the trace by its id"),
    ],
)
def test_purge_of_nothing_in_particular_is_wrong_usage(
    place: Path, arguments: list[str], message: str
) -> None:
    result = invoke(place, "purge", *arguments, "--yes")
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_purge_by_size_says_how_much_goes_before_it_asks(place: Path) -> None:
    result = invoke(place, "purge", "--max-size", "1B", stdin="n\n")
    assert (result.exit_code, len(left(place))) == (1, 6)
    assert "Remove about 6 of 6 calls, the oldest, until its" in result.stderr
    assert "are at most 1 bytes, from" in result.stderr


def test_purge_where_there_is_no_store_makes_none(tmp_path: Path) -> None:
    assert invoke(tmp_path / "none.duckdb", "purge", "--user", "anna", "--yes").exit_code == 3
    assert list(tmp_path.iterdir()) == []
