"""What rendering reads of an attribution: scores of the segments of a prompt, and what they rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class ScoredSegment(Protocol):
    """A stretch of the prompt that has a score."""

    @property
    def start(self) -> int:
        """First character offset."""

    @property
    def end(self) -> int:
        """One past the last character offset."""

    @property
    def text(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str | None: ...

    @property
    def score(self) -> float | None:
        """Of a chunk: the retriever's own."""

    @property
    def stretches(self) -> Sequence[tuple[int, int]]:
        """All places of the segment in the prompt."""


class WeighedOrigin(Protocol):
    """What all words of one origin do together."""

    @property
    def origin(self) -> str | None: ...

    @property
    def value(self) -> float: ...

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


class ScoredPrompt(Protocol):
    """A prompt whose segments have scores; `llm_trace.record.Attribution` is one."""

    @property
    def prompt(self) -> str: ...

    @property
    def response(self) -> str: ...

    @property
    def target(self) -> str: ...

    @property
    def method(self) -> str: ...

    @property
    def unit(self) -> str: ...

    @property
    def baseline(self) -> str: ...

    @property
    def verdict(self) -> str: ...

    @property
    def warnings(self) -> Sequence[str]: ...

    @property
    def segments(self) -> Sequence[ScoredSegment]: ...

    @property
    def bounds(self) -> str: ...

    @property
    def values(self) -> Sequence[float]: ...

    @property
    def low(self) -> Sequence[float] | None: ...

    @property
    def high(self) -> Sequence[float] | None: ...

    @property
    def level(self) -> float:
        """The confidence that was asked for."""

    @property
    def p_values(self) -> Sequence[float] | None: ...

    @property
    def q_values(self) -> Sequence[float] | None: ...

    @property
    def matrix(self) -> Sequence[Sequence[float]] | None:
        """One row per output token."""

    @property
    def target_tokens(self) -> Sequence[str]: ...

    @property
    def model(self) -> str | None: ...

    @property
    def passes(self) -> int: ...

    @property
    def tokens(self) -> int: ...

    @property
    def seconds(self) -> float: ...

    @property
    def completeness_gap(self) -> float | None: ...

    @property
    def faithfulness(self) -> Mapping[str, Any]: ...

    @property
    def notes(self) -> Sequence[str]: ...

    @property
    def time_ns(self) -> int | None: ...

    @property
    def groups(self) -> Sequence[Sequence[int]]:
        """Indices of segments that stand in for each other."""

    @property
    def origins(self) -> Sequence[WeighedOrigin]: ...

    def stands_out(self, i: int) -> bool:
        """Whether the effect of segment i can be told from none."""
