"""Scenarios written as a Python generator function."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from pydantic import ValidationError

from llm_trace.errors import ScenarioError
from llm_trace.evaluation.instances import Instance, read_source, to_json_value

Generator = Callable[[Random], Iterable[Mapping[str, Any]]]
"""Yields instances without end: `{"input": {…}, "expected": …}` and further fields of `Instance`."""


@dataclass(frozen=True)
class GeneratorScenario:
    """A scenario whose instances a function yields.

    Args:
        function: takes a `random.Random` made of the seed and yields mappings with `input`, `expected` and,
            as they come, further fields of `Instance`; those with `of` are variants and do not count for n.
        name: of the scenario; by default the function's.
    """

    function: Generator
    name: str = ""

    @property
    def id(self) -> str:
        """The name of the scenario."""
        return self.name or getattr(self.function, "__name__", type(self.function).__name__)

    @property
    def version(self) -> str:
        """First 12 hex digits of the SHA-256 of the function's source, or of its name where there is none."""
        return hashlib.sha256(read_source(self.function).encode()).hexdigest()[:12]

    def make_instances(self, n: int, seed: int = 0) -> list[Instance]:
        """Return the first n that the function yields, with their variants; fewer where it ends before.

        Raises:
            ScenarioError: what it yields is no instance.
        """
        instances: list[Instance] = []
        count = 0
        for fields in self.function(Random(f"{self.id}:{seed}")):
            count += fields.get("variant", "fresh") == "fresh"
            if count > n:
                break
            instances.append(self._build(fields, f"{self.id}/{seed}.{len(instances)}"))
        return instances

    def _build(self, fields: Mapping[str, Any], id_: str) -> Instance:
        try:
            return Instance.model_validate({"id": id_, **to_json_value(fields), "scenario": self.id})
        except (ValidationError, TypeError) as exc:
            raise ScenarioError(
                f"scenario {self.id!r} yields {fields!r}, which is no instance: {exc}"
            ) from exc


__all__ = ["GeneratorScenario"]
