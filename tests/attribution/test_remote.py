"""Models behind a callable: sync and async, budgets, rate limits, kept answers; bad answers are stated."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import llm_trace
from llm_trace.attribution.api import attribute, attribute_async
from llm_trace.attribution.core.plan import Plan
from llm_trace.attribution.core.value import Budget
from llm_trace.attribution.remote.answers import Answer
from llm_trace.attribution.remote.client import Caller, ModelRequest
from llm_trace.attribution.remote.error_policy import RefusedError, retry_after
from llm_trace.attribution.remote.event_loop import Bridge
from llm_trace.attribution.remote.ledger import Ledger, Price
from llm_trace.attribution.remote.model import Remote
from llm_trace.errors import AttributionError
from llm_trace.record import ATTRIBUTION_TAG, Attribution
from tests.helpers.remote_toys import PROMPT, desk, explain, first

GOLD = 5


class Counted:
    """A model that counts its calls and fails as it is told to."""

    def __init__(self, *failures: Exception) -> None:
        self.prompts: list[Any] = []
        self.failures = list(failures)
        self._lock = threading.Lock()

    def __call__(self, prompt: Any) -> str:
        with self._lock:
            self.prompts.append(prompt)
            if self.failures:
                raise self.failures.pop(0)
        return desk(str(prompt))


class StatusError(Exception):
    """An error as HTTP clients raise it."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(f"status {status}")
        self.status_code = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def test_a_callable_gets_smile_in_the_unit_distance_with_tested_words() -> None:
    found = explain(desk, budget=150)
    assert (found.method, found.unit, found.model, found.verdict) == ("smile", "distance", "desk", "ok")
    assert found.q_values is not None
    assert [s.text for s, q in zip(found.segments, found.q_values, strict=True) if q <= 0.05] == ["gold"]
    assert (found.response, found.passes) == ("We approve it", 150)
    assert any("lexical (character" in note for note in found.notes)
    assert Attribution.model_validate_json(found.model_dump_json()) == found


def test_sync_and_async_callables_and_objects_give_the_same_attribution() -> None:
    async def far(prompt: str) -> str:
        await asyncio.sleep(0)
        return desk(prompt)

    class Client:
        async def __call__(self, prompt: str) -> str:
            return desk(prompt)

    values = [explain(model, budget=60).values for model in (desk, far, Client(), lambda p: far(p))]
    assert values[1:] == values[:1] * 3


def test_attribute_async_calls_the_model_in_the_callers_own_loop() -> None:
    loops = set()

    async def far(prompt: str) -> str:
        loops.add(asyncio.get_running_loop())
        return desk(prompt)

    async def main() -> Any:
        found = await attribute_async(PROMPT, model=far, budget=60)
        assert loops == {asyncio.get_running_loop()}
        return found

    assert first(asyncio.run(main())) == "gold"


def test_attribute_works_inside_a_running_loop() -> None:
    async def main() -> Attribution:
        return explain(desk, budget=60)

    assert first(asyncio.run(main())) == "gold"


def test_a_cancelled_attribute_async_begins_no_other_call() -> None:
    calls = Counted()

    async def far(prompt: str) -> str:
        await asyncio.sleep(0.01)
        return calls(prompt)

    async def main() -> int:
        task = asyncio.create_task(attribute_async(PROMPT, model=Remote(far, concurrency=2)))
        while len(calls.prompts) < 3:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.05)
        return len(calls.prompts)

    assert asyncio.run(main()) <= 8


def test_messages_go_to_the_model_as_messages_with_only_their_words_changed() -> None:
    calls = Counted()
    image = {"type": "image_url", "image_url": {"url": "x"}}
    messages = [
        {"role": "system", "content": "be kind", "name": "desk"},
        {"role": "user", "content": [{"type": "text", "text": "a gold customer asks today"}, image]},
    ]
    found = explain(calls, messages, budget=100)
    assert first(found) == "gold"
    assert all([m["role"] for m in sent] == ["system", "user"] for sent in calls.prompts)
    assert all(sent[1]["content"][-1] == image and sent[0]["name"] == "desk" for sent in calls.prompts)
    whole = ["be", "kind", "a", "gold", "customer", "asks", "today"]
    for sent in calls.prompts[1:]:
        words = f"{sent[0]['content']} {sent[1]['content'][0]['text']}".split()
        assert words == [w for w in whole if w in words]  # their order is kept


