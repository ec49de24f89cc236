"""A text-only oracle that follows the demo's rule, explained by the embedded model where that proves able."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llm_trace
from llm_trace.attribution.api import attribute
from llm_trace.attribution.core.value import Budget
from llm_trace.attribution.proxies import sequential_tests
from llm_trace.attribution.proxies.model import Proxied
from llm_trace.attribution.proxies.screen import screen
from llm_trace.attribution.proxies.screen_state import Screen
from llm_trace.attribution.remote.answers import Answer
from llm_trace.attribution.remote.ledger import Price
from llm_trace.attribution.remote.model import Remote
from llm_trace.demo.model import load_model
from llm_trace.demo.world import rule
from llm_trace.errors import AttributionError
from llm_trace.record import Attribution

MESSAGES = (
    "I bought it {} days ago.",
    "Hello, my toaster is {} days old.",
    "It came {} days ago, please help.",
)


def prompts(count: int, seed: int = 0) -> list[str]:
    """Return short prompts whose day count alone decides."""
    rng = random.Random(seed)
    said = [rng.choice(MESSAGES).format(days) for days in rng.sample(range(2, 110), count)]
    return [f"Decide about refunds.\n\nCustomer: {text}\n\nAnswer:" for text in said]


class Counted:
    """The rule as a model behind an API: it counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, prompt: str) -> str:
        self.calls += 1
        return rule(prompt)


def behind(ask: Any, **settings: Any) -> Remote:
    return Remote(ask, name="rule", concurrency=2, price=Price(1.0, 1.0), max_output_tokens=4, **settings)


def answered(texts: list[str]) -> list[tuple[str, str]]:
    return [(text, rule(text)) for text in texts]


def blank() -> tuple[Any, Any]:
    """Return an untrained model of the embedded one's kind."""
    import torch
    from transformers import LlamaForCausalLM

    model, tokenizer = load_model()
    torch.manual_seed(3)
    return LlamaForCausalLM(model.config).eval(), tokenizer


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Screen, int]:
    """A folder with an accepted screen, the screen, and how many calls the oracle answered for it."""
    folder, ask = tmp_path_factory.mktemp("proxies"), Counted()
    made = screen(answered(prompts(40)), Proxied(behind(ask), folder=folder), tau=0.5)
    return folder, made, ask.calls


@pytest.fixture
def folder(accepted: tuple[Path, Screen, int], tmp_path: Path) -> Path:
    """A copy of the accepted screen."""
    return Path(shutil.copytree(accepted[0], tmp_path / "proxies"))


def whose(attribution: Attribution) -> dict[str, Any]:
    about: dict[str, Any] = attribution.faithfulness["proxy"]
    return about


def strongest(attribution: Attribution) -> str:
    return attribution.segments[int(np.argmax(np.abs(attribution.values)))].text


def test_a_proxy_that_explains_as_well_is_accepted_and_every_call_of_the_oracle_is_counted(
    accepted: tuple[Path, Screen, int],
) -> None:
    _, made, calls = accepted
    told = made.list_evidence()
    assert (made.outcome, told["instances"]) == (
        "accepted",
        sequential_tests.count_fewest_instances(0.5, 0.5, 0.99),
    )
    assert told["low"] > 0
    assert told["oracle_quality"] == told["proxy_quality"] == 1.0
    assert told["calls"] == calls
    assert told["usd"] == pytest.approx(told["tokens"] / 1e6)


def test_an_accepted_proxy_explains_where_both_agree_and_the_oracle_is_not_asked(folder: Path) -> None:
    ask, text = Counted(), prompts(1, seed=9)[0]
    found = attribute(text, rule(text), model=Proxied(behind(ask), folder=folder, audit=0.0))
    assert ask.calls == 0
    assert whose(found)["explained_by"] == "proxy"
    assert whose(found)["screen"]["outcome"] == "accepted"
    assert whose(found)["saved"]["calls"] > 100
    assert whose(found)["saved"]["usd"] > 0
    assert "explained by the proxy 'demo'" in found.notes[-1]
    assert strongest(found).isdecimal()


