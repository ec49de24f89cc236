"""What the store knows of calls that a gate is fitted on or asked about, and what people said of them."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_trace.errors import ConfigurationError
from llm_trace.operations.labels import parse_label
from llm_trace.operations.signals import GateEvidence
from llm_trace.stores.lookup import read_rows_about
from llm_trace.stores.rows import build_attribution, build_score_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llm_trace.record import Attribution, Call, Score
    from llm_trace.stores.duckdb import Store
    from llm_trace.stores.filters import Filter

_INSIDE = """SELECT span_id, parent_id, kind = 'llm' OR model IS NOT NULL
FROM calls WHERE trace_id IN (SELECT unnest(?)) ORDER BY start_ns, span_id"""
_HASH = "md5(concat(CAST({0} AS TEXT), CAST(messages_{1} AS TEXT)))"
_REPEATS = f"""
WITH known AS (
    SELECT span_id, name, model, {_HASH.format("input", "in")} AS asked,
        {_HASH.format("output", "out")} AS answer
    FROM calls WHERE status = 'ok' AND name IN (SELECT name FROM calls WHERE span_id IN (SELECT unnest($1))))
SELECT a.span_id, avg((a.answer = b.answer)::INT)
FROM known a JOIN known b ON a.name = b.name AND a.asked = b.asked AND a.span_id <> b.span_id
    AND a.model IS NOT DISTINCT FROM b.model
WHERE a.span_id IN (SELECT unnest($1)) GROUP BY 1"""
_KEYS = f"""SELECT span_id, name, concat(name, {_HASH.format("input", "in")}), {_HASH.format("output", "out")}
FROM calls WHERE span_id IN (SELECT unnest(?))"""
_TEMPLATES = "SELECT name, version, template FROM prompts"
_ANSWERS = """SELECT span_id, subject AS rule, body ->> '$.answer' AS answer, time_ns FROM operations
WHERE kind = 'decision' AND span_id IN (SELECT unnest($1)) AND body ->> '$.by' = 'rule'
UNION ALL
SELECT span_id, unnest(json_keys(body -> '$.quiet')), 'quiet', time_ns FROM operations
WHERE kind = 'note' AND subject = 'rules' AND span_id IN (SELECT unnest($1))
ORDER BY time_ns"""
_LABELS = """SELECT s.span_id, s.value::VARCHAR, s.source
FROM scores s JOIN (SELECT * FROM calls WHERE {filter}) c USING (span_id)
WHERE s.name = ? AND s.time_ns > ? AND s.source IN ('human', 'code') ORDER BY s.time_ns, s.id"""


class CallLabels(NamedTuple):
    """What was said of calls."""

    right: dict[str, bool]
    """By span; wrong where people contradict each other."""
    contradicted: list[str]
    """Calls of which one said right and another wrong."""


@dataclass(frozen=True)
class CheckedCall:
    """A call whose answer is known to be right or wrong."""

    span_id: str
    name: str
    """Of the function that people checked; the evidence is of the model's call inside."""
    evidence: GateEvidence
    right: bool


def read_call_labels(store: Store, calls: Filter, label: str, *, after_ns: int = 0) -> CallLabels:
    """Return what people said of calls, where nobody did what a program computed; never a model's opinion.

    Args:
        calls: which ones.
        label: name of the score.
        after_ns: scores of this moment and earlier do not count.

    Raises:
        ConfigurationError: a score of that name that is neither right nor wrong.
    """
    by_source: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for span_id, text, source in store.sql(_LABELS.format(filter=calls.sql), *calls.values, label, after_ns):
        right = parse_label(json.loads(text))
        if right is None:
            raise ConfigurationError(
                f"the score {label!r} of call {span_id} is {text}, which is neither right nor wrong: score "
                f"it true or false, or name another label="
            )
        by_source[span_id][source].append(right)
    verdicts = {span: sources.get("human") or sources["code"] for span, sources in by_source.items()}
    contradicted = [span for span, each in verdicts.items() if len(set(each)) > 1]
    return CallLabels({span: all(each) for span, each in verdicts.items()}, contradicted)


