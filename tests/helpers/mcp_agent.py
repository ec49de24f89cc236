"""A coding agent without a model: it finds what made a new prompt worse, and proves it, by tools alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Ask = Callable[..., dict[str, Any]]
"""Asks a tool by its name and arguments."""


@dataclass(frozen=True)
class Mending:
    """What the agent found."""

    line: str
    """That the newer version added, and that is to blame."""
    stands_out: bool
    """Whether an attribution says that the line mattered for a wrong answer."""
    proof: str
    """Verdict of the failures run again without the line."""
    chance: str
    """Verdict of the same calls run again without a change."""
    price: str
    """Verdict of the calls that the newer version had mended, run again without the line."""
    verdicts: tuple[str, ...]
    """Of each answer, in order: as many as there were calls of tools."""


class ScriptedAgent:
    """Asks tools and counts the answers.

    Args:
        ask: asks a tool.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._verdicts: list[str] = []

    def _use(self, tool: str, **arguments: Any) -> dict[str, Any]:
        answer = self._ask(tool, **arguments)
        self._verdicts.append(f"{tool}: {answer['verdict']}")
        recorded: dict[str, Any] = answer["recorded"]
        return recorded

    def mend(self, before: str, after: str) -> Mending:
        """Find the line of a prompt that made the version `after` worse than `before`.

        Args:
            before: name of the older run.
            after: of the newer one.
        """
        runs = {run["name"]: run["id"] for run in self._use("runs", limit=50)["runs"]}
        a, b = runs[before], runs[after]
        (change,) = [c for c in self._use("compare", a=a, b=b)["changes"] if c["what"] == "prompt"]
        version = change["diff"][1].removeprefix("+++ ")
        added = [line[1:] for line in change["diff"][2:] if line.startswith("+") and line[1:].strip()]
        worse = self._use("compare", a=a, b=b, outcome="worse", metric="correct", limit=50)["pairs"]
        right = {pair["b"]: pair["output_a"] for pair in worse}
        line, stands_out = self._suspect(added, next(iter(right)))
        prompt = self._use("prompts", name=change["name"], version=version)["prompt"]
        mended = {change["name"]: prompt["template"].replace(f"{line}\n\n", "")}
        proof = self._prove(right, prompts=mended)
        chance = self._prove(right)
        better = self._use("compare", a=a, b=b, outcome="better", metric="correct", limit=50)["pairs"]
        price = self._prove({pair["b"]: pair["output_b"] for pair in better}, prompts=mended)
        return Mending(line, stands_out, proof, chance, price, tuple(self._verdicts))

    def _suspect(self, added: list[str], span_id: str) -> tuple[str, bool]:
        """Return the added line that mattered most for a wrong answer, and whether it stands out."""
        segments = self._use("attribute", id=span_id, segments="line", wait_s=300)["segments"]
        ranked = [s for s in segments if s["text"].strip() in {line.strip() for line in added}]
        return ranked[0]["text"].strip(), ranked[0]["stands_out"]

    def _prove(self, expected: dict[str, str], **changes: Any) -> str:
        self._use("replay", ids=list(expected), expected=expected, wait_s=300, **changes)
        return self._verdicts[-1]
