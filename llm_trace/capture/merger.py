"""Knows which calls ended lately in and beside which, so that a call that several spans tell of is one.

The span that ends last is written with all that the others say and names them in `same`; whoever reads the
spool puts it in their place. What was written before it stays in the file, so nothing is lost when the
process dies in between.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from llm_trace.capture.open_roots import OpenRoots
from llm_trace.semconv.merge import (
    MODEL_KINDS,
    build_account,
    check_clearly_same,
    check_overlap,
    check_same,
    check_twins,
    drop_counts,
    list_scopes,
    merge_calls,
    with_total,
)
from llm_trace.semconv.shapes import CallDict

_MOST = 10_000
_MOST_BYTES = 32 << 20
_MOST_TWINS = 16
"""Calls of one parent that a later one is compared with."""


@dataclass
class _Inside:
    """The model calls that ended inside a span that has not."""

    calls: list[CallDict] = field(default_factory=list)
    """The latest of them."""
    number: int = 0
    counted: bool = False
    """Whether one of them, or of those further inside, has tokens."""

    @property
    def only(self) -> CallDict | None:
        """The model call inside, where there is but one."""
        return self.calls[0] if self.number == 1 else None

    def same(self, call: CallDict) -> CallDict | None:
        """Return the model call that a call around it tells of; of several only one that clearly is."""
        if self.number == 1:
            return self.calls[0] if check_same(self.calls[0], call) else None
        return next((inner for inner in reversed(self.calls) if check_clearly_same(inner, call)), None)

    def add(self, call: CallDict) -> None:
        self.calls = [*self.calls[1 - _MOST_TWINS :], call]
        self.number += 1
        self.counted = self.counted or call.get("usage") is not None


class InnerCalls(NamedTuple):
    """What spans inside a traced function that has ended say of its call."""

    same: CallDict | None
    """The call of a span that tells of the same request."""
    total: bool
    """Whether the function's tokens are a sum over calls inside it."""


