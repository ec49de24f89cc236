"""attribute(): texts, chats and calls in, an Attribution that says how far to trust it out."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from llm_trace.attribution.api import attribute
from llm_trace.attribution.core.value import Budget, BudgetError
from llm_trace.attribution.methods.exact import compute_exact_shapley
from llm_trace.capture.prompts import Prompt
from llm_trace.errors import AttributionError
from llm_trace.record import Attribution, Message, Part, PromptUse
from tests.helpers import attribution_toys as toys
from tests.helpers.question_toys import PROMPT, call, run


def test_occlusion_by_word_on_a_trained_model_equals_single_passes() -> None:
    model, tokenizer = toys.stories()
    text, said = (
        "Once upon a time there was a little girl named Lily. She had a red ball.",
        " Lily was happy.",
    )
    found = attribute(text, said, model=model, tokenizer=tokenizer, method="occlusion", baseline="delete")
    words = text.split(" ")
    response = tokenizer(text + said)["input_ids"][len(tokenizer(text)["input_ids"]) :]
    whole = toys.brute(model, tokenizer(text)["input_ids"], response)
    rows = [
        whole - toys.brute(model, tokenizer(" ".join(words[:i] + words[i + 1 :]))["input_ids"], response)
        for i in range(len(words))
    ]
    assert [s.text for s in found.segments] == words
    assert found.values == pytest.approx([float(r.sum()) for r in rows], abs=5e-5)
    assert pytest.approx(np.array(rows), abs=1e-5) == np.array(found.matrix).T
    assert found.full == pytest.approx(float(whole.sum()), abs=5e-5)
    assert (found.unit, found.bounds, found.baseline, found.target) == (
        "nats",
        "exact",
        "delete",
        "the whole response",
    )
    assert Attribution.model_validate_json(found.model_dump_json()) == found


def test_a_name_in_the_context_raises_its_own_probability() -> None:
    model, tokenizer = toys.stories()
    text = "Once upon a time, there was a boy named {}. He liked to play."
    for name in ("Lily", "Sue", "Mia"):
        found = attribute(
            text.format(name),
            f" One day, {name} went",
            model=model,
            tokenizer=tokenizer,
            target=name,
            baseline="delete",
        )
        assert found.segments[int(np.argmax(found.values))].text == f"{name}."
        assert max(found.values) > 3.0


def test_same_question_same_answer() -> None:
    first, second = run(), run()
    assert first.model_copy(update={"seconds": 0.0}) == second.model_copy(update={"seconds": 0.0})


def test_the_matrix_is_the_target_and_sums_to_the_scores() -> None:
    whole, part = run(), run(target="the dog")
    assert np.array(whole.matrix).sum(axis=0) == pytest.approx(np.array(whole.values))
    assert "".join(whole.target_tokens).replace(" ", "") == "Onedaythedogcame."
    at = [i for i, t in enumerate(whole.target_tokens) if t in part.target_tokens]
    assert np.array(part.matrix) == pytest.approx(np.array(whole.matrix)[at], abs=1e-5)
    assert part.target == "'the dog'"


def test_auto_is_exact_shapley_for_few_segments() -> None:
    found = run(segments="sentence")
    assert (found.method, found.baseline, found.stopped) == ("shapley", "delete", "exact")
    assert found.completeness_gap == pytest.approx(0.0, abs=1e-6)
    assert found.empty is not None
    assert found.full is not None
    assert sum(found.values) == pytest.approx(found.full - found.empty)


def test_the_unperturbed_text_as_baseline_gives_exactly_zero() -> None:
    found = run("ball ball ball", segments="word", baseline="ball", method="occlusion")
    assert found.values == (0.0, 0.0, 0.0)
    assert found.verdict == "insufficient_evidence"


def test_prompt_variables_stand_where_format_put_them() -> None:
    prompt = Prompt("p", "{who} had a {what}. Lily had a ball.").format(who="Lily", what="kite")
    found = run(prompt, segments="variable")
    assert [(s.name, s.text, s.start) for s in found.segments] == [("who", "Lily", 0), ("what", "kite", 11)]
    with pytest.raises(AttributionError, match="Prompt.format"):
        run(segments="variable")


def test_a_call_brings_prompt_response_and_variables() -> None:
    made = call(
        prompt=PromptUse(name="p", version="v", variables={"who": "Lily", "friend": "Tom"}), model="toy"
    )
    found = attribute(made, model=toys.llama(), tokenizer=toys.byte_level(), segments="variable")
    assert (found.span_id, [s.name for s in found.segments]) == ("a" * 16, ["who", "friend"])
    assert found.verdict == "proxy_unverified"
    plain = run(segments={"who": "Lily", "friend": "Tom"})
    assert found.values == plain.values


def test_a_call_with_messages_is_a_chat() -> None:
    made = call(
        messages_in=(
            Message(role="system", parts=(Part(type="text", content="Be nice."),)),
            Message(role="user", parts=(Part(type="text", content="Lily had a ball."),)),
        ),
        output={"choices": []},
        messages_out=(Message(role="assistant", parts=(Part(type="text", content="One day"),)),),
    )
    found = attribute(made, model=toys.llama(), tokenizer=toys.byte_level(), segments="message")
    assert [(s.name, s.text) for s in found.segments] == [
        ("system", "Be nice."),
        ("user", "Lily had a ball."),
    ]
    assert found.response == "One day"
    assert any("no chat template" in note for note in found.notes)


def test_a_model_that_says_the_same_is_no_proxy_and_a_masked_prompt_is_called_so() -> None:
    model, tokenizer = toys.stories()
    said = attribute(PROMPT, model=model, tokenizer=tokenizer, segments="sentence").response
    same = attribute(call(output=said), model=model, tokenizer=tokenizer, segments="sentence")
    assert same.verdict == "ok"
    other = attribute(call(), model=model, tokenizer=tokenizer, segments="sentence")
    assert other.verdict == "proxy_unverified"
    masked = call(input={"prompt": "Lily had [redacted] ball."})
    assert run(masked, None).verdict == "redacted_input"


def test_words_that_all_matter_little_are_checked_without_removing_the_whole_prompt() -> None:
    model, tokenizer = toys.llama(initializer_range=0.001), toys.byte_level()  # no BOS: no words, no token
    attribution = attribute(
        "Lily had a red ball", " Tom", model=model, tokenizer=tokenizer, method="occlusion", baseline="delete"
    )
    assert max(map(abs, attribution.values)) < 0.1
    assert attribution.groups == ()


def test_without_a_response_the_model_is_asked() -> None:
    model, tokenizer = toys.stories()
    found = attribute("Once upon a time, there was a", model=model, tokenizer=tokenizer, segments="word")
    ids = tokenizer("Once upon a time, there was a", return_tensors="pt")["input_ids"]
    wanted = model.generate(ids, max_new_tokens=64, do_sample=False)[0, ids.shape[1] :]
    assert found.response.startswith(" little girl")
    assert len(found.target_tokens) == len(wanted)


def test_bad_input_is_a_clear_error() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"prompt": "  "}, "prompt is empty"),
        ({"response": ""}, "no token"),
        ({"target": "cat"}, "does not stand in the response"),
        ({"target": 99}, "outside the response"),
        ({"target": (3, 999)}, "does not stand"),
        ({"method": "magic"}, "unknown; choose one of"),
        ({"baseline": "mean"}, "gradient"),
        ({"budget": 3, "method": "occlusion"}, "budget pays for 3"),
        ({"confidence": 95}, "between 0 and 1"),
        ({"tokenizer": None}, "needs its tokenizer"),
        ({"prompt": 3}, "give a str"),
        ({"prompt": []}, "list of messages is empty"),
        ({"prompt": call(output=None), "response": None}, "no response text"),
        ({"prompt": call(input={"a": "x", "b": "y"})}, "2 texts as input"),
        ({"model": "/no/such/model"}, "cannot be loaded"),
        ({"model": object()}, "give a transformers model"),
        ({"model": toys.bert()}, "not one of the model's labels"),
    ]
    for settings, message in cases:
        with pytest.raises(AttributionError, match=message):
            run(**settings)
    with pytest.raises(BudgetError):
        run(budget=Budget(evaluations=2))


def test_gpt_nano_sort_by_enumeration() -> None:
    path = toys.SHARED / "models" / "gpt-nano-sort"
    if not path.exists():
        pytest.skip("shared/data/models/gpt-nano-sort is not here")
    model = toys.transformers.AutoModelForCausalLM.from_pretrained(path).eval()
    for letters in list(itertools.product("ABC", repeat=6))[::97]:
        text, said = "".join(letters), "".join(sorted(letters))
        found = attribute(
            text,
            said,
            model=model,
            tokenizer=toys.letters(),
            segments="token",
            baseline="B",
            method="shapley",
        )
        values = []
        for row in range(64):
            kept = "".join(c if row >> i & 1 else "B" for i, c in enumerate(text))
            values.append(
                toys.brute(model, ["ABC".index(c) for c in kept], ["ABC".index(c) for c in said]).sum()
            )
        assert found.values == pytest.approx(compute_exact_shapley(np.array(values), 6), abs=1e-5)


def test_importing_the_front_door_loads_no_torch() -> None:
    code = (
        "import sys, llm_trace.attribution.api, llm_trace.attribution.policy.policy\n"
        "import llm_trace.rendering.heatmap\n"
        "print([m for m in ('torch', 'transformers', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_confidence_that_is_asked_for_is_that_of_the_verdict() -> None:
    settings: dict[str, Any] = {"method": "permutation", "budget": 70}
    text = "gold please now or later then what ever"
    bold, timid = (run(text, confidence=c, **settings) for c in (0.5, 0.99999))
    assert bold.p_values == timid.p_values
    assert bold.q_values is not None
    assert 0.00001 < min(bold.q_values) < 0.5
    assert "stands out" not in " ".join(bold.warnings)
    assert "no score stands out from noise at a confidence of 0.99999" in " ".join(timid.warnings)
    assert timid.verdict == "insufficient_evidence"


def test_the_summary_says_it_in_words() -> None:
    given: dict[str, Any] = {
        "method": "occlusion", "segments": run("gold please now", method="occlusion").segments,
        "values": (3.7, 0.01, -0.1), "bounds": "exact",
        "prompt": "gold please now", "response": "APPROVE", "target": "the whole response",
        "baseline": "delete",
    }  # fmt: skip
    assert Attribution(**given).summary() == (
        "Without 'gold' this answer is 40 times less likely; without 'now' this answer is 11 % more likely; "
        "'please' made no measurable difference."
    )
    bounded = given | {
        "low": (3.2, -0.1, -0.3),
        "high": (4.1, 0.1, 0.2),
        "confidence": 0.95,
        "bounds": "sampling",
    }
    assert Attribution(**bounded).summary() == (
        "Without 'gold' this answer is 40 times less likely (25 to 60); "
        "'please' and 1 other made no measurable difference."
    )
    doubted = given | {
        "method": "shapley",
        "verdict": "redundant",
        "warnings": ("they stand in for each other",),
        "groups": ((0, 2),),
    }
    assert Attribution(**doubted).summary() == (
        "'gold' makes this answer 40 times more likely; 'now' makes this answer 10 % less likely; 'please' "
        "made no measurable difference; "
        "'gold' and 'now' stand in for each other: take all of them away and the answer changes. "
        "Not to be taken as evidence (redundant): they stand in for each other."
    )
    twice = given | {
        "segments": tuple(s.model_copy(update={"text": "gold"}) for s in given["segments"][:2]) * 2,
        "values": (3.7, 0.5, 0.4, 0.3),
    }
    assert Attribution(**twice).summary() == (
        "Without 'gold' (no. 1 of 4) this answer is 40 times less likely; without 'gold' (no. 2 of 4) this "
        "answer is 39 % less likely; "
        "without 'gold' (no. 3 of 4) this answer is 33 % less likely; 1 more has a smaller effect."
    )
    long = given | {
        "segments": tuple(s.model_copy(update={"text": "x" * 500}) for s in given["segments"]),
        "target": "y" * 999,
    }
    assert len(Attribution(**long).summary()) <= 600
