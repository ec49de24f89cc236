"""`evaluate`: each answer is a call with scores, each quality has bounds, and nothing is asked twice."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import llm_trace
from llm_trace import evaluate
from llm_trace.attribution import Budget
from llm_trace.comparison.dataset import Dataset, Example
from llm_trace.errors import ConfigurationError, NotFoundError, ScenarioError
from llm_trace.evaluation import Grade, Instance, contains, exact, read_evaluation
from llm_trace.evaluation.grades import scored_call
from llm_trace.spool.files import list_spool_files
from llm_trace.spool.paths import get_spool_dir
from tests.conftest import Recorded
from tests.helpers.evaluation_toys import EDITS, PUBLIC, answer, hang, make_desk, remember


def test_each_answer_is_a_call_of_the_run_with_its_scores_as_rows(store: Recorded) -> None:
    evaluation = evaluate(answer, make_desk(), [exact], n=3, seed=4, repeats=2, name="nightly")
    calls = store.calls(run="nightly", order="oldest")
    instances = make_desk().make_instances(3, 4)
    assert [(call.name, call.input, call.output) for call in calls] == [
        ("desk", each.input, each.expected) for each in [*instances, *instances]
    ]
    assert [(c.metadata["instance"], c.metadata["variant"], c.metadata["repeat"]) for c in calls] == [
        (each.id, "fresh", repeat) for repeat in (0, 1) for each in instances
    ]
    rows = store.sql("SELECT span_id, name, number FROM scores").fetchall()
    assert Counter(rows) == Counter((call.span_id, "exact", 1.0) for call in calls)
    assert [each.instance for each in evaluation.outcomes] == [*instances, *instances]
    (run,) = store.runs()
    assert evaluation.run == run
    assert run.tags == ("evaluation",)
    assert run.environment.seed == 4
    names = ("scenarios", "n", "seed", "repeats", "scorers", "function")
    assert {name: run.config[name] for name in names} == {
        "scenarios": {"desk": make_desk().version}, "n": 3, "seed": 4, "repeats": 2, "scorers": ["exact"],
        "function": "answer",
    }  # fmt: skip


def test_what_the_function_calls_is_recorded_inside(store: Recorded) -> None:
    @llm_trace.trace(kind="llm")
    def ask(prompt: str) -> str:
        return "APPROVE"

    def agent(message: str, waited: int) -> str:
        return ask(message)

    evaluate(agent, make_desk(), exact, n=2)
    roots = {call.span_id: call for call in store.calls(name="desk")}
    inner = store.calls(name="ask")
    assert len(inner) == 2
    assert all(call.input["prompt"] == roots[call.parent_id].input["message"] for call in inner)


async def answer_later(message: str, waited: int) -> str:
    await asyncio.sleep(0)
    return answer(message, waited)


def answer_in_chunks(message: str, waited: int) -> Any:
    yield from answer(message, waited)


def test_sync_async_and_streaming_functions_come_to_the_same(store: Recorded) -> None:
    for fn in (answer, answer_later, answer_in_chunks):
        evaluation = evaluate(fn, make_desk(), exact, n=4, concurrency=3)
        assert (evaluation.dimension("exact").value, evaluation.answered) == (1.0, 4)


def test_in_a_running_event_loop(store: Recorded) -> None:
    async def main() -> int:
        return evaluate(answer_later, make_desk(), exact, n=2).answered

    assert asyncio.run(main()) == 2


def test_dimensions_are_apart_each_with_bounds(store: Recorded) -> None:
    evaluation = evaluate(remember, make_desk(**EDITS), [exact, contains], n=20, repeats=2)
    shown = {each.name: (each.value, each.n, each.instances) for each in evaluation.dimensions}
    fresh = make_desk().make_instances(20)
    right = sum(each.expected == "APPROVE" for each in fresh)
    for name in ("exact", "contains"):
        assert shown[name] == (right / 20, 40, 20)
        assert shown[f"{name} consistency"] == (1.0, 2 * right, right)
        assert shown[f"{name} robustness"] == (1.0, 2 * right, right)
        assert shown[f"{name} sensitivity"] == (0.0, 2 * right, right)
    for each in evaluation.dimensions:
        assert each.low is not None
        assert each.high is not None
        assert each.low <= each.value <= each.high
        assert each.low < each.high


def test_results_are_told_apart_by_scenario_and_by_slots(store: Recorded) -> None:
    one = make_desk(slices=["waited"], slots={"waited": {"choice": [10, 40]}, "name": {"names": "people"}},
                    input={"message": "{{ name }}", "waited": "{{ waited }}"})  # fmt: skip
    evaluation = evaluate(remember, [one, make_desk(id="other")], exact, n=10)
    values = {each.slice: each.value for each in evaluation.dimensions}
    assert (values["waited 10"], values["waited 40"]) == (1.0, 0.0)
    assert set(values) == {None, "waited 10", "waited 40", "scenario desk", "scenario other"}


def test_a_memoriser_is_found_and_a_rule_is_certified(store: Recorded) -> None:
    desk = make_desk(public=PUBLIC)
    gap = evaluate(remember, desk, exact, n=60).memorisation_gap
    assert gap is not None
    assert (gap.verdict, gap.public, gap.n_public, gap.n_fresh) == ("memorised", 1.0, 60, 60)
    assert gap.low is not None
    assert gap.low > 0.2
    assert gap.p_value is not None
    assert gap.p_value < 0.001
    rule = evaluate(answer, desk, exact, n=60).memorisation_gap
    assert rule is not None
    assert (rule.verdict, rule.value, rule.equivalent) == ("equivalent", 0.0, True)
    assert (
        "It remembers".lower() in str(read_evaluation("remember", store=store.path)).lower()
    )  # the sentence for a layman


def broken(output: Any, instance: Instance) -> float:
    raise KeyError("no such field")


def undefined(output: Any, instance: Instance) -> float:
    return float("nan")


def several(output: Any, instance: Instance) -> dict[str, Any]:
    return {"length": len(output), "polite": Grade(value=False, comment="no please", source="model")}


def test_a_scorer_that_fails_costs_its_score_and_nothing_else(store: Recorded) -> None:
    evaluation = evaluate(answer, make_desk(), [broken, exact, undefined, several], n=2)
    assert [each.name for each in evaluation.dimensions] == ["exact", "several.length", "several.polite"]
    scorers = [(each.score, each.words) for each in evaluation.failures if each.kind == "scorer"]
    assert scorers == 2 * [
        ("broken", "KeyError: 'no such field'"),
        ("undefined", "the scorer returned nan, which is no finite number and no yes or no"),
    ]
    wrong = [(each.score, each.words) for each in evaluation.failures if each.kind == "wrong"]
    assert wrong == 2 * [("several.polite", "no please")]
    assert store.sql("SELECT DISTINCT source FROM scores WHERE name = 'several.polite'").fetchone() == (
        "model",
    )


def test_what_raises_or_hangs_counts_as_zero_and_the_rest_is_kept(store: Recorded) -> None:
    def fail(message: str, waited: int) -> str:
        if waited > 30:
            raise RuntimeError("out of order")
        return "APPROVE"

    fresh = make_desk().make_instances(8)
    late = [each.id for each in fresh if each.expected == "DENY"]
    for fn, timeout, kind, text in (
        (fail, 60, "error", "RuntimeError: out of order"),
        (hang, 3, "timeout", "no answer within 3 s"),
    ):
        evaluation = evaluate(fn, make_desk(), exact, n=8, timeout=timeout, concurrency=8)
        exactly = evaluation.dimension("exact")
        assert (exactly.n, exactly.failed, exactly.value) == (8, len(late), 1 - len(late) / 8)
        assert [(each.instance, each.kind) for each in evaluation.failures] == [(id_, kind) for id_ in late]
        assert all(text in each.words for each in evaluation.failures)
        assert evaluation.answered == 8


def test_a_budget_ends_it_and_resume_asks_what_is_lacking_and_nothing_else(store: Recorded) -> None:
    asked: list[str] = []

    def count(message: str, waited: int) -> str:
        asked.append(message)
        return answer(message, waited)

    progress: list[tuple[int, int]] = []
    first = evaluate(count, make_desk(), exact, n=9, budget=4, progress=lambda *each: progress.append(each))
    assert (len(asked), first.answered, first.planned) == (4, 4, 9)
    assert "The budget of 4 calls was used up." in first.notes
    assert "5 calls are lacking" in str(first)
    assert progress == [(i, 9) for i in range(5)]
    whole = evaluate(count, make_desk(), exact, n=9, resume=first.run, concurrency=2)
    assert sorted(asked) == sorted(each.input["message"] for each in make_desk().make_instances(9))
    assert (whole.answered, whole.run.id, whole.notes) == (9, first.run.id, ())
    again = evaluate(count, make_desk(), exact, n=9, resume="count")
    assert len(asked) == 9
    assert again.dimensions == whole.dimensions


def test_a_budget_that_ends_early_has_some_of_each_scenario(store: Recorded) -> None:
    evaluation = evaluate(answer, [make_desk(), make_desk(id="other")], exact, n=4, budget=2)
    assert [each.instance.scenario for each in evaluation.outcomes] == ["desk", "other"]


def test_a_dataset_is_asked_as_it_is(store: Recorded) -> None:
    examples = tuple(map(Example.model_validate, PUBLIC[:5]))
    dataset = Dataset("approved", examples)
    evaluation = evaluate(answer, dataset, exact)
    assert [(each.instance.variant, each.instance.input, each.scores) for each in evaluation.outcomes] == [
        ("public", each.input, {"exact": 1.0}) for each in examples
    ]
    assert evaluation.run.config["scenarios"] == {"approved": dataset.version}
    assert [(each.name, each.value, each.n) for each in evaluation.dimensions] == [("exact public", 1.0, 5)]
    assert "exact: 100% on 5 public examples" in str(evaluation)


def test_budgets_of_seconds_and_dollars(store: Recorded) -> None:
    def costly(message: str, waited: int) -> str:
        llm_trace.update_current_call(cost_usd=0.25)
        return answer(message, waited)

    evaluation = evaluate(costly, make_desk(), exact, n=5, budget=Budget(usd=0.5))
    assert evaluation.answered == 2
    assert evaluate(costly, make_desk(), exact, n=3, budget=Budget(seconds=0)).answered == 0


KILLED = """
import os, sys
from llm_trace import evaluate
from llm_trace.evaluation import exact
from tests.helpers.evaluation_toys import answer, make_desk

