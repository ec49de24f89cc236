"""YAML as plain values that remember the lines they stand on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from llm_trace.errors import MissingExtraError, ScenarioError
from llm_trace.evaluation.expressions import FieldPath

DEEPEST = 50
"""Lists and mappings that may stand in each other."""
MOST = 1_000_000
"""Values in a file, those that are repeated by reference counted each time."""


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
        raise MissingExtraError("files in YAML need PyYAML: pip install pyyaml") from exc
    try:
        loader = _make_loader()(text)
        node = loader.get_single_node()
        lines: dict[FieldPath, int] = {(): 1} if node is None else _read_lines(node)
        value = None if node is None else loader.construct_document(node)
    except ScenarioError:
        raise
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else 1
        raise ScenarioError(f"line {line}: this is no YAML: {exc.problem or exc.context}") from exc
    except (yaml.YAMLError, ValueError) as exc:  # a character or a date that does not exist
        raise ScenarioError(f"line 1: this is no YAML: {' '.join(str(exc).split())}") from exc
    except RecursionError as exc:
        raise ScenarioError(f"line 1: {_TOO_DEEP}") from exc
    return YamlDocument(value, lines)


_TOO_DEEP = f"more than {DEEPEST} lists and mappings stand in each other: write it flatter"


@cache
def _make_loader() -> Any:
    """Return PyYAML's safe loader less what YAML 1.1 makes of words and digits that people mean as texts:
    `NO`, `yes`, `12:30`, `0123`, `1_000` and `=`.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_scalar(self, node: Any) -> Any:
            text = super().construct_scalar(node)
            pairs = isinstance(text, str) and any("\ud800" <= sign <= "\udfff" for sign in text)
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if pairs else text

    tags = {f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float", "value")}
    Loader.yaml_implicit_resolvers = {
        sign: [(tag, pattern) for tag, pattern in pairs if tag not in tags]
        for sign, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    number = r"[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
    for name, pattern, first in (
        ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
        ("int", "[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
        ("float", number, "-+.0123456789"),
    ):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(f"^(?:{pattern})$"), list(first))
    return Loader


def _read_lines(node: Any) -> dict[FieldPath, int]:
    lines: dict[FieldPath, int] = {}
    for place, line in _list_lines(node, (), set()):
        lines[place] = line
        if len(place) > DEEPEST:
            raise ScenarioError(f"line {line}: {_TOO_DEEP}")
        if len(lines) > MOST:
            raise ScenarioError(f"line {line}: more than {MOST:,} values, repeated ones counted: write less")
    return lines


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
