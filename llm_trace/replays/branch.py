"""Where a fork leaves the record: what began before a call is answered from it, what comes after runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from llm_trace.capture.halt import Halt
from llm_trace.errors import NotFoundError

if TYPE_CHECKING:
    from llm_trace.replays.alteration import Alteration
    from llm_trace.replays.ending import Ending
    from llm_trace.replays.tape import Tape, Taped

ForkPlace = Literal["record", "change", "live"]


@dataclass
class LiveCall:
    """A call that a fork made where it had left the record."""

    name: str
    kind: str
    arguments: Any
    """By name, as JSON."""
    key: str
    """What its input is known by, as `Tape.key` has it."""
    taped: Taped | None
    """The recorded call that it stands for."""
    scope: str | None
    """`span_id` of the recorded call inside which it was made."""
    altered: bool = False
    ending: Ending | None = None

    @property
    def event(self) -> Mapping[str, Any]:
        """How it ended, as it is recorded; empty while it has not, or where it is not recorded."""
        return {} if self.ending is None else self.ending.event


@dataclass
class Branch:
    """The rule of a fork, and how far one run of it has come."""

    alterations: Mapping[str, Alteration]
    """By the `span_id` of the call that each changes."""
    before: frozenset[str]
    """Recorded calls that began before the first of those: they are answered from the record."""
    around: frozenset[str]
    """Calls inside which an altered one ran: their code runs, whatever their kind."""
    live: frozenset[str] = frozenset()
    """Names of tools that run after the record was left."""
    serve: frozenset[str] = frozenset()
    """Names of functions that are answered from the record, there too, where they are asked the same."""
    until: Callable[[LiveCall], bool] | None = None
    """Says of a call that is about to be made whether the program ends there."""
    passed: bool = False
    """Whether the fork has left the record."""
    halted: bool = False
    calls: list[LiveCall] = field(default_factory=list)
    """Model, tool and similar calls from the first altered one on, in the order of their starts."""

    @property
    def first(self) -> Alteration:
        """What is changed first."""
        return next(iter(self.alterations.values()))

    @classmethod
    def of(
        cls,
        tape: Tape,
        alterations: Sequence[Alteration],
        live: frozenset[str] = frozenset(),
        serve: frozenset[str] = frozenset(),
    ) -> Self:
        """Return the rule of a fork that leaves a record at the first call that is altered.

        Raises:
            NotFoundError: an altered call is not in the record.
        """
        order = {span: place for place, span in enumerate(tape.calls)}
        if missing := [each.span_id for each in alterations if each.span_id not in order]:
            raise NotFoundError(
                f"{missing[0]!r} is no call of the run that is forked: `llm-trace ls --run ID` lists them"
            )
        by_span = {each.span_id: each for each in sorted(alterations, key=lambda a: order[a.span_id])}
        first = order[next(iter(by_span))]
        around = frozenset(outer.span_id for span in by_span for outer in tape.around(tape.calls[span]))
        return cls(by_span, frozenset(list(order)[:first]), around, live, serve)

    def renew(self, until: Callable[[LiveCall], bool] | None = None) -> Branch:
        """Return the rule for another run of it."""
        return replace(self, until=until, passed=False, halted=False, calls=[])

    def locate(self, taped: Taped | None) -> ForkPlace:
        """Return where a call stands that was looked for in the record."""
        if taped is not None and taped.span_id in self.alterations:
            self.passed = True
            return "change"
        if taped is not None:
            return "record" if taped.span_id in self.before else "live"
        return "live" if self.passed else "record"

    def note(self, call: LiveCall) -> LiveCall:
        """Keep a call that is about to be made.

        Raises:
            Halt: the program ends here.
        """
        if self.halted or (self.until is not None and self.until(call)):
            self.halted = True
            raise Halt(f"the fork ends before {call.name}, which was not run")
        self.calls.append(call)
        return call

    def allows(self, name: str, kind: str) -> bool:
        """Return whether a function may run after the record was left: a tool only where it was named."""
        return kind != "tool" or name in self.live

    def lasting(self) -> Iterator[Alteration]:
        """Yield what changes each later call of a model."""
        return (alteration for alteration in self.alterations.values() if alteration.lasting)