asked = []

def count(message, waited):
    asked.append(message)
    print(message, flush=True)
    if len(asked) == 6:
        os.kill(os.getpid(), 9)
    return answer(message, waited)

evaluate(count, make_desk(), exact, n=10, store=sys.argv[1])
"""


def test_after_a_kill_only_what_had_no_answer_is_asked_again(path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(path)]
    killed = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False
    )
    messages = [each.input["message"] for each in make_desk().make_instances(10)]
    assert (killed.returncode, killed.stdout.splitlines()) == (-9, messages[:6])
    asked: list[str] = []

    def count(message: str, waited: int) -> str:
        asked.append(message)
        return answer(message, waited)

    evaluation = evaluate(count, make_desk(), exact, n=10, store=path, resume="count")
    assert asked == messages[5:]
    assert (evaluation.answered, evaluation.dimension("exact").value) == (10, 1.0)


def test_an_answer_whose_scores_were_lost_is_scored_and_not_asked_again(store: Recorded) -> None:
    class Stop(BaseException):
        pass

    seen: list[str] = []

    def judge(output: str, instance: Instance) -> bool:
        seen.append(instance.id)
        if len(seen) == 3:
            raise Stop
        return True

    def count(message: str, waited: int) -> str:
        calls.append(message)
        return "APPROVE"

    calls: list[str] = []
    with pytest.raises(Stop):
        evaluate(count, make_desk(), judge, n=4)
    evaluation = evaluate(count, make_desk(), judge, n=4, resume="count")
    assert (len(calls), len(seen)) == (4, 5)
    assert (evaluation.dimension("judge").n, evaluation.dimension("judge").value) == (4, 1.0)


def test_a_run_that_asked_something_else_is_not_resumed(store: Recorded) -> None:
    evaluate(answer, make_desk(), exact, n=2, name="first")
    with pytest.raises(ConfigurationError, match="its n was 2 and is 3 now"):
        evaluate(answer, make_desk(), exact, n=3, resume="first")
    with pytest.raises(ConfigurationError, match="its scenarios was"):
        evaluate(answer, make_desk(expected="'DENY'"), exact, n=2, resume="first")
    with pytest.raises(NotFoundError, match="no evaluation 'other'.* the newest are first"):
        evaluate(answer, make_desk(), exact, n=2, resume="other")


def test_without_a_place_to_record_to_it_says_what_to_do(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing says where: pass store='traces.duckdb'"):
        evaluate(answer, make_desk(), exact, n=1)
    assert evaluate(answer, make_desk(), exact, n=1, store=path).answered == 1
    llm_trace.configure(path)
    with pytest.raises(ConfigurationError, match="recorded to"):
        evaluate(answer, make_desk(), exact, n=1, store=path.with_name("other.duckdb"))


def test_a_scenario_that_cannot_be_made_stops_it_before_any_call(store: Recorded) -> None:
    with pytest.raises(ScenarioError, match="division by zero"):
        evaluate(answer, [make_desk(), make_desk(id="bad", expected="1 / 0")], exact, n=1)
    assert not list_spool_files(get_spool_dir(store.path))


def test_the_json_of_an_evaluation_holds_all_of_it(store: Recorded) -> None:
    evaluation = evaluate(answer, make_desk(public=PUBLIC[:3], **EDITS), exact, n=3)
    assert (
        type(evaluation).model_validate_json(evaluation.model_dump_json()).dimensions == evaluation.dimensions
    )
    assert set(evaluation.model_dump(mode="json")) == {
        "run", "dimensions", "memorisation_gaps", "failures", "planned", "answered", "confidence", "notes",
        "calibrations", "bias_probes",
    }  # fmt: skip


def test_retry_asks_again_what_failed(store: Recorded) -> None:
    asked: list[int] = []

    def fail_once(message: str, waited: int) -> str:
        asked.append(waited)
        if len(asked) == 2:
            raise ConnectionError("try later")
        return answer(message, waited)

    first = evaluate(fail_once, make_desk(), exact, n=3)
    assert [each.kind for each in first.failures] == ["error"]
    assert evaluate(fail_once, make_desk(), exact, n=3, resume=first.run).failures == first.failures
    whole = evaluate(fail_once, make_desk(), exact, n=3, resume=first.run, retry=True)
    assert (len(asked), asked[3], whole.failures) == (4, asked[1], ())
    assert whole.dimension("exact").n == 3


def test_a_scorer_that_is_traced_itself_knows_the_call_that_it_scores(store: Recorded) -> None:
    @llm_trace.trace(kind="llm")
    def judge(output: str, instance: Instance) -> bool:
        llm_trace.update_current_call(metadata={"scored": scored_call.get()})
        return True

    evaluation = evaluate(answer, make_desk(), judge, n=2, concurrency=2)
    judged = {call.metadata["scored"]: call.run for call in store.calls(name="judge")}
    assert judged == {each.span_id: evaluation.run.id for each in evaluation.outcomes}


def test_without_content_scores_are_kept_and_nothing_of_the_answers(path: Path) -> None:
    llm_trace.configure(path, capture_content=False)
    evaluation = evaluate(answer, make_desk(), exact, n=3)
    assert (evaluation.dimension("exact").value, evaluation.answered) == (1.0, 3)
    assert {each.output for each in evaluation.outcomes} == {None}


def test_what_sampling_left_out_is_said(path: Path) -> None:
    llm_trace.configure(path, sample=0.0)
    evaluation = evaluate(answer, make_desk(), exact, n=3)
    assert (evaluation.answered, evaluation.dimensions) == (0, ())
    assert evaluation.notes == ("3 calls were left out of the store by sampling, so they do not count.",)
