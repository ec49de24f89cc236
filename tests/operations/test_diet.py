"""`diet`: dead weight is found, costs are said, and that answers do without it is proved on other calls."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llm_trace
from llm_trace.capture.prompts import Prompt
from llm_trace.errors import AttributionError, ConfigurationError, NotFoundError, StoreNotFoundError
from llm_trace.operations import Diet, diet, read_operations
from tests.helpers.cli_toys import invoke
from tests.helpers.diet_toys import IDLE, PROMPT, SHORT, TEMPLATE, desk, make_messages, record_desk
from tests.helpers.explained import keep_attributions, make_attribution
from tests.helpers.spool_toys import HandWriter

WIDE = {"margin": 0.1, "record": False}
"""So that some forty held-out calls prove it."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("diet") / "traces.duckdb"
    record_desk(path, make_messages(100))
    return path


def get_names(result: Diet) -> set[str]:
    return {part.name for part in result.removed}


def test_dead_weight_goes_what_matters_stays_and_held_out_calls_prove_it(place: Path) -> None:
    result = diet(PROMPT, store=place, model=desk, **WIDE)
    assert (result.status, get_names(result), result.shorter) == ("confirmed", IDLE, SHORT)
    assert (result.calls, result.chosen_on, result.confirmed_on, result.left_out) == (100, 50, 50, 0)
    assert (result.before, result.loss) == (1.0, 0.0)
    assert result.loss_high is not None
    assert 0 < result.loss_high < 0.1
    assert result.summary().startswith("8 of 13 parts of prompt 'refund' can go: about ")
    assert "below the margin of 10" in result.summary()
    assert Diet.model_validate_json(result.model_dump_json()) == result


def test_what_goes_is_priced_by_its_tokens_and_the_calls_of_a_month(place: Path) -> None:
    result = diet(PROMPT, store=place, model=desk, **WIDE)
    with llm_trace.open_store(place) as store:
        lengths = [
            (len(call.input["prompt"]), len(call.input["prompt"]) - len(desk_prompt(call.input["message"])))
            for call in store.calls(limit=None)
        ]
    saved = sum(1000 * gone / whole for whole, gone in lengths) / 100
    assert (result.tokens, result.days) == (1000, 1)
    assert result.saved_tokens == pytest.approx(saved)
    assert result.calls_per_month == pytest.approx(100 * 365.25 / 12)
    assert result.saved_usd_per_month == pytest.approx(saved * 100 * 365.25 / 12 * 0.15e-6)


def desk_prompt(message: str) -> str:
    return SHORT.format(message=message)


def test_of_two_sentences_that_stand_in_for_each_other_one_stays(place: Path) -> None:
    result = diet(PROMPT, store=place, model=desk, **WIDE)
    late = {part.name: part.verdict for part in result.parts if "ate" in part.name and "orders" in part.name}
    assert late == {
        "Late orders are denied.": "kept",
        "Refuse orders that come in late, whatever the customer says.": "removed",
    }