def test_where_the_answers_differ_the_oracle_explains_itself(folder: Path) -> None:
    ask, text = Counted(), prompts(1, seed=9)[0]
    other = next(answer for answer in (" APPROVE", " DENY") if answer != rule(text))
    found = attribute(text, other, model=Proxied(behind(ask), folder=folder), method="proxy")
    assert ask.calls == found.passes > 0
    assert (whose(found)["explained_by"], found.model) == ("oracle", "rule")
    assert whose(found)["why"] == f"the proxy answers {rule(text)!r} and the oracle {other!r}"
    assert whose(found)["saved"]["calls"] == 0


def test_a_proxy_that_was_never_screened_explains_nothing(tmp_path: Path) -> None:
    text = prompts(1)[0]
    found = attribute(text, rule(text), model=Proxied(behind(Counted()), folder=tmp_path))
    assert whose(found)["explained_by"] == "oracle"
    assert whose(found)["why"] == "the proxy is undecided: demo was never screened for 'default'"


def test_a_screen_goes_on_where_it_stopped_and_pays_nothing_twice(tmp_path: Path) -> None:
    ask = Counted()
    models, calls = Proxied(behind(ask), folder=tmp_path), answered(prompts(5))
    first = screen(calls, models, progress=lambda _, count: count < 2)
    paid = ask.calls
    assert (len(first.instances), first.outcome) == (2, "undecided")
    assert first.verdict[1] == "stopped after 2 calls"
    again = screen(calls, models, most=2)
    assert ask.calls == paid
    assert again.instances == first.instances
    assert len(screen(calls, models).instances) == 5


@pytest.mark.parametrize("changed", ["oracle", "proxy", "version"])
def test_a_screen_expires_when_a_model_or_the_format_changes(folder: Path, changed: str) -> None:
    text, models = prompts(1, seed=9)[0], Proxied(behind(Counted()), folder=folder)
    if changed == "oracle":
        models = Proxied(behind(Counted(), params={"revision": 2}), folder=folder)
    else:
        (path,) = folder.iterdir()
        first, *rest = path.read_text().splitlines()
        told = {**json.loads(first), **({"version": 0} if changed == "version" else {"proxy_id": "other"})}
        path.write_text("\n".join([json.dumps(told), *rest]))
    found = attribute(text, rule(text), model=models)
    assert whose(found)["explained_by"] == "oracle"
    assert whose(found)["screen"]["outcome"] == "expired"
    assert whose(found)["why"].endswith("screen again")


def test_an_untrained_proxy_is_rejected_for_its_answers_without_asking_the_oracle(tmp_path: Path) -> None:
    model, tokenizer = blank()
    ask = Counted()
    models = Proxied(behind(ask), model, proxy_tokenizer=tokenizer, folder=tmp_path)
    made = screen(answered(prompts(20)), models)
    assert (made.outcome, ask.calls) == ("rejected", 0)
    assert made.verdict[1] == f"both models give the same answer in 0 of {len(made.instances)} calls only"


def test_an_untrained_proxy_whose_answers_pass_is_rejected_for_its_explanations(tmp_path: Path) -> None:
    model, tokenizer = blank()
    models = Proxied(behind(Counted()), model, proxy_tokenizer=tokenizer, folder=tmp_path, agreement=0.0)
    made = screen(answered(prompts(25)), models)
    assert made.outcome == "rejected"
    assert made.list_evidence()["proxy_quality"] < 0.5


def test_nothing_is_decided_where_the_oracle_cannot_explain_itself(tmp_path: Path) -> None:
    def constant(_: str) -> str:
        return " DENY"

    calls = [(text, rule(text)) for text in prompts(40, seed=4) if rule(text) == " DENY"][:4]
    made = screen(calls, Proxied(behind(constant), folder=tmp_path))
    assert made.outcome == "undecided"
    assert "the oracle's own explanation is poor in 4 of 4 calls" in made.verdict[1]


def test_a_budget_that_can_decide_nothing_is_not_begun(tmp_path: Path) -> None:
    ask = Counted()
    made = screen(answered(prompts(20)), Proxied(behind(ask), folder=tmp_path), budget=300)
    assert (made.outcome, ask.calls) == ("undecided", 0)
    assert made.verdict[1].startswith("the budget of 300 calls does not pay for 9 more, which take up to ")