def test_the_decorated_functions_own_calls_are_tagged_and_not_counted(tmp_path: Path) -> None:
    store = tmp_path / "traces.duckdb"
    policy = llm_trace.AttributionPolicy(model=desk, budget=3, mode="inline")
    llm_trace.configure(store, attribution=policy)

    @llm_trace.trace(kind="llm")
    def ask(prompt: str) -> str:
        return desk(prompt)

    try:
        ask(PROMPT)
        assert first(explain(ask, budget=40)) == "gold"
        assert first(asyncio.run(attribute_async(PROMPT, model=ask, budget=40))) == "gold"  # type: ignore[arg-type]
        llm_trace.flush()
        with llm_trace.open_store(store) as opened:
            assert [c.input for c in opened.calls()] == [{"prompt": PROMPT}]
            assert len(opened.calls(tag=ATTRIBUTION_TAG, limit=None)) == 80
            assert opened.sql("SELECT count(*) FROM attributions").fetchall() == [
                (1,)
            ]  # of the one production call
    finally:
        llm_trace.shutdown()


def test_a_dry_run_asks_nothing_and_its_price_is_what_the_attribution_then_costs_at_most() -> None:
    calls = Counted()
    model = Remote(calls, max_output_tokens=20, price=Price(input=2.0, output=8.0))
    plan = attribute(PROMPT, model=model, budget=100, dry_run=True)
    assert isinstance(plan, Plan)
    assert (calls.prompts, plan.method, plan.evaluations, plan.verdict) == ([], "smile", 100, "ok")
    cost = explain(model, budget=100).faithfulness["cost"]
    assert plan.usd is not None
    assert cost["calls"] == plan.evaluations
    assert 0.3 * plan.tokens < cost["tokens"] <= plan.tokens
    assert cost["usd"] <= plan.usd