def test_a_part_that_only_held_out_calls_need_is_put_back(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(200)
    held_out = {int(199 - i) for i in order[100:]}  # the newest call comes first

    def ask(prompt: str) -> str:
        number = int(prompt.rpartition("order ")[2].split()[0])
        needs = number in held_out and number % 3 == 0
        return "WHO?" if needs and "We were founded in 1911" not in prompt else desk(prompt)

    path = tmp_path / "traces.duckdb"
    record_desk(path, make_messages(200))
    result = diet(PROMPT, store=path, model=ask, **WIDE)
    assert result.status == "confirmed"
    assert get_names(result) < IDLE
    assert "We were founded in 1911" in result.shorter
    assert any("put back" in note for note in result.notes)
    put_back = [part for part in result.parts if part.verdict == "unconfirmed"]
    assert "We were founded in 1911 and value every customer." in {part.name for part in put_back}


def test_too_few_calls_prove_nothing_and_it_says_how_many_would(place: Path) -> None:
    result = diet(PROMPT, store=place, model=desk, record=False)
    assert (result.status, get_names(result), result.loss) == ("unconfirmed", IDLE, 0.0)
    assert result.needed == 381
    assert "a margin of 1 points needs at least 381 held-out calls, here are 50" in result.notes
    assert "not proved to be below the margin of 1." in result.summary()


def explain(path: Path, telling: Callable[[str], bool], most: int) -> None:
    with llm_trace.open_store(path) as store:
        calls = store.calls(limit=most)
    for call in calls:
        text = call.input["prompt"]
        values = [2.0 if telling(word) else 0.0 for word in text.split()]
        keep_attributions(path, call, make_attribution(text, values))


def test_without_a_model_what_attributions_never_told_from_noise_is_proposed_only(tmp_path: Path) -> None:
    path = tmp_path / "traces.duckdb"
    record_desk(path, make_messages(20))
    explain(path, lambda word: word in ("desk.", "Late", "late", "Gold", "gold", "Broken", "order"), 12)
    result = diet("refund", store=path, record=False)
    assert (result.status, result.loss, result.asked) == ("proposed", None, 0)
    assert get_names(result) == IDLE - {"Refuse orders that come in late, whatever the customer says."} | {
        "Refuse orders that come in late, whatever the customer says."
    } - {part.name for part in result.parts if part.mattered}
    (example,) = [part for part in result.parts if part.kind == "example"]
    assert (example.verdict, example.examined, example.mattered) == ("proposed", 12, 0)
    assert example.why == "told from noise in none of 12 explained calls (in up to 22% of such calls)"
    assert any("no model was asked" in note for note in result.notes)
    assert result.summary().endswith("No model was asked what its answers are without them.")


def test_few_explained_calls_propose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "traces.duckdb"
    record_desk(path, make_messages(20))
    explain(path, lambda _: False, 9)
    result = diet("refund", store=path, record=False)
    assert (result.status, get_names(result), result.shorter) == ("nothing", set(), TEMPLATE)
    assert "9 at most" in result.summary()


def test_a_price_that_is_not_known_and_tokens_that_are_not_reported_are_said(tmp_path: Path) -> None:
    for name, fields, note in (
        ("price", {"model": "house-model-7"}, "the price of house-model-7 is not known"),
        ("tokens", {"tokens": None}, "no call reports its input tokens"),
    ):
        path = tmp_path / f"{name}.duckdb"
        record_desk(path, make_messages(90), **fields)
        result = diet("refund", store=path, model=desk, **WIDE)
        assert (result.status, result.saved_usd_per_month) == ("confirmed", None)
        assert any(note in each for each in result.notes)


def test_a_score_says_which_answers_are_as_good(place: Path) -> None:
    def grade(answer: str, call: Any) -> float:
        return float(answer.upper() == call.output)

    result = diet(PROMPT, store=place, model=lambda prompt: desk(prompt).lower(), score=grade, **WIDE)
    assert (result.status, result.before, result.shorter) == ("confirmed", 1.0, SHORT)
    literal = diet(PROMPT, store=place, model=lambda prompt: desk(prompt).lower(), **WIDE)
    assert (literal.status, literal.before) == ("unconfirmed", 0.0)
    assert any("nothing can be lost, so nothing is proved" in note for note in literal.notes)


def test_messages_keep_their_roles_and_an_empty_one_is_not_sent(tmp_path: Path) -> None:
    path, seen = tmp_path / "traces.duckdb", []

    def ask(messages: list[dict[str, Any]]) -> str:
        seen.append([(message["role"], message["content"]) for message in messages])
        return "yes"

    system = Prompt("hello", "Be kind to everybody here.")
    llm_trace.configure(path)

    @llm_trace.trace(kind="llm")
    def chat(messages: list[dict[str, str]]) -> str:
        return "yes"

    for i in range(90):
        chat([{"role": "system", "content": system.format()}, {"role": "user", "content": f"number {i}"}])
    llm_trace.shutdown()
    result = diet(system, store=path, model=ask, **WIDE)
    assert (result.status, result.shorter) == ("confirmed", "")
    assert {tuple(role for role, _ in messages) for messages in seen} == {("system", "user"), ("user",)}


TOOLS = [
    {"type": "function", "function": {"name": name, "description": "x" * 200, "parameters": {}}}
    for name in ("search", "book", "cancel")
]


def record_tools(path: Path) -> None:
    system = Prompt("travel", "Book travel. The request: {request}")
    llm_trace.configure(path)

    @llm_trace.trace(kind="llm")
    def agent(prompt: str, tools: list[dict[str, Any]]) -> dict[str, Any]:
        call = {"id": "1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
        llm_trace.update_current_call(usage={"input_tokens": 500, "output_tokens": 5})
        return {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [call]}}]}

    for i in range(90):
        agent(system.format(request=f"trip {i}"), tools=TOOLS)
    llm_trace.shutdown()


def test_tool_schemas_that_were_never_called_go_where_the_answers_do_without_them(tmp_path: Path) -> None:
    path = tmp_path / "traces.duckdb"
    record_tools(path)

    def agent(prompt: str, tools: list[dict[str, Any]]) -> str:
        names = [tool["function"]["name"] for tool in tools]
        number = int(prompt.rpartition(" ")[2]) if "trip" in prompt else 0
        return "search" if "book" in names or number % 2 else "ask"  # it looks at `book` and never calls it

    result = diet("travel", store=path, model=agent, **WIDE)
    tools = {
        part.name: (part.verdict, part.examined, part.mattered)
        for part in result.parts
        if part.kind == "tool"
    }
    assert tools == {"search": ("kept", 45, 45), "book": ("kept", 45, 0), "cancel": ("removed", 45, 0)}
    assert result.tokens == 500
    assert result.saved_tokens is not None
    assert 100 < result.saved_tokens < 250


