"""The page of prompts: use over time, scores with bounds, and which parts of a template matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.record import Call
from llm_trace.statistics.intervals import bound_score_mean
from tests.conftest import Recorded
from tests.helpers.explained import keep_attributions, make_attribution
from tests.helpers.spool_toys import HandWriter
from tests.helpers.viewer_toys import make_client, read

TEMPLATE = "You are <b>kind</b>. Never lie. Question: {question} Answer:"
MILLION = {"input_tokens": 1_000_000, "output_tokens": 1}


def ask(store: Recorded, *questions: str, **fields: Any) -> list[Call]:
    """Ask questions by the template; return the calls, the oldest first."""
    prompt = llm_trace.Prompt("qa", TEMPLATE)

    @llm_trace.trace(kind="llm")
    def answer(prompt: str) -> str:
        llm_trace.update_current_call(**fields)
        return "yes"

    for question in questions:
        answer(prompt=prompt.format(question=question))
    llm_trace.flush()
    calls: list[Call] = store.calls(kind="llm")
    return calls[::-1]


def explain(path: Path, call: Call, *telling: str, **fields: Any) -> None:
    """Give a call an attribution in which some words matter."""
    text = call.input["prompt"]
    values = [2.0 if word in telling else 0.0 for word in text.split()]
    keep_attributions(path, call, make_attribution(text, values, **fields))


def read_parts(path: Path, call: Call) -> tuple[dict[str, Any], str]:
    assert call.prompt is not None
    client = make_client(path)
    query = f"?name=qa&version={call.prompt.version}"
    page = read(client.get(f"/prompts/parts{query}"))
    assert "b" not in {tag for tag, _ in page.tags}
    return client.get(f"/prompts/parts.json{query}").json(), page.text


def test_parts_that_never_matter_are_named_with_their_cost_and_what_this_rests_on(
    store: Recorded,
) -> None:
    calls = ask(store, "is it Never lie. so?", "why now?", "how?", model="gpt-4o-mini", usage=MILLION)
    explain(store.path, calls[0], "Question:", "so?")
    explain(store.path, calls[1], "now?")
    explain(store.path, calls[2], "You", verdict="insufficient_evidence")
    data, page = read_parts(store.path, calls[0])
    assert (data["explained"], data["left_out"]) == (2, 1)
    assert [(part["name"], part["kind"], part["telling"], part["calls"]) for part in data["parts"]] == [
        ("You are <b>kind</b>.", "text", 0, 2),
        ("Never lie.", "text", 0, 2),
        ("Question:", "text", 1, 2),
        ("question", "variable", 2, 2),
        ("Answer:", "text", 0, 2),
    ]
    share = sum(len("You are <b>kind</b>.Never lie.Answer:") / len(c.input["prompt"]) for c in calls[:2]) / 2
    assert data["idle"] == {
        "parts": 3,
        "share": pytest.approx(share),
        "tokens": round(share * 3_000_000),
        "usd": pytest.approx(share * 3 * 0.15),
    }
    assert "3 sentences never mattered" in page
    assert "rests on 2 explained calls; 1 without evidence or with another text left out" in page
    assert "matters in up to 78 % of such calls" in page


def test_of_a_version_that_nobody_explained_the_page_says_what_to_do(store: Recorded) -> None:
    (call,) = ask(store, "why?")
    data, page = read_parts(store.path, call)
    assert (data["explained"], data["cost"]["usd"]) == (0, None)
    assert "none of its calls is explained" in page
    assert make_client(store.path).get("/prompts/parts?name=qa&version=x").status_code == 404


def test_each_version_shows_its_use_over_its_prompts_time(path: Path, writer: HandWriter) -> None:
    for number, (version, start) in enumerate([("a", 0), ("a", 10), ("b", 940), ("b", 999), ("b", 1000)]):
        prompt = {"name": "qa", "version": version, "variables": {}}
        writer.event(
            "prompt", name="qa", version=version, template=f"{version} {{x}}", time_ns=10**18 + start + 1
        )
        writer.start(number, start_ns=10**18 + start, prompt=prompt)
    client = make_client(path)
    (prompt,) = client.get("/prompts.json").json()["prompts"]
    used = {v["version"]: [bar["calls"] for bar in v["bars"]] for v in prompt["versions"]}
    assert used == {"a": [2, *[0] * 39], "b": [*[0] * 37, 1, 0, 2]}
    labels = read(client.get("/prompts")).list_values("svg", "aria-label")
    assert [label.partition(" calls")[0] for label in labels] == ["Use over time: 3", "Use over time: 2"]


def test_scores_of_a_version_have_bounds_also_where_they_stand_at_the_call_around(store: Recorded) -> None:
    prompt = llm_trace.Prompt("qa", TEMPLATE)

    @llm_trace.trace
    def handle(question: str, right: float) -> None:
        with llm_trace.span("ask", kind="llm", input={"prompt": prompt.format(question=question)}):
            pass
        llm_trace.log_score("right", right)
        llm_trace.log_score("length", 10 * right + len(question))

    for question, right in (("one", 1), ("two", 1), ("three", 0), ("seven", 1)):
        handle(question, right)
    (version,) = make_client(store.path).get("/prompts.json").json()["prompts"][0]["versions"]
    right, length = sorted(version["scores"], key=lambda score: -len(score["name"]))[::-1]
    assert (right["name"], right["mean"], right["calls"]) == ("right", 0.75, 4)
    assert (right["low"], right["high"]) == pytest.approx((0.3006, 0.9544), abs=1e-3)  # Wilson's, of 3 in 4
    assert length["low"] < length["mean"] < length["high"]


@pytest.mark.parametrize(
    ("sums", "bounds"),
    [
        ((5, 1.0, 0.0, 1, 1), (0.5655, 1.0)),
        ((5, 0.0, 0.0, 0, 0), (0.0, 0.4345)),
        ((1, 7.0, 0.0, 7, 7), None),
        ((4, 5.0, 0.0, 5, 5), None),
        ((4, 2.5, 1.2910, 1, 4), (0.4458, 4.5542)),
    ],
    ids=["all", "none", "one", "equal", "numbers"],
)
def test_a_mean_of_scores_is_bounded_by_what_is_known_of_them_in_sum(sums: Any, bounds: Any) -> None:
    assert bound_score_mean(*sums) == (None if bounds is None else pytest.approx(bounds, abs=1e-4))
