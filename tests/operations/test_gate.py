"""A gate lets calls run alone only where it can keep its promise, and closes when audits break it."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llm_trace
from llm_trace.comparison.feedback import Given, ScoreWriter
from llm_trace.errors import ConfigurationError, NotFoundError, StoreError
from llm_trace.operations import (
    Decision,
    Gate,
    GateEvidence,
    OperationLog,
    PromotionError,
    promote,
    read_operations,
    read_stage,
)
from llm_trace.operations.gate_calibration import calibrate_limit
from llm_trace.operations.gate_state import GateState
from llm_trace.record import Call
from tests.helpers.cli_toys import answer, invoke

PROMPT = llm_trace.Prompt("refund", "Be fair.\n\nCustomer: {message}")
Asking = Callable[..., None]


def reply(text: str, logprob: float) -> dict[str, Any]:
    """Return an answer of one token as OpenAI gives it."""
    token = {"token": text, "logprob": logprob, "top_logprobs": []}
    return {
        "choices": [{"message": {"role": "assistant", "content": text}, "logprobs": {"content": [token]}}]
    }


def ask_many(
    path: Path, count: int, *, seed: int = 0, model: str = "toy", prompt: Any = PROMPT, label: Any = None
) -> None:
    """Record calls of which those with a high log-probability are nearly always right, and score them."""
    llm_trace.configure(path)
    rng = random.Random(seed)

    @llm_trace.trace(kind="llm", model=model)
    def ask(prompt: str, logprob: float) -> dict[str, Any]:
        return reply("yes", logprob)

    for i in range(count):
        doubt = rng.random()
        ask(prompt.format(message=f"case {seed} {i}"), -doubt)
        right = rng.random() > doubt**4
        if label is not None:
            llm_trace.log_score("correct", label(i, right), source="human")
    llm_trace.shutdown()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with 400 checked calls."""
    path = tmp_path_factory.mktemp("gate") / "desk.duckdb"
    ask_many(path, 400, label=lambda i, right: right)
    return path


@pytest.fixture
def copy(path: Path, tmp_path: Path) -> Path:
    """Return a copy of that store, to be written to."""
    return Path(shutil.copytree(path.parent, tmp_path / "copy")) / path.name


def find_call(path: Path, low: float, high: float) -> Call:
    """Return a call whose log-probability lies between two numbers."""
    with llm_trace.open_store(path) as store:
        calls = store.calls(limit=None, order="oldest", model="toy")
    return next(c for c in calls if low <= c.input["logprob"] <= high)


def test_sure_calls_run_alone_and_doubtful_ones_are_checked_with_the_reason_in_words(path: Path) -> None:
    gate = Gate.fit({}, store=path)
    assert gate.state.signals == ("logprob",)
    assert 0.3 < gate.state.coverage < 0.9
    assert gate.state.errors / gate.state.automated < 0.05
    sure = next(c for c in _list_calls(path) if c.input["logprob"] > -0.3 and not gate.is_drawn(c.span_id))
    doubtful = find_call(path, -1, -0.95)
    yes, no = gate.decide(sure.span_id), gate.decide(GateEvidence(doubtful))
    assert (yes.action, yes.bound, yes.audit) == ("automate", 0.05, False)
    assert (no.action, no.bound) == ("check", 0.05)
    assert "most speaks against it 'logprob'" in no.reason
    assert yes.chance is not None
    assert no.chance is not None
    assert gate.state.limit is not None
    assert yes.chance < gate.state.limit < no.chance


def _list_calls(path: Path) -> list[Call]:
    with llm_trace.open_store(path) as store:
        return list(store.calls(limit=None, order="oldest", model="toy"))


def test_a_saved_gate_decides_the_same_after_loading_and_notes_what_it_decided(copy: Path) -> None:
    gate = Gate.fit({"model": "toy"}, store=copy, name="desk").save()
    call = find_call(copy, -0.2, 0)
    with llm_trace.open_store(copy) as store:
        again = Gate.load("desk", store)
    assert again.state == gate.state
    decision = again.decide(call.span_id)
    assert decision == gate.decide(GateEvidence(call))
    with llm_trace.open_store(copy) as store:
        noted = read_operations(store, kind="decision", subject="desk", span_id=call.span_id)
    assert [Decision(gate="desk", span_id=call.span_id, **_strip(note.body)) for note in noted] == [
        decision
    ] * 2