def read_evidence(store: Store, span_ids: Sequence[str]) -> dict[str, GateEvidence]:
    """Return what the store knows of calls, by span; calls that it does not have are left out."""
    with store.hold():
        return _read_evidence(store, span_ids)


def _read_evidence(store: Store, span_ids: Sequence[str]) -> dict[str, GateEvidence]:
    calls = {call.span_id: call for call in store.pick(span_ids)}
    asking = _find_asking(store, list(calls.values()))
    inner = {call.span_id: call for call in store.pick(sorted(set(asking.values()) - set(calls)))} | calls
    ids = sorted({*calls, *asking.values()})
    attributions = _group_attributions(store, ids)
    scores: defaultdict[str, list[Score]] = defaultdict(list)
    for row in read_rows_about(store, "scores", ids):
        scores[row["span_id"]].append(
            build_score_record({"comment": None, "time_ns": 0, "source": None, **row})
        )
    agreement: dict[str, float] = dict(store.sql(_REPEATS, list(calls)).fetchall())
    templates: dict[tuple[str, str], str] = {(n, v): template for n, v, template in store.sql(_TEMPLATES)}
    answers: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for span_id, rule, answer, _ in store.sql(_ANSWERS, ids):
        answers[span_id][rule] = answer  # the newest counts
    return {
        span: GateEvidence(
            call=inner[asked],
            attributions=tuple(attributions[asked] or attributions[span]),
            scores=tuple(sorted((s for x in {span, asked} for s in scores[x]), key=lambda s: s.time_ns)),
            agreement=agreement.get(span),
            rules={
                rule: answer == "fires"
                for rule, answer in {**answers[span], **answers[asked]}.items()
                if answer != "unknown"
            },
            template=templates.get(describe_context(inner[asked])[1:]),
        )
        for span, asked in asking.items()
    }


def _group_attributions(store: Store, ids: Sequence[str]) -> defaultdict[str, list[Attribution]]:
    grouped: defaultdict[str, list[Attribution]] = defaultdict(list)
    rows = read_rows_about(store, "attributions", ids)
    for row in sorted(rows, key=lambda row: row.get("time_ns", 0)):
        attribution = build_attribution({"time_ns": None, **row}) if row["status"] == "ok" else None
        if attribution is not None:
            grouped[row["span_id"]].append(attribution)
    return grouped


def _find_asking(store: Store, calls: Sequence[Call]) -> dict[str, str]:
    """Return, by span, the last call of a model inside a call, or the call itself."""
    asking = {call.span_id: call.span_id for call in calls}
    around = {call.span_id for call in calls if call.model is None and call.kind != "llm"}
    if not around:
        return asking
    above: defaultdict[str | None, list[str]] = defaultdict(list)
    for span_id, parent_id, asks in store.sql(_INSIDE, sorted({call.trace_id for call in calls})):
        above[span_id] = [*above[parent_id], *([span_id] if span_id in around else [])]
        if asks:
            asking.update((span, span_id) for span in above[span_id])
    return asking


def read_checked(store: Store, labels: CallLabels) -> tuple[list[CheckedCall], list[str]]:
    """Return checked calls, the oldest of each input, oldest first, and those that equal answers to an equal
    input contradict; these count as wrong.
    """
    evidence = read_evidence(store, list(labels.right))
    rows = store.sql(_KEYS, list(evidence)).fetchall()
    names = {span: name for span, name, _, _ in rows}
    keys = {span: (asked, answer) for span, _, asked, answer in rows}
    by_key: defaultdict[tuple[str, str], set[bool]] = defaultdict(set)
    for span, key in keys.items():
        by_key[key].add(labels.right[span])
    contradicted = [span for span, key in keys.items() if len(by_key[key]) > 1]
    oldest: dict[str, CheckedCall] = {}
    for span in sorted(evidence, key=lambda span: (evidence[span].call.start_ns, span)):
        right = labels.right[span] and span not in contradicted
        oldest.setdefault(keys[span][0], CheckedCall(span, names[span], evidence[span], right))
    return list(oldest.values()), contradicted


def describe_context(call: Call) -> tuple[Any, ...]:
    """Return model, prompt and its version: what a gate holds for."""
    prompt = call.prompt
    return (call.model, prompt.name if prompt else None, prompt.version if prompt else None)
