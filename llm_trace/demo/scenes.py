"""The scenes of the demo: each does one thing, reads the outcome from the store, and voices its doubts."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from llm_trace.capture.runs import start_run
from llm_trace.capture.spans import log_score
from llm_trace.comparison import dataset
from llm_trace.config import configure, shutdown
from llm_trace.demo import desk
from llm_trace.demo.world import EXAMPLE, TEMPLATE_V1, strip_punctuation
from llm_trace.errors import AttributionError
from llm_trace.spool.paths import get_spool_dir

if TYPE_CHECKING:
    from pathlib import Path

    from llm_trace.demo.desk import Version
    from llm_trace.demo.world import Customer
    from llm_trace.record import Attribution
    from llm_trace.stores.duckdb import Store

_NONE_WRONG = "the example line made the model approve nothing that the handbook denies"
_NO_EXAMPLE = "no refund that only v2 approves has a day count and a word of the example line"
CALLS = 2
"""Traced calls that a customer takes: handle and ask."""
UNTRACED = 40
"""Customers that are answered once more without tracing, for comparison."""
VERSIONS: tuple[Version, ...] = get_args(desk.Version)


@dataclass(frozen=True)
class Tally:
    """What one version of the prompt answered."""

    run: str
    run_id: str
    approve: int
    deny: int
    ask: int
    right: int
    """Answers that the handbook gives too."""


@dataclass(frozen=True)
class WrongRefund:
    """A customer to whom v2 alone gives a refund against the handbook."""

    message: str
    days: str
    """The word for the day count, as it stands in the message."""
    cue: str
    """The word that the example line and the message share."""
    policy: str
    spans: dict[str, str]
    """The model call of each version."""
    said: dict[str, str]


@dataclass(frozen=True)
class AnsweredRuns:
    """Both runs."""

    customers: int
    tallies: dict[str, Tally]
    changed: int
    """Customers whom the versions answer differently."""
    wrong: int
    """Refunds that only v2 approves, against the handbook."""
    example: WrongRefund | None
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class JudgedRun:
    """How v2 does against v1, as `compare` says it, on one part of the customers."""

    customers: str
    n: int
    difference: float
    """Of the share that is answered as the handbook says."""
    low: float | None
    high: float | None
    verdict: str


@dataclass(frozen=True)
class WeightShift:
    """The attributions of one customer's answers under both versions, and the weights of two words."""

    attributions: dict[str, Attribution]
    days: dict[str, float]
    """Score of the day count, in nats."""
    cue: dict[str, float]
    """Score of the shared word in the message, in nats."""
    words: tuple[str, str]
    """The two."""
    seconds: float
    """Of one attribution, the mean."""
    passes: int
    """Evaluations of the model for both."""
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class Costs:
    """What telling all this cost."""

    calls: int
    """In the store."""
    overhead_us: float
    """Added per traced call: the medians with and without tracing, less the model's own time."""
    share: float
    """Of a pipeline's time, that this is."""
    store_bytes: int


@dataclass(frozen=True)
class Overhead:
    """What tracing added, measured on the demo's own calls."""

    call_ns: float
    pipeline_ns: float


def prepare() -> None:
    """Load the model and use it once.

    Raises:
        MissingExtraError: torch and transformers are not installed.
    """
    desk.complete(TEMPLATE_V1.format(message="Hello."))


def answer_customers(path: Path, count: int) -> tuple[AnsweredRuns, Overhead]:
    """Let both versions of the prompt answer the same customers."""
    asking = desk.list_visitors(count)
    runs: dict[str, str] = {}
    traced: list[Timed] = []
    configure(path, run=None, sample=1.0, redact=None, capture_content=True)
    try:
        for version in VERSIONS:
            with start_run(f"refund-desk {version}", config={"prompt": version, "seed": desk.SEED}) as run:
                runs[version] = run.id
                for customer in asking:
                    traced.append(_time_answer(customer, version))
                    log_score("correct", traced[-1].text == desk.compute_expected(customer))
    finally:
        shutdown()
    bare_ns = [
        _time_answer(customer, "v1").own_ns for customer in asking[:UNTRACED]
    ]  # nothing is recorded any more
    added = statistics.median(timed.own_ns for timed in traced) - statistics.median(bare_ns)
    overhead = Overhead(added / CALLS, statistics.median(timed.whole_ns for timed in traced))
    return _compare_runs(path, asking, runs), overhead


@dataclass(frozen=True)
class Timed:
    """How long one customer took."""

    whole_ns: int
    own_ns: int
    """Without the model."""
    text: str
    """The answer."""


def _time_answer(customer: Customer, version: Version) -> Timed:
    desk.watch.model_ns, begin = 0, time.perf_counter_ns()
    text = desk.handle(customer.message, version=version)
    whole = time.perf_counter_ns() - begin
    return Timed(whole, whole - desk.watch.model_ns, text)


def _compare_runs(path: Path, asking: list[Customer], runs: dict[str, str]) -> AnsweredRuns:
    """Read both runs from the store and compare them by customer."""
    from llm_trace.stores.duckdb import open_store

    query = (
        "SELECT prompt_variables ->> '$.message', output ->> '$', span_id FROM calls WHERE run = ? AND "
        "kind = 'llm'"
    )
    with open_store(path) as store:
        answers = {
            v: {str(m): (str(o), str(s)) for m, o, s in store.sql(query, run)} for v, run in runs.items()
        }
    tallies: dict[str, Tally] = {v: _tally(f"refund-desk {v}", runs[v], answers[v], asking) for v in VERSIONS}
    texts = {v: {message: text for message, (text, _) in answers[v].items()} for v in VERSIONS}
    changed = [c for c in asking if texts["v1"][c.message] != texts["v2"][c.message]]
    refunds = [c for c in changed if texts["v2"][c.message] == " APPROVE"]
    wrong = [c for c in refunds if texts["v1"][c.message] == desk.compute_expected(c)]
    example = next((refund for c in wrong if (refund := _build_example(c, answers)) is not None), None)
    doubts = () if example else (_NONE_WRONG if not wrong else _NO_EXAMPLE,)
    return AnsweredRuns(len(asking), tallies, len(changed), len(wrong), example, doubts)


