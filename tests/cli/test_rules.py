"""`llm-trace rules` and `llm-trace stages`: a rule from its suggestion to its first act."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llm_trace.operations import alarms
from tests.helpers.cli_toys import invoke
from tests.helpers.rules_toys import DeskCall, record_desk

pytest.importorskip("cel_expr_python")
pytest.importorskip("scipy")

RULES = """rules:
  - name: example
    when: share('broken') > 0.4 && share_of_variable('days') < 0.1
    action: check
"""
WRONG = DeskCall(weights={"broken": 1.0}, right=[False])
RIGHT = DeskCall(weights={"75": 1.0}, right=[True])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    return file


def test_a_file_is_read_and_shown_with_stages(path: Path, file: Path) -> None:
    record_desk(path, [WRONG])
    shown = invoke(path, "rules", "check", str(file))
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert shown.stdout.splitlines()[1].split(maxsplit=4) == [
        "2", "example", "check", "shadow", "share('broken') > 0.4 && share_of_variable('days') < 0.1"
    ]  # fmt: skip


def test_without_a_store_the_file_is_read_all_the_same(path: Path, file: Path) -> None:
    shown = invoke(path, "rules", "check", str(file), "--json")
    assert shown.exit_code == 0
    assert "there is no store" in shown.stderr
    (rule,) = json.loads(shown.stdout)
    assert (rule["name"], rule["line"], rule["stage"]) == ("example", 2, None)
    assert not path.exists()


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("action: check", "action: chek", "line 4: rule 'example': the action 'chek' is unknown: did you"),
        (
            "'days'",
            "'day'",
            "line 3: rule 'example': no prompt in the store has a variable 'day': did you mean",
        ),
        (" > 0.4", " > ", "line 3: rule 'example': Syntax error"),
        ("    when:", "    wen:", "line 3: 'wen' is unknown here: did you mean 'when'?"),
    ],
    ids=["action", "variable", "syntax", "key"],
)
def test_what_is_wrong_in_a_file_is_said_with_line_and_remedy(
    path: Path, file: Path, before: str, after: str, message: str
) -> None:
    record_desk(path, [WRONG])
    file.write_text(RULES.replace(before, after))
    refused = invoke(path, "rules", "run", str(file))
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert f"{str(file)!r}, {message}" in refused.stderr


def test_a_rule_is_tried_on_stored_calls(path: Path, file: Path) -> None:
    record_desk(path, [WRONG] * 3 + [RIGHT] * 4 + [DeskCall()])
    tried = invoke(path, "rules", "try", str(file), COLUMNS="120")
    assert tried.exit_code == 0
    assert "8 calls, 7 with a score 'correct' by human: 3 wrong." in tried.stdout
    assert "100% (29% to 100%)" in tried.stdout
    assert "unknown of 1 call, mostly since the call has no attribution" in tried.stderr
    assert invoke(path, "rules", "try", str(file), "--name", "none").exit_code == 3
    assert invoke(path, "rules", "try").exit_code == 2


def test_a_rule_notes_in_shadow_and_acts_once_promoted(path: Path, file: Path) -> None:
    record_desk(path, [WRONG, RIGHT])
    shadow = invoke(path, "rules", "run", str(file))
    assert shadow.stdout.endswith("2 calls: 0 to check, 0 blocked.\n")
    refused = invoke(path, "stages", "promote", "example")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "29 more checked decisions (1 of 30)" in refused.stderr
    listed = json.loads(invoke(path, "stages", "--json").stdout)
    assert [(s["subject"], s["stage"], s["missing"]) for s in listed] == [
        ("example", "shadow", ["29 more checked decisions (1 of 30)"])
    ]
    for _ in range(4):
        assert invoke(path, "stages", "promote", "example", "--reason", "a trial").exit_code == 0
    assert invoke(path, "rules", "run", str(file)).stdout.endswith("2 calls: 1 to check, 0 blocked.\n")
    file.write_text(RULES.replace("0.4", "0.5"))  # another rule now, which nobody promoted
    assert invoke(path, "rules", "run", str(file)).stdout.endswith("2 calls: 0 to check, 0 blocked.\n")
    file.write_text(RULES)
    assert invoke(path, "stages", "back", "example").exit_code == 2
    assert (
        invoke(path, "stages", "back", "example", "--reason", "noisy").stdout == "example: shadow (noisy)\n"
    )
    assert invoke(path, "rules", "run", str(file)).stdout.endswith("2 calls: 0 to check, 0 blocked.\n")


def test_an_alarm_that_cannot_be_sent_is_said_and_the_decision_is_there(
    path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarms._submitted.clear()
    monkeypatch.setattr("llm_trace.operations.alarm_targets.TRIES", 1)
    file.write_text(RULES.replace("action: check", "action: alert\n    to: http://127.0.0.1:9/x"))
    record_desk(path, [WRONG])
    invoke(path, "rules", "run", str(file))
    for _ in range(4):
        invoke(path, "stages", "promote", "example", "--reason", "a trial")
    run = invoke(path, "rules", "run", str(file))
    assert run.exit_code == 1
    assert "1 alarm did not reach http://127.0.0.1#" in run.stderr
    kept = invoke(path, "sql", "SELECT count(*) FROM operations WHERE body ->> '$.effect' = 'act'", "--csv")
    assert kept.stdout.splitlines()[-1] == "1"


def test_rules_are_suggested_as_a_file_or_it_is_said_what_is_missing(path: Path, file: Path) -> None:
    desk = [
        DeskCall(f"Lamp {i}.", weights={"broken" if i % 2 else "75": 1.0}, right=[i % 2 == 0])
        for i in range(60)
    ]
    record_desk(path, desk)
    suggested = invoke(path, "rules", "suggest")
    assert suggested.exit_code == 0
    file.write_text(suggested.stdout)
    assert invoke(path, "rules", "check", str(file)).exit_code == 0
    missing = invoke(path, "rules", "suggest", "--label", "helpful")
    assert missing.exit_code == 1
    assert "10 of each are needed to learn from" in missing.stderr


def test_a_canary_is_begun_judged_and_ended(path: Path) -> None:
    record_desk(path, [RIGHT])
    import llm_trace

    llm_trace.configure(path)
    llm_trace.Prompt("refund", "Customer: {message}").format(message="x")
    llm_trace.trace(kind="llm", name="ask")(lambda prompt: "yes")(
        prompt=llm_trace.Prompt("refund", "Customer: {message}").format(message="x")
    )
    llm_trace.shutdown()
    begun = invoke(path, "stages", "canary", "refund", "v1", "v2")
    assert begun.exit_code == 0
    assert "is tried on 10% of the traffic against" in begun.stdout
    again = invoke(path, "stages", "canary", "refund", "v1", "v2")
    assert (again.exit_code, "a canary of 'refund' is running" in again.stderr) == (1, True)
    assert "undecided" in invoke(path, "stages", "canary", "refund").stdout
    ended = invoke(path, "stages", "end", "refund", "--reason", "enough")
    assert ended.stdout.endswith("Ended: enough\n")
    assert invoke(path, "stages", "canary", "none").exit_code == 3
