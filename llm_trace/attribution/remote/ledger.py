"""What may be spent on calls, and what was: a call is made only where the most it can cost is still there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_trace.attribution.core.value import Budget, BudgetError
from llm_trace.errors import AttributionError

if TYPE_CHECKING:
    from llm_trace.attribution.remote.answers import Answer


@dataclass(frozen=True)
class Price:
    """What a model costs, in dollars per million tokens."""

    input: float
    output: float

    def usd(self, read: int, written: int) -> float:
        """Return what so many tokens cost."""
        return (read * self.input + written * self.output) / 1e6


@dataclass(frozen=True)
class Cost:
    """Calls, tokens and dollars."""

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0

    def plus(self, other: Cost, times: int = 1) -> Cost:
        """Return the sum, the other counted so many times."""
        return Cost(
            self.calls + times * other.calls, self.tokens + times * other.tokens, self.usd + times * other.usd
        )


class Ledger:
    """Reserves the most that a call can cost before it is made, and books what it did cost afterwards.

    Args:
        budget: limits in evaluations (calls), tokens and dollars.
        price: of the model.
        longest: tokens of the longest answer.

    Raises:
        AttributionError: the budget is in a unit that cannot be held without knowing more.
    """

    def __init__(self, budget: Budget, price: Price | None, longest: int | None) -> None:
        if (budget.tokens is not None or budget.usd is not None) and longest is None:
            raise AttributionError(
                "a budget in tokens or dollars needs the length of the longest answer: Remote(…, "
                "max_output_tokens=…)"
            )
        if budget.usd is not None and price is None:
            raise AttributionError(
                "a budget in dollars needs the model's price: Remote(…, price=Price(input=…, output=…))"
            )
        self.budget, self.spent = budget, Cost()
        self._price, self._longest = price, longest or 0
        self._reserved = Cost()

    def most(self, read: int) -> Cost:
        """Return the most that a call with so many input tokens can cost."""
        return self._cost(read, self._longest)

    def room(self, read: int) -> int | None:
        """Return how many such calls are paid for in any case, `None` without a limit."""
        most, used, b = self.most(read), self.spent.plus(self._reserved), self.budget
        limits = [] if b.evaluations is None else [b.evaluations - used.calls]
        if b.tokens is not None:
            limits.append((b.tokens - used.tokens) // max(1, most.tokens))
        if b.usd is not None:
            limits.append(int((b.usd - used.usd) / most.usd) if most.usd else 2**31)
        return max(0, min(limits)) if limits else None

    def reserve(self, read: int) -> Cost:
        """Set aside the most that a call can cost.

        Raises:
            BudgetError: that is not there any more.
        """
        if self.room(read) == 0:
            raise BudgetError(f"the budget is spent after {self.spent.calls} calls: raise it")
        most = self.most(read)
        self._reserved = self._reserved.plus(most)
        return most

    def book(self, reserved: Cost, read: int, answer: Answer | None, written: int = 0) -> None:
        """Replace what was set aside by what the call cost: what the answer reports, else the counts
        given; nothing without an answer.
        """
        self._reserved = self._reserved.plus(reserved, -1)
        if answer is not None:
            read = read if answer.input_tokens is None else answer.input_tokens
            written = written if answer.output_tokens is None else answer.output_tokens
            self.spent = self.spent.plus(self._cost(read, written))

    def lose(self, reserved: Cost) -> None:
        """Book a call that failed on the way, at the most that it can have cost."""
        self._reserved = self._reserved.plus(reserved, -1)
        self.spent = self.spent.plus(reserved)

    def _cost(self, read: int, written: int) -> Cost:
        return Cost(1, read + written, self._price.usd(read, written) if self._price else 0.0)
