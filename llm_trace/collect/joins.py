"""Which calls of a coding agent are one: the agent tells of each in log records, and of some in spans too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from llm_trace.bounded_dict import BoundedDict
from llm_trace.semconv import names
from llm_trace.semconv.agents import CALL_ID, TURNS
from llm_trace.semconv.merge import check_overlap, get_counts, get_response_id, merge_calls
from llm_trace.semconv.shapes import CallDict
from llm_trace.semconv.values import get_field, get_first_value, list_fields

_MOST = 5_000
_MOST_OF_TURN = 32
"""Calls of one turn that a later one is compared with."""
_APART_NS = 30 * 10**9
"""How far apart the accounts of one answer may end: a span ends when the agent comes to read the answer."""


class AgentCallJoiner:
    """Joins a call of a coding agent with those that came lately."""

    def __init__(self) -> None:
        self._by_key: BoundedDict[tuple[str, ...], list[CallDict]] = BoundedDict(_MOST)

    def join(self, call: CallDict) -> CallDict:
        """Return a call with what others say of it, in their place (`same`); alone where none does."""
        keys = list(_iter_keys(call))
        for key in keys:
            for known in reversed(self._by_key.get(key, ())):
                if call["span_id"] == known["span_id"] or call["span_id"] in known.get("same", ()):
                    return known  # a sender that tries again
                if known["span_id"] not in call.get("same", ()) and _CHECKS[key[0]](known, call):
                    joined = _merge(known, call, by=key[0])
                    self._replace(known, joined, keys)
                    return joined
        for key in keys:
            self._put(key, call)
        return call

    def _replace(self, known: CallDict, joined: CallDict, keys: list[tuple[str, ...]]) -> None:
        for key in dict.fromkeys((*_iter_keys(known), *keys)):
            others = self._by_key.get(key)
            if others is not None:
                self._by_key[key] = [other for other in others if other["span_id"] != known["span_id"]]
            self._put(key, joined)

    def _put(self, key: tuple[str, ...], call: CallDict) -> None:
        self._by_key[key] = [*self._by_key.pop(key, ())[1 - _MOST_OF_TURN :], call]


def _merge(known: CallDict, call: CallDict, *, by: str) -> CallDict:
    """Return one call of two, under the later's id, with the name and place that the span has; those of the
    log record, which is in its turn, where the span is in another trace.
    """
    outer, inner = (call, known) if _is_log(known) and not _is_log(call) else (known, call)
    if _tells_answer_only(outer) or (by == "counts" and outer["trace_id"] != inner["trace_id"]):
        outer, inner = inner, outer
    same = [known["span_id"], *known.get("same", ()), *call.get("same", ())]
    merged = {**merge_calls(outer, inner), "span_id": call["span_id"], "same": same}
    return merged | {"status": "error"} if inner.get("status") == "error" else merged


def _iter_keys(call: CallDict) -> Iterator[tuple[str, ...]]:
    """Yield what a call may be known by: the ids of an answer and of a tool's call, its turn, and where an
    answer has no id its tokens.
    """
    attributes, kind = _get_attributes(call), str(call.get("kind"))
    response = get_response_id(call) if kind == "llm" else None
    tool = get_first_value(attributes, (CALL_ID, "gen_ai.tool.call_id")) if kind == "tool" else None
    for value in (response, tool):
        if value is not None:
            yield "id", kind, str(value)
    turn = get_first_value(attributes, (*TURNS, names.PROMPT_NAME))
    if turn is not None and kind in ("llm", "tool"):
        yield "turn", kind, str(turn)
    counts = get_counts(call)
    if kind == "llm" and response is None and None not in counts:
        yield "counts", *map(str, counts)


def _check_parallel(known: CallDict, call: CallDict) -> bool:
    """Say whether a span and a log record of one turn tell of one call: at one time, of one model or tool."""
    if _is_log(known) == _is_log(call) or not check_overlap(known, call):
        return False
    if _count_logs(known if _is_log(call) else call):
        return False
    name = "model" if call.get("kind") == "llm" else "name"
    ours, theirs = ((_get_tool(c) if name == "name" else c.get("model")) for c in (known, call))
    return ours == theirs or None in (ours, theirs)


def _check_counted_alike(known: CallDict, call: CallDict) -> bool:
    """Say whether a span and a log record with equal tokens tell of one answer: about one time, each once."""
    if _is_log(known) == _is_log(call) or _count_logs(known) or _count_logs(call):
        return False
    return abs(int(known["end_ns"]) - int(call["end_ns"])) <= _APART_NS or check_overlap(known, call)


_CHECKS: Final[dict[str, Callable[[CallDict, CallDict], bool]]] = {
    "id": lambda *_: True,
    "turn": _check_parallel,
    "counts": _check_counted_alike,
}


def _count_logs(call: CallDict) -> int:
    """Return how many log records a span's call was joined with: each is told of by one."""
    return len(list_fields(call.get("metadata")).get("same") or ())


def _get_tool(call: CallDict) -> Any:
    return _get_attributes(call).get(names.TOOL_NAME)


def _tells_answer_only(call: CallDict) -> bool:
    return str(call.get("name")).endswith(("assistant_response", "api_response_body"))


def _is_log(call: CallDict) -> bool:
    return "event.timestamp" in _get_attributes(call)


def _get_attributes(call: CallDict) -> Any:
    return list_fields(get_field(get_field(call.get("metadata"), "otel"), "attributes"))
