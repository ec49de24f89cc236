"""Calls as trees: what platforms that think in traces are given.

A tree is a call whose parent is not among the calls given, with everything below it. Its key depends on the
ids of its root alone, so a tree that is sent again, in another batch or by another process, is the same tree
to the platform.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from llm_trace.bounded_dict import BoundedDict
from llm_trace.exporters.protocol import Event
from llm_trace.semconv.shapes import CallFields

_REMEMBERED = 20_000
"""Calls whose place is kept in memory for scores and attributions that come later."""


@dataclass(frozen=True)
class CallPlace:
    """Where a call stands: enough to name it to a platform."""

    key: str
    """Of its tree."""
    tree_start_ns: int | None
    """`None`: not known; the call may be the root or not."""
    start_ns: int
    is_root: bool


@dataclass(frozen=True)
class Tree:
    """A root with the calls below it, and what is already known about them."""

    key: str
    """32 hex digits: the trace id, or a hash of trace and root where the root has a parent elsewhere."""
    calls: tuple[CallFields, ...]
    """In order of their start, the root first."""
    scores: Mapping[str, Sequence[CallFields]]
    """By span id."""
    attributions: Mapping[str, Sequence[CallFields]]
    """By span id."""
    events: tuple[Event, ...]
    """What this tree carries."""

    @property
    def root(self) -> CallFields:
        """The call that the others are below."""
        return self.calls[0]

    @cached_property
    def _by_span(self) -> dict[str, CallFields]:
        return {str(call["span_id"]): call for call in self.calls}

    def ancestors(self, call: CallFields) -> list[CallFields]:
        """Return the calls above one, the root first."""
        above: list[CallFields] = []
        while call is not self.root:
            call = self._by_span[str(call["parent_id"])]
            above.append(call)
        return above[::-1]

    def places(self) -> dict[str, CallPlace]:
        """Return where each call stands, by span id."""
        start = int(self.root["start_ns"])
        return {
            c["span_id"]: CallPlace(self.key, start, int(c["start_ns"]), c is self.root) for c in self.calls
        }


def build_trees(events: Sequence[Event]) -> list[Tree]:
    """Return the trees of a batch; scores and attributions of its calls go with them."""
    calls = [e for e in events if e.kind == "call"]
    spans = {e.id for e in calls}
    below: dict[str | None, list[Event]] = defaultdict(list)
    roots: list[Event] = []
    for event in sorted(calls, key=lambda e: int(e.data["start_ns"])):
        parent = event.data.get("parent_id")
        (below[parent].append if parent in spans and parent != event.id else roots.append)(event)
    about: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.kind in ("score", "attribution"):
            about[event.data["span_id"]].append(event)
    trees = [_build_tree(root, below, about) for root in roots]
    placed = {id(event) for tree in trees for event in tree.events}
    return trees + [
        _build_tree(event, {}, about) for event in calls if id(event) not in placed
    ]  # parents in a circle


def _build_tree(
    root: Event, below: Mapping[str | None, list[Event]], about: Mapping[str, list[Event]]
) -> Tree:
    members: list[Event] = []
    todo = [root]
    while todo:
        event = todo.pop()
        members.append(event)
        todo += below.get(event.id, ())
    members[1:] = sorted(members[1:], key=lambda e: int(e.data["start_ns"]))
    described = [e for member in members for e in about.get(member.id, ())]
    return Tree(
        key=_get_key(root.data),
        calls=tuple(e.data for e in members),
        scores=_group_by_span(described, "score"),
        attributions=_group_by_span(described, "attribution"),
        events=(*members, *described),
    )


def _get_key(root: CallFields) -> str:
    trace, span = str(root["trace_id"]), str(root["span_id"])
    if root.get("parent_id") is None:
        return trace
    return hashlib.sha256(f"{trace}:{span}".encode()).hexdigest()[:32]


def _group_by_span(events: Sequence[Event], kind: str) -> dict[str, list[CallFields]]:
    groups: dict[str, list[CallFields]] = defaultdict(list)
    for event in events:
        if event.kind == kind and event.data.get("status") != "failed":
            groups[event.data["span_id"]].append(event.data)
    return groups


class CallPlaces:
    """Where the calls that were sent last stand."""

    def __init__(self) -> None:
        self._known: BoundedDict[str, CallPlace] = BoundedDict(_REMEMBERED)

    def add(self, tree: Tree) -> None:
        """Remember the calls of a tree."""
        self._known.update(tree.places())

    def find(self, event: Event) -> CallPlace | None:
        """Return where the call of a score or attribution stands: sent lately, or as the event says."""
        data = event.data
        known = self._known.get(data["span_id"])
        if known is not None or data.get("trace_id") is None or data.get("start_ns") is None:
            return known
        return CallPlace(str(data["trace_id"]), None, int(data["start_ns"]), is_root=False)

    def key(self, event: Event) -> str:
        """Return the key of the tree that a score or an attribution is about.

        Raises:
            LookupError: nobody says to which trace its call belongs.
        """
        place = self.find(event)
        key = place.key if place else event.data.get("trace_id")
        if key is None:
            raise LookupError(
                f"{event.kind} {event.id!r} is about call {event.data['span_id']!r}, which is not known"
            )
        return str(key)
