"""One test between its setup and its teardown: recorded to a cassette, or answered from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from llm_trace.capture import slots
from llm_trace.capture.recorder import Recorder
from llm_trace.capture.redaction import redactor
from llm_trace.capture.spec import SERVED
from llm_trace.capture.values import Encoder
from llm_trace.errors import ReplayError
from llm_trace.replays import cassette, report
from llm_trace.replays.collector import Collector
from llm_trace.replays.player import Player, Rules
from llm_trace.replays.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass
class Session:
    """Stands in capture's slots until it ends; what was there before comes back."""

    path: Path
    serve: frozenset[str]
    recorder: Recorder
    collector: Collector
    player: Player | None
    """`None` while a cassette is recorded."""
    before: Recorder | None

    @classmethod
    def begin(
        cls,
        mode: Literal["record", "replay"],
        path: Path,
        *,
        redact: Any = True,
        serve: Iterable[str] = SERVED,
        live: Iterable[str] = (),
    ) -> Self:
        """Begin to record or to replay.

        Raises:
            CassetteError: there is nothing to replay from.
            ReplayError: a replay is on already.
        """
        if slots.interceptor is not None:
            raise ReplayError("a replay is on in this process already: end it first")
        encoder, served = Encoder(redactor(redact)), frozenset(serve)
        collector = Collector(encoder)
        player = None
        if mode == "replay":
            tape = Tape(cassette.read(path), masked=encoder.plain)
            player = Player(tape, Rules("recorded", served, frozenset(live)))
        recorder = Recorder(collector, encoder, input_key=None)
        session = cls(path, served, recorder, collector, player, slots.recorder or slots.boot())
        slots.recorder, slots.interceptor = recorder, player
        return session

    def divergence(self) -> str | None:
        """Return the first question that is not on the cassette."""
        return None if self.player is None else self.player.report.divergence

    def not_asked(self) -> str | None:
        """Return what is on the cassette and was not asked for; calls that were cancelled then may be missing."""
        if self.player is None:
            return None
        left = [call.name for call in self.player.left() if call.status != "cancelled"]
        return (
            f"on the cassette {self.path} and not asked for: {', '.join(report.summed(left))}"
            if left
            else None
        )

    def keep(self) -> list[str]:
        """Write the cassette of a test that passed, and return what should be known about it."""
        if self.player is not None:
            return []
        calls = self.collector.calls()
        cassette.write(self.path, cassette.dump(calls, self.serve))
        masked = [
            f"the answer of {c.name} holds secrets, which are masked on the cassette"
            for c in calls
            if c.rebuild.get("masked")
        ]
        return masked + [report.race(group) for group in Tape(calls).races()]

    def end(self) -> None:
        """Put back what was recorded to before."""
        slots.interceptor = None
        if slots.recorder is self.recorder:
            slots.recorder = self.before
