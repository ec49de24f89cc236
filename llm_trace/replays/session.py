"""One test or wide fixture from its setup to its teardown: recorded to a cassette, or answered from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from llm_trace.capture import slots
from llm_trace.capture.recorder import Recorder
from llm_trace.capture.redaction import build_redactor
from llm_trace.capture.spec import SERVED
from llm_trace.capture.values import ValueEncoder
from llm_trace.replays import cassette, report
from llm_trace.replays.collector import Collector
from llm_trace.replays.player import Player, Rules
from llm_trace.replays.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from llm_trace.capture.slots import CallStarter, Interceptor


@dataclass
class ReplaySession:
    """Stands in capture's slots from `enter` to `leave`; what was there before comes back."""

    path: Path
    serve: frozenset[str]
    recorder: Recorder
    collector: Collector
    player: Player | None
    """`None` while a cassette is recorded."""
    _before: tuple[CallStarter | None, Interceptor | None] | None = None

    @classmethod
    def begin(
        cls,
        mode: Literal["record", "replay"],
        path: Path,
        *,
        redact: Any = True,
        serve: Iterable[str] = SERVED,
        live: Iterable[str] = (),
        optional: bool = False,
    ) -> Self:
        """Begin to record or to replay, and enter.

        Args:
            optional: replay nothing where there is no cassette.

        Raises:
            CassetteError: there is nothing to replay from.
        """
        encoder, served = ValueEncoder(build_redactor(redact)), frozenset(serve)
        collector = Collector(encoder)
        player = None
        if mode == "replay":
            calls = [] if optional and not path.exists() else cassette.read(path)
            rules = Rules("recorded", served, frozenset(live))
            player = Player(Tape(calls, masked=encoder.to_masked_json), rules, encoder)
        session = cls(path, served, Recorder(collector, encoder, input_key=None), collector, player)
        session.enter()
        return session

    def enter(self) -> None:
        """Take the calls that are made from now on."""
        self._before = slots.recorder or slots.start_recorder(), slots.interceptor
        slots.recorder, slots.interceptor = self.recorder, self.player

    def leave(self) -> None:
        """Put back what took the calls before."""
        if self._before is not None:
            (recorder, slots.interceptor), self._before = self._before, None
            if slots.recorder is self.recorder:
                slots.recorder = recorder

    def divergence(self) -> str | None:
        """Return the first question that is not on the cassette."""
        return None if self.player is None else self.player.report.divergence

    def not_asked(self, phase: Literal["test", "teardown"]) -> str | None:
        """Return what is on the cassette and was not asked for; calls cancelled then may be missing."""
        if self.player is None:
            return None
        due = [call for call in self.player.list_unmade() if (call.phase or "test") == phase]
        left = [call.name for call in due if call.status != "cancelled"]
        return (
            f"on the cassette {self.path} and not asked for: {', '.join(report.sum_items(left))}"
            if left
            else None
        )

    def keep(self, *, empty: bool = True, over: bool = True) -> list[str]:
        """Write the cassette, and return what should be known about it.

        Args:
            empty: also one without calls; else none is left where nothing was called.
            over: also in the place of one that is there.
        """
        if self.player is not None or (not over and self.path.exists()):
            return []
        calls = self.collector.calls()
        if not calls and not empty:
            self.path.unlink(missing_ok=True)
            return []
        cassette.write(self.path, cassette.dump(calls, self.serve))
        masked = [
            f"the answer of {c.name} holds secrets, which are masked on the cassette"
            for c in calls
            if c.rebuild.get("masked")
        ]
        return masked + [report.describe_race(group) for group in Tape(calls).races()]
