"""Tokens and cost that coding agents tell in metrics, as calls, where nothing else tells of them.

A metric adds up over an interval, so its call stands for all requests of a model in it. Where log records or
spans tell of the same session's requests one by one, those count and the metric does not, whichever comes
first.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from llm_trace import semconv
from llm_trace.bounded_dict import BoundedDict
from llm_trace.collect.ids import derive_id
from llm_trace.collect.points import DataPoint
from llm_trace.semconv.agents import AGENTS, METRIC_COSTS, METRIC_TOKENS, SESSIONS
from llm_trace.semconv.shapes import CallDict
from llm_trace.semconv.values import get_first_value

_MOST = 10_000
_TYPES = ("type", "token_type")


class MeteredTokens:
    """Makes calls of metrics, and knows which sessions need none.

    Args:
        clock: tells nanoseconds since 1970.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._since_ns = clock()
        self._series: BoundedDict[tuple[Any, ...], float] = BoundedDict(_MOST)
        """The latest value of each series that counts from its beginning."""
        self._itemized: BoundedDict[tuple[str, str], None] = BoundedDict(_MOST)
        """Agents and sessions whose requests come one by one."""
        self._metered: BoundedDict[tuple[str, str], list[str]] = BoundedDict(_MOST)
        """Span ids of the calls that were made of metrics."""

    def note(self, agent: str | None, call: CallDict) -> CallDict:
        """Note that a session's requests come one by one; return one, in place of what its metrics made."""
        if agent is None or call.get("kind") != "llm" or not call.get("usage"):
            return call
        metered: list[str] = []
        for key in ((agent, str(call.get("session") or "")), (agent, "")):
            self._itemized[key] = None
            metered += self._metered.pop(key, [])
        return call | {"same": [*(call.get("same") or ()), *metered]} if metered else call

    def read(self, points: Iterable[DataPoint | None]) -> tuple[list[CallDict], Counter[str]]:
        """Return the calls that points make, and how many points make none, by the name of their metric."""
        left_out: Counter[str] = Counter()
        groups: dict[tuple[Any, ...], list[tuple[DataPoint, float]]] = {}
        for point in points:
            if point is None or point.metric not in (*METRIC_TOKENS, *METRIC_COSTS):
                left_out["unreadable" if point is None else point.metric[:100]] += 1
                continue
            added = self._get_increase(point)
            if added is None:
                left_out[f"{point.metric} from before the receiver began"] += 1
            elif added > 0 and (key := _get_group(point))[:2] not in self._itemized:
                groups.setdefault(key, []).append((point, added))
        calls = [_build_call(key, group) for key, group in groups.items()]
        for key, call in zip(groups, calls, strict=True):
            self._metered.setdefault(key[:2], []).append(call["span_id"])
        return calls, left_out

    def _get_increase(self, point: DataPoint) -> float | None:
        """Return what a point adds, None where what came before it is not known."""
        if not point.is_cumulative:
            return point.value
        fixed = (*point.attributes.items(), *point.resource.items())
        key = (point.metric, point.start_ns, *sorted((str(k), str(v)) for k, v in fixed))
        before = self._series.pop(key, None)
        self._series[key] = point.value
        if before is None:
            return point.value if point.start_ns >= self._since_ns else None
        return max(0.0, point.value - before)


def _get_group(point: DataPoint) -> tuple[Any, ...]:
    """Return agent, session, and what else keeps points of different calls apart."""
    attributes = point.attributes
    agent = next(agent for agent in AGENTS if point.metric.startswith(agent + "."))
    session = str(get_first_value(attributes, SESSIONS) or "")
    source = tuple(str(attributes.get(name, "")) for name in ("model", "query_source", "agent.name"))
    return (agent, session, *source, point.time_ns)


def _build_call(key: tuple[Any, ...], group: list[tuple[DataPoint, float]]) -> CallDict:
    agent, session, model, *_, time_ns = key
    raw: Counter[str] = Counter()
    cost = 0.0
    for point, added in group:
        names = METRIC_TOKENS.get(point.metric)
        if names is None:
            cost += added
        elif (name := names.get(str(get_first_value(point.attributes, _TYPES)))) is not None:
            raw[name] += round(added)
    start_ns = min((point.start_ns for point, _ in group if point.start_ns), default=time_ns)
    first = group[0][0]
    named = {name: value for name, value in first.attributes.items() if name not in _TYPES}
    identity = derive_id(64, *map(str, (*key, start_ns)))
    call = {
        "span_id": identity[:16],
        "trace_id": derive_id(32, agent, session or identity),
        "name": f"{agent}.token.usage",
        "kind": "llm",
        "start_ns": min(start_ns, time_ns),
        "end_ns": time_ns,
        "status": "ok",
        "model": model or None,
        "session": session or None,
        "usage": semconv.usage(raw),
        "cost_usd": cost or None,
        "metadata": {"metrics": {"attributes": named, "resource": first.resource}},
    }
    return {name: value for name, value in call.items() if value is not None}