def test_a_budget_that_runs_out_on_the_way_is_never_exceeded(tmp_path: Path) -> None:
    ask = Counted()
    made = screen(answered(prompts(30)), Proxied(behind(ask), folder=tmp_path), budget=1800, confidence=0.9)
    assert made.outcome == "undecided"
    assert 0 < ask.calls <= 1800
    assert "does not pay for 1 more" in made.verdict[1]


def test_a_budget_in_dollars_without_a_price_is_refused(tmp_path: Path) -> None:
    limit = Budget(usd=1.0)
    with pytest.raises(AttributionError, match="needs the model's price"):
        screen(
            answered(prompts(2)), Proxied(Remote(rule, max_output_tokens=4), folder=tmp_path), budget=limit
        )
    made = screen(answered(prompts(2)), Proxied("demo", folder=tmp_path), budget=limit)
    assert made.verdict[1] == "what a call costs in usd is not known, so that the budget of 1 cannot be held"


def test_audits_that_fail_revoke_the_proxy_and_the_oracle_explains_itself(folder: Path) -> None:
    def drifted(prompt: str) -> str:  # since the screen the model decides by another word
        return " DENY" if "Customer:" in prompt.split() else " APPROVE"

    models = Proxied(behind(drifted), folder=folder, audit=1.0)
    late = [text for text in prompts(60, seed=5) if rule(text) == " DENY"]
    found = [attribute(text, " DENY", model=models) for text in late[:14]]
    assert {whose(a)["explained_by"] for a in found} == {"oracle"}  # audited, then revoked
    outcomes = [whose(a)["screen"]["outcome"] for a in found]
    revoked = outcomes.index("revoked")
    assert outcomes == ["accepted"] * revoked + ["revoked"] * (14 - revoked)
    assert whose(found[revoked])["why"].startswith("the proxy is revoked: audits overturned it")
    assert whose(found[-1])["screen"]["audits"] == revoked + 1


def test_an_audited_call_returns_the_oracles_explanation_that_was_paid_for(folder: Path) -> None:
    ask, text = Counted(), prompts(1, seed=9)[0]
    audited = attribute(text, rule(text), model=Proxied(behind(ask), folder=folder, audit=1.0))
    paid = ask.calls
    alone = attribute(text, rule(text), model=behind(ask))
    assert (whose(audited)["explained_by"], audited.method) == ("oracle", "smile")
    assert whose(audited)["why"] == "this call was drawn for an audit"
    assert (audited.values, audited.passes) == (alone.values, paid)


def test_audits_with_poor_explanations_of_the_oracle_revoke_the_proxy(folder: Path) -> None:
    models = Proxied(behind(lambda _: " DENY"), folder=folder, audit=1.0)  # looks at nothing any more
    late = [text for text in prompts(40, seed=5) if rule(text) == " DENY"]
    found = [whose(attribute(text, " DENY", model=models)) for text in late[:9]]
    assert [about["screen"]["outcome"] for about in found] == ["accepted"] * 7 + ["revoked"] * 2
    assert found[-1]["why"] == (
        "the proxy is revoked: the oracle's own explanation is poor in 8 of 8 audits, which compare "
        "nothing: screen again"
    )


def test_explanations_of_a_proxy_whose_audits_cannot_be_made_are_no_evidence(folder: Path) -> None:
    def gone(_: str) -> str:
        raise KeyError("no such deployment")

    here, away = (Proxied(behind(ask), folder=folder, audit=1.0) for ask in (Counted(), gone))
    late = [text for text in prompts(40, seed=5) if rule(text) == " DENY"]
    found = [attribute(text, " DENY", model=away) for text in late[:4]]
    assert [whose(a)["explained_by"] for a in found] == ["proxy"] * 4
    assert [a.verdict for a in found] == ["ok", "ok", "proxy_unverified", "proxy_unverified"]
    assert [whose(a)["screen"]["failed"] for a in found] == [1, 2, 3, 4]
    assert found[-1].warnings[-1].startswith("the last 4 audits of the proxy could not be made (")
    assert "no such deployment" in found[-1].warnings[-1]
    assert found[-1].warnings[-1] in whose(found[-1])["screen"]["why"]
    checked = attribute(late[5], " DENY", model=here)
    after = attribute(late[6], " DENY", model=Proxied(behind(gone), folder=folder, audit=0.0))
    assert [whose(a)["explained_by"] for a in (checked, after)] == ["oracle", "proxy"]
    assert (after.verdict, whose(after)["screen"]["why"].count("audits")) == ("ok", 0)


