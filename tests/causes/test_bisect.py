"""`bisect`: it names the hunks that broke the answers, proves it, says what it cost, and refuses early."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import llm_trace
from llm_trace.capture.prompts import Prompt
from llm_trace.causes.bisect_beliefs import Beliefs
from llm_trace.causes.bisect_hunks import mix_change
from llm_trace.causes.bisect_search import HunkSearch, HunkSearchResult
from llm_trace.errors import ConfigurationError, NotFoundError, ReplayError
from llm_trace.record import Call
from tests.conftest import Recorded
from tests.helpers.cli_toys import answer, invoke

GOOD = "You are the desk.\nBe kind.\nAsk for the order.\n\nCustomer: {message}\n"
BAD = (
    "You are the counter.\nBe kind and brief.\nNever pay.\nAsk for the order.\nSay why.\n\n"
    "Customer: {message}\nThink.\n"
)
V1, V2 = Prompt("desk", GOOD), Prompt("desk", BAD)
BRIEF = Prompt("desk", GOOD.replace("Be kind.", "Be kind and brief."))
MESSAGES = ("late parcel", "broken lamp", "wrong size", "lost parcel", "two lamps", "no lamp")
WEATHER: list[str] = []


def rule(prompt: str) -> str:
    """Answer as a model would: no only where two lines stand in the prompt, or a word."""
    return "no" if ("Never pay." in prompt and "Say why." in prompt) or "refuse" in prompt else "yes"


@llm_trace.trace(kind="tool")
def look_up(message: str) -> str:
    WEATHER.append(message)
    return f"about {message}"


@llm_trace.trace(kind="llm", model="toy-1")
def ask(prompt: str, temperature: float = 0.0) -> str:
    llm_trace.update_current_call(usage={"input_tokens": 10, "output_tokens": 1}, cost_usd=0.001)
    return "wild" if temperature > 1 else rule(prompt)


@llm_trace.trace
def reply(message: str, version: str, temperature: float = 0.0) -> str:
    look_up(message)
    return ask({"v1": V1, "v2": V2, "brief": BRIEF}[version].format(message=message), temperature)


def record(run: str, version: str, **settings: Any) -> None:
    with llm_trace.start_run(run):
        for message in MESSAGES:
            reply(message, version, **settings)


@pytest.fixture
def both(store: Recorded) -> Recorded:
    """A store with a run of each version."""
    record("v1", "v1")
    record("v2", "v2")
    WEATHER.clear()
    return store


def test_two_hunks_that_break_it_only_together_are_named_with_bounds_and_cost(both: Recorded) -> None:
    result = llm_trace.bisect("v1", "v2", functions=reply)
    assert (result.status, result.relation, result.inputs, result.worse) == ("found", "together", 6, 6)
    assert [blamed.hunk.after.strip() for blamed in result.hunks] == ["Never pay.", "Say why."]
    assert all(b.loss_with == 1 and b.loss_without == 0 and 0 < b.low < b.high == 1 for b in result.hunks)
    assert len(result.change) == 5
    assert result.asked == result.calls == len(both.calls(run=result.run, name="ask", limit=None))
    assert (result.input_tokens, result.output_tokens) == (10 * result.calls, result.calls)
    assert result.cost_usd == pytest.approx(0.001 * result.calls)
    assert "Two hunks of 5 broke it, only together: '+ Never pay.' and '+ Say why.'." in result.summary()
    assert WEATHER == []  # tools are answered from the record


def test_half_changed_prompts_are_no_versions_of_their_own(both: Recorded) -> None:
    before = [(version.number, version.version) for version in both.prompts()]
    result = llm_trace.bisect("v1", "v2", functions=reply)
    later = Prompt("desk", "Later: {message}")
    with llm_trace.span("later", kind="llm") as call:
        call.set(prompt=later.format(message="x"), output="y")
    llm_trace.flush()
    versions = [(version.number, version.version) for version in both.prompts()]
    assert versions == [*before, (len(before) + 1, later.version)]
    halfway = both.prompts(halfway=True)[len(versions) :]
    assert {
        call.prompt.version for call in both.calls(run=result.run, name="ask", limit=None) if call.prompt
    } == {version.version for version in halfway}


def test_a_new_prompt_is_asked_first_and_scores_are_by_a_function(both: Recorded) -> None:
    new = Prompt("desk", GOOD.replace("Be kind.\n", "Be kind.\nNever pay.\nSay why.\nBe brief.\n"))

    def is_yes(output: str, call: Call) -> float:
        assert call.input["message"] in MESSAGES
        return float(output == "yes")

    result = llm_trace.bisect(V1, new, functions=reply, metric=is_yes)
    assert [blamed.hunk.after for blamed in result.hunks] == ["Never pay.\n", "Say why.\n"]
    assert (result.inputs, result.worse, result.difference) == (6, 6, -1.0)
    assert result.asked > 6


def test_words_inside_a_line_are_found(both: Recorded) -> None:
    new = Prompt("desk", GOOD.replace("Be kind.", "Be kind but refuse softly."))
    result = llm_trace.bisect(V1, new, functions=reply, words=True)
    assert [(blamed.hunk.kind, blamed.hunk.before) for blamed in result.hunks] == [("line", "Be kind.\n")]
    assert [(word.hunk.kind, word.hunk.after) for word in result.words] == [("words", " refuse")]
    assert result.notes == ()
    new = Prompt("desk", GOOD.replace("Be kind.", "Be kind. Never pay. Say why."))  # takes four words
    result = llm_trace.bisect(V1, new, functions=reply, words=True)
    assert (len(result.hunks), result.words) == (1, ())
    assert "no word or two of 'Be kind. -> Be kind. Never pay. Say why.' are proved" in result.notes[-1]


def test_a_parameter_and_a_line_are_told_apart(store: Recorded) -> None:
    record("v1", "v1", temperature=0.5)
    record("hot", "brief", temperature=1.5)
    result = llm_trace.bisect("v1", "hot", functions=reply)
    assert [hunk.kind for hunk in result.change] == ["line", "parameter"]
    first = result.hunks[0].hunk
    assert (first.kind, first.name, first.before, first.after) == ("parameter", "temperature", "0.5", "1.5")


def test_a_score_of_the_store_is_the_metric(store: Recorded) -> None:
    record("v1", "v1")
    record("v2", "v2")
    for run, score in (("v1", 5), ("v2", 2)):
        for call in store.calls(run=run, name="reply"):
            llm_trace.log_score("stars", score, call=call)
    result = llm_trace.bisect("v1", "v2", functions=reply, metric="stars")
    assert [blamed.hunk.after.strip() for blamed in result.hunks] == ["Never pay.", "Say why."]
    assert result.difference == -3
    with pytest.raises(ConfigurationError, match="no call of a and b has the score 'star': they have stars"):
        llm_trace.bisect("v1", "v2", functions=reply, metric="star")


def test_nothing_is_asked_where_b_is_not_worse(both: Recorded) -> None:
    runs = len(both.runs())
    result = llm_trace.bisect("v2", "v1", functions=reply, metric=lambda output: output == "yes")
    assert (result.status, result.asked, result.inputs, result.difference) == ("nothing", 0, 6, 1.0)
    assert "b is worse than a on none of 6 recorded inputs (difference +1" in result.summary()
    assert len(both.runs()) == runs


def test_what_does_not_come_back_is_said(store: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    record("v1", "v1")
    with llm_trace.start_run("unlucky"):
        for message in MESSAGES:
            reply(message, "v1" if message == "no lamp" else "v2")
    monkeypatch.setitem(globals(), "rule", lambda prompt: "yes")  # it broke for a reason in no prompt
    result = llm_trace.bisect(V1, V2, functions=reply)
    assert (result.status, result.relation, result.hunks) == ("nothing", "none", ())
    assert "where b was worse than a, it is not so again" in result.summary()


@pytest.mark.parametrize(
    ("a", "b", "settings", "error", "message"),
    [
        ("v1", "v2", {}, ReplayError, "functions are only called when named"),
        ("v1", "v2", {"functions": "nowhere:reply"}, ReplayError, "there is no module 'nowhere'"),
        ("v1", "v2", {"functions": reply, "budget": 3}, ConfigurationError, "budget=3 is too small to prove"),
        ("v1", "v2", {"functions": reply, "budget": 0}, ConfigurationError, "budget=0 must be 1 or more"),
        ("v1", "v2", {"confidence": 1.0}, ConfigurationError, "confidence=1.0 must be at least 0.5"),
        ("v1", "v3", {"functions": reply}, NotFoundError, "called 'v3'"),
        (V1, V1, {"functions": reply}, ConfigurationError, "a and b are the same prompt"),
        (
            V1,
            Prompt("desk", GOOD + "Order: {order}\n"),
            {"functions": reply},
            ConfigurationError,
            r"the hunk '\+ Order: \{order\}' of prompt 'desk' needs the variable 'order', which recorded",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_is_asked(
    both: Recorded, a: Any, b: Any, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    runs = len(both.runs())
    with pytest.raises(error, match=message):
        llm_trace.bisect(a, b, **settings)
    assert len(both.runs()) == runs


def test_inputs_that_only_b_answered_need_a_metric(store: Recorded) -> None:
    record("v2", "v2")
    with pytest.raises(ConfigurationError, match="a was not asked what b was, so nothing says which"):
        llm_trace.bisect(V1, V2, functions=reply)
    assert [run.name for run in store.runs()] == ["v2"]
    result = llm_trace.bisect(V1, V2, functions=reply, metric=rate)
    assert [blamed.hunk.after.strip() for blamed in result.hunks] == ["Never pay.", "Say why."]


def test_a_tool_that_is_asked_something_new_is_refused_unless_it_is_named(store: Recorded) -> None:
    @llm_trace.trace
    def act(message: str, version: str) -> str:
        decision = ask({"v1": V1, "v2": V2}[version].format(message=message))
        return f"{decision}, {look_up(decision)}"

    for version in ("v1", "v2"):
        with llm_trace.start_run(version):
            for message in MESSAGES:
                act(message, version)
    WEATHER.clear()
    result = llm_trace.bisect("v1", "v2", functions=act, budget=30)
    assert (result.status, WEATHER) == ("undecided", [])
    assert "answers count as half of the loss: look_up, inside act" in result.notes[0]
    result = llm_trace.bisect("v1", "v2", functions=act, live=["look_up"])
    assert [blamed.hunk.after.strip() for blamed in result.hunks] == ["Never pay.", "Say why."]
    assert "no" in WEATHER


def test_a_budget_ends_it_undecided(both: Recorded) -> None:
    result = llm_trace.bisect("v1", "v2", functions=reply, budget=13)
    assert (result.status, result.calls, result.hunks) == ("undecided", 13, ())
    assert "raise the budget" in result.notes[-1]


def test_the_command_prints_hunks_with_bounds(both: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    llm_trace.shutdown()
    module = f"{__name__}:reply"
    shown = invoke(both.path, "bisect", "desk@v1", "desk@v2", "-f", module)
    assert shown.exit_code == 0, shown.output
    assert "+ Never pay." in shown.stdout
    assert "Two hunks of 5 broke it, only together" in shown.stdout
    data = answer(both.path, "bisect", "v1", "v2", "-f", module)
    assert (data["status"], len(data["hunks"])) == ("found", 2)
    nothing = invoke(both.path, "bisect", "v2", "v1", "-f", module, "--metric", f"{__name__}:rate")
    assert (nothing.exit_code, nothing.stdout) == (3, "")
    assert "Nothing to find" in nothing.stderr


def rate(output: str) -> float:
    return float(output == "yes")


def search(breaks: Callable[[frozenset[int]], float], hunks: int, seed: int) -> HunkSearchResult:
    """Search among hunks for what makes answers fail with a chance."""
    rng = random.Random(seed)
    import numpy as np

    return HunkSearch(
        lambda applied, _: float(rng.random() < breaks(applied)), np.full(hunks, 1 / hunks), 5,
        confidence=0.95, most=400, seed=seed,
    ).run()  # fmt: skip


def test_false_blame_stays_below_the_level_where_no_hunk_matters() -> None:
    blamed = [
        search(lambda _: 0.3, 8, seed).relation in ("alone", "together", "either") for seed in range(60)
    ]
    assert sum(blamed) <= 3


def test_noisy_hunks_are_found_alone_in_twos_and_either_of_two() -> None:
    cases: Iterator[tuple[str, set[int], Callable[[frozenset[int]], float]]] = iter(
        [
            ("alone", {3}, lambda applied: 0.8 if 3 in applied else 0.1),
            ("together", {1, 6}, lambda applied: 0.9 if {1, 6} <= applied else 0.1),
            ("either", {0, 5}, lambda applied: 0.9 if {0, 5} & applied else 0.05),
        ]
    )
    for relation, hunks, breaks in cases:
        results = [search(breaks, 8, seed) for seed in range(6)]
        assert {(r.relation, frozenset(c.hunk for c in r.contrasts)) for r in results} == {
            (relation, frozenset(hunks))
        }


def test_a_mixture_of_all_hunks_is_b_and_of_none_is_a() -> None:
    mixture = mix_change({"desk": (GOOD, BAD)}, {"top_p": (0.1, 0.9)}, ("m1", "m2"))
    none, every = frozenset[int](), frozenset(range(len(mixture.hunks)))
    assert (mixture.render_template("desk", none), mixture.render_template("desk", every)) == (GOOD, BAD)
    assert mixture.build_overrides(every) == {"prompt": [V2], "params": {"top_p": 0.9}, "model": "m2"}
    assert mixture.build_overrides(none) == {"prompt": [V1], "params": {"top_p": 0.1}, "model": "m1"}


def test_a_worked_example_is_one_hunk_and_many_lines_go_together() -> None:
    example = "Question: is it late?\nAnswer: yes\n"
    mixture = mix_change({"qa": ("Rules.\n\n{x}", f"Rules.\n\n{example}\n{{x}}")}, {}, None)
    assert [(hunk.kind, hunk.after.strip()) for hunk in mixture.hunks] == [("example", example.strip())]
    lines = "".join(f"line {i}\n" for i in range(200))
    mixture = mix_change({"qa": ("{x}", lines + "{x}")}, {}, None)
    assert len(mixture.hunks) == 48
    assert mixture.render_template("qa", frozenset(range(48))) == lines + "{x}"


def test_the_first_question_is_about_the_hunk_with_the_most_weight() -> None:
    import numpy as np

    weights = np.array([0.02, 0.02, 0.9, 0.02, 0.02, 0.02])
    assert Beliefs(weights).choose() in (frozenset([2]), frozenset([0, 1, 3, 4, 5]))
