"""YAML as plain values that remember the lines they stand on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from llm_trace.errors import MissingExtraError, ScenarioError
from llm_trace.evaluation.expressions import FieldPath


class YamlDocument(NamedTuple):
    """What a file says, and where."""

    value: Any
    lines: dict[FieldPath, int]
    """By keys from the top, the line from 1."""

    def find_line(self, place: FieldPath) -> int:
        """Return the line of a place, or of the nearest one around it that the file has."""
        while place not in self.lines:
            place = place[:-1]
        return self.lines[place]


def parse_yaml(text: str) -> YamlDocument:
    """Return a document's values and lines.

    Raises:
        ScenarioError: it is no YAML, or repeats a key; the message begins with the line.
        MissingExtraError: PyYAML is not installed.
    """
    try:
        import yaml
    except ModuleNotFoundError as exc:
        raise MissingExtraError("scenario files need PyYAML: pip install 'llm-trace[evaluation]'") from exc
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        value = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 1
        raise ScenarioError(f"line {line}: this is no YAML: {exc.problem or exc.context}") from exc
    except (yaml.YAMLError, ValueError) as exc:  # a character or a date that does not exist
        raise ScenarioError(f"line 1: this is no YAML: {' '.join(str(exc).split())}") from exc
    return YamlDocument(value, {(): 1} if node is None else dict(_list_lines(node, (), set())))


def _list_lines(node: Any, place: FieldPath, above: set[int]) -> Iterator[tuple[FieldPath, int]]:
    yield place, node.start_mark.line + 1
    if id(node) in above:
        raise ScenarioError(f"line {node.start_mark.line + 1}: this contains itself: write it out")
    above = above | {id(node)}
    if node.id == "sequence":
        for number, item in enumerate(node.value):
            yield from _list_lines(item, (*place, number), above)
    elif node.id == "mapping":
        first: dict[str, int] = {}
        for key, item in node.value:
            line, name = key.start_mark.line + 1, str(key.value)
            if name in first and name != "<<":
                raise ScenarioError(f"line {line}: {name!r} stands in line {first[name]} already: remove one")
            first[name] = line
            yield from _list_lines(item, (*place, name), above)
            yield (*place, name), line
