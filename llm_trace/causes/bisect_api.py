"""`bisect`: which hunk of a prompt's change broke it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.causes.bisect_record import BlamedHunk
from llm_trace.causes.bisect_replays import open_halfway_replays
from llm_trace.causes.bisect_report import (
    add_cost,
    describe_grades,
    describe_rest,
    list_blamed,
    write_bisection,
)
from llm_trace.causes.bisect_scores import Grader
from llm_trace.causes.bisect_search import HunkSearch, HunkSearchResult, count_fewest_questions
from llm_trace.causes.bisect_sides import build_mixture, list_live, read_sides
from llm_trace.causes.bisect_trial import MOST_FAILING, HalfwayTrial, grade_sides
from llm_trace.causes.bisect_weights import weigh_hunks
from llm_trace.errors import ConfigurationError
from llm_trace.replays.load import load
from llm_trace.replays.playing import open_replayed_store, run_task_outside_loops
from llm_trace.replays.roots import find_functions

if TYPE_CHECKING:
    import os

    from llm_trace.capture.prompts import Prompt
    from llm_trace.causes.bisect_hunks import Mixture
    from llm_trace.causes.bisect_record import Bisection
    from llm_trace.causes.bisect_scores import AnswerMetric, GradedInput
    from llm_trace.causes.bisect_sides import BisectSides
    from llm_trace.causes.bisect_splits import Applied
    from llm_trace.causes.bisect_trial import GradedSides
    from llm_trace.comparison.sides import Spec
    from llm_trace.replays.load import Recording
    from llm_trace.replays.roots import Function
    from llm_trace.statistics.floats import Floats
    from llm_trace.stores.duckdb import Store

MOST_ANSWERS = 400
"""That are asked for where no budget ends it."""


@dataclass(frozen=True)
class BisectSettings:
    """What `bisect` was asked, checked; see there."""

    budget: int | None
    words: bool
    live: frozenset[str]
    confidence: float
    seed: int

    def __post_init__(self) -> None:
        if not 0.5 <= self.confidence < 1:
            raise ConfigurationError(f"confidence={self.confidence!r} must be at least 0.5 and below 1")
        if self.budget is not None and self.budget < 1:
            raise ConfigurationError(f"budget={self.budget!r} must be 1 or more calls, or None")

    @property
    def each(self) -> float:
        """Confidence of the search over hunks: with words, half of what may go wrong is for these."""
        return (1 + self.confidence) / 2 if self.words else self.confidence


def bisect(
    a: Spec | Prompt,
    b: Spec | Prompt,
    *,
    store: str | os.PathLike[str] | Store | None = None,
    functions: str | Function | Iterable[str | Function] | None = None,
    metric: AnswerMetric = None,
    budget: int | None = None,
    words: bool = False,
    live: Iterable[str] = (),
    confidence: float = 0.95,
    seed: int = 0,
) -> Bisection:
    """Return which hunks of the change from a to b broke the answers: lines and worked examples of prompts,
    messages, parameters, the model.

    Recorded inputs on which b is worse are asked again with half-changed prompts: the model live, tools from
    the record. Each answer says what is asked next, beginning with the hunks whose words have weight in
    explained calls. What is suspected is then proved on fresh answers, with and without each hunk, by tests
    that hold at every look; whatever is blamed is so with the stated confidence, over the whole search.

    Args:
        a: the version that is good: a `Prompt`, "name@version", or a run.
        b: the one that is worse.
        store: where they were recorded; the one that is configured where absent.
        functions: what the recorded calls began with, as for `replay`.
        metric: what is good: the name of a score (higher is better), or a function of an answer, or of an
            answer and the recorded call. Absent: whether an answer is a's.
        budget: the most calls that run for real; absent: as many as 400 answers take.
        words: look for the words inside the hunks to blame, too.
        live: names of tools that may run for real where the record has no answer.
        confidence: of all that is blamed at once.
        seed: of the order of inputs.

    Raises:
        NotFoundError: a side does not exist or has no calls.
        ConfigurationError: nothing differs, a hunk makes a template that cannot be filled, nothing grades the
            answers, or the budget is too small to prove anything.
        ReplayError: functions are missing, or an input cannot be asked again.
    """
    settings = BisectSettings(budget, words, frozenset(live), confidence, seed)
    opened = open_replayed_store(store)
    sides = read_sides(opened, a, b)
    grader = Grader(opened, metric)
    graded = grade_sides(grader, sides.inputs)
    if not graded.worse and not graded.unasked:
        notes = describe_grades(grader, graded.grades)
        return write_bisection(sides, confidence, graded.grades, 0, status="nothing", notes=notes)
    roots = [each.root for each in graded.worse or graded.unasked[:MOST_FAILING]]
    recording = load(opened, list(dict.fromkeys(roots)))
    chosen = find_functions(recording.roots, functions or ())
    mixture = build_mixture(opened, sides, recording)
    runs_live = list_live(recording, mixture)
    _check_budget(settings, recording, runs_live)
    results: list[Bisection] = []

    def ask() -> None:
        name = f"bisect {sides.labels[0]} and {sides.labels[1]}"
        with open_halfway_replays(opened, name, recording, chosen, runs_live | settings.live) as replays:
            trial = HalfwayTrial(replays, grader, settings.budget)
            results.append(_search(opened, sides, graded, mixture, trial, settings))

    run_task_outside_loops(ask)
    return add_cost(opened, results[0])


def _check_budget(settings: BisectSettings, recording: Recording, runs_live: frozenset[str]) -> None:
    """Refuse a budget that proves nothing.

    Raises:
        ConfigurationError: it is too small.
    """
    calls = sum(call.name in runs_live for call in recording.tape.calls.values())
    each = max(1.0, calls / len(recording.roots))
    fewest = count_fewest_questions(settings.each)
    if settings.budget is not None and settings.budget < fewest * each:
        raise ConfigurationError(
            f"budget={settings.budget} is too small to prove anything: at confidence {settings.confidence:g} "
            f"it takes at least {fewest} answers of about {each:.3g} calls each"
        )


def _search(
    store: Store,
    sides: BisectSides,
    graded: GradedSides,
    mixture: Mixture,
    trial: HalfwayTrial,
    settings: BisectSettings,
) -> Bisection:
    worse: Sequence[GradedInput] = graded.worse
    grades = graded.grades
    if not worse:
        some = graded.unasked[:MOST_FAILING]
        worse, grades = trial.find_worse(mixture, some, trial.grader.grade_recorded(some))
    screened = trial.replays.calls
    shared: dict[str, Any] = {"change": mixture.hunks, "run": trial.replays.run.id}
    if not worse:
        return write_bisection(
            sides,
            settings.confidence,
            grades,
            0,
            status="nothing",
            asked=len(grades[0]),
            calls=screened,
            notes=describe_grades(trial.grader, grades),
            **shared,
        )
    roots = {each.root for each in worse}
    failing = [
        span
        for each in sides.inputs
        if each.b is not None and each.root in roots
        for span in (each.b.span_id, *each.b.inside)
    ]
    weights, explained = weigh_hunks(store, mixture, failing)
    result = _run_search(mixture, worse, trial, weights, settings.each, settings.seed)
    asked = result.asked + (len(grades[0]) if screened else 0)
    is_found = result.relation not in (None, "none")
    blamed = list_blamed(mixture, result) if is_found else ()
    words: tuple[BlamedHunk, ...] = ()
    remarks: tuple[str, ...] = ()
    if is_found and settings.words:
        words, remarks, more = _search_words(store, mixture, worse, trial, result, settings)
        asked += more
    return write_bisection(
        sides, settings.confidence, grades, len(worse),
        status="found" if is_found else "undecided" if result.relation is None else "nothing",
        relation=result.relation, hunks=blamed, words=words, explained=explained, asked=asked,
        probabilities=tuple(result.probabilities.tolist()), calls=trial.replays.calls,
        notes=(*describe_rest(trial, mixture, result), *remarks), **shared,
    )  # fmt: skip


def _run_search(
    mixture: Mixture,
    worse: Sequence[GradedInput],
    trial: HalfwayTrial,
    weights: Floats,
    confidence: float,
    seed: int,
) -> HunkSearchResult:
    def ask(applied: Applied, number: int) -> float:
        return trial.measure(mixture, worse, applied, number)

    search = HunkSearch(ask, weights, len(worse), confidence=confidence, most=MOST_ANSWERS, seed=seed)
    return search.run()


def _search_words(
    store: Store,
    mixture: Mixture,
    worse: Sequence[GradedInput],
    trial: HalfwayTrial,
    result: HunkSearchResult,
    settings: BisectSettings,
) -> tuple[tuple[BlamedHunk, ...], tuple[str, ...], int]:
    """Return the words to blame inside hunks to blame, notes, and how many answers that took."""
    blamed, notes = list[BlamedHunk](), list[str]()
    asked = 0
    numbers = [contrast.hunk for contrast in result.contrasts if contrast.hunk is not None]
    for number in numbers:
        if mixture.hunks[number].kind not in ("line", "example", "message"):
            continue
        context = frozenset(numbers) - {number} if result.relation == "together" else frozenset[int]()
        inside = mixture.refine(number, context)
        if len(inside.hunks) < 2:
            continue
        weights, _ = weigh_hunks(store, inside, ())
        confidence = 1 - (1 - settings.each) / len(numbers)
        part = _run_search(inside, worse, trial, weights, confidence, settings.seed + 1 + number)
        asked += part.asked
        if part.relation in (None, "none"):
            notes.append(f"no word or two of {mixture.hunks[number].describe()!r} are proved to be to blame")
        else:
            blamed += list_blamed(inside, part)
    return tuple(blamed), tuple(notes), asked