def _strip(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in ("by", "gate")}


def test_what_the_gate_does_not_know_is_checked(path: Path) -> None:
    gate = Gate.fit({}, store=path)
    call = find_call(path, -0.2, 0)
    assert call.prompt is not None
    changes: dict[str, dict[str, Any]] = {
        "the gate was not fitted on the model 'other'": {"model": "other"},
        "the gate was not fitted on the version abc of the prompt 'refund'": {
            "prompt": call.prompt.model_copy(update={"version": "abc"})
        },
        "the gate was not fitted on a prompt without a name": {"prompt": None},
        "the signal 'logprob' is missing, which the gate decides by": {"output": "yes"},
        "the call's status is 'error'": {"status": "error"},
    }
    for reason, change in changes.items():
        decision = gate.decide(GateEvidence(call.model_copy(update=change)))
        assert (decision.action, decision.reason) == ("check", reason)
    with pytest.raises(NotFoundError, match="no call 'feed'"):
        gate.decide("feed")


@pytest.mark.parametrize(
    ("count", "label", "reason"),
    [
        (30, None, "no call has a score 'correct' that says right or wrong: check some"),
        (
            150,
            lambda i, right: True,
            "of 150 checked calls each is right, so nothing shows what tells wrong ones",
        ),
        (
            150,
            lambda i, right: 0,
            "of 150 checked calls each is wrong, so nothing shows what tells right ones",
        ),
        (40, lambda i, right: i % 5 > 0, "40 checked calls, 8 of them wrong, cannot suffice"),
        (200, lambda i, right: i % 2 == 0, "cannot be shown: of "),
    ],
    ids=["unchecked", "all right", "all wrong", "few", "coins"],
)
def test_without_what_it_needs_a_gate_checks_every_call_and_says_why(
    tmp_path: Path, count: int, label: Any, reason: str
) -> None:
    path = tmp_path / "desk.duckdb"
    ask_many(path, count, label=label)
    gate = Gate.fit({}, store=path)
    decision = gate.decide(GateEvidence(_list_calls(path)[0]))
    assert (decision.action, decision.bound) == ("check", None)
    assert reason in decision.reason
    assert f"checks every call: {decision.reason}" in str(gate)


def test_scores_that_contradict_each_other_count_as_wrong_and_are_named(copy: Path) -> None:
    before = Gate.fit({}, store=copy).state
    right = find_call(copy, -0.1, 0)
    with ScoreWriter(copy) as scores:
        scores.give(Given(right.span_id, "correct", False))
    after = Gate.fit({}, store=copy).state
    assert (after.checked, after.wrong) == (before.checked, before.wrong + 1)
    assert "1 checked call with scores 'correct' that contradict each other" in after.notes[0]
    assert right.span_id in after.notes[0]


def test_a_score_that_says_neither_right_nor_wrong_is_refused_with_the_call(tmp_path: Path) -> None:
    path = tmp_path / "desk.duckdb"
    ask_many(path, 3, label=lambda i, right: "perhaps")
    with pytest.raises(
        ConfigurationError, match=r"'correct' of call [0-9a-f]{16} is \"perhaps\", which is neither"
    ):
        Gate.fit({}, store=path)


def test_arguments_that_cannot_be_meant_are_refused(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="error=5 must lie between 0 and 1"):
        Gate.fit({}, error=5, store=path)
    with pytest.raises(ConfigurationError, match="'luck' is no signal: name one of logprob"):
        Gate.fit({}, signals=["luck"], store=path)
    with pytest.raises(ConfigurationError, match="no checked call has the signal 'fidelity'"):
        Gate.fit({}, signals=["logprob", "fidelity"], store=path)
    with pytest.raises(NotFoundError, match="no gate 'nowhere'"):
        Gate.load("nowhere", path)


