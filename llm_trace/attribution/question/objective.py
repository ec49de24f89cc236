"""Which tokens' log-probabilities are read, after what, and how they become one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    import torch

Unit = Literal["nats", "probability", "logit"]
UNITS: tuple[Unit, ...] = ("nats", "probability", "logit")
Tick = Callable[[int, int], None]
"""Told (prompts, tokens) after each forward pass."""
_CERTAIN = -6e-8
"""Log-probabilities above cannot be told from certainty in float32: logits end at 16.6."""


@dataclass(frozen=True)
class Query:
    """Tokens whose log-probability is asked for."""

    read: tuple[int, ...]
    """What of the response the model reads after the prompt."""
    rows: tuple[int, ...]
    """Token j stands after `read[:rows[j]]`."""
    ids: tuple[int, ...]
    """The tokens, or for a classifier the labels."""

    @classmethod
    def of(cls, response: Sequence[int], rows: Sequence[int], lead: Sequence[int] = ()) -> Query:
        """Return the query for some tokens of a response; what comes after the last of them is not read."""
        places = tuple(len(lead) + r for r in rows)
        return cls((*lead, *response[: max(rows)]), places, tuple(response[r] for r in rows))


@dataclass(frozen=True)
class Goal:
    """What is explained: tokens of the response, perhaps against tokens of another, in a unit.

    The value in nats is one column a token, the other response's negative; in other units one number.
    """

    queries: tuple[Query, ...]
    """Two only where neither response's read part begins the other's."""
    signs: tuple[int, ...]
    """+1 for a token of the response, -1 for one of the other; in the order of the queries' tokens."""
    unit: Unit = "nats"

    @property
    def width(self) -> int:
        """Number of tokens that are read."""
        return len(self.signs)

    def worth(self, columns: torch.Tensor) -> torch.Tensor:
        """Return the value (k,) of log-probabilities (k, tokens); differentiable."""
        import torch

        signs = torch.tensor(self.signs, device=columns.device)
        if self.unit == "nats":
            return (columns * signs).sum(-1)
        sides = [columns[:, signs == side].sum(-1) for side in (1, -1) if side in self.signs]
        sides = [_convert_unit(side, self.unit) for side in sides]
        return sides[0] if len(sides) == 1 else sides[0] - sides[1]


def _convert_unit(logprob: torch.Tensor, unit: Unit) -> torch.Tensor:
    import torch

    if unit == "probability":
        return logprob.exp()
    certain = logprob.clamp(max=_CERTAIN)
    return certain - torch.log(-torch.expm1(certain))


def build_goal(this: Query | None, that: Query | None = None, unit: str = "nats") -> Goal:
    """Return the goal: the tokens of `this`, less those of `that`. Both go through the model at once where
    one reads the beginning of the other, as two answers of one token do.

    Raises:
        AttributionError: an unknown unit.
    """
    if unit not in UNITS:
        raise AttributionError(f"unit {unit!r} is unknown; choose one of {', '.join(UNITS)}")
    sides = [(query, sign) for query, sign in ((this, 1), (that, -1)) if query is not None]
    signs = tuple(sign for query, sign in sides for _ in query.ids)
    queries = [query for query, _ in sides]
    reads = sorted((query.read for query in queries), key=len)
    if len(queries) == 2 and reads[1][: len(reads[0])] == reads[0]:
        rows = tuple(r for query in queries for r in query.rows)
        queries = [Query(reads[1], rows, tuple(i for query in queries for i in query.ids))]
    return Goal(tuple(queries), signs, unit)