def test_a_revoked_proxy_is_screened_anew(folder: Path) -> None:
    (path,) = folder.iterdir()
    first, *rest = path.read_text().splitlines()
    failed = json.dumps({**json.loads(rest[-1]), "proxy": 0.0, "audit": True})
    path.write_text("\n".join([first, *rest, *[failed] * 20]) + "\n")
    models = Proxied(behind(Counted()), folder=folder)
    found = attribute(prompts(1, seed=9)[0], " DENY", model=models)
    assert whose(found)["screen"]["outcome"] == "revoked"
    again = screen(answered(prompts(2)), models, progress=lambda *_: False)
    assert (again.outcome, len(again.instances)) == ("undecided", 1)


def test_an_oracle_that_answers_as_another_model_expires_its_screen(folder: Path) -> None:
    (path,) = folder.iterdir()
    *lines, last = path.read_text().splitlines()
    other = json.dumps({**json.loads(last), "answered_by": ["rule-2"], "audit": True})
    first = json.dumps({**json.loads(last), "answered_by": ["rule-1"]})
    path.write_text("\n".join([*lines, first, other]) + "\n")
    text = prompts(1, seed=9)[0]
    found = attribute(text, rule(text), model=Proxied(behind(Counted()), folder=folder))
    assert whose(found)["why"] == (
        "the proxy is expired: the oracle answered as rule-1 and as rule-2: screen again"
    )


def test_answers_in_free_text_agree_when_they_are_similar_enough() -> None:
    models = Proxied(rule, agreement=0.8)
    assert models.agrees("The refund is approved.", "the refund is approved ")
    assert not models.agrees("The refund is approved.", "Ask for the day of purchase.")
    assert not Proxied(rule).agrees("The refund is approved.", "the refund is approved ")


def test_chat_messages_have_the_same_segments_for_both_models(tmp_path: Path) -> None:
    def desk(messages: Any) -> str:
        return rule("\n".join(m["content"] for m in messages))

    messages = [
        {"role": "system", "content": "Decide about refunds."},
        {"role": "user", "content": "I bought it 75 days ago."},
    ]
    made = screen([(messages, " DENY")], Proxied(behind(desk), folder=tmp_path))
    assert [i.kind for i in made.instances] == ["measured"]


def test_a_policy_takes_the_proxy_and_the_call_keeps_whose_explanation_it_is(
    folder: Path, tmp_path: Path
) -> None:
    models = Proxied(behind(Counted()), folder=folder, audit=0.0, task="default")
    llm_trace.configure(tmp_path / "t.duckdb", attribution=llm_trace.AttributionPolicy(model=models))

    @llm_trace.trace(kind="llm")
    def desk(prompt: str) -> str:
        return rule(prompt)

    desk(prompts(1, seed=9)[0])
    with llm_trace.open_store(tmp_path / "t.duckdb") as store:
        (call,) = store.calls(name="desk")
        (found,) = store.attributions(call.span_id)
    assert whose(found)["explained_by"] == "proxy"
    assert found.span_id == call.span_id


def test_an_answer_that_differs_by_a_space_is_no_reason_for_mistrust_after_the_screen(
    folder: Path, tmp_path: Path
) -> None:
    models = Proxied(behind(Counted()), folder=folder, audit=0.0, task="default")
    llm_trace.configure(tmp_path / "t.duckdb", attribution=llm_trace.AttributionPolicy(model=models))

    @llm_trace.trace(kind="llm", model="rule")
    def desk(prompt: str) -> str:
        return rule(prompt) + " "

    desk(prompts(1, seed=9)[0])
    with llm_trace.open_store(tmp_path / "t.duckdb") as store:
        (found,) = store.attributions(store.calls(name="desk")[0].span_id)
    assert whose(found)["explained_by"] == "proxy"
    assert found.verdict != "proxy_unverified"
    assert not any("stands in for" in warning for warning in found.warnings)