def test_own_signals_are_functions_that_a_loaded_gate_needs_again(copy: Path) -> None:
    own = {"doubt": lambda evidence: -evidence.call.input["logprob"]}
    gate = Gate.fit({}, signals={"logprob": None, **own}, store=copy).save()
    assert (gate.state.signals, gate.state.own) == (("logprob", "doubt"), ("doubt",))
    with pytest.raises(ConfigurationError, match="your own signal 'doubt'"):
        Gate.load("gate", copy)
    call = find_call(copy, -1, -0.9)
    assert Gate.load("gate", copy, own=own).decide(call.span_id) == gate.decide(call.span_id)


def make_gate(path: Path, **settings: Any) -> Gate:
    """Return a gate that was fitted on nothing."""
    return Gate(GateState(name="desk", label="correct", error=0.05, confidence=0.95, **settings), path)


def test_the_audits_are_drawn_evenly_and_the_same_at_every_time(tmp_path: Path) -> None:
    gate, other = make_gate(tmp_path / "x.duckdb"), make_gate(tmp_path / "x.duckdb", seed=1)
    ids = [f"{i:016x}" for i in range(20_000)]
    drawn = {i for i in ids if gate.is_drawn(i)}
    assert 900 < len(drawn) < 1100
    assert drawn == {i for i in ids if gate.is_drawn(i)}
    assert 20 < len(drawn & {i for i in ids if other.is_drawn(i)}) < 90


def test_audits_that_show_a_broken_promise_close_the_gate_for_good(copy: Path) -> None:
    gate = Gate.fit({}, store=copy).save()
    calls = [call for call in _list_calls(copy) if gate.is_drawn(call.span_id)]
    call = next(call for call in calls if call.input["logprob"] > -0.3)
    assert gate.decide(call.span_id).audit
    for i in range(30):
        if gate.closed is None:
            gate.record_audit(_find_drawn(gate, i), right=False)
    assert gate.closed is not None
    assert gate.audits.checked == 2  # a chance of 1 in 400, at the promised rate
    decision = Gate.load("gate", copy).decide(call.span_id)
    assert (decision.action, decision.bound, decision.reason) == ("check", None, gate.closed)
    assert "the gate is closed" in decision.reason
    with llm_trace.open_store(copy) as store:
        assert [a.body["text"] for a in read_operations(store, kind="alarm", subject="gate")] == [gate.closed]
        assert len(read_operations(store, kind="audit", subject="gate")) == gate.audits.checked
    refitted = Gate.fit({}, store=copy).save()
    assert Gate.load("gate", copy).closed is refitted.closed is None


def _find_drawn(gate: Gate, i: int) -> str:
    """Return the i-th id that a gate draws."""
    return [span for n in range(40 * (i + 2)) if gate.is_drawn(span := f"{n:016x}")][i]


def test_an_audit_counts_once_and_only_of_a_call_that_was_drawn(tmp_path: Path) -> None:
    gate = make_gate(tmp_path / "x.duckdb")
    span = _find_drawn(gate, 0)
    gate.record_audit(span, right=True)
    assert gate.record_audit(span, right=False).checked == 1
    assert gate.audits.errors == 0
    spared = next(f"{i:016x}" for i in range(99) if not gate.is_drawn(f"{i:016x}"))
    with pytest.raises(ConfigurationError, match="was not drawn to be checked"):
        gate.record_audit(spared, right=True)


def test_checks_that_people_made_since_of_drawn_calls_are_audits(copy: Path) -> None:
    gate = Gate.fit({}, store=copy).save()
    ask_many(copy, 20, seed=1)
    with llm_trace.open_store(copy) as store:
        decisions = gate.decide_all(store.calls(limit=20))
    drawn = [decision.span_id for decision in decisions if decision.audit]
    assert len(drawn) > 1
    with ScoreWriter(copy) as scores:
        scores.give(Given(drawn[0], "correct", True))
        scores.give(Given(drawn[1], "correct", False))
    audits = Gate.load("gate", copy).collect_audits()
    assert (audits.checked, audits.errors) == (2, 1)
    assert Gate.load("gate", copy).collect_audits() == audits