def test_a_model_without_tools_leaves_their_schemas_untried(tmp_path: Path) -> None:
    path = tmp_path / "traces.duckdb"
    record_tools(path)
    result = diet("travel", store=path, model=lambda prompt: "yes", **WIDE)
    tools = {part.name: part.why for part in result.parts if part.kind == "tool"}
    assert tools["cancel"].endswith("not tried: the model takes no argument `tools`")
    proposed = diet("travel", store=path, record=False)
    assert get_names(proposed) == {"book", "cancel"}


def test_a_retrieved_chunk_that_never_mattered_goes(tmp_path: Path) -> None:
    path = tmp_path / "traces.duckdb"
    asking = Prompt("rag", "Use this:\n{context}\nQuestion: {question}")
    llm_trace.configure(path)

    @llm_trace.trace(kind="retriever")
    def retrieve(question: str) -> list[dict[str, str]]:
        fact = f"The answer to {question} is {len(question)}."
        return [
            {"id": "news", "content": "The museum opens at nine in summer and at ten in winter."},
            {"id": f"fact {question}", "content": fact},
        ]

    def read(prompt: str) -> str:
        return prompt.partition(" is ")[2].partition(".")[0]

    @llm_trace.trace(kind="llm")
    def ask(prompt: str) -> str:
        return read(prompt)

    @llm_trace.trace
    def answer(question: str) -> str:
        context = "\n".join(document["content"] for document in retrieve(question))
        return ask(asking.format(context=context, question=question))

    for i in range(90):
        answer("q" * (i + 1))
    llm_trace.shutdown()
    result = diet(asking, store=path, model=read, **WIDE)
    verdicts = {(part.kind, part.name): part.verdict for part in result.parts}
    assert verdicts["document", "news"] == "removed"
    assert verdicts["position", "no. 1 of the retrieved chunks"] == "removed"
    assert verdicts["position", "no. 2 of the retrieved chunks"] == "kept"
    assert verdicts["variable", "context"] == "kept"


def test_what_a_diet_found_is_noted_in_the_store(tmp_path: Path) -> None:
    path = tmp_path / "traces.duckdb"
    record_desk(path, make_messages(90))
    result = diet("refund", store=path, model=desk, margin=0.1)
    with llm_trace.open_store(path) as store:
        (note,) = read_operations(store, kind="note")
    assert (note.subject, note.body["what"], note.body["status"]) == ("refund", "diet", "confirmed")
    assert note.body["shorter"] == Prompt("refund", result.shorter).version
    assert note.body["saved_usd_per_month"] == pytest.approx(result.saved_usd_per_month)


def test_the_same_seed_finds_the_same(place: Path) -> None:
    results = [diet(PROMPT, store=place, model=desk, seed=3, **WIDE) for _ in range(2)]
    assert results[0] == results[1]


