"""What may be spent in any hour or by a whole job: the sum so far, which a restart need not forget."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from llm_trace.attribution.core.value import Budget

HOUR_NS = 3600 * 10**9
_AMOUNTS = ("evaluations", "tokens", "seconds", "usd")


@dataclass
class Allowance:
    """A budget for each hour, or for all time; an int counts model evaluations, `None` is no limit."""

    limit: int | Budget | None = None
    window_ns: int | None = HOUR_NS
    """How long what was spent counts; `None`: for ever."""
    spent: deque[tuple[int, dict[str, float]]] = field(default_factory=deque)
    """(Unix nanoseconds, amounts by name), oldest first."""

    def allows(self, now_ns: int, begun: int = 0) -> bool:
        """Whether anything is left of the budget when each that is begun costs as much as the
        dearest of those before.
        """
        while self.window_ns and self.spent and self.spent[0][0] <= now_ns - self.window_ns:
            self.spent.popleft()
        if begun and self.limit is not None and not self.spent:
            return False
        for name in _AMOUNTS:
            most = self._most(name)
            spent = [amounts.get(name, 0.0) for _, amounts in self.spent]
            if most is not None and sum(spent) + begun * max(spent, default=0.0) >= most:
                return False
        return True

    def _most(self, name: str) -> float | None:
        if isinstance(self.limit, int):
            return self.limit if name == "evaluations" else None
        return None if self.limit is None else asdict(self.limit)[name]

    def spend(self, now_ns: int, attribution: Mapping[str, Any]) -> None:
        """Note what an attribution, given by its fields, cost."""
        if self.limit is not None:
            amounts = {
                "evaluations": attribution["passes"],
                "tokens": attribution["tokens"],
                "seconds": attribution["seconds"],
            }
            self.spent.append((now_ns, {name: float(x) for name, x in amounts.items()}))

    def dump(self) -> list[Any]:
        """Return the last hour as JSON values."""
        return [[at, amounts] for at, amounts in self.spent]

    def restore(self, spent: Iterable[Any]) -> None:
        """Take up what `dump` returned."""
        self.spent = deque((int(at), dict(amounts)) for at, amounts in spent)