def test_the_error_is_kept_in_nearly_all_fits_whatever_the_score_is_worth() -> None:
    rng, broken, reached = np.random.default_rng(0), 0, 0
    for _ in range(400):
        x = rng.random(500)
        wrong = (rng.random(500) < x**3 / 2).astype(float)
        tests = calibrate_limit((x[:200], wrong[:200]), (x[200:], wrong[200:]), 0.05, 0.95)
        if tests.limit is not None:
            reached += 1
            broken += tests.limit**3 / 8 > 0.05  # the mean of x³ / 2 up to the limit
    assert broken <= 20
    assert reached > 250
    for _ in range(200):
        wrong = (rng.random(500) < 0.06).astype(float)  # a score that says nothing, a desk that is too bad
        tests = calibrate_limit((x[:200], wrong[:200]), (x[200:], wrong[200:]), 0.05, 0.95)
        broken += tests.limit is not None
    assert broken <= 20 + 10


def test_until_it_may_act_a_saved_gate_has_all_checked_and_learns_from_it(copy: Path) -> None:
    gate = Gate.fit({}, store=copy).save()
    call = next(c for c in _list_calls(copy) if c.input["logprob"] > -0.3 and not gate.is_drawn(c.span_id))
    shadow = gate.decide(call.span_id)
    assert (shadow.action, shadow.audit, shadow.effect) == ("check", True, "note")
    assert shadow.reason == (
        "it could run alone, but the gate is in shadow: llm-trace gate promote gate takes it further"
    )
    assert gate.record_audit(call, right=True).checked == 1
    with llm_trace.open_store(copy) as store:
        with pytest.raises(PromotionError, match=r"29 more checked decisions \(1 of 30\)"):
            promote(store, "gate")
        for _ in range(4):
            promote(store, "gate", force="the test wants it")
    assert Gate.load("gate", copy).decide(call.span_id).action == "automate"


def test_a_gate_that_closes_goes_back_to_shadow(copy: Path) -> None:
    gate = Gate.fit({}, store=copy).save()
    with llm_trace.open_store(copy) as store:
        promote(store, "gate", force="the test wants it")
    for i in range(2):
        gate.record_audit(_find_drawn(gate, i), right=False)
    with llm_trace.open_store(copy) as store:
        stage = read_stage(store, "gate")
    assert (stage.stage, stage.reason) == ("shadow", gate.closed)


def test_a_gate_that_is_saved_again_begins_in_shadow(copy: Path) -> None:
    first = Gate.fit({}, store=copy).save()
    drawn = first.is_drawn
    call = next(c for c in _list_calls(copy) if c.input["logprob"] > -0.3 and not drawn(c.span_id))
    with llm_trace.open_store(copy) as store:
        for _ in range(4):
            promote(store, "gate", force="the test wants it")
    again = Gate.fit({}, store=copy, error=0.2).save()
    assert (again.decide(call.span_id).action, again.decide(call.span_id).effect) == ("check", "note")
    with llm_trace.open_store(copy) as store:
        stage = read_stage(store, "gate")
    assert (stage.stage, stage.reason) == ("shadow", "the gate was fitted again")


def test_the_command_line_fits_shows_and_asks_a_gate(copy: Path) -> None:
    fitted = answer(copy, "gate", "fit", "desk", "--model", "toy")
    assert (fitted["name"], fitted["bound"], fitted["signals"]) == ("desk", 0.05, ["logprob"])
    nothing = invoke(copy, "gate", "fit", "desk", "--run", "nope")
    assert (nothing.exit_code, "no call matches" in nothing.stderr) == (3, True)
    assert answer(copy, "gate", "show", "desk") == fitted
    refused = invoke(copy, "gate", "promote", "desk")
    assert refused.exit_code == 1
    assert "30 more checked decisions" in refused.stderr
    assert answer(copy, "gate", "promote", "desk", "--reason", "by hand")["stage"] == "advise"
    with llm_trace.open_store(copy) as store:
        for _ in range(3):
            promote(store, "desk", force="by hand")
    decisions = answer(copy, "gate", "decide", "desk", "--limit", "50")
    assert {decision["action"] for decision in decisions} == {"automate", "check"}
    one = answer(copy, "gate", "decide", "desk", decisions[0]["span_id"])
    assert one == decisions[:1]
    assert answer(copy, "gate", "roll-back", "desk", "--reason", "enough")["stage"] == "shadow"
    words = invoke(copy, "gate", "show", "desk").output
    assert "exact binomial tests" in words
    assert "It assumes that the checked calls were drawn at random" in words
    assert "Stage: desk: shadow (enough)." in words
    assert invoke(copy, "gate", "show", "other").exit_code == 3
    assert "errors below" in invoke(copy, "gate", "ls").output


