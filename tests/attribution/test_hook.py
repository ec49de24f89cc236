"""The hook: which calls, and the event that becomes of one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace.attribution.policy.policy import AttributionPolicy, Hook
from llm_trace.attribution.policy.serialization import decode, encode
from llm_trace.attribution.remote.model import Remote
from llm_trace.errors import AttributionError
from llm_trace.record import Attribution, Call, Message, PromptUse
from tests.helpers import attribution_toys as toys
from tests.helpers.question_toys import PROMPT, call


def policy(**settings: Any) -> AttributionPolicy:
    return AttributionPolicy(
        **({"model": toys.llama(), "tokenizer": toys.byte_level(), "method": "occlusion"} | settings)
    )


def test_an_event_holds_the_attribution_and_its_identity() -> None:
    hook = Hook(policy(), now=lambda: 7, new_id=lambda: "b" * 16)
    event = hook(call())
    assert event is not None
    found = Attribution.model_validate(event.pop("attribution"))
    assert event == {
        "event": "attribution", "id": "b" * 16, "span_id": "a" * 16, "trace_id": "0" * 32, "start_ns": 1,
        "method": "occlusion", "config_hash": policy().config_hash, "time_ns": 7, "status": "ok",
        "error": None,
    }  # fmt: skip
    assert (found.span_id, found.time_ns, found.prompt) == ("a" * 16, 7, PROMPT)


def test_the_confidence_of_a_policy_reaches_the_attribution_and_its_settings() -> None:
    event = Hook(policy(method="lime", budget=60, confidence=0.8))(call())
    assert event is not None
    attribution = Attribution.model_validate(event["attribution"])
    assert attribution.settings is not None
    assert (attribution.settings.confidence, attribution.confidence) == (0.8, 0.8)


def test_the_confidence_travels_to_the_process_that_explains() -> None:
    policy = AttributionPolicy(mode="background", confidence=0.8)
    decoded, config_hash = decode(encode(policy))
    assert (decoded.confidence, config_hash) == (0.8, policy.config_hash)


def test_a_failure_is_an_event_with_its_reason() -> None:
    def broken(_: Any) -> bool:
        raise ZeroDivisionError("rule")

    failed = Hook(policy(segments="variable", target="cat"))(call())
    assert failed is not None
    assert failed["status"] == "failed"
    assert "does not stand in the response" in failed["error"]
    assert failed["attribution"] is None
    ruled = Hook(policy(when=broken))(call())
    assert ruled is not None
    assert ruled["error"] == "ZeroDivisionError: rule"


def test_which_calls_are_explained() -> None:
    wants = policy().wants
    assert wants(call())
    assert not wants(call(kind="chain")), (
        "a step around a model is no model: its input is not what the model read"
    )
    assert wants(call(kind="chain", messages_in=(Message(role="user"),)))
    assert wants(call(kind="chain", prompt=PromptUse(name="p", version="0" * 12)))
    assert not wants(call(kind="tool"))
    assert not wants(call(kind="retriever"))
    assert not wants(call(status="error"))
    assert not policy(when=lambda c: "vip" in c.tags).wants(call())
    assert policy(when=lambda c: "vip" in c.tags).wants(call(tags=("vip",)))
    assert Hook(policy(sample=0.0))(call()) is None


def test_sampling_is_by_trace() -> None:
    half = policy(sample=0.5)
    ids = [f"{i * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}" for i in range(1, 2001)]
    picked = [half.wants(call(trace_id=i)) for i in ids]
    assert 0.45 < sum(picked) / len(picked) < 0.55
    assert picked == [half.wants(call(trace_id=i, span_id="c" * 16)) for i in ids]


def test_the_identity_depends_on_what_changes_the_result_only() -> None:
    same = policy(sample=0.5, when=lambda c: True, mode="deferred")
    assert same.config_hash == policy().config_hash
    others = [
        policy(segments="token"),
        policy(target="x"),
        policy(baseline="delete"),
        policy(budget=9),
        policy(seed=1),
        policy(segments=re.compile("a")),
        policy(method="shapley"),
        policy(confidence=0.9),
    ]
    assert len({p.config_hash for p in (policy(), *others)}) == 9


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(AttributionError, match="between 0 and 1"):
        policy(sample=2)
    with pytest.raises(AttributionError, match="budget=20.5 must be a whole number"):
        llm_trace.attribute("one two", "three", model=str, budget=20.5)  # type: ignore[call-overload]
    with pytest.raises(AttributionError, match="confidence=95 must lie between 0 and 1"):
        policy(confidence=95)
    with pytest.raises(AttributionError, match="inline, background or deferred"):
        policy(mode="later")


def test_a_function_brings_its_own_policy_where_no_other_is_set(tmp_path: Path) -> None:
    llm_trace.configure(tmp_path / "traces.duckdb")

    @llm_trace.trace(kind="llm", attribution=policy(segments="sentence"))
    def explained(prompt: str) -> str:
        return " Lily played."

    @llm_trace.trace(kind="llm")
    def plain(prompt: str) -> str:
        return " Lily played."

    explained(PROMPT)
    plain(PROMPT)
    llm_trace.shutdown()
    store = llm_trace.open_store(tmp_path / "traces.duckdb")
    found = {c.name: store.attributions(c.span_id) for c in store.calls()}
    assert found["plain"] == []
    (only,) = found["explained"]
    assert only.response == " Lily played."


def test_policies_of_two_functions_are_two() -> None:
    def first(prompt: str) -> str:
        return "a"

    def second(prompt: str) -> str:
        return "b"

    made = [AttributionPolicy(model=model) for model in (first, second, Remote(first, name="x"))]
    assert len({policy.config_hash for policy in made}) == 3
    assert made[0].config_hash == AttributionPolicy(model=first).config_hash


@pytest.mark.parametrize("where", ["configured", "of the function"])
def test_an_inline_policy_explains_by_the_chunks_that_attribute_finds(tmp_path: Path, where: str) -> None:
    inline = policy(mode="inline", segments="chunk", when=lambda call: bool(call.documents))

    @llm_trace.trace(kind="retriever")
    def search(question: str) -> list[dict[str, Any]]:
        return [{"id": "a", "content": "a red dog", "score": 0.5}, {"id": "b", "content": "a blue cat"}]

    @llm_trace.trace(kind="llm", attribution=None if where == "configured" else inline)
    def chat(prompt: str) -> str:
        return " ab"

    @llm_trace.trace
    def answer(question: str) -> str:
        return chat(f"{' '.join(each['content'] for each in search(question))} {question}")

    llm_trace.configure(tmp_path / "t.duckdb", attribution=inline if where == "configured" else None)
    chat("nothing was retrieved here")
    answer("who barks?")
    search("too late")
    llm_trace.shutdown()
    with llm_trace.open_store(tmp_path / "t.duckdb") as store:
        call, alone = store.calls(kind="llm")
        (found,) = store.attributions(call.span_id)
        assert store.attributions(alone.span_id) == []
    asked = llm_trace.attribute(
        call, model=inline.model, tokenizer=inline.tokenizer, method="occlusion", segments="chunk"
    )
    assert found.segments == asked.segments
    assert [(segment.name, segment.score) for segment in found.segments] == [("a", 0.5), ("b", None)]


def test_an_inline_policy_and_its_rule_see_the_call_as_the_store_has_it(tmp_path: Path) -> None:
    seen: list[Call] = []

    def rule(call: Call) -> bool:
        seen.append(call)
        return "dog" in call.messages_in[-1].text

    @llm_trace.trace(kind="llm")
    def chat(messages: list[dict[str, Any]], hint: str = "") -> str:
        return " ab"

    llm_trace.configure(tmp_path / "t.duckdb", redact=["Lily"], attribution=policy(mode="inline", when=rule))
    chat([{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Lily saw a dog"}], hint="x")
    chat([{"role": "user", "content": "a cat"}])
    llm_trace.shutdown()
    with llm_trace.open_store(tmp_path / "t.duckdb") as store:
        stored = store.calls()[::-1]
        (found,) = store.attributions(stored[0].span_id)
        assert store.attributions(stored[1].span_id) == []
    assert seen == stored
    assert "dog" in found.prompt
    assert "Lily" not in found.prompt