@pytest.mark.parametrize("seed", range(6))
def test_no_budget_is_ever_exceeded(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spent = {"evaluations": 0, "tokens": 0, "usd": 0.0}
    lock = threading.Lock()

    def ask(prompt: str) -> Answer:
        with lock:
            read, written = len(prompt) // 3, int(rng.integers(1, 30))
            fails = rng.random() < 0.05
            spent["evaluations"] += 1
            spent["tokens"] += read + written
            spent["usd"] += (read * 3 + written * 15) / 1e6
        if fails:
            raise TimeoutError
        return Answer(desk(prompt), read, written)

    limit = [
        Budget(evaluations=int(rng.integers(1, 120))),
        Budget(tokens=int(rng.integers(10, 6000))),
        Budget(usd=float(rng.uniform(0.0, 0.03))),
    ][seed % 3]
    samples = int(rng.integers(1, 4))
    model = Remote(ask, max_output_tokens=30, price=Price(3.0, 15.0), concurrency=8, samples=samples)
    explain(model, response="We approve it", budget=limit)
    assert spent["evaluations"] <= (limit.evaluations or 10**9)
    assert spent["tokens"] <= (limit.tokens or 10**9)
    assert spent["usd"] <= (limit.usd if limit.usd is not None else 10**9)


def test_a_budget_that_cannot_be_held_is_refused_before_the_first_call() -> None:
    calls = Counted()
    with pytest.raises(AttributionError, match="max_output_tokens"):
        explain(calls, budget=Budget(tokens=1000))
    with pytest.raises(AttributionError, match="price"):
        explain(Remote(calls, max_output_tokens=10), budget=Budget(usd=1.0))
    assert calls.prompts == []


@pytest.mark.parametrize("budget", [0, 1, 5])
def test_too_small_a_budget_is_insufficient_evidence_before_anything_is_paid(budget: int) -> None:
    calls = Counted()
    plan = attribute(PROMPT, model=calls, budget=budget, dry_run=True)
    found = explain(calls, budget=budget)
    assert (plan.verdict, found.verdict) == ("insufficient_evidence",) * 2
    assert (found.passes, set(found.values), calls.prompts) == (0, {0.0}, [])
    assert "that takes" in found.warnings[0]


def test_a_one_word_prompt_has_nothing_to_compare_with_and_costs_nothing() -> None:
    calls = Counted()
    found = explain(calls, "gold")
    assert (found.verdict, calls.prompts) == ("insufficient_evidence", [])
    assert explain(calls, "gold", baseline="mask").verdict == "ok"


def test_no_empty_prompt_is_ever_sent() -> None:
    calls = Counted()
    explain(calls, "a gold", response="We approve it", budget=60)
    assert all(prompt.strip() for prompt in calls.prompts)


def test_kept_answers_are_not_paid_again_and_belong_to_one_name_and_one_setting(tmp_path: Path) -> None:
    cache, calls = tmp_path / "answers.sqlite", Counted()
    one = explain(Remote(calls, name="m"), budget=60, cache=cache)
    paid = len(calls.prompts)
    two = explain(Remote(calls, name="m"), budget=60, cache=cache)
    assert two.values == one.values
    assert len(calls.prompts) - paid <= 1  # the budget now pays for one more
    assert cache.stat().st_mode & 0o077 == 0
    explain(Remote(calls, name="m", params={"temperature": 1}), budget=60, cache=cache)
    assert len(calls.prompts) >= 2 * paid


def test_what_was_answered_before_a_crash_is_not_paid_again(tmp_path: Path) -> None:
    cache = tmp_path / "answers.sqlite"
    calls = Counted()
    limit = 30

    def breaks(prompt: str) -> str:
        if len(calls.prompts) >= limit:
            raise KeyError("broken")
        return calls(prompt)

    with pytest.raises(AttributionError, match=r"KeyError.*answers are kept in the cache"):
        explain(Remote(breaks, name="m"), budget=80, cache=cache)
    before, limit = list(calls.prompts), 1000
    found = explain(Remote(breaks, name="m"), budget=80, cache=cache)
    assert (first(found), found.faithfulness["cost"]["reused"]) == ("gold", len(before))
    assert len(calls.prompts) - len(before) == found.passes


def test_a_name_is_a_file_in_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    explain(desk, budget=40, cache="my-model")
    assert (tmp_path / "llm_trace" / "my-model.sqlite").exists()


def test_rate_limits_are_waited_for_and_not_paid() -> None:
    calls = Counted(*[StatusError(429, retry_after="0.15")] * 3)
    began = time.monotonic()
    found = explain(calls, budget=60)
    assert time.monotonic() - began >= 0.15
    assert (first(found), found.passes) == ("gold", 60)


def test_rate_limits_for_minutes_are_waited_out_and_do_not_count_as_failures() -> None:
    slept = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal slept
        slept += seconds
        await asyncio.sleep(0)

    calls = Counted(
        *[StatusError(429, retry_after="30")] * 8, StatusError(500), StatusError(529, retry_after="2")
    )
    with Bridge() as bridge:
        remote = Remote(calls, concurrency=1)
        caller = Caller(remote, calls, Ledger(Budget(), None, None), bridge, clock=lambda: slept, sleep=sleep)
        answers = caller.ask([ModelRequest("gold"), ModelRequest("silver")])
        caller.close()
    assert [a.text for a in answers if a] == ["We approve it", "Sorry, denied"]
    assert 240 <= slept <= 245
    assert caller.ledger.spent.calls == 3  # two answers, and the error on the way


def test_retry_after_is_read_as_seconds_milliseconds_and_date() -> None:
    assert retry_after(StatusError(429, retry_after="90")) == 90
    assert retry_after(StatusError(429, retry_after_ms="250")) == 0.25
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    assert retry_after(StatusError(503, retry_after=date), now_s=1445412480.0 - 61) == 61
    assert retry_after(StatusError(429, retry_after="soon")) is None


def test_a_model_that_stays_away_is_given_up_with_what_was_answered() -> None:
    calls = Counted()

    def tired(prompt: str) -> str:
        if len(calls.prompts) >= 45:
            raise StatusError(429, retry_after="0.05")
        return calls(prompt)

    found = explain(Remote(tired, patience_s=0.2), budget=80)
    assert (first(found), found.passes) == ("gold", 45)
    assert "answered nothing for 0.2 seconds" in " ".join(found.notes)


def test_errors_on_the_way_are_tried_again_and_counted_as_paid() -> None:
    calls = Counted(StatusError(500, retry_after="0"), ConnectionResetError())
    found = explain(calls, budget=60)
    assert (first(found), found.passes, len(calls.prompts)) == ("gold", 60, 60)


def test_a_programming_error_stops_at_once() -> None:
    calls = Counted(*[TypeError("no such argument")] * 100)
    with pytest.raises(AttributionError, match="TypeError: no such argument"):
        explain(Remote(calls, concurrency=1))
    assert len(calls.prompts) == 1


def test_a_request_that_is_refused_every_time_is_an_error_not_an_attribution(tmp_path: Path) -> None:
    calls, cache = Counted(*[StatusError(400)] * 3), tmp_path / "answers.sqlite"
    with pytest.raises(AttributionError, match="refuses every request"):
        explain(Remote(calls, concurrency=1), response="We approve it", cache=cache)
    assert len(calls.prompts) == 3
    mended = explain(Remote(calls, concurrency=1), response="We approve it", budget=60, cache=cache)
    assert (first(mended), mended.passes) == ("gold", 60)  # no refusal was kept


def test_refusals_and_empty_answers_are_answers_and_are_told() -> None:
    def shy(prompt: str) -> str:
        if "tell" not in prompt:
            raise RefusedError
        return "" if "may" not in prompt else desk(prompt)

    found = explain(shy, budget=200)
    assert found.q_values is not None
    assert {s.text for s, q in zip(found.segments, found.q_values, strict=True) if q <= 0.05} == {
        "tell",
        "may",
        "gold",
    }
    assert any("prompts were refused" in note for note in found.notes)
    assert any("answers were empty" in note for note in found.notes)


@pytest.mark.parametrize("answer", ["", None, 3])
def test_no_answer_to_the_whole_prompt_is_an_error_after_one_call(answer: Any) -> None:
    asked = []

    def mute(prompt: str) -> Any:
        asked.append(prompt)
        return answer

    with pytest.raises(AttributionError, match=r"no answer to explain|returned a"):
        explain(mute)
    assert asked == [PROMPT]


def test_a_model_that_changes_between_calls_is_told() -> None:
    calls = Counted()

    def renamed(prompt: str) -> Answer:
        return Answer(calls(prompt), model="v1" if len(calls.prompts) < 30 else "v2")

    assert explain(renamed, budget=60).verdict == "model_changed"

    def moody(prompt: str) -> str:
        calls(prompt)
        return desk(prompt) if len(calls.prompts) < 200 else "I have no idea at all"

    found = explain(Remote(moody, concurrency=1), budget=260)
    assert found.verdict == "model_changed"


def test_progress_tells_each_answer_and_can_cancel() -> None:
    seen: list[tuple[int, int | None]] = []
    explain(desk, budget=60, progress=lambda done, of: seen.append((done, of)))
    assert sorted(done for done, _ in seen) == list(range(1, 61))
    calls = Counted()
    with pytest.raises(AttributionError, match="cancelled"):
        explain(Remote(calls, concurrency=1), budget=60, progress=lambda done, of: done < 10)
    assert len(calls.prompts) == 10


def test_calls_are_made_at_once_up_to_the_limit() -> None:
    running, most = 0, 0

    async def slow(prompt: str) -> str:
        nonlocal running, most
        running, most = running + 1, max(most, running + 1)
        await asyncio.sleep(0.02)
        running -= 1
        return desk(prompt)

    explain(Remote(slow, concurrency=8), response="We approve it", budget=80)
    assert most == 8


def test_other_methods_work_on_answers_and_say_that_noise_is_untested() -> None:
    found = explain(desk, method="occlusion")
    assert (first(found), found.verdict, found.unit) == ("gold", "noise_untested", "distance")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"segments": "token"}, "can be opened"),
        ({"segments": "hierarchy"}, "can be opened"),
        ({"target": "approve"}, "log-probabilities"),
        ({"unit": "logit"}, "log-probabilities"),
        ({"baseline": "mean"}, "can be opened"),
        ({"method": "saliency"}, "can be opened"),
        ({"quality": True}, "can be opened"),
    ],
)
def test_what_needs_an_open_model_is_refused_before_a_call(settings: dict[str, Any], words: str) -> None:
    calls = Counted()
    with pytest.raises(AttributionError, match=words):
        explain(calls, response="We approve it", **settings)
    assert calls.prompts == []


def test_an_empty_response_is_refused_whether_it_was_given_or_answered() -> None:
    for answered, response in ((desk, ""), (lambda prompt: "", None)):
        with pytest.raises(AttributionError, match="there is no answer to explain: .*is empty"):
            explain(answered, response=response, budget=Budget(evaluations=20))
