"""What mattered in a call, as its page shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

import llm_trace
from llm_trace.attribution.studies.coarser import list_units, sum_scores
from llm_trace.errors import AttributionError
from llm_trace.viewer import attributions as attributions_page
from tests.helpers.explained import make_attribution, record_explained
from tests.helpers.viewer_toys import PART, make_client, read

PROMPT = "Be kind now. Say <b>yes</b> or no."


def test_methods_stand_side_by_side_and_the_page_says_where_they_agree(path: Path) -> None:
    call = record_explained(
        path,
        PROMPT,
        make_attribution(PROMPT, (4.0, 0.0, -3.0, 0.0, 0.0, 0.0, 2.0), method="occlusion"),
        make_attribution(PROMPT, (8.0, 0.0, 7.0, 0.0, 0.0, 0.0, 0.0), method="lime"),
    )
    client = make_client(path)
    (table,) = client.get(f"/call/{call.span_id}.json").json()["tables"]
    assert [column["name"] for column in table["columns"]] == ["lime", "occlusion"]
    assert table["agreement"] == [
        "Both find that 'Be' speaks for the answer.",
        "4 of 7 parts matter to none of them.",
        "They contradict each other about 'now.': it speaks for the answer to lime, against it to occlusion.",
        "Only to occlusion 'no.' matters.",
    ]
    cells = {row["name"]: [cell["text"] for cell in row["cells"]] for row in table["rows"]}
    assert cells["now."] == ["+7.0", "-3.0"]
    page = read(client.get(f"/call/{call.span_id}"))
    assert "Both find that 'Be' speaks for the answer." in page.text
    assert "<b>" not in {tag for tag, _ in page.tags}


def test_the_words_of_a_long_prompt_come_in_parts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributions_page, "PIECES", 4)
    scores = (4.0, 0.0, -3.0, 0.0, 0.0, 0.0, 2.0)
    call = record_explained(
        path,
        PROMPT,
        make_attribution(PROMPT, scores, method="shapley"),
        make_attribution(PROMPT, scores, method="lime"),
    )
    client = make_client(path)
    for attribution in client.get(f"/call/{call.span_id}.json").json()["attributions"]:
        pieces, more, pages = attribution["pieces"], attribution["more"], 1
        while more:
            part = client.get(more.replace("/words", "/words.json")).json()
            pieces, more, pages = [*pieces, *part["pieces"]], part["more"], pages + 1
        assert pages == 4
        assert "".join(piece["text"] for piece in pieces) == PROMPT
        assert [piece["level"] for piece in pieces if piece["segment"] is not None] == [5, 0, -4, 0, 0, 0, 2]
    first = read(client.get(f"/call/{call.span_id}"))
    assert first.list_values("span", "hx-get") == [
        f"/call/{call.span_id}/words?number={number}&from=4" for number in (1, 0)
    ]
    last = read(client.get(f"/call/{call.span_id}/words?number=0&from=12", headers=PART))
    assert (last.text.strip(), last.list_values("span", "hx-get")) == ("no.", [])
    by_sentence = client.get(f"/call/{call.span_id}/words.json?number=1&by=sentence").json()
    assert "".join(piece["text"] for piece in by_sentence["pieces"]) == PROMPT
    assert client.get(f"/call/{call.span_id}/words?number=2", headers=PART).status_code == 404


def test_a_method_that_is_no_evidence_has_no_say_in_whether_methods_agree(path: Path) -> None:
    attributions = [
        make_attribution(PROMPT, (float(i + 1), *[0.0] * 6), method=method, unit=unit, verdict=verdict)
        for i, (method, unit, verdict) in enumerate(
            (
                ("self_report", "share", "self_report_unverified"),
                ("attention", "share", "ok"),
                ("lime", "nats", "ok"),
            )
        )
    ]
    call = record_explained(path, PROMPT, *attributions)
    (table,) = make_client(path).get(f"/call/{call.span_id}.json").json()["tables"]
    assert table["agreement"] == [
        "Both find that 'Be' speaks for the answer.",
        "6 of 7 parts matter to none of them.",
        "No evidence, so without a say here: self_report.",
        "The scores are in nats and share: compare their order and side, not their size.",
    ]


def test_one_question_that_was_answered_twice_is_one_column(path: Path) -> None:
    twice = [make_attribution(PROMPT, (value, *[0.0] * 6)) for value in (1.0, 2.0)]
    other = make_attribution(PROMPT, (1.0, *[0.0] * 6), baseline="'_' for each token")
    call = record_explained(path, PROMPT, *twice)
    assert make_client(path).get(f"/call/{call.span_id}.json").json()["tables"] == []
    call = record_explained(path, PROMPT, *twice, other)
    (table,) = make_client(path).get(f"/call/{call.span_id}.json").json()["tables"]
    assert [column["name"] for column in table["columns"]] == [
        "occlusion, '_' for each token",
        "occlusion, removed",
    ]


def test_scores_that_add_up_are_summed_by_sentence_and_the_page_says_that_sums_are_sums(path: Path) -> None:
    values = (1.0, 2.0, -0.5, 0.25, 0.0, 0.0, 0.0)
    q_values = (0.01, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9)
    summed = make_attribution(
        PROMPT, values, method="shapley", q_values=q_values, p_values=q_values, matrix=(values,),
        target_tokens=("yes",), groups=((0, 1),),
    )  # fmt: skip
    call = record_explained(path, PROMPT, make_attribution(PROMPT, values), summed)
    client = make_client(path)
    address = f"/trace/{call.trace_id}.json?call={call.span_id}&by=sentence"
    newest, fixed = client.get(address).json()["attributions"]
    assert [(s["name"], s["value"], s["low"], s["stands_out"]) for s in newest["strongest"]] == [
        ("Be kind now.", 2.5, None, True),
        ("Say <b>yes</b> or no.", 0.25, None, False),
    ]
    assert newest["matrix"]["levels"] == [[5, 0]]
    assert (fixed["kind"], fixed["segments"]) == ("word", 7)
    page = read(client.get(f"/call/{call.span_id}/attributions?by=sentence")).text
    assert "each score is the sum of the scores of the parts inside" in page
    assert "occlusion: left as it was, its scores do not add up" in page


def test_variables_of_the_prompt_and_messages_are_units_too(path: Path) -> None:
    llm_trace.configure(path)
    prompt = llm_trace.Prompt("qa", "Answer kindly, {name}: {question} Now.")
    llm_trace.trace(kind="llm")(lambda prompt: "yes")(prompt.format(name="Ann", question="is it so?"))
    llm_trace.shutdown()
    with llm_trace.open_store(path) as store:
        (call,) = store.calls()
    text = "Answer kindly, Ann: is it so? Now."
    attribution = make_attribution(text, (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0), method="lime")
    assert list_units(attribution, call) == ["phrase", "sentence", "variable"]
    sums = sum_scores(attribution, "variable", call)
    assert [(s.name or s.text.strip()) for s in sums.segments] == [
        "Answer kindly,",
        "name",
        "question",
        "Now.",
    ]
    assert sums.values == (3.0, 4.0, 56.0, 64.0)
    roles = [
        s.model_copy(update={"name": role}) for s, role in zip(attribution.segments, "ssuuaaa", strict=True)
    ]
    spoken = attribution.model_copy(update={"segments": tuple(roles)})
    sums = sum_scores(spoken, "message")
    assert [(s.name, s.kind) for s in sums.segments] == [("s", "message"), ("u", "message"), ("a", "message")]
    assert sums.values == (3.0, 12.0, 112.0)


@pytest.mark.parametrize("method", ["occlusion", "saliency", "self_report", "somebody_elses"])
def test_scores_that_do_not_add_up_are_not_summed(method: str) -> None:
    attribution = make_attribution(PROMPT, [1.0] * 7, method=method)
    assert list_units(attribution) == []
    with pytest.raises(AttributionError, match=f"scores of {method} cannot be summed by 'sentence'"):
        sum_scores(attribution, "sentence")


CURVES = {
    "shares": [0.0, 0.5, 1.0],
    "deletion_curve": [0.0, 4.0, 5.0],
    "deletion_random_curve": [0.0, 2.0, 5.0],
    "deletion_random_low": [0.0, 1.0, 5.0],
    "deletion_random_high": [0.0, 3.0, 5.0],
    "deletion": {"strongest_first": 3.0, "random": 2.3, "beats_random": True},
}


def test_the_deletion_curve_is_drawn_against_random_orders(path: Path) -> None:
    values = [1.0] * 7
    older = {name: figures for name, figures in CURVES.items() if "random_" not in name}
    call = record_explained(
        path,
        PROMPT,
        make_attribution(PROMPT, values, faithfulness={"curves": older}),
        make_attribution(PROMPT, values, faithfulness={"curves": CURVES}),
        make_attribution(PROMPT, values, faithfulness={"curves": {"skipped": "the budget is spent"}}),
    )
    page = read(make_client(path).get(f"/call/{call.span_id}"))
    labels = page.list_values("svg", "aria-label")
    sentence = (
        "Checked by taking parts away: strongest first the answer loses 3 on average, in a random order 2.3; "
        "the scores find what matters sooner than every random order tried."
    )
    assert labels == [sentence, sentence]
    shapes = [tag for tag, _ in page.tags if tag in ("polygon", "polyline")]
    assert shapes == ["polyline", "polygon", "polyline", "polyline", "polyline", "polyline"]


def test_the_tokens_of_an_answer_are_coloured_by_how_sure_the_model_was(path: Path) -> None:
    likely = [{"token": "<i>", "logprob": -1.5}, {"token": "So", "logprob": -0.25}]
    content = [
        {"token": "<i>", "logprob": -1.5, "top_logprobs": likely},
        {"token": " it", "logprob": -0.01, "top_logprobs": []},
        {"token": " is", "logprob": -5, "top_logprobs": None},
    ]
    call = record_explained(path, PROMPT, output={"choices": [{"logprobs": {"content": content}}]})
    client = make_client(path)
    certainty = client.get(f"/call/{call.span_id}.json").json()["certainty"]
    assert [(token["text"], token["level"], token["label"]) for token in certainty["tokens"]] == [
        ("<i>", 2, "'<i>' 22 % (-1.5 nats); instead: 'So' 78 %"),
        (" it", 0, "' it' 99 % (-0.01 nats)"),
        (" is", 4, "' is' 0.67 % (-5 nats)"),
    ]
    assert certainty["sentence"] == (
        "The model gave the 3 tokens of this answer 11 % on average (geometric mean). It was least sure of "
        "' is' (0.67 %), '<i>' (22 %)."
    )
    page = read(client.get(f"/call/{call.span_id}"))
    classes = [name for name in page.list_values("span", "class") if name.startswith("p p")]
    assert classes == ["p p2", "p p0", "p p4"]
    assert "i" not in {tag for tag, _ in page.tags}
    assert "How sure the model was" in page.text


def test_scores_that_are_no_finite_number_leave_the_others_their_scale(path: Path) -> None:
    scores = (4.0, float("inf"), -2.0, float("nan"), float("-inf"), 0.0, 2.0)
    methods = [make_attribution(PROMPT, scores, method=method) for method in ("occlusion", "lime")]
    call = record_explained(path, PROMPT, *methods)
    page = read(make_client(path).get(f"/call/{call.span_id}"))
    widths = [float(width) for width in page.list_values("rect", "width")]
    assert sorted(widths)[-4:] == [100.0] * 4
    assert all(0 <= width <= 100 for width in widths)


def test_a_long_name_of_a_model_is_cut_at_the_head_of_a_call(path: Path) -> None:
    llm_trace.configure(path)
    with llm_trace.span("ask", kind="llm", model="m" * 5000, provider="p" * 5000) as handle:
        handle.set(output="yes")
    llm_trace.shutdown()
    (call,) = llm_trace.open_store(path).calls()
    head = read(make_client(path).get(f"/call/{call.span_id}")).text.partition("Explain this call")[0]
    assert "m" * 50 in head
    assert "m" * 70 not in head
    assert "p" * 70 not in head
