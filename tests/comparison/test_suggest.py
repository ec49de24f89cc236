"""`suggest`: what the embedded model does not heed is proposed for deletion and tried on other examples."""

from __future__ import annotations

from pathlib import Path

import pytest

import llm_trace
from llm_trace import Dataset, Prompt, suggest
from llm_trace.comparison.dataset import Example
from llm_trace.comparison.suggest import Suggestion
from llm_trace.errors import ConfigurationError, NotFoundError

pytest.importorskip("torch")
pytest.importorskip("transformers")

IDLE = "Have a nice day."


def prompt() -> Prompt:
    from llm_trace.demo.world import RULES

    return Prompt("refund", RULES + "\n\nCustomer: {message} " + IDLE + "\n\nAnswer:")


def dataset(count: int) -> Dataset:
    from llm_trace.demo.world import make_customers

    made = (Example(input={"message": c.message}, expected=c.policy) for c in make_customers(count, 5))
    return Dataset("customers", tuple(made))


def score(tried: Prompt, example: Example) -> float:
    from llm_trace.demo import desk

    return float(desk.complete(tried.format(**example.input))[0] == example.expected)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from llm_trace.demo import desk

    path = tmp_path_factory.mktemp("suggest") / "traces.duckdb"
    llm_trace.configure(path)
    for example in dataset(4):
        desk.ask(prompt=prompt().format(**example.input))
    llm_trace.shutdown()
    return path


def test_a_sentence_that_never_mattered_is_proposed_for_deletion_and_tried(place: Path) -> None:
    found = suggest(
        prompt(),
        examples=dataset(16),
        score=score,
        model="demo",
        store=place,
        reword=lambda text: [text.upper()],
    )
    deletion = next(s for s in found if s.kind == "delete" and s.text == IDLE)
    assert deletion.template == prompt().template.replace(" " + IDLE, "")
    assert (deletion.metric.n, deletion.metric.verdict) == (12, "same")
    assert "made no difference" in deletion.why
    assert any(s.kind == "reword" and s.replacement == IDLE.upper() for s in found)
    assert Suggestion.model_validate_json(deletion.model_dump_json()) == deletion


def test_a_sentence_that_examples_score_better_without_is_proposed_first(tmp_path: Path) -> None:
    def spell(text: str) -> str:
        """Repeat the last word, in capitals if told to: the answer depends on the sentence that spoils it."""
        word = text.split()[-1]
        return word.upper() if "Shout." in text else word

    @llm_trace.trace(kind="llm")
    def ask(text: str) -> str:
        return spell(text)

    asking = Prompt("spell", "Be kind. Shout. Repeat the last word. It is {word}")
    llm_trace.configure(tmp_path / "traces.duckdb")
    for word in ("sun", "moon", "star", "sky"):
        ask(asking.format(word=word))
    llm_trace.shutdown()
    examples = Dataset(
        "words", tuple(Example(input={"word": f"word{i}"}, expected=f"word{i}") for i in range(18))
    )
    found = suggest(
        asking,
        examples=examples,
        score=lambda tried, example: float(spell(tried.format(**example.input)) == example.expected),
        model=spell,
        store=tmp_path / "traces.duckdb",
    )
    best = found[0]
    assert (best.text, best.metric.n, best.metric.difference) == ("Shout.", 12, 1.0)
    assert best.metric.verdict == "better"
    assert best.why.startswith("examples score 1 better without it; over 4 calls it ")


def test_examples_that_were_explained_are_not_tried_on(place: Path) -> None:
    with pytest.raises(ConfigurationError, match="0 of 4 examples are held out"):
        suggest(prompt(), examples=dataset(4), score=score, model="demo", store=place)


def test_a_prompt_without_calls_is_said(place: Path) -> None:
    with pytest.raises(NotFoundError, match="has no model calls"):
        suggest(Prompt("other", "x"), examples=dataset(4), score=score, model="demo", store=place)