class Merger:
    """Merges the calls of one process or of one receiver; safe for threads, bounded in memory.

    Args:
        clock: nanoseconds since 1970, where calls come when they end.
    """

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._inside = _Recent()
        self._ended = _Recent()
        """Model calls by span id, for those that end after the call around them."""
        self._accounts = _Recent()
        """What log records say, by the span that they belong to."""
        self._roots = OpenRoots()

    def whole(self, call: CallDict) -> CallDict:
        """Return a span's call as it is written: alone, in place of others (`same`), or less their counts."""
        if "otel" not in (call.get("metadata") or ()):  # our own exporter sent it, merged already
            return call
        with self._lock:
            if (before := self._ended.get(call["span_id"])) is not None:  # a sender that tries again
                return before  # type: ignore[no-any-return]
            if (log_account := self._accounts.pop(call["span_id"])) is not None:
                call = merge_calls(call, log_account)
            inside = self._inside.pop(call["span_id"])
            if call.get("kind") not in MODEL_KINDS:
                return self._around(call, inside)
            merged = self._with_inner(call, inside) if inside else call
            if merged.get("kind") in MODEL_KINDS:
                merged = self._with_outer(self._with_twin(merged))
                self._ended.put(merged["span_id"], merged, merged)
                if merged["kind"] in MODEL_KINDS:  # what repeats a call of ours counts no second time
                    self._note(merged)
            else:  # a step around a call of ours, which what is around both may tell of too
                self._pass_up(call, inside)
            return merged

    def account(self, call: CallDict) -> CallDict:
        """Return what log records say of a span (the call's parent) as it is to be written: in place of
        the span, if that came.
        """
        with self._lock:
            if (before := self._ended.get(call["span_id"])) is not None:
                return before  # type: ignore[no-any-return]
            span_id = call["parent_id"]
            if (span := self._ended.get(span_id)) is not None and not span.get("ours"):
                merged = {
                    **merge_calls(span, call),
                    "span_id": call["span_id"],
                    "same": _list_others(span, call),
                }
                self._ended.put(span_id, merged, call)
            else:
                earlier = self._accounts.pop(span_id)
                merged = call if earlier is None else _join_accounts(earlier, call)
                self._accounts.put(span_id, merged, merged)
            self._ended.put(call["span_id"], merged, {})
            return merged

    def own(self, call: CallDict) -> InnerCalls:
        """Note that a traced function has ended; return what spans inside it tell of the same model call."""
        with self._lock:
            inside = self._inside.pop(call["span_id"])
            counted = bool(inside and inside.counted)
            total = counted and call.get("usage") is not None
            if call["kind"] not in MODEL_KINDS:
                self._pass_up(call, inside)
                return InnerCalls(None, total)
            inner = self._find_account(call, inside)
            ours = {**call, "ours": True} | ({} if inner is None else _name_accounts(call, inner))
            ours |= _add_retries(call, inner)
            self._ended.put(call["span_id"], ours, ours)
            self._note(ours, counted)
            return InnerCalls(inner, total and inner is None)

    def _find_account(self, call: CallDict, inside: _Inside | None) -> CallDict | None:
        """Return what spans inside or beside a traced function say of its request."""
        inner = inside.same(call) if inside else None
        if inner is not None and inner.get("ours") and not inner.get("library"):
            inner = None
        twin = self._take_twin(call) if call.get("library") else None
        if inner is None or twin is None:
            return inner or twin
        return merge_calls(twin, inner)

    def _with_inner(self, call: CallDict, inside: _Inside) -> CallDict:
        inner = inside.same(call)
        if inner is not None:
            return drop_counts(call, inner["span_id"]) if inner.get("ours") else merge_calls(call, inner)
        return with_total(call) if inside.counted and call.get("usage") is not None else call

    def _with_outer(self, call: CallDict) -> CallDict:
        """Return a call merged with the one around it, where that ended before it."""
        outer = self._ended.get(call.get("parent_id"))
        if outer is None or not check_same(call, outer):
            return call
        if outer.get("ours"):  # a traced function that returned a stream: it has its place in replays
            return self._repeat(call, outer) if outer.get("usage") or not call.get("usage") else call
        if not check_overlap(call, outer):
            return call
        return {**merge_calls(outer, call), "span_id": call["span_id"], "same": _list_others(outer, call)}

    def _with_twin(self, call: CallDict) -> CallDict:
        """Return a call merged with one beside it that another instrumentation tells of."""
        twin = self._take_twin(call)
        if twin is None:
            return call
        return self._repeat(call, twin) if twin.get("ours") else merge_calls(call, twin)

    def _take_twin(self, call: CallDict) -> CallDict | None:
        """Return a call beside one that tells of the same request; ours stays what is counted there."""
        beside: _Inside | None = self._inside.get(call.get("parent_id") or self._roots.find())
        arrived = {**call, "arrived_ns": self._clock() if self._clock else None}
        twin = next((c for c in beside.calls if check_twins(c, arrived)), None) if beside else None
        if beside is None or twin is None or (call.get("library") and twin.get("ours")):
            return None
        if not twin.get("ours"):
            beside.calls.remove(twin)
            beside.number -= 1
        return twin

    def _repeat(self, call: CallDict, ours: CallDict) -> CallDict:
        """Return a span's call as a step that repeats a call of ours: once for each instrumentation."""
        scopes = list_scopes(call)
        if scopes & list_scopes(ours):
            return call
        ours["scopes"] = {*(ours.get("scopes") or ()), *scopes}
        return drop_counts(call, ours["span_id"])

    def _around(self, call: CallDict, inside: _Inside | None) -> CallDict:
        self._pass_up(call, inside)
        if inside is not None and inside.counted and call.get("usage") is not None:
            return with_total(call)
        return call

    def _pass_up(self, call: CallDict, inside: _Inside | None) -> None:
        """Let the span around a step know of the model calls inside it."""
        parent = call.get("parent_id")
        if inside is None or parent is None:
            return
        above = self._inside.get(parent) or _Inside()
        for inner in inside.calls[:1]:
            above.add(inner)
        above.number += max(0, inside.number - 1)
        above.counted = above.counted or inside.counted
        self._inside.put(parent, above, inside.only or {})

    def _note(self, call: CallDict, counted: bool = False) -> None:
        if (parent := call.get("parent_id") or self._roots.find()) is None:
            return
        above = self._inside.get(parent) or _Inside()
        if self._clock:
            arrived = self._clock()
            if call.get("ours"):  # what is known of it later, such as its scopes, is known of this one
                call["arrived_ns"] = arrived
            else:
                call = {**call, "arrived_ns": arrived}
        above.add(call)
        above.counted = above.counted or counted
        self._inside.put(parent, above, call)

    def enter_root(self) -> str:
        """Note that a span without a parent begins in this thread and task; return what ends that."""
        with self._lock:
            return self._roots.enter()

    def leave_root(self, place: str) -> None:
        """Note that such a span has ended, and been given to `whole`."""
        with self._lock:
            if self._roots.leave(place):
                self._inside.pop(place)

    def pass_over(self, span_id: str, parent_id: str | None) -> None:
        """Note that a span which is no call has ended: what is inside it is inside its parent."""
        with self._lock:
            self._pass_up({"parent_id": parent_id}, self._inside.pop(span_id))


