"""`optimize`: what gepa is handed, and that its winner must hold on examples that it never saw."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.capture.prompts import Prompt
from llm_trace.comparison.dataset import Dataset, Example
from llm_trace.errors import AttributionError, ConfigurationError, MissingExtraError, NotFoundError
from llm_trace.operations import Optimization, optimize, read_operations
from tests.helpers.cli_toys import invoke
from tests.helpers.diet_toys import PROMPT, make_messages, record_desk
from tests.helpers.explained import keep_attributions, make_attribution

RULE = "Shout."
ASKING = Prompt("shout", "Repeat the word. Be kind. It is {word}")
BETTER = f"Repeat the word. {RULE} It is {{word}}"


def spell(prompt: str) -> str:
    """Say the last word, in capitals if told to."""
    word = prompt.split()[-1]
    return word.upper() if RULE in prompt else word


def is_upper(answer: str, subject: Any) -> float:
    return float(answer.isupper())


def write(template: str) -> Callable[[str], str]:
    return lambda text: f"Here it is:\n```\n{template}\n```"


@pytest.fixture(autouse=True)
def _needs_gepa(request: pytest.FixtureRequest) -> None:
    if "without_gepa" not in request.node.name:
        pytest.importorskip("gepa")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("optimize") / "traces.duckdb"
    llm_trace.configure(path)

    @llm_trace.trace(kind="llm")
    def ask(prompt: str) -> str:
        return spell(prompt)

    for i in range(40):
        ask(ASKING.format(word=f"word{i}"))
    llm_trace.shutdown()
    return path


def run(place: Path, **changed: Any) -> Optimization:
    settings: dict[str, Any] = {
        "store": place, "model": spell, "score": is_upper, "reflect": write(BETTER), "budget": 60,
        "record": False,
    }  # fmt: skip
    return optimize(ASKING, **{**settings, **changed})


def test_a_better_template_is_found_and_confirmed_on_untouched_examples(place: Path) -> None:
    result = run(place)
    assert (result.status, result.winner, result.tried) == ("better", BETTER, 1)
    assert (result.train, result.validation, result.held_out) == (10, 10, 20)
    assert (result.before, result.after, result.gain, result.validation_gain) == (0, 1, 1, 1)
    assert result.low is not None
    assert result.low > 0.5
    assert result.confirmations == 1
    assert result.summary() == (
        "1 other template of prompt 'shout' tried; the best gained +1.00 in validation. On 20 untouched "
        f"examples it gains +1.00 ({result.low:+.2f} to +1.00): it is better."
    )
    assert Optimization.model_validate_json(result.model_dump_json()) == result
    assert [piece.text for piece in result.diff.pieces if piece.change == "added"] == ["Shout."]


def test_held_out_examples_are_asked_nothing_before_the_winner_is_there(place: Path) -> None:
    seen: list[str] = []
    asked_at_reflection: list[set[str]] = []

    def ask(prompt: str) -> str:
        seen.append(prompt.split()[-1])
        return spell(prompt)

    def reflect(text: str) -> str:
        asked_at_reflection.append(set(seen))
        return write(BETTER)(text)

    run(place, model=ask, reflect=reflect)
    assert len(set(seen)) == 40
    assert all(len(words) == 20 for words in asked_at_reflection)


def test_reflection_is_told_of_the_template_scores_comments_and_attributions(tmp_path: Path) -> None:
    path, texts = tmp_path / "traces.duckdb", []
    record_desk(path, make_messages(24))
    with llm_trace.open_store(path) as store:
        calls = store.calls()
    for call in calls:
        text = call.input["prompt"]
        values = [2.0 if word == "Late" else 0.0 for word in text.split()]
        keep_attributions(path, call, make_attribution(text, values))
    llm_trace.configure(path)
    for call in calls:
        llm_trace.log_score("right", False, call=call.span_id, comment="the days decide", source="human")
    llm_trace.shutdown()

    def reflect(text: str) -> str:
        texts.append(text)
        return "```\nNothing {unknown}\n```"

    result = optimize(
        PROMPT,
        store=path,
        model=lambda prompt: "DENY",
        score=lambda answer, call: 0.0,
        reflect=reflect,
        budget=20,
    )
    assert result.status == "nothing"
    assert PROMPT.template in texts[0]
    assert "{date}, {message}" in texts[0]
    assert "Score: 0 of 1. A person said right: False (the days decide)." in texts[0]
    assert "Without 'Late' this answer is" in texts[0]
    assert "In no explained answer did these parts matter: 'You are the refund desk.'" in texts[0]


def test_a_template_that_is_only_made_for_the_examples_it_was_chosen_by_is_not_called_better(
    place: Path,
) -> None:
    asked: set[str] = set()
    learnt: set[str] = set()

    def ask(prompt: str) -> str:
        asked.add(prompt.split()[-1])
        return spell(prompt)

    def reflect(text: str) -> str:
        learnt.update(asked)
        return write(BETTER)(text)

    def score(answer: str, call: Any) -> float:
        return float(answer.isupper() and answer.lower() in learnt)

    result = run(place, model=ask, score=score, reflect=reflect)
    assert (result.status, result.winner) == ("undecided", BETTER)
    assert (result.validation_gain, result.gain) == (1, 0)


def test_winners_that_were_confirmed_before_are_corrected_for(place: Path, path: Path) -> None:
    shutil.copytree(place.parent, path.parent, dirs_exist_ok=True)
    place = path
    with llm_trace.open_store(place) as store:
        first, second = (run(place, store=store, record=True) for _ in range(2))
    assert (first.confirmations, second.confirmations) == (1, 2)
    assert (first.p_value, second.p_value) == (pytest.approx(4 / 2**20), pytest.approx(12 / 2**20))
    assert second.low is not None
    assert first.low is not None
    assert second.low < first.low
    assert run(place, seed=1, record=True).confirmations == 3
    with llm_trace.open_store(place) as store:
        notes = read_operations(store, kind="note", subject="shout")
    assert [note.body["what"] for note in notes] == ["optimize"] * 3
    assert notes[0].body["winner"] == Prompt("shout", BETTER).version


def test_the_same_seed_finds_the_same(place: Path) -> None:
    assert run(place) == run(place)


def test_where_everything_is_right_nothing_is_searched(place: Path) -> None:
    def reflect(text: str) -> str:
        raise AssertionError("asked")

    result = run(place, score=lambda answer, call: 1.0, reflect=reflect)
    assert (result.status, result.winner, result.tried) == ("nothing", ASKING.template, 0)
    assert result.summary().endswith("tried, none better on 10 validation examples.")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "``` ```",
        "no template at all",
        "```\n{word\n```",
        "```\n{word} {more}\n```",
        "```\n{0}\n```",
        "```\n{}\n```",
    ],
    ids=["nothing", "empty", "prose", "brace", "unknown variable", "number", "no name"],
)
def test_a_reflection_without_a_usable_template_wins_nothing(place: Path, text: str) -> None:
    result = run(place, reflect=lambda _: text)
    assert (result.status, result.winner) == ("nothing", ASKING.template)


def test_a_dataset_says_what_is_expected(place: Path) -> None:
    texts: list[str] = []

    def reflect(text: str) -> str:
        texts.append(text)
        return write(BETTER)(text)

    words = tuple(Example(input={"word": f"w{i}"}, expected=f"W{i}") for i in range(40))
    result = run(
        place,
        examples=Dataset("words", words),
        score=lambda answer, example: float(answer == example.expected),
        reflect=reflect,
    )
    assert (result.status, result.held_out) == ("better", 20)
    assert "Expected: W" in texts[0]
    with pytest.raises(ConfigurationError, match="lacks the variable 'word'"):
        run(place, examples=Dataset("odd", tuple(Example(input={"x": i}) for i in range(9))))


def test_the_embedded_models_answers_are_explained_to_the_reflection(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    texts: list[str] = []

    def reflect(text: str) -> str:
        texts.append(text)
        return "none"

    asking = Prompt("days", "Decide about refunds.\n\nCustomer: It came {n} days ago.\n\nAnswer:")
    examples = Dataset("days", tuple(Example(input={"n": str(n)}) for n in range(5, 95, 10)))
    path = tmp_path / "traces.duckdb"
    llm_trace.configure(path)
    llm_trace.trace(kind="llm", prompt=asking)(lambda n: "x")(n="5")
    llm_trace.shutdown()
    optimize(
        asking,
        store=path,
        model="demo",
        score=lambda answer, example: 0.0,
        reflect=reflect,
        examples=examples,
        budget=8,
    )
    assert "Why this answer, by attribution: Without 'Customer: It came" in texts[0]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"budget": 0}, ConfigurationError, "budget=0 must be 1 or more"),
        ({"confidence": 1}, ConfigurationError, "confidence=1 at least 0.5 and below 1"),
        ({"limit": 7}, ConfigurationError, "7 examples cannot suffice"),
        ({"score": lambda answer, call: None}, ConfigurationError, "is None: return a number from 0 to 1"),
        ({"reflect": lambda text: 7}, ConfigurationError, "reflect returned a int"),
        ({"model": lambda prompt: 1 / 0}, AttributionError, "the model failed with ZeroDivisionError"),
        ({"tag": "nobody"}, NotFoundError, "has no call that matches"),
    ],
    ids=["budget", "confidence", "few", "score", "reflect", "model", "filter"],
)
def test_what_cannot_work_is_said(
    place: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(place, **arguments)


def test_a_template_that_makes_the_model_fail_loses(place: Path) -> None:
    def ask(prompt: str) -> str:
        if RULE in prompt:
            raise ValueError("too loud")
        return spell(prompt)

    result = run(place, model=ask)
    assert (result.status, result.winner) == ("nothing", ASKING.template)


def test_a_model_that_fails_on_an_untouched_example_with_the_template_at_hand_ends_it(place: Path) -> None:
    """Else the winner would gain by a failure that has nothing to do with it."""
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        if RULE not in prompt and any(RULE in each for each in asked):
            raise ValueError("out of order")
        return spell(prompt)

    with pytest.raises(AttributionError, match="the model failed with ValueError: out of order"):
        run(place, model=ask)


def test_without_gepa_it_says_what_to_install(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gepa", None)
    with pytest.raises(MissingExtraError, match=r"optimize needs gepa: pip install 'llm-trace\[optimize\]'"):
        run(place)


def test_a_model_named_for_litellm_needs_litellm(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litellm", None)
    with pytest.raises(MissingExtraError, match=r"reflect='gpt-x' names a model for LiteLLM: pip install"):
        run(place, reflect="gpt-x")


def test_a_reflection_that_fails_ends_the_search_and_says_so(place: Path) -> None:
    answers = iter(["```\nRepeat {word}\n```"])

    def reflect(text: str) -> str:
        return next(answers, None) or fail()

    def fail() -> str:
        raise ConnectionError("no route")

    result = run(place, reflect=reflect)
    assert (result.status, result.tried) == ("nothing", 1)
    assert result.notes == ("the search ended early: reflect failed with ConnectionError: no route",)
    with pytest.raises(ConnectionError, match="no route"):
        run(place, reflect=reflect)


def reflect_better(text: str) -> str:
    return write(BETTER)(text)


def reflect_nothing(text: str) -> str:
    return "I would not change it."


def test_the_command_prints_what_changed_and_writes_the_template(place: Path, tmp_path: Path) -> None:
    here, to, words = "tests.operations.test_optimize", tmp_path / "better.txt", tmp_path / "words.jsonl"
    Dataset("words", tuple(Example(input={"word": f"w{i}"}) for i in range(40))).save(words)
    store = tmp_path / "copied" / place.name
    shutil.copytree(place.parent, store.parent)
    arguments = ["optimize", "shout", "--model", f"{here}:spell", "--score", f"{here}:is_upper"]
    arguments += ["--examples", str(words), "--budget", "60"]
    result = invoke(store, *arguments, "--reflect", f"{here}:reflect_better", "--to", str(to))
    assert result.exit_code == 0, result.output
    assert to.read_text() == BETTER
    assert "Repeat the word. [-Be kind.-]{+Shout.+} It is {word}" in result.stdout
    assert "On 20 untouched examples it gains +1.00" in result.stdout
    nothing = invoke(store, *arguments, "--reflect", f"{here}:reflect_nothing", "--json")
    assert nothing.exit_code == 3
    assert json.loads(nothing.stdout)["status"] == "nothing"
