"""`evaluate`: from a function and scenarios to an `Evaluation`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import zip_longest
from typing import Any

from llm_trace.attribution_settings import Budget
from llm_trace.capture.inspection import get_function_name
from llm_trace.capture.protocols import CallRecorder
from llm_trace.capture.runs import continue_run, start_run
from llm_trace.comparison.dataset import Dataset
from llm_trace.errors import ConfigurationError
from llm_trace.evaluation.asking import Asker, Progress, Question
from llm_trace.evaluation.calling import run_outside_loops
from llm_trace.evaluation.dataset_scenario import DatasetScenario
from llm_trace.evaluation.evaluation import MARGIN, TAG, Evaluation, find_evaluation_run, read_evaluation
from llm_trace.evaluation.generator_scenario import GeneratorScenario
from llm_trace.evaluation.grades import Scorer, is_of, name_scorers
from llm_trace.evaluation.instances import Instance, InstanceSource
from llm_trace.evaluation.outcomes import Outcome, read_outcomes
from llm_trace.evaluation.places import record_to
from llm_trace.evaluation.scenario_file import load_scenarios
from llm_trace.record import Run
from llm_trace.stores.duckdb import Store, open_store

Source = str | os.PathLike[str] | Dataset | InstanceSource | Callable[..., Any]


def evaluate(
    fn: Callable[..., Any],
    scenarios: Source | Iterable[Source],
    scorers: Scorer | Iterable[Scorer] | Mapping[str, Scorer],
    *,
    n: int = 20,
    seed: int = 0,
    repeats: int = 1,
    name: str | None = None,
    concurrency: int = 1,
    budget: int | Budget | None = None,
    timeout: float | None = None,
    resume: str | Run | None = None,
    retry: bool = False,
    store: str | os.PathLike[str] | Store | None = None,
    progress: Progress | None = None,
    confidence: float = 0.95,
    margin: float = MARGIN,
) -> Evaluation:
    """Ask a function fresh instances of scenarios and return each quality of its answers, with bounds.

    It is one run. Each instance and repeat is a call of it, named after its scenario, with the instance in
    its metadata and the scores as rows of `scores`; what the function calls is recorded inside.

    Args:
        fn: takes the input of an instance by name; sync (called in a thread), async, or a generator.
        scenarios: scenarios, generator functions, paths of scenario files, `Dataset`s (asked as they are,
            like a public set), or one of them.
        scorers: functions of (output, instance), by name or called by their own.
        n: fresh instances of each scenario; at most as many public ones.
        seed: of the instances. Another one asks other questions.
        repeats: how often each instance is asked.
        name: of the run; by default after the function.
        concurrency: calls at a time.
        budget: calls of the function from now on; a `Budget` for seconds, dollars, tokens too (cost is looked
            up after each round of calls). What is left out is asked by `resume`.
        timeout: seconds for a call, and for a scorer. A sync function that hangs is left in its thread.
        resume: a run (name, id) to complete: what is in the store is not asked again.
        retry: ask again what raised or took too long in the resumed run.
        store: where to record, where nothing is configured.
        progress: called with how many calls are done, and of how many.
        confidence: of the bounds.
        margin: a memorisation gap that would not matter.

    Raises:
        ConfigurationError: something cannot work, or the resumed run asked something else.
        ScenarioError: a scenario cannot make its instances; nothing was asked.
        NotFoundError: there is no run to resume.
    """
    limits = _check_numbers(n, repeats, concurrency, timeout, budget, confidence, margin)
    sources = list_sources(scenarios)
    named = name_scorers(scorers)
    instances = interleave([source.make_instances(n, seed) for source in sources])
    _check_instances(instances)
    settings: dict[str, Any] = {
        "scenarios": {source.id: source.version for source in sources},
        "n": n, "seed": seed, "repeats": repeats, "scorers": list(named), "function": get_function_name(fn),
        "planned": len(instances) * repeats, "confidence": confidence, "margin": margin,
    }  # fmt: skip
    with record_to(store) as (recorder, path):
        earlier = None if resume is None else _find_earlier(open_store(path), resume, settings)
        with _begin(recorder, earlier, name or get_function_name(fn), settings) as run:
            done = [] if earlier is None else _list_done(open_store(path), run, named, retry=retry)
            questions = _list_questions(instances, repeats, done, named)
            asker = Asker(
                fn, named, timeout, limits, lambda: _measure_spent(path, run), progress or _show_nothing
            )
            finished = settings["planned"] - len(questions)
            run_outside_loops(lambda: asker.ask_all(questions, concurrency, finished))
        evaluation = read_evaluation(run, store=path, confidence=confidence, margin=margin)
        notes = _write_notes(asker, len(done) + asker.calls - evaluation.answered)
        return evaluation.model_copy(update={"notes": notes})


def list_sources(scenarios: Source | Iterable[Source]) -> list[InstanceSource]:
    """Return scenarios of whatever form as sources of instances.

    Raises:
        ConfigurationError: one is no scenario, or two have one id.
    """
    single = (
        isinstance(scenarios, str | os.PathLike | Dataset) or callable(scenarios) or _is_source(scenarios)
    )
    several: Iterable[Any] = [scenarios] if single else scenarios  # type: ignore[assignment]
    sources: list[InstanceSource] = []
    for each in several:
        if isinstance(each, str | os.PathLike):
            sources += load_scenarios(each)
        elif _is_source(each):
            sources.append(each)
        elif isinstance(each, Dataset):
            sources.append(DatasetScenario(each))
        elif callable(each):
            sources.append(GeneratorScenario(each))
        else:
            raise ConfigurationError(
                f"{each!r} is no scenario: pass a Scenario, a generator function or a path"
            )
    ids = [source.id for source in sources]
    if repeated := [id_ for i, id_ in enumerate(ids) if id_ in ids[:i]]:
        raise ConfigurationError(f"two scenarios are called {repeated[0]!r}: rename one")
    if not sources:
        raise ConfigurationError("there are no scenarios: pass a Scenario, or the path of a scenario file")
    return sources


def interleave(parts: Sequence[Sequence[Instance]]) -> list[Instance]:
    """Return the instances of several scenarios in turn: a budget that ends early has some of each."""
    turns = zip_longest(*parts)
    return [instance for turn in turns for instance in turn if instance is not None]


def _is_source(value: Any) -> bool:
    return hasattr(value, "make_instances")


def _check_numbers(
    n: int, repeats: int, concurrency: int, timeout: float | None, budget: int | Budget | None,
    confidence: float, margin: float,
) -> Budget:  # fmt: skip
    least = {"n": (n, 0), "repeats": (repeats, 1), "concurrency": (concurrency, 1)}
    for name, (value, low) in least.items():
        if value < low:
            raise ConfigurationError(f"{name}={value!r} must be at least {low}")
    if timeout is not None and timeout <= 0:
        raise ConfigurationError(f"timeout={timeout!r} must be more than 0 seconds")
    if not 0.5 < confidence < 1:
        raise ConfigurationError(f"confidence={confidence!r} must lie between 0.5 and 1, such as 0.95")
    if margin <= 0:
        raise ConfigurationError(f"margin={margin!r} must be above 0, such as 0.05")
    return budget if isinstance(budget, Budget) else Budget(evaluations=budget)


def _check_instances(instances: Sequence[Instance]) -> None:
    seen: set[str] = set()
    for instance in instances:
        if instance.id in seen:
            raise ConfigurationError(f"two instances have the id {instance.id!r}: make ids unique")
        seen.add(instance.id)
    if not instances:
        raise ConfigurationError("the scenarios make no instances: raise n")


def _find_earlier(store: Store, resume: str | Run, settings: Mapping[str, Any]) -> Run:
    """Return the run to complete, which must have asked the same."""
    run = find_evaluation_run(store, resume)
    for key in ("function", "scenarios", "n", "seed", "repeats", "scorers"):
        if run.config.get(key) != settings[key]:
            raise ConfigurationError(
                f"run {run.name!r} ({run.id}) cannot be resumed: its {key} was {run.config.get(key)!r} and "
                f"is {settings[key]!r} now; give the same, or leave resume= out"
            )
    return run


def _begin(
    recorder: CallRecorder, earlier: Run | None, name: str, settings: Mapping[str, Any]
) -> AbstractContextManager[Run]:
    return start_run(name, settings, [TAG]) if earlier is None else continue_run(recorder, earlier)


def _list_done(store: Store, run: Run, scorers: Iterable[str], *, retry: bool) -> list[Outcome]:
    outcomes = read_outcomes(store, run, scorers)
    return [each for each in outcomes if each.status == "ok" or not retry]


def _list_questions(
    instances: Sequence[Instance], repeats: int, done: Sequence[Outcome], scorers: Iterable[str]
) -> list[Question]:
    """Return what is to be asked, and answers that lack scores."""
    answers = {(each.instance.id, each.repeat): each for each in done}
    questions = []
    for repeat in range(repeats):
        for instance in instances:
            answer = answers.get((instance.id, repeat))
            if answer is None:
                questions.append(Question(instance, repeat))
            elif answer.status == "ok" and (lacking := _list_lacking(answer, scorers)):
                questions.append(Question(instance, repeat, answer.span_id, answer.output, lacking))
    return questions


def _list_lacking(answer: Outcome, scorers: Iterable[str]) -> tuple[str, ...]:
    there = [*answer.scores, *answer.failed_scorers]
    return tuple(name for name in scorers if not any(is_of(score, [name]) for score in there))


def _measure_spent(path: os.PathLike[str], run: Run) -> tuple[int, float]:
    totals = open_store(path).run_totals([run.id]).get(run.id)
    if totals is None:
        return 0, 0.0
    return (totals.input_tokens or 0) + (totals.output_tokens or 0), totals.cost_usd or 0.0


def _write_notes(asker: Asker, unrecorded: int) -> tuple[str, ...]:
    notes = [f"The budget of {asker.stopped} was used up."] if asker.stopped is not None else []
    if unrecorded > 0:
        notes.append(f"{unrecorded:,} calls were left out of the store by sampling, so they do not count.")
    return tuple(notes)


def _show_nothing(done: int, total: int) -> None:
    """Show no progress."""


__all__ = ["evaluate", "list_sources"]
