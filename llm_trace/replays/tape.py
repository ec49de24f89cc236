"""The recorded calls that a replay answers from: found by parent, function, input and occurrence."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from llm_trace.capture.content import is_cut
from llm_trace.capture.input_key import InputKey, compute_identity
from llm_trace.capture.type_hints import find_lost_types
from llm_trace.capture.values import ValueEncoder
from llm_trace.replays.classes import has_moved

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from llm_trace.capture.type_hints import Types

_encoder = ValueEncoder()


@dataclass(frozen=True)
class Taped:
    """A recorded call, as far as a replay needs it."""

    span_id: str
    parent_id: str | None
    name: str
    kind: str
    input: Any
    """Arguments by name as JSON values; `None` where they were not kept."""
    output: Any
    status: str
    error: dict[str, Any] | None = None
    """`type`, `message` and, where it was raised, `traceback`."""
    rebuild: dict[str, Any] = field(default_factory=dict)
    """See docs/spool-format.md."""
    start_ns: int = 0
    end_ns: int | None = None
    function: str | None = None
    """`module:qualname`."""
    place: str | None = None
    """`file:line` of the function."""
    model: str | None = None
    usage: dict[str, Any] | None = None
    prompt: dict[str, Any] | None = None
    """`name`, `version`, `variables`."""
    phase: str | None = None
    """`teardown` of a test's calls that its fixtures made when it was over."""

    @cached_property
    def question(self) -> bytes:
        """What the input is known by."""
        return make_canonical(self.input, self.rebuild.get("input", ()))

    @cached_property
    def cut(self) -> bool:
        """Whether the input was kept in part only, and has no hash either."""
        return "key" not in self.rebuild and b'"truncated":' in self.question and is_cut(self.input)

    @property
    def module(self) -> str | None:
        """Module of the function."""
        return self.function.partition(":")[0] if self.function else None


def make_canonical(value: Any, types: Container[str] = ()) -> bytes:
    """Return the JSON by which a value is known again: sorted keys, no addresses, no modules of classes."""
    return compute_identity(_encoder.canonical(value), types)