def test_an_audit_is_made_within_the_budget_only_and_its_cost_is_told(folder: Path) -> None:
    ask, text = Counted(), prompts(1, seed=9)[0]
    models = Proxied(behind(ask), folder=folder, audit=1.0)
    unpaid = attribute(text, rule(text), model=models, budget=20)
    assert (ask.calls, whose(unpaid)["audit"]) == (0, None)
    audited = attribute(text, rule(text), model=models)
    assert whose(audited)["audit"]["calls"] == ask.calls == audited.passes
    assert whose(audited)["audit"]["oracle"] == whose(audited)["audit"]["proxy"] == 1.0


def test_policies_of_different_models_have_different_attributions() -> None:
    policies = [llm_trace.AttributionPolicy(model=Proxied(oracle, "demo")) for oracle in (rule, "demo")]
    assert policies[0].config_hash != policies[1].config_hash


def test_what_cannot_be_afforded_is_recorded_with_its_reason(tmp_path: Path) -> None:
    ask = Counted()
    policy = llm_trace.AttributionPolicy(model=Proxied(behind(ask), folder=tmp_path), budget=5)
    llm_trace.configure(tmp_path / "t.duckdb", attribution=policy)

    @llm_trace.trace(kind="llm")
    def desk(prompt: str) -> str:
        return rule(prompt)

    assert desk(prompts(1)[0]) == rule(prompts(1)[0])
    with llm_trace.open_store(tmp_path / "t.duckdb") as store:
        (found,) = store.attributions(store.calls(name="desk")[0].span_id)
    assert (found.verdict, ask.calls) == ("insufficient_evidence", 0)
    assert "was never screened" in whose(found)["why"]


class Scored(Counted):
    """The rule with log-probabilities of its answers."""

    def score(self, prompt: str, response: str) -> Answer:
        return Answer(response, tokens=((response, -0.1 if rule(prompt) == response else -5.0),))


@pytest.mark.parametrize(
    ("model", "note"),
    [
        ("demo", "auto: occlusion (10 segments, no limit, access to values of the open model"),
        (Remote(Scored(), concurrency=1), "access to log-probabilities of the response"),
        (Remote(Counted(), concurrency=1), "auto: smile (access to answers alone)"),
    ],
)
def test_auto_takes_what_the_model_gives_and_says_so(model: Any, note: str) -> None:
    text = "Decide about refunds.\n\nCustomer: It came 75 days ago.\n\nAnswer:"
    found = attribute(text, " DENY", model=model)
    assert any(note in said for said in found.notes)
    assert strongest(found) == "75"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "demo", "method": "proxy"}, "needs both models"),
        ({"model": Proxied(rule), "method": "smile"}, "does not know proxies"),
        ({"model": Proxied(rule), "target": "DENY"}, "not for target='DENY'"),
    ],
)
def test_what_a_proxy_cannot_do_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(AttributionError, match=said):
        attribute("Answer:", " DENY", **settings)


def test_a_proxy_that_cannot_be_opened_is_refused() -> None:
    with pytest.raises(AttributionError, match="cannot be opened"):
        Proxied(rule, rule)


def test_a_file_with_a_line_that_a_crash_cut_is_read_without_it(folder: Path) -> None:
    (path,) = folder.iterdir()
    with path.open("a") as lines:
        lines.write('{"key": "half')
    text = prompts(1, seed=9)[0]
    found = attribute(text, rule(text), model=Proxied(behind(Counted()), folder=folder, audit=0.0))
    assert whose(found)["explained_by"] == "proxy"


def test_the_examples_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "proxies.md"
    monkeypatch.chdir(tmp_path)
    first, second = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    exec(first, {})
    assert capsys.readouterr().out.startswith("accepted - shown by 8 instances")
    exec(second, {})
    assert "the answer stayed in 5 of 5 calls" in capsys.readouterr().out
