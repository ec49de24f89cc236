"""Which calls of a side are compared: outermost ones, each with all that happened inside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llm_trace.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from llm_trace.comparison.facts import Fact

Path = tuple[str, ...]
NOT_OVER = ("open", "interrupted", "cancelled")


@dataclass
class Unit:
    """A call that is compared, with the calls inside it in the order of their starts; its own is the first."""

    top: Fact
    calls: list[Fact] = field(default_factory=list)

    def first(self, pick: Callable[[Fact], str | None]) -> str | None:
        """Return the first value that a call of the unit has."""
        return next((value for call in self.calls if (value := pick(call)) is not None), None)

    @property
    def variables(self) -> str | None:
        """The hashes of all prompt variables inside, in order; `None` where no prompt was used."""
        return ",".join(call.variables for call in self.calls if call.variables) or None

    @property
    def tags(self) -> set[str]:
        """The tags of every call inside."""
        return {tag for call in self.calls for tag in call.tags or ()}

    def total(self, pick: Callable[[Fact], float | None]) -> float | None:
        """Return the outermost values summed: what a call reports includes what the calls inside it report."""
        own = pick(self.top)
        if own is not None or len(self.calls) == 1:
            return own
        reported: dict[str, bool] = {}
        found: list[float] = []
        for call in self.calls:  # a call starts before those inside it
            inside = reported.get(call.parent_id or "", False)
            value = pick(call)
            if value is not None and not inside:
                found.append(value)
            reported[call.span_id] = inside or value is not None
        return sum(found) if found else None


def units(a: Sequence[Fact], b: Sequence[Fact], climbs: tuple[bool, bool]) -> tuple[list[Unit], list[Unit]]:
    """Return the calls to compare, of both sides from the same depth.

    These are the outermost calls, unless a side is a single one with several calls inside (a script's `main`), or both
    sides lie in the same trace: then those one step inside, and so on.

    Raises:
        ConfigurationError: a and b are the same calls.
    """
    paths = [_paths(side, climb) for side, climb in zip((a, b), climbs, strict=True)]
    depth = _depth(*paths)
    tops = [{_at(path, depth) for path in side.values()} for side in paths]
    both = tops[0] & tops[1]
    if both and not (tops[0] - both and tops[1] - both):
        raise ConfigurationError(
            "a and b mean the same calls: choose two runs, versions, models or filters that differ"
        )
    return _grown(a, tops[0] - both), _grown(b, tops[1] - both)


def _paths(facts: Iterable[Fact], climbs: bool) -> dict[str, Path]:
    """Return for each chosen call the ids from the outermost call that counts down to itself."""
    known = {fact.span_id: fact for fact in facts}
    made: dict[str, Path] = {}
    for fact in known.values():
        if fact.chosen:
            line = _ancestors(fact, known)
            first = 0 if climbs else next(i for i, span in enumerate(line) if known[span].chosen)
            made[fact.span_id] = line[first:]
    return made


def _ancestors(fact: Fact, known: dict[str, Fact]) -> Path:
    line = [fact.span_id]
    while (parent := known[line[-1]].parent_id) in known and parent not in line:
        line.append(str(parent))
    return tuple(reversed(line))


def _at(path: Path, depth: int) -> str:
    return path[min(depth, len(path) - 1)]


def _depth(a: dict[str, Path], b: dict[str, Path]) -> int:
    """Return the least depth at which the sides share no call and neither is a single one that could be opened."""
    deepest = max(map(len, (*a.values(), *b.values())), default=1)
    for depth in range(deepest):
        tops = [{_at(path, depth) for path in side.values()} for side in (a, b)]
        opens = [len(top) == 1 and len(side) > 2 for top, side in zip(tops, (a, b), strict=True)]
        if not tops[0] & tops[1] and not any(opens):
            return depth
    return 0


def _grown(facts: Iterable[Fact], tops: set[str]) -> list[Unit]:
    """Return the units with all calls inside them."""
    made: dict[str, Unit] = {}
    home: dict[str, Unit] = {}
    for fact in facts:  # by start: parents come first
        unit = home.get(fact.parent_id or "")
        if fact.span_id in tops:
            unit = made[fact.span_id] = Unit(fact)
        if unit is not None:
            home[fact.span_id] = unit
            unit.calls.append(fact)
    return list(made.values())