class Tape:
    """Recorded calls, each handed out once.

    Args:
        calls: in the order of their starts.
        key: hashes inputs; with the store's key where inputs were masked.
        masked: masks the inputs of calls that are looked for, where those on the tape have no hash from
            before they were masked.
    """

    def __init__(
        self,
        calls: Sequence[Taped],
        key: InputKey | None = None,
        masked: Callable[[Any], Any] | None = None,
    ) -> None:
        self._key = key or InputKey()
        self._masked = masked
        self.calls = {call.span_id: call for call in calls}
        self._keys = {call.span_id: self._compute_key(call) for call in calls}
        self._groups: dict[tuple[str | None, str, str], deque[Taped]] = defaultdict(deque)
        self._names: dict[tuple[str | None, str], list[Taped]] = defaultdict(list)
        self._taken: set[str] = set()
        self._lock = threading.Lock()
        for call in calls:
            self._names[self.scope_of(call), call.name].append(call)
        self.rewind()

    def rewind(self) -> None:
        """Let every call be handed out again."""
        self._taken.clear()
        self._groups.clear()
        for call in self.calls.values():
            self._groups[self.scope_of(call), call.name, self._keys[call.span_id]].append(call)

    def _compute_key(self, call: Taped) -> str:
        return call.rebuild.get("key") or self._key(call.question)

    def key(self, arguments: dict[str, Any]) -> str:
        """Return what a call with these arguments is looked for by."""
        data = self._masked(arguments) if self._masked else arguments
        return self._key(make_canonical(data, find_lost_types(arguments)))

    def scope_of(self, call: Taped) -> str | None:
        """Return the recorded call inside which this one ran, `None` for a root."""
        return call.parent_id if call.parent_id in self.calls else None

    def roots(self) -> list[Taped]:
        """Return the calls that no other recorded call made."""
        return [call for call in self.calls.values() if self.scope_of(call) is None]

    def select_inside(self, root: Taped) -> Tape:
        """Return a tape of a root and the calls inside it alone, of which none is taken yet."""
        inside = [call for call in self.calls.values() if call is root or root in self.around(call)]
        return Tape(inside, self._key, self._masked)

    def take(self, scope: str | None, name: str, arguments: dict[str, Any]) -> Taped | None:
        """Return the next recorded call of this function with this input inside `scope`."""
        group = self._groups.get((scope, name, self.key(arguments)))
        if not group:
            return None
        with self._lock:
            for call in group:
                if call.span_id not in self._taken and _match_types(call.rebuild.get("input"), arguments):
                    self._taken.add(call.span_id)
                    group.remove(call)
                    return call
        return None

    def take_only(self, scope: str | None, name: str) -> Taped | None:
        """Return the only recorded call of this function left inside `scope`, whatever its input."""
        with self._lock:
            left = self._list_untaken_of(scope, name)
            if len(left) != 1:
                return None
            self._taken.add(left[0].span_id)
            return left[0]

    def take_next(self, scope: str | None, name: str) -> Taped | None:
        """Return the next recorded call of this function inside `scope`, whatever its input."""
        with self._lock:
            left = self._list_untaken_of(scope, name)
            self._taken.update(call.span_id for call in left[:1])
        return left[0] if left else None

    def find(self, name: str, arguments: dict[str, Any]) -> Taped | None:
        """Return a recorded call of this function with this input, wherever it ran and whoever has it."""
        key = self.key(arguments)
        calls = (call for call in self.calls.values() if call.name == name)
        return next((call for call in calls if self._keys[call.span_id] == key), None)

    def key_of(self, call: Taped) -> str:
        """Return what a recorded call is looked for by."""
        return self._keys[call.span_id]

    def take_this(self, call: Taped) -> Taped:
        """Take a call that is known."""
        with self._lock:
            self._taken.add(call.span_id)
        return call

    def has(self, name: str) -> bool:
        """Return whether any recorded call has this name."""
        return any(known == name for _, known in self._names)

    def knows(self, scope: str | None, name: str) -> bool:
        """Return whether the function was called inside `scope` at all."""
        return (scope, name) in self._names

    def nearest(self, scope: str | None, name: str) -> Taped | None:
        """Return the recorded call to compare a question with that is not in the record."""
        with self._lock:
            left = self._list_untaken_of(scope, name)
        anywhere = (
            call for call in self.calls.values() if call.name == name and call.span_id not in self._taken
        )
        return left[0] if left else next(anywhere, None)

    def _list_untaken_of(self, scope: str | None, name: str) -> list[Taped]:
        return [call for call in self._names.get((scope, name), ()) if call.span_id not in self._taken]

    def list_untaken(self) -> list[Taped]:
        """Return the calls that were not asked for."""
        return [call for call in self.calls.values() if call.span_id not in self._taken]

    def around(self, call: Taped) -> Iterator[Taped]:
        """Yield the calls inside which this one ran, from the nearest outwards."""
        while (scope := self.scope_of(call)) is not None:
            call = self.calls[scope]
            yield call

    def races(self) -> list[list[Taped]]:
        """Return groups of calls that nothing tells apart: same question, same time, different answers."""
        groups: dict[tuple[str | None, str, str], list[Taped]] = defaultdict(list)
        for call in self.calls.values():
            groups[self.scope_of(call), call.name, self._keys[call.span_id]].append(call)
        return [group for group in groups.values() if len(group) > 1 and _find_race(group)]

    def ran_at_once(self, scope: str | None) -> bool:
        """Return whether calls inside `scope` overlapped in time."""
        return _check_overlap([call for call in self.calls.values() if self.scope_of(call) == scope])


def _match_types(then: Types | None, arguments: dict[str, Any]) -> bool:
    """Return whether arguments are of the classes that were recorded, wherever those are defined now."""
    if not then:
        return True
    now = find_lost_types(arguments)
    names = {name.rpartition(":")[2] for name in now if name not in then}
    return not any(
        name not in now and name.rpartition(":")[2] in names and not has_moved(name)
        for name in then
        if ":" in name
    )


def _find_race(group: list[Taped]) -> bool:
    answers = {
        make_canonical([call.output, call.status, (call.error or {}).get("message")]) for call in group
    }
    return len(answers) > 1 and _check_overlap(group)


def _check_overlap(calls: list[Taped]) -> bool:
    """Return whether any call began before one that began earlier had ended."""
    end = 0
    for call in sorted(calls, key=lambda call: call.start_ns):
        if call.start_ns < end:
            return True
        end = max(end, call.end_ns or 1 << 63)
    return False
