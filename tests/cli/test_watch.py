"""`llm-trace watch` says what moved, and where alarms do not arrive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llm_trace.operations import alarms
from tests.helpers.cli_toys import invoke
from tests.helpers.spool_toys import HandWriter

pytest.importorskip("scipy")


def write_errors(writer: HandWriter, n: int, at: int) -> None:
    for i in range(n):
        writer.start(i)
        writer.end(i, **({"status": "error"} if i >= at and i % 2 else {}))


def test_what_moved_is_said_in_a_sentence_and_kept(path: Path, writer: HandWriter) -> None:
    alarms._submitted.clear()
    write_errors(writer, 400, 300)
    looked = invoke(path, "watch", "--once")
    assert looked.exit_code == 0
    assert looked.stdout.startswith("The rate of errors of 'ask' rose from 0 to ")
    (line,) = invoke(path, "watch", "--once", "--json").stdout.splitlines()
    assert json.loads(line)["metric"] == "errors ask"
    kept = invoke(path, "sql", "SELECT body ->> '$.text' FROM operations WHERE kind = 'alarm'", "--csv")
    assert kept.stdout.count("The rate of errors") == 1


def test_where_nothing_moved_it_says_how_far_the_monitors_are(path: Path, writer: HandWriter) -> None:
    write_errors(writer, 20, 300)
    looked = invoke(path, "watch", "--once")
    assert (looked.exit_code, looked.stdout) == (3, "")
    assert "nothing moved so far;" in looked.stderr
    assert "too few values yet" in looked.stderr


def test_where_no_call_matches_that_is_said(path: Path, writer: HandWriter) -> None:
    write_errors(writer, 1, 300)
    looked = invoke(path, "watch", "--once", "--prompt", "nope")
    assert (looked.exit_code, looked.stdout) == (3, "")
    assert looked.stderr.startswith("no call matches yet: llm-trace ls shows calls, llm-trace prompts their")


def test_an_address_that_means_nothing_is_refused_before_anything_is_watched(
    path: Path, writer: HandWriter
) -> None:
    write_errors(writer, 1, 300)
    refused = invoke(path, "watch", "--once", "--to", "hooks.example.com")
    assert (refused.exit_code, "is no target of alarms" in refused.stderr) == (1, True)