def _name_accounts(call: CallDict, inner: CallDict) -> CallDict:
    """Return what a traced function says of the spans inside it that it stands for."""
    metadata = inner.get("metadata") or {}
    accounts = [build_account(inner), *(metadata.get("same") or ())]
    return {
        "same": [inner["span_id"], *(inner.get("same") or ())],
        "metadata": {**(call.get("metadata") or {}), "same": accounts},
    }


class _Recent:
    """Values by span id, the oldest forgotten beyond a number and a size."""

    def __init__(self) -> None:
        self._values: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: str | None) -> Any:
        entry = None if key is None else self._values.get(key)
        return None if entry is None else entry[0]

    def pop(self, key: str) -> Any:
        value, size = self._values.pop(key, (None, 0))
        self._bytes -= size
        return value

    def put(self, key: str, value: Any, grown_by: CallDict) -> None:
        """Keep a value that a call was added to."""
        size = self._values.pop(key, (None, 0))[1]
        added = sum(_iter_sizes(grown_by))
        self._values[key] = value, size + added
        self._bytes += added
        while self._values and (len(self._values) > _MOST or self._bytes > _MOST_BYTES):
            self._bytes -= self._values.popitem(last=False)[1][1]


def _iter_sizes(call: CallDict) -> Iterator[int]:
    """Yield about the bytes that a span's call holds: its attributes, which its messages are made of."""
    yield 500
    attributes = ((call.get("metadata") or {}).get("otel") or {}).get("attributes") or {}
    for value in attributes.values():
        yield len(value) if isinstance(value, str) else 50


def _list_others(outer: CallDict, inner: CallDict) -> list[str]:
    return [outer["span_id"], *(outer.get("same") or ()), *(inner.get("same") or ())]


def merge_into(
    inside: InnerCalls, metadata: Mapping[str, Any], fields: dict[str, Any], *, of_library: bool = False
) -> dict[str, Any]:
    """Return the end fields of a traced function with what a span inside it tells of the same call.

    Args:
        inside: what the spans say.
        metadata: the function's, complete.
        fields: what the function's end says so far; it wins.
        of_library: the function is a library's: what a library's call inside it counts is nearer to the
            provider.
    """
    if inside.total:
        merged = with_total(fields)
        return {**merged, "metadata": {**metadata, **merged["metadata"]}}
    if (inner := inside.same) is None:
        return fields
    metadata = {**metadata, **(fields.get("metadata") or {})}
    metadata |= _add_retries(metadata, inner)
    taken = {name: inner[name] for name in _TAKEN if inner.get(name)}
    counts = [inner.get("usage") or {}, fields.get("usage") or {}]
    nearer = of_library and bool(inner.get("ours"))
    usage = {**counts[nearer], **counts[not nearer]}
    accounts = [build_account(inner), *((inner.get("metadata") or {}).get("same") or ())]
    merged = {**taken, **fields, "metadata": {**metadata, "same": accounts}}
    merged["same"] = [inner["span_id"], *(inner.get("same") or ())]
    return {**merged, "usage": usage} if usage else merged


def _add_retries(call: Mapping[str, Any], inner: CallDict | None) -> dict[str, int]:
    """Return how often a call and the one inside it that it is one with asked again, nothing where never."""
    retries = call.get("retries", 0) + (inner or {}).get("retries", 0)
    return {"retries": retries} if retries else {}


_TAKEN = ("model", "provider", "params", "cost_usd", "cost_basis", "first_token_ns")


def _join_accounts(earlier: CallDict, call: CallDict) -> CallDict:
    """Return one account of two that came one after the other: what they say follows each other."""
    messages = {
        name: [*(earlier.get(name) or ()), *(call.get(name) or ())]
        for name in ("messages_in", "messages_out")
    }
    return {**merge_calls(call, earlier), **{name: value for name, value in messages.items() if value}}