def _fail(_: GateEvidence) -> float:
    raise ZeroDivisionError("no words")


@pytest.mark.parametrize(
    ("measure", "why"),
    [
        (_fail, "(ZeroDivisionError: no words)"),
        (lambda _: "high", "(TypeError: 'high' is no number)"),
        (lambda _: [1.0], "(TypeError: float() argument must be a string or a real number, not 'list')"),
    ],
    ids=["raises", "text", "list"],
)
def test_a_signal_of_the_caller_that_fails_is_named_and_such_a_call_is_checked(
    path: Path, measure: Any, why: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Gate.fit({}, store=path, signals={"mine": measure})
    assert str(refused.value).startswith("the signal 'mine' fails on call ")
    assert why in str(refused.value)
    whole = Gate.fit({}, store=path, signals={"mine": lambda evidence: evidence.call.input["logprob"]})
    gate = Gate(whole.state, path, own={"mine": measure})
    call = find_call(path, -0.2, 0)
    decision = gate.decide(GateEvidence(call))
    assert decision.action == "check"
    assert decision.reason.startswith(f"the signal 'mine' fails on call {call.span_id} {why}: a signal is")


def test_one_name_without_a_list_around_it_is_one_name(path: Path) -> None:
    gate = Gate.fit({}, store=path, signals="logprob")
    listed = Gate.fit({}, store=path, signals=["logprob"])
    assert gate.state.model_dump() == listed.state.model_dump()
    call = find_call(path, -0.2, 0)
    assert gate.decide_all(call.span_id) == gate.decide_all([call])


@pytest.mark.parametrize("name", ["", " "])
def test_a_gate_without_a_name_is_refused(path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="a gate has the name"):
        Gate.fit({}, store=path, name=name)


def test_what_cannot_be_noted_is_checked_and_a_closing_is_noted_as_soon_as_the_store_can_be_written(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate.fit({}, store=copy).save()
    for _ in range(4):
        with llm_trace.open_store(copy) as store:
            promote(store, "gate", force="a test")
    gate = Gate.load("gate", copy)
    assert gate.state.limit is not None
    call = next(c for c in _list_calls(copy) if c.input["logprob"] > -0.3 and not gate.is_drawn(c.span_id))
    assert gate.decide(GateEvidence(call)).action == "automate"
    with monkeypatch.context() as full:
        full.setattr("llm_trace.spool.writer.SpoolWriter.write", lambda *_, **__: False)
        lost = gate.decide(GateEvidence(call))
        assert (lost.action, lost.effect) == ("check", "note")
        assert lost.reason.startswith("the decision of 'gate' was not kept: ")
        drift = [f"{i:016x}" for i in range(2000)]
        with pytest.raises(StoreError, match="the alarm of 'gate' was not kept"):
            for span_id in drift:
                gate.observe(span_id, 0.99)
        assert gate.closed is not None
    assert gate.decide(GateEvidence(call)).reason == gate.closed
    with llm_trace.open_store(copy) as store:
        (alarm,) = read_operations(store, kind="alarm")
    assert alarm.body["text"] == gate.closed


def test_a_gate_that_is_saved_after_the_clock_was_put_back_is_the_one_that_is_loaded(copy: Path) -> None:
    earlier, later = (Gate.fit({}, store=copy, error=error) for error in (0.05, 0.1))
    with OperationLog(copy) as log:
        hour_ahead = time.time_ns() + 3600 * 10**9
        log.append("gate", "gate", earlier.state.model_dump(mode="json"), after_ns=hour_ahead)
    later.save()
    assert Gate.load("gate", copy).state.error == 0.1