def test_a_budget_ends_the_search_and_is_kept(place: Path) -> None:
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return desk(prompt)

    result = diet(PROMPT, store=place, model=ask, budget=300, **WIDE)
    assert len(asked) == result.asked <= 300
    assert result.status in ("confirmed", "nothing")
    assert any("the budget ended the search" in note for note in result.notes)
    with pytest.raises(ConfigurationError, match="budget=20 does not pay for one removal on 100 prompts"):
        diet(PROMPT, store=place, model=ask, budget=20, **WIDE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"margin": 0.0}, "margin=0.0 must lie between 0 and 1"),
        ({"margin": math.nan}, "margin=nan must lie between 0 and 1"),
        ({"confidence": 1.0}, "confidence=1.0 must be at least 0.5 and below 1"),
        ({"budget": 0}, "budget=0 must be 1 or more"),
        ({"model": desk, "score": lambda answer, call: 2}, "is 2: return a number from 0 to 1"),
        ({"model": desk, "score": lambda answer, call: math.nan}, "is nan: return a number from 0 to 1"),
        ({"model": desk, "score": lambda answer, call: None}, "is None: return a number from 0 to 1"),
        ({"model": desk, "limit": 1}, "a single prompt cannot be halved"),
    ],
    ids=["margin", "nan margin", "confidence", "budget", "score", "nan score", "no score", "one call"],
)
def test_what_cannot_work_is_said(place: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        diet(PROMPT, **{"store": place, **WIDE, **arguments})


def test_a_model_that_answers_no_text_is_said(place: Path) -> None:
    with pytest.raises(AttributionError, match="return the answer's text as a str"):
        diet(PROMPT, store=place, model=lambda prompt: 7, **WIDE)


def test_a_prompt_that_is_not_there_is_said_with_those_that_are(place: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no prompt is called 'refunds' in .*: there is 'refund'"):
        diet("refunds", store=place)
    with pytest.raises(NotFoundError, match="has not one version 'v9': there is v1"):
        diet("refund", store=place, version="v9")
    with pytest.raises(NotFoundError, match="has not one version"):
        diet(Prompt("refund", "another {template}"), store=place)
    with pytest.raises(NotFoundError, match="prompt 'refund' v1 has no call that matches"):
        diet("refund", store=place, model=desk, tag="nobody")
    with pytest.raises(StoreNotFoundError):
        diet("refund", store=tmp_path / "none.duckdb")


def test_prompts_that_were_changed_after_rendering_are_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "traces.duckdb"
    record_desk(path, make_messages(30), change=lambda text: text.replace("Gold", "Silver"))
    with pytest.raises(ConfigurationError, match="none of 30 prompts holds the template of 'refund' v1"):
        diet("refund", store=path, model=desk)
    record_desk(path, [f"{message} again" for message in make_messages(90)])
    result = diet("refund", store=path, model=desk, **WIDE)
    assert (result.status, result.left_out, result.calls) == ("confirmed", 30, 90)
    assert any("30 calls left out" in note for note in result.notes)


def test_another_tools_template_is_refused(path: Path, writer: HandWriter) -> None:
    prompt = {"name": "odd", "version": "abc", "variables": {}}
    writer.event("prompt", name="odd", version="abc", template="Say {this", time_ns=10**18)
    writer.call(1, prompt=prompt)
    writer.close()
    with pytest.raises(ConfigurationError, match="the template of prompt 'odd' v1 is none of str.format"):
        diet("odd", store=path)


def test_equal_prompts_count_once(tmp_path: Path) -> None:
    path = tmp_path / "traces.duckdb"
    record_desk(path, make_messages(30) * 3)
    assert diet("refund", store=path, model=desk, **WIDE).calls == 30


def test_a_prompt_in_the_midst_of_a_text_is_shortened_there(tmp_path: Path) -> None:
    path, seen = tmp_path / "traces.duckdb", []

    def ask(prompt: str) -> str:
        seen.append(prompt)
        return desk(prompt.removeprefix("<s>").removesuffix("</s>"))

    def wrap(text: str) -> str:
        return f"<s>{text}</s>"

    record_desk(path, make_messages(90), change=wrap, answer=lambda text: desk(text[3:-4]))
    result = diet("refund", store=path, model=ask, **WIDE)
    assert result.shorter == SHORT
    assert all(prompt.startswith("<s>") and prompt.endswith("</s>") for prompt in seen)


def test_the_embedded_model_does_without_an_idle_sentence(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from llm_trace.demo.model import answer

    asking = Prompt(
        "days", "Decide about refunds. The desk is open.\n\nCustomer: It came {n} days ago.\n\nAnswer:"
    )
    path = tmp_path / "traces.duckdb"
    llm_trace.configure(path)

    @llm_trace.trace(kind="llm", model="demo")
    def ask(prompt: str) -> str:
        return answer(prompt)

    for n in (5, 12, 20, 33, 45, 60, 75, 90):
        ask(asking.format(n=n))
    llm_trace.shutdown()
    result = diet(asking, store=path, model="demo", margin=0.6, record=False)
    assert result.status == "confirmed"
    assert "The desk is open." in get_names(result)
    assert "{n}" in result.shorter


def test_the_command_prints_the_parts_the_diff_and_writes_the_shorter_template(
    place: Path, tmp_path: Path
) -> None:
    to = tmp_path / "short.txt"
    arguments = ("diet", "refund", "--model", "tests.helpers.diet_toys:desk", "--margin", "0.1")
    result = invoke(place, *arguments, "--to", str(to))
    assert result.exit_code == 0, result.output
    assert to.read_text() == SHORT
    assert "removed  text" in result.stdout
    assert "You are the refund desk.[- We were founded in 1911 and value every customer.-]" in result.stdout
    assert "8 of 13 parts of prompt 'refund' can go" in result.stdout
    found = json.loads(invoke(place, *arguments, "--json").stdout)
    assert (found["status"], found["shorter"]) == ("confirmed", SHORT)


def test_the_command_says_where_nothing_can_go(place: Path) -> None:
    result = invoke(place, "diet", "refund")
    assert result.exit_code == 3
    assert "Nothing can go from prompt 'refund'" in result.stderr
    assert invoke(place, "diet", "nobody").exit_code == 3
    assert invoke(place, "diet", "refund", "--model", "no.such:function").exit_code == 1
