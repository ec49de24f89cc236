"""Lines of the spool as the events that exporters are given, field by field as the store has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_trace import semconv
from llm_trace.exporters.protocol import Event
from llm_trace.pricing.cost import price_call
from llm_trace.pricing.rates import COUNTS
from llm_trace.record import PromptUse
from llm_trace.spool.messages import fill_messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from llm_trace.exporters.delivery.spool_reader import Lines
    from llm_trace.pricing.book import PriceBook

Fields = dict[str, Any]

_FIRST_WINS = ("trace_id", "parent_id", "name", "kind", "start_ns")
_LATER_WINS = (
    "first_token_ns", "model", "provider", "cost_usd", "cost_basis", "run", "session", "user", "tags",
    "prompt", "error", "code", "replay_of", "params", "metadata", "input", "output", "messages_in",
    "messages_out",
)  # fmt: skip
_NO_TRACE = "0" * 32
_PROMPT = tuple(PromptUse.model_fields)


def build_call_event(
    span_id: str, start: Fields, end: Fields, started: Lines | None, ended: Lines | None
) -> Event:
    """Return a call that has ended, or was interrupted: then `end` is empty.

    Args:
        span_id: of the call.
        start: its start event, empty if that was never seen.
        end: its end event.
        started: the file of the start.
        ended: the file of the end.
    """
    first, later = _join_spoken(start, started), _join_spoken(end, ended)
    data = {
        "span_id": span_id,
        "trace_id": end.get("trace_id") or _NO_TRACE,
        "name": "unknown",
        "kind": "chain",
    }
    data |= {name: start[name] for name in _FIRST_WINS if start.get(name) is not None}
    for source in (first, later):
        data |= {name: source[name] for name in _LATER_WINS if source.get(name) is not None}
    usage = {**_read_counts(start), **_read_counts(end)}
    if usage:
        data["usage"] = usage
    if isinstance(prompt := data.get("prompt"), dict):
        data["prompt"] = {name: prompt[name] for name in _PROMPT if name in prompt}
    data["status"] = end.get("status") or "interrupted"
    if (end_ns := end.get("end_ns")) is not None:
        data["end_ns"] = end_ns
        data.setdefault("start_ns", end_ns)
    if "messages_in" not in data:
        data["messages_in"] = semconv.messages_in(data.get("input"))
    if "messages_out" not in data:
        data["messages_out"] = semconv.messages_out(data.get("output"))
    return Event("call", span_id, data)


def with_messages(call: Event, accounts: Iterable[tuple[Fields, Lines | None]]) -> Event:
    """Return a call; without messages of its own, with those of the first other account that has some."""
    data = dict(call.data)
    for event, lines in accounts:
        complete = _join_spoken(event, lines)
        for name in ("messages_in", "messages_out"):
            if not data.get(name) and name in complete:
                data[name] = complete[name]
    return Event(call.kind, call.id, data)


def with_cost(call: Event, prices: PriceBook) -> Event:
    """Return a call with what it cost and what that rests on, as far as it is known."""
    return Event(call.kind, call.id, {**call.data, **price_call(call.data, prices)})


def _join_spoken(event: Fields, lines: Lines | None) -> Fields:
    """Return an event with its messages: normalised in their lists, as logged in input and output."""
    if lines is None or not ("messages_in" in event or "messages_out" in event):
        return event
    joined = dict(event)
    for name, place in (("messages_in", "input"), ("messages_out", "output")):
        if (ranges := event.get(name)) is not None:
            joined[name] = lines.messages(ranges)
            joined[place] = fill_messages(event.get(place), lines.bodies(ranges))
    return joined


def _read_counts(event: Fields) -> Fields:
    usage = event.get("usage")
    if not isinstance(usage, dict):
        return {}
    counts: Fields = {name: usage[name] for name in COUNTS if isinstance(usage.get(name), int)}
    if isinstance(details := usage.get("details"), dict):
        counts["details"] = {name: n for name, n in details.items() if isinstance(n, int)}
    if isinstance(tier := usage.get("tier"), str):
        counts["tier"] = tier
    return counts


def build_other_event(event: Fields, runs: dict[str, Fields], traces: Mapping[str, str]) -> Event | None:
    """Return a score, attribution, run or prompt, `None` for a line that is none of these.

    Args:
        event: the line.
        runs: what was said so far of runs that have not ended; kept up to date here.
        traces: trace ids by span id, as far as known.
    """
    kind = event.get("event")
    if kind == "run" and isinstance(identity := event.get("id"), str):
        return Event("run", identity, _run(identity, event, runs))
    data = {name: value for name, value in event.items() if name != "event" and value is not None}
    if kind == "prompt":
        return Event("prompt", f"{data.get('name')}:{data.get('version')}", data)
    if kind == "attribution" and isinstance(attribution := data.pop("attribution", None), dict):
        data = {
            **attribution,
            **data,
            "method": attribution.get("method") or data.get("method"),
        }  # not the name it was asked by
    if kind not in ("score", "attribution") or not isinstance(identity := data.get("id"), str):
        return None
    if (trace := traces.get(str(data.get("span_id")))) is not None:
        data.setdefault("trace_id", trace)
    return Event("score" if kind == "score" else "attribution", identity, data)


def _run(identity: str, event: Fields, runs: dict[str, Fields]) -> Fields:
    fields = {name: value for name, value in event.items() if name != "event" and value is not None}
    known = {**runs.pop(identity, {}), **fields}
    if "end_ns" not in known:
        runs[identity] = known
    return known