def _tally(name: str, run_id: str, answers: dict[str, tuple[str, str]], asking: list[Customer]) -> Tally:
    texts = [answers[c.message][0] for c in asking]
    right = sum(text == desk.compute_expected(c) for text, c in zip(texts, asking, strict=True))
    return Tally(name, run_id, texts.count(" APPROVE"), texts.count(" DENY"), texts.count(" ASK"), right)


def _build_example(customer: Customer, answers: dict[str, dict[str, tuple[str, str]]]) -> WrongRefund | None:
    """Return the customer as an example, if it has a day count and a word in common with the example line."""
    shared = [cue for cue in customer.cues if cue in {strip_punctuation(word) for word in EXAMPLE.split()}]
    if customer.days is None or not shared:
        return None
    pairs = {v: answers[v][customer.message] for v in VERSIONS}
    return WrongRefund(
        customer.message, str(customer.days), shared[0], desk.compute_expected(customer),
        {v: span for v, (_, span) in pairs.items()}, {v: text for v, (text, _) in pairs.items()},
    )  # fmt: skip


def judge_runs(path: Path, count: int) -> tuple[JudgedRun, ...]:
    """Compare the versions on all customers and on each part of them."""
    from llm_trace.comparison.api import compare

    by = dataset.Dataset(
        "customers", tuple({c.message: _is_known(c) for c in desk.list_visitors(count)}.values())
    )
    comparison = compare("refund v1", "refund v2", store=path, by=by, metrics=["as_expected"])
    parts = [
        ("all", comparison.metric("as_expected")),
        *((s.name.removeprefix("tag "), s.metrics[0]) for s in comparison.slices),
    ]
    return tuple(JudgedRun(name, m.n, m.difference, m.low, m.high, m.verdict) for name, m in parts)


def _is_known(customer: Customer) -> dataset.Example:
    return dataset.Example(
        input={"message": customer.message},
        expected=desk.compute_expected(customer),
        tags=(desk.find_part(customer),),
    )


def explain(path: Path, answers: AnsweredRuns) -> WeightShift | None:
    """Attribute both answers to the example's customer, and keep the attributions with the calls.

    Raises:
        AttributionError: a call could not be explained.
    """
    import orjson

    from llm_trace.attribution.policy.policy import AttributionPolicy, Hook
    from llm_trace.spool.writer import SpoolWriter
    from llm_trace.stores.duckdb import open_store

    if answers.example is None:
        return None
    hook, writer = (
        Hook(AttributionPolicy(model=desk.MODEL, method="occlusion")),
        SpoolWriter(get_spool_dir(path)),
    )
    begin = time.perf_counter()
    with open_store(path) as store:
        for span in answers.example.spans.values():
            event = hook(store.call(span)) or {"status": "failed", "error": "the call has no prompt in words"}
            if event["status"] != "ok":
                raise AttributionError(f"the answer of call {span} cannot be explained: {event['error']}")
            writer.write(orjson.dumps(event)[:-1])
        seconds = (time.perf_counter() - begin) / len(VERSIONS)
        writer.close()
        store.ingest()
        return _shift(store, answers.example, seconds)


def _shift(store: Store, example: WrongRefund, seconds: float) -> WeightShift:
    """Read the attributions back and weigh the two words."""
    attributions = {v: store.attributions(span)[-1] for v, span in example.spans.items()}
    days = {v: find_weight(a, example.days) for v, a in attributions.items()}
    cue = {v: find_weight(a, example.cue) for v, a in attributions.items()}
    doubts = []
    if days["v1"] <= cue["v1"]:
        doubts.append(f"under v1 {example.days!r} does not outweigh {example.cue!r}")
    if cue["v2"] <= days["v2"]:
        doubts.append(f"under v2 {example.cue!r} does not outweigh {example.days!r}")
    doubts += [
        f"the attribution under {v} is not evidence: {a.verdict}"
        for v, a in attributions.items()
        if a.verdict != "ok"
    ]
    return WeightShift(
        attributions,
        days,
        cue,
        (example.days, example.cue),
        seconds,
        sum(a.passes for a in attributions.values()),
        tuple(doubts),
    )


def find_weight(attribution: Attribution, word: str) -> float:
    """Return the score of a word in the customer's line."""
    line = attribution.prompt.index("Customer:")
    scored = zip(attribution.segments, attribution.values, strict=True)
    return sum(
        value for segment, value in scored if segment.start > line and strip_punctuation(segment.text) == word
    )


def sum_costs(path: Path, overhead: Overhead) -> Costs:
    """Return what the whole story came to."""
    from llm_trace.stores.duckdb import open_store

    with open_store(path) as store:
        (calls,) = store.sql("SELECT count(*) FROM calls").fetchone() or (0,)
    files = [path, *(p for p in get_spool_dir(path).rglob("*") if p.is_file())]
    used = sum(p.stat().st_size for p in files)
    return Costs(int(calls), overhead.call_ns / 1000, CALLS * overhead.call_ns / overhead.pipeline_ns, used)
