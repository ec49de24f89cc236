"""A `Dataset` as a scenario: its examples as they are, so as a public set."""

from __future__ import annotations

from dataclasses import dataclass

from llm_trace.comparison.dataset import Dataset
from llm_trace.evaluation.instances import Instance
from llm_trace.evaluation.public_set import PublicExample, make_public_instances


@dataclass(frozen=True)
class DatasetScenario:
    """A scenario that has no fresh instances, only the examples of a dataset."""

    dataset: Dataset

    @property
    def id(self) -> str:
        """Name of the dataset."""
        return self.dataset.name

    @property
    def version(self) -> str:
        """That of the dataset."""
        return self.dataset.version

    def make_instances(self, n: int, seed: int = 0) -> list[Instance]:
        """Return at most n examples, chosen by the seed, in their order."""
        examples = tuple(PublicExample(input=each.input, expected=each.expected) for each in self.dataset)
        return make_public_instances(self.id, examples, n, seed)
