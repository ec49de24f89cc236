"""What an evaluation has in the store: each instance and repeat, how it ended, and its scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import Field, ValidationError

from llm_trace.call_parts import Record
from llm_trace.evaluation.grades import FAILED, is_of
from llm_trace.evaluation.instances import Instance
from llm_trace.record import Call, Run, Status
from llm_trace.stores.duckdb import Store
from llm_trace.stores.filters import Filter

_KEPT = ("scenario", "variant", "of", "edit", "group", "expected", "slots", "slices", "decisive")
FINISHED = ("ok", "error")
_IS_ASKED = (
    "json_extract(metadata, '$.instance') IS NOT NULL AND json_extract(metadata, '$.repeat') IS NOT NULL"
)


class Outcome(Record):
    """One instance asked once."""

    instance: Instance
    repeat: int
    """From 0."""
    span_id: str
    """The call in the store; its trace holds what the function called."""
    status: Status
    output: Any = None
    """As the store has it."""
    error: str | None = None
    """Why there is no output."""
    timed_out: bool = False
    scores: dict[str, float] = Field(default_factory=dict)
    """By name; a yes is 1."""
    human_scores: dict[str, float | str] = Field(default_factory=dict)
    """Those that people gave, the last of each name; a yes is 1."""
    comments: dict[str, str] = Field(default_factory=dict)
    """Of scores that have one."""
    failed_scorers: dict[str, str] = Field(default_factory=dict)
    """Scorers that gave no score, with their words."""


def write_metadata(instance: Instance, repeat: int) -> dict[str, Any]:
    """Return the metadata of the call that asks an instance."""
    fields = instance.model_dump(mode="json", include=set(_KEPT), exclude_defaults=True)
    return {"variant": instance.variant, **fields, "instance": instance.id, "repeat": repeat}


def read_outcomes(store: Store, run: Run, scorers: Iterable[str]) -> list[Outcome]:
    """Return the outcomes of a run that have an end, in the order of their ids and repeats.

    Where one was asked again after it was killed, the last that finished counts.
    """
    calls = store.calls(run=run, limit=None, order="oldest", where=Filter(_IS_ASKED, ()))
    scores = _read_scores(store, run)
    outcomes = (_build_outcome(call, scores[call.span_id], list(scorers)) for call in calls)
    finished = (each for each in outcomes if each is not None and each.status in FINISHED)
    by_key = {(each.instance.id, each.repeat): each for each in finished}
    return list(by_key.values())


class _Row(NamedTuple):
    """A score of a call, its text where it has no number."""

    name: str
    value: float | str
    comment: str | None
    source: str


def _read_scores(store: Store, run: Run) -> defaultdict[str, list[_Row]]:
    query = """SELECT s.span_id, s.name, s.value::VARCHAR, s.number, s.comment, s.source
               FROM scores s JOIN calls c ON s.span_id = c.span_id WHERE c.run = ? ORDER BY s.time_ns, s.id"""
    scores: defaultdict[str, list[_Row]] = defaultdict(list)
    for span_id, name, text, number, comment, source in store.fetch(query, run.id):
        value = {"true": 1.0, "false": 0.0}.get(text, number)
        scores[span_id].append(_Row(name, text.strip('"') if value is None else value, comment, source))
    return scores


def _build_outcome(call: Call, rows: list[_Row], scorers: list[str]) -> Outcome | None:
    instance = _read_instance(call)
    if instance is None:
        return None
    scores = [each for each in rows if each.source != "human"]
    ours = [each for each in scores if is_of(each.name, scorers) and isinstance(each.value, float)]
    return Outcome(
        instance=instance,
        repeat=int(call.metadata["repeat"]),
        span_id=call.span_id,
        status=call.status,
        output=call.output,
        error=f"{call.error.type}: {call.error.message}" if call.error else None,
        timed_out=bool(call.metadata.get("timed_out")),
        scores={each.name: float(each.value) for each in ours},
        human_scores={each.name: each.value for each in rows if each.source == "human"},
        comments={each.name: each.comment for each in ours if each.comment},
        failed_scorers={
            each.name.removesuffix(FAILED): each.comment or str(each.value)
            for each in scores
            if each.name.endswith(FAILED)
        },
    )


def _read_instance(call: Call) -> Instance | None:
    about: Mapping[str, Any] = call.metadata
    fields = {name: about[name] for name in _KEPT if name in about}
    try:
        return Instance.model_validate({**fields, "id": about["instance"], "input": call.input or {}})
    except (ValidationError, KeyError):
        return None
