"""Read what a replay answers from out of a store."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_trace.capture.input_key import InputKey, get_key_file
from llm_trace.errors import NotFoundError, ReplayError
from llm_trace.record import Run
from llm_trace.record_lists import Calls
from llm_trace.replays.tape import Tape, Taped
from llm_trace.stores.filters import Filter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llm_trace.record import Call
    from llm_trace.stores.duckdb import Store


@dataclass(frozen=True)
class Recording:
    """What is replayed."""

    id: str
    """Of the run, or of the call where one call is replayed."""
    name: str
    seed: int | None
    tape: Tape
    roots: tuple[Taped, ...]
    templates: dict[tuple[str, str], str]
    """Name and version of the store's prompts -> template."""


def load(store: Store, what: str | Run | Sequence[str]) -> Recording:
    """Return a run by id, name (its newest) or itself, or calls with what ran inside, by `span_id`.

    Raises:
        NotFoundError: the store has neither.
        ReplayError: inputs were masked and the key to their hashes is gone, or no call is the first.
    """
    runs = [what] if isinstance(what, Run) else store.runs()
    run = next((r for r in runs if what in (r, r.id, r.name)), None)
    if run is not None:
        calls, name, id_ = store.calls(run=run, limit=None), run.name, run.id
        if not calls:
            raise NotFoundError(f"run {run.name!r} ({run.id}) has no calls")
    else:
        spans = [what] if isinstance(what, str) else [str(span) for span in what]
        tops = _pick_calls(store, spans)
        traces = _read_traces(store, {top.trace_id for top in tops})
        calls = Calls(call for top in tops for call in _select_inside(traces[top.trace_id], top.span_id))
        run = next((r for r in runs if {top.run for top in tops} == {r.id}), None)
        name = f"{len(tops)} calls of {run.name}" if run and len(tops) > 1 else tops[0].name
        id_ = tops[0].span_id if len(tops) == 1 or run is None else run.id
    rebuild = _rebuild(store, [call.span_id for call in calls])
    taped = [
        _build_taped(call, rebuild.get(call.span_id, {})) for call in sorted(calls, key=lambda c: c.start_ns)
    ]
    tape = Tape(taped, _read_key(store, taped))
    roots = tuple(tape.roots())
    if not roots:
        raise ReplayError(
            f"{name!r} ({id_}) cannot run again: of its calls only the end was recorded, or they stand in "
            "each other; choose another call"
        )
    seed = run.environment.seed if run is not None and run.environment else None
    used = {call.prompt["name"] for call in taped if call.prompt}
    templates = {(p.name, p.version): p.template for p in store.prompts(halfway=True)} if used else {}
    return Recording(id_, name, seed, tape, roots, templates)


def find_id(store: Store, what: str) -> str:
    """Return the run or call meant by `last` or the beginning of an id; other names and ids as they are.

    Raises:
        NotFoundError: several begin so, or nothing was recorded.
    """
    runs = store.runs()
    if any(what in (run.id, run.name) for run in runs):
        return what
    if what == "last":
        query = (
            "SELECT coalesce(run, span_id) FROM calls WHERE parent_id IS NULL AND replay_of IS NULL ORDER "
            "BY start_ns DESC LIMIT 1"
        )
        rows = store.fetch(query)
        if not rows:
            raise NotFoundError(f"{str(store.path)!r} has no calls")
        return str(rows[0][0])
    spans = store.fetch("SELECT span_id FROM calls WHERE starts_with(span_id, ?) LIMIT 5", what)
    ids = [run.id for run in runs if run.id.startswith(what)] + [str(row[0]) for row in spans]
    if len(ids) > 1 and what not in ids:
        raise NotFoundError(
            f"{what!r} is the beginning of several ids ({', '.join(ids[:5])}): give more of it"
        )
    return ids[0] if len(ids) == 1 else what


def _pick_calls(store: Store, spans: Sequence[str]) -> list[Call]:
    """Return the calls of these ids, in this order.

    Raises:
        NotFoundError: the store lacks one.
    """
    calls = {call.span_id: call for call in store.pick(spans)}
    if missing := [span for span in spans if span not in calls]:
        raise NotFoundError(
            f"no run and no call {missing[0]!r} in {str(store.path)!r}: `llm-trace runs` lists the runs"
        )
    return [calls[span] for span in spans]


def _read_traces(store: Store, trace_ids: Iterable[str]) -> dict[str, list[Call]]:
    """Return the calls of each trace in the order of their starts, however many traces by one look."""
    ids = sorted(trace_ids)
    chosen = Filter(f"trace_id IN ({', '.join('?' * len(ids))})", tuple(ids))
    traces: dict[str, list[Call]] = defaultdict(list)
    for call in store.calls(where=chosen, order="oldest", limit=None):
        traces[call.trace_id].append(call)
    return traces


def _select_inside(calls: list[Call], span_id: str) -> list[Call]:
    """Return a call and those that ran inside it, of the calls of a trace in the order of their starts."""
    known = {span_id}
    for call in calls:
        if call.parent_id in known:
            known.add(call.span_id)
    return [call for call in calls if call.span_id in known]


def _rebuild(store: Store, spans: list[str]) -> dict[str, dict[str, Any]]:
    query = "SELECT span_id, rebuild FROM calls WHERE span_id IN (SELECT unnest(?)) AND rebuild IS NOT NULL"
    return {span: json.loads(text) for span, text in store.fetch(query, spans)}


def _read_key(store: Store, calls: list[Taped]) -> InputKey:
    if not any("key" in call.rebuild for call in calls):
        return InputKey()
    path = get_key_file(store.path)
    if not path.exists():
        raise ReplayError(
            f"inputs were masked when they were recorded, and the key to their hashes, {str(path)!r}, is "
            f"gone: "
            "copy it beside the store; without it masked calls cannot be told apart"
        )
    return InputKey(path)


def _build_taped(call: Call, rebuild: dict[str, Any]) -> Taped:
    code = call.code
    return Taped(
        span_id=call.span_id,
        parent_id=call.parent_id,
        name=call.name,
        kind=call.kind,
        input=call.input,
        output=call.output,
        status=call.status,
        error=call.error.model_dump() if call.error else None,
        rebuild=rebuild,
        start_ns=call.start_ns,
        end_ns=call.end_ns,
        function=code.function if code else None,
        place=f"{code.file}:{code.line}" if code and code.file else None,
        model=call.model,
        usage=call.usage.model_dump(exclude_none=True) if call.usage else None,
        prompt=call.prompt.model_dump() if call.prompt else None,
    )
